# An updated extension is the one that a new installation makes (G11): every object,
# its definition, comment and rights, also where the owner is no superuser. And what
# is released does not change any more.

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Upgrade;
use Test::More;

my $pg = upgrade_setup();
install_next($pg);
my $node = todo_node('objects', brokers => '', extension => 0, install_path => $pg->{path});

# Everything that belongs to the extension, a line each: what it is, its definition,
# its comment and its rights. Not what differs by nature: object ids, and where a
# sequence stands.
my $describe = <<'END';
WITH ours AS (
	SELECT d.classid, d.objid FROM pg_depend d
	JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
	WHERE e.extname = 'todo_events' AND d.deptype = 'e'
	UNION ALL  -- what belongs to its tables
	SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t WHERE NOT t.tgisinternal AND t.tgrelid::regclass::text LIKE 'todo_events%'
	UNION ALL
	SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c WHERE c.conrelid::regclass::text LIKE 'todo_events%'
	UNION ALL
	SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i WHERE i.indrelid::regclass::text LIKE 'todo_events%'
)
SELECT concat_ws(' | ',
	pg_describe_object(o.classid, o.objid, 0),
	CASE o.classid
		WHEN 'pg_proc'::regclass THEN (SELECT CASE WHEN p.prokind = 'a' THEN '' ELSE pg_get_functiondef(p.oid) END FROM pg_proc p WHERE p.oid = o.objid)
		WHEN 'pg_trigger'::regclass THEN (SELECT pg_get_triggerdef(t.oid) || t.tgenabled::text FROM pg_trigger t WHERE t.oid = o.objid)
		WHEN 'pg_constraint'::regclass THEN pg_get_constraintdef(o.objid)
		WHEN 'pg_class'::regclass THEN (
			SELECT concat_ws(' ', c.relkind, c.relpersistence, c.reloptions, c.relam::int, pg_get_partkeydef(c.oid),
				pg_get_expr(c.relpartbound, c.oid), CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) WHEN 'i' THEN pg_get_indexdef(c.oid) END,
				(SELECT (seqtypid, seqstart, seqincrement, seqmax, seqmin, seqcache, seqcycle)::text FROM pg_sequence WHERE seqrelid = c.oid),
				(SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage, a.attcompression,
					pg_get_expr(d.adbin, d.adrelid), a.attacl, col_description(c.oid, a.attnum)), ', ' ORDER BY a.attname)
				 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
				 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
			FROM pg_class c WHERE c.oid = o.objid)
	END,
	obj_description(o.objid, o.classid::regclass::name),
	COALESCE((SELECT concat(pg_get_userbyid(relowner), relacl) FROM pg_class WHERE o.classid = 'pg_class'::regclass AND oid = o.objid),
		(SELECT concat(pg_get_userbyid(proowner), proacl) FROM pg_proc WHERE o.classid = 'pg_proc'::regclass AND oid = o.objid),
		(SELECT concat(pg_get_userbyid(nspowner), nspacl) FROM pg_namespace WHERE o.classid = 'pg_namespace'::regclass AND oid = o.objid)),
	(SELECT 'dumped' || COALESCE((e.extcondition)[array_position(e.extconfig, o.objid)], '') FROM pg_extension e
	 WHERE e.extname = 'todo_events' AND o.classid = 'pg_class'::regclass AND o.objid = ANY (e.extconfig)),
	(SELECT 'initially ' || i.initprivs::text FROM pg_init_privs i WHERE i.classoid = o.classid AND i.objoid = o.objid AND i.objsubid = 0))
FROM ours o ORDER BY 1
END

sub objects
{
	my ($database) = @_;
	# a definition has several lines: a NUL between rows would be no text, so a control character
	my $all = $node->safe_psql($database, "SELECT string_agg(line, E'\\x01' ORDER BY line) FROM ($describe) AS d (line)");
	return split /\x01/, $all;
}

sub same_objects
{
	my ($name, $new, $updated) = @_;
	my %new = map { $_ => 1 } objects($new);
	my %updated = map { $_ => 1 } objects($updated);
	my @only_new = grep { !$updated{$_} } sort keys %new;
	my @only_updated = grep { !$new{$_} } sort keys %updated;

	cmp_ok(scalar keys %new, '>', 50, "$name: there is something to compare");
	is("@only_new", '', "$name: what a new installation has, the updated one has");
	is("@only_updated", '', "$name: and nothing else");
	return;
}

$node->safe_psql('postgres', 'CREATE ROLE owner; CREATE DATABASE fresh; CREATE DATABASE fresh_owned OWNER owner');
$node->safe_psql('fresh', 'CREATE EXTENSION todo_events');
$node->safe_psql('fresh_owned', 'SET SESSION AUTHORIZATION owner; CREATE EXTENSION todo_events');
for my $base (split /\n/, `$pg->{tree}/scripts/upgrade.sh bases`)
{
	(my $name = "from_$base") =~ tr/./_/;
	$node->safe_psql('postgres', "CREATE DATABASE $name; CREATE DATABASE ${name}_owned OWNER owner");
	$node->safe_psql($name, "CREATE EXTENSION todo_events VERSION '$base'; ALTER EXTENSION todo_events UPDATE");
	same_objects("from $base", 'fresh', $name);
	# the extension is trusted, and so is its update
	$node->safe_psql("${name}_owned", "SET SESSION AUTHORIZATION owner; CREATE EXTENSION todo_events VERSION '$base'; ALTER EXTENSION todo_events UPDATE");
	same_objects("from $base, an ordinary owner", 'fresh_owned', "${name}_owned");
}

# rights: those given stay, in dumps too, and nobody has one on what is new, whatever default privileges say
$node->safe_psql('postgres', 'CREATE ROLE app; CREATE DATABASE rights');
$node->safe_psql('rights', <<"END");
CREATE EXTENSION todo_events VERSION '$pg->{version}';
SELECT FROM todo_events.grant_access('app', 'operator');
GRANT SELECT ON todo_events.outbox TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO app;
END
sub granted
{
	my ($out, $err);
	IPC::Run::run([ "$pg->{path}/bin/pg_dump", '-s', '-d', $node->connstr('rights') ], '>', \$out, '2>', \$err) or die $err;
	return join '', sort $out =~ /^GRANT .* TO (?:app|PUBLIC).*;\n/mg;
}
my $granted = granted();
like($granted, qr/GRANT ALL ON FUNCTION todo_events.publish.* TO app;/, 'a dump repeats what roles have been given');
$node->safe_psql('rights', 'ALTER EXTENSION todo_events UPDATE');
is(granted(), $granted, 'and does so after the update');
is($node->safe_psql('rights', <<'END'), 't|t|f', 'rights that were given stay; on what is new there are none');
SELECT has_function_privilege('app', 'todo_events.publish(text,text,jsonb,text,text)', 'EXECUTE'),
	has_table_privilege('public', 'todo_events.outbox', 'SELECT'), has_function_privilege('app', 'todo_events.next_version()', 'EXECUTE');
END

# what the comparison is for
$node->safe_psql('fresh', q{COMMENT ON FUNCTION todo_events.health() IS 'another'; GRANT EXECUTE ON FUNCTION todo_events.health() TO PUBLIC});
isnt(join('', objects('fresh')), join('', objects('from_' . $pg->{version} =~ tr/./_/r)), 'a difference in a comment or a right is one');
$node->stop('fast');

# ---- what is released -------------------------------------------------------------------

# in a copy, which may be spoilt
my $tree = PostgreSQL::Test::Utils::tempdir() . '/tree';
mkdir $tree;
system("cd '$pg->{tree}' && tar cf - Makefile todo_events.control scripts src build/*.sql | tar xf - -C '$tree'") == 0 or die 'no copy';
my $frozen = "$tree/src/upgrade";
my $base = "$frozen/todo_events--$pg->{version}.sql";
my $way = "$frozen/todo_events--$pg->{version}--$pg->{next}.sql";

sub check_scripts
{
	my $out = `'$tree/scripts/upgrade.sh' check '$tree/build/todo_events--$pg->{next}.sql' 2>&1`;
	return $? == 0 ? 'ok' : $out;
}

# with a change to a file; then it is as it was
sub with
{
	my ($file, $change, $code) = @_;
	my $before = -e $file ? PostgreSQL::Test::Utils::slurp_file($file) : undef;

	$change->();
	my $result = check_scripts();
	unlink $file;
	PostgreSQL::Test::Utils::append_to_file($file, $before) if defined $before;
	return $result;
}

is(check_scripts(), 'ok', 'the scripts are in order');
like(with($base, sub { PostgreSQL::Test::Utils::append_to_file($base, "-- better\n") }), qr/a script of a released version has changed/, 'a released script does not change');
like(with($base, sub { unlink $base }), qr/a script of a released version has changed/, 'nor goes');
like(with($way, sub { unlink $way }), qr/no update scripts lead from version \Q$pg->{version}\E to \Q$pg->{next}\E/, 'from each a way leads here');
like(with($way, sub { unlink $way; PostgreSQL::Test::Utils::append_to_file($way, "SELECT 1;\n") }), qr/does not begin with require_version/, 'which an older library does not go');
like(with("$frozen/todo_events--0.0.9.sql", sub { PostgreSQL::Test::Utils::append_to_file("$frozen/todo_events--0.0.9.sql", "SELECT 1;\n") }), qr/not in SHA256SUMS/, 'a script that was never released is none');
is(`'$tree/scripts/upgrade.sh' freeze 2>&1`, "version $pg->{next} is kept in src/upgrade; it does not change any more\n", 'a release keeps the scripts');
is(check_scripts(), 'ok', 'and they are in order');
like(with($way, sub { PostgreSQL::Test::Utils::append_to_file($way, "-- better\n") }), qr/a script of a released version has changed/, 'then its update script does not change either');
like(with("$tree/build/todo_events--$pg->{next}.sql", sub { PostgreSQL::Test::Utils::append_to_file("$tree/build/todo_events--$pg->{next}.sql", "-- more\n") }),
	qr/version \Q$pg->{next}\E is released, and the objects have changed since: raise default_version/, 'and its objects come from a version of their own');
done_testing();
