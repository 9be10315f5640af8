# Who may do what with every object of the extension (G12): each is tried, by
# each kind of role, and docs/privileges.md must say just that.  An object that
# is added without a line there, or with other rights, fails here;
#
#	TE_WRITE_PRIVILEGES=1 prove -Itest/tap/lib test/tap/t/081_rights_matrix.pl
#
# writes the lines anew.
use strict;
use warnings;
use TodoEvents;
use TodoEvents::Rights;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# no engine: what is tried locks tables
my $node = todo_node('matrix', brokers => '', start => 0, conf => "todo_events.databases = 'none'\n");
$node->start;
my @levels = qw(app viewer gateway operator);
$node->safe_psql('postgres', join("\n", (map { "CREATE ROLE $_ LOGIN;" } 'nobody', @levels, 'owner'),
	'CREATE DATABASE shop OWNER owner;', 'CREATE DATABASE other OWNER owner;'));
my $rights = TodoEvents::Rights->new($node, 'shop');

# ---- installation by an owner who has nothing but his database ----

# what a superuser gives by default to what he makes is not given to this
$node->safe_psql('shop', q{
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO nobody;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO nobody, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO nobody;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO nobody, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
});
# nor does a session's word for what was there before, which update scripts go by, leave a right to anybody
my $objects = q{SELECT string_agg('FUNCTION ' || p.oid::regprocedure, chr(10)) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname ~ '^todo_events'};
$node->safe_psql('shop', 'CREATE EXTENSION todo_events');
my $before = $node->safe_psql('shop', $objects);
$node->safe_psql('shop', 'DROP EXTENSION todo_events');
like($before, qr/FUNCTION todo_events\.grant_access/, 'functions');
$rights->allowed('CREATE EXTENSION', 'owner', "SET todo_events_script.before = '$before'; CREATE EXTENSION todo_events", '');
for my $level (@levels)
{
	$rights->allowed("grant_access, $level", 'owner', "SELECT todo_events.grant_access('$level', '$level')", '');
	$rights->allowed("grant_access, $level, again", 'owner', "SELECT todo_events.grant_access('$level', '$level')", '');
}

# ---- everything is tried ----

# Objects with the statements that need a right to them: object, right, statement.
my $attempts = q{
SELECT o.name, o.verb, o.statement, o.class
FROM (
	SELECT 1 AS class, 'extension ' || e.extname AS name, v.verb, v.statement, v.n
	FROM pg_extension e, (VALUES (1, 'alter', 'ALTER EXTENSION todo_events UPDATE'), (2, 'drop', 'DROP EXTENSION todo_events')) AS v (n, verb, statement)
	WHERE e.extname = 'todo_events'
	UNION ALL
	SELECT 2, 'schema ' || n.nspname, v.verb, format(v.statement, n.nspname), v.n
	FROM pg_namespace n, (VALUES (1, 'usage', 'SELECT %I.no_such_function()'), (2, 'create', 'CREATE TABLE %I.attempt ()'),
		(3, 'alter', 'ALTER SCHEMA %I RENAME TO attempt')) AS v (n, verb, statement)
	WHERE n.nspname IN ('todo_events', 'todo_events_internal')
	UNION ALL
	SELECT 3, 'function ' || format('%s.%s(%s)', n.nspname, p.proname,
			(SELECT string_agg(format_type(t.oid, NULL), ', ' ORDER BY t.i) FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, i))),
		v.verb,
		CASE v.verb WHEN 'call' THEN format('SELECT %I.%I(%s)', n.nspname, p.proname,
			(SELECT string_agg(CASE
					-- a strict function is not even called with a null
					WHEN p.proisstrict AND y.typtype = 'c' THEN (SELECT 'ROW(' || string_agg('NULL', ', ') || ')::' FROM pg_attribute a WHERE a.attrelid = y.typrelid AND a.attnum > 0)
					WHEN p.proisstrict AND y.typname = 'regclass' THEN '''pg_class''' || '::'
					WHEN p.proisstrict THEN '''''' || '::'
					ELSE 'NULL::' END || format_type(t.oid, NULL), ', ' ORDER BY t.i)
				FROM unnest(p.proargtypes) WITH ORDINALITY AS t (oid, i) JOIN pg_type y ON y.oid = t.oid))
		ELSE format('ALTER FUNCTION %s OWNER TO CURRENT_USER', p.oid::regprocedure) END, v.n
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, (VALUES (1, 'call'), (2, 'alter')) AS v (n, verb)
	WHERE n.nspname IN ('todo_events', 'todo_events_internal')
	UNION ALL
	SELECT CASE c.relkind WHEN 'v' THEN 4 ELSE 5 END,
		CASE c.relkind WHEN 'v' THEN 'view ' ELSE 'table ' END || n.nspname || '.' || regexp_replace(c.relname, '^(log|cursor|idempotency|counter)_\d+$', '\1_*'),
		v.verb, format(v.statement, c.oid::regclass, a.attname), v.n
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1,
		(VALUES (1, 'select', 'SELECT count(*) FROM %s'), (2, 'insert', 'INSERT INTO %s DEFAULT VALUES'), (3, 'update', 'UPDATE %s SET %I = DEFAULT WHERE false'),
			(4, 'delete', 'DELETE FROM %s WHERE false'), (5, 'truncate', 'TRUNCATE %s'),
			(6, 'trigger', 'CREATE TRIGGER attempt BEFORE INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()'),
			(7, 'alter', 'ALTER TABLE %s RENAME TO attempt')) AS v (n, verb, statement)
	WHERE n.nspname IN ('todo_events', 'todo_events_internal') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
		AND (c.relkind <> 'v' OR v.verb IN ('select', 'alter'))
	UNION ALL
	SELECT 6, 'sequence ' || n.nspname || '.' || c.relname, v.verb, format(v.statement, c.oid::regclass), v.n
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
		(VALUES (1, 'select', 'SELECT last_value FROM %s'), (2, 'nextval', 'SELECT nextval(''%s'')'), (3, 'setval', 'SELECT setval(''%s'', 1)'),
			(4, 'alter', 'ALTER SEQUENCE %s INCREMENT 2')) AS v (n, verb, statement)
	WHERE n.nspname IN ('todo_events', 'todo_events_internal') AND c.relkind = 'S'
	UNION ALL
	SELECT 7, 'type ' || n.nspname || '.' || t.typname, v.verb, format(v.statement, t.oid::regtype), v.n
	FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid,
		(VALUES (1, 'use', 'CREATE TEMP TABLE attempt (a %s)'), (2, 'alter', 'ALTER TYPE %s RENAME TO attempt')) AS v (n, verb, statement)
	-- but for those of rows, and arrays
	WHERE n.nspname IN ('todo_events', 'todo_events_internal') AND t.typelem = 0 AND (c.oid IS NULL OR c.relkind = 'c')
	UNION ALL
	SELECT 8, 'event trigger ' || t.evtname, 'alter', format('ALTER EVENT TRIGGER %I DISABLE', t.evtname), 1
	FROM pg_event_trigger t WHERE t.evtname LIKE 'todo\_events%'
) o
};

# Tries them as this session's user; a right that is not refused shows as its verb.
my $try = qq{
SET lock_timeout = '20s';
SET client_min_messages = error;
SET search_path = pg_catalog;
CREATE TEMP TABLE result (class int, name text, n int, verb text, state text);
DO \$\$
DECLARE
	tried record;
	its_state text;
BEGIN
	FOR tried IN SELECT v.*, row_number() OVER () AS n FROM ($attempts ORDER BY o.class, o.name COLLATE "C", o.n, o.statement COLLATE "C") v LOOP
		BEGIN
			EXECUTE tried.statement;
			RAISE EXCEPTION USING ERRCODE = 'RB000';
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS its_state = RETURNED_SQLSTATE;
		END;
		INSERT INTO result VALUES (tried.class, tried.name, tried.n, tried.verb, its_state);
	END LOOP;
END \$\$;
SELECT r.class || '|' || r.name || '|' || COALESCE(string_agg(DISTINCT r.verb, ' ') FILTER (WHERE r.state <> '42501'), '')
FROM result r GROUP BY r.class, r.name ORDER BY r.class, r.name COLLATE "C";
};

# name => verbs, in their order
my @order = qw(usage create call select insert update delete truncate trigger nextval setval use alter drop);
sub try_all
{
	my ($database, $role) = @_;
	my ($rc, $out, $err) = $node->psql($database, $try, on_error_stop => 1, extra_params => [ '-U', $role ]);
	is($rc, 0, "$role has tried everything in $database") or diag($err);
	my %result;
	for my $line (split /\n/, $out)
	{
		my ($class, $name, $verbs) = split /\|/, $line, 3;
		my %may = map { $_ => 1 } split / /, $verbs;
		$result{"$class $name"} = join(', ', grep { $may{$_} } @order) || '–';
	}
	return \%result;
}

my @roles = ('nobody', @levels, 'owner');
my %may = map { $_ => try_all('shop', $_) } @roles;
chomp(my $superuser = `id -un`);
$may{superuser} = try_all('shop', $superuser);
my @objects = sort { $a cmp $b } keys %{ $may{superuser} };
cmp_ok(scalar(@objects), '>', 60, 'there are objects');
ok(!(grep { $may{superuser}{$_} eq '–' } @objects), 'a superuser may do something with each') or diag(join "\n", grep { $may{superuser}{$_} eq '–' } @objects);

# ---- the published matrix ----

my $matrix = "| object | nobody | app | viewer | gateway | operator | owner |\n|---|---|---|---|---|---|---|\n";
for my $object (@objects)
{
	my ($kind, $name) = $object =~ /^\d+ (extension|schema|function|view|table|sequence|type|event trigger) (.*)$/;
	my $line = join(' | ', map { $may{$_}{$object} // 'unknown' } @roles);
	$matrix .= "| $kind `$name` | $line |\n";
}
my $file = "$TodoEvents::top/docs/privileges.md";
my $page = slurp_file($file);
my ($head, $published, $tail) = $page =~ /\A(.*<!-- matrix -->\n)(.*)(<!-- end -->.*)\z/s;
if ($ENV{TE_WRITE_PRIVILEGES})
{
	open(my $out, '>', $file) or die "$file: $!";
	print $out $head, $matrix, $tail;
	close $out;
	$published = $matrix;
}
my @published = split /\n/, $published;
my @found = split /\n/, $matrix;
my %published = map { $_ => 1 } @published;
my %found = map { $_ => 1 } @found;
diag("found, and not in docs/privileges.md: $_") for grep { !$published{$_} } @found;
diag("in docs/privileges.md, and not found: $_") for grep { !$found{$_} } @published;
is($published, $matrix, 'docs/privileges.md has a line for every object, with the rights that there are');

# ---- what must hold, whatever is published ----

my $content = qr/^(?:4 view todo_events\.(?:outbox|dead_letters)|3 function todo_events\.(?:read|redrive)\b.*)$/;
for my $role (qw(nobody app viewer))
{
	is(join(' ', grep { /$content/ && $may{$role}{$_} ne '–' } @objects), '', "$role sees no content of events");
}
is(join(' ', grep { /^[45] / && $may{gateway}{$_} ne '–' } @objects), '', 'gateway may touch no table and no view, dead letters neither');
is(join(' ', grep { /function/ && $may{gateway}{$_} ne '–' } @objects),
	'3 function todo_events.capture() 3 function todo_events.cursor() 3 function todo_events.health() 3 function todo_events.read(text, integer)', 'and reads the log');
is(join(' ', grep { /todo_events_internal/ && !/^[23] / && $may{owner}{$_} ne '–' } @objects), '', 'the owner may touch no internal table');
is(join(' ', grep { /secret/ && $may{owner}{$_} =~ /select/ } @objects), '', 'nor read a secret (G9)');
# a role that may read, or write, whatever there is: what is kept from it is kept by row security
$node->safe_psql('shop', q{CREATE ROLE reader LOGIN; GRANT pg_read_all_data, pg_write_all_data TO reader;
	INSERT INTO todo_events_internal.secret VALUES (1, 'sasl_password', 'Tr0ub4dor', now())});
$rights->allowed('members of pg_read_all_data see no secret (G9)', 'reader', 'SELECT count(*) FROM todo_events_internal.secret', '0');
$rights->refused('members of pg_read_all_data see no secret, row security off', 'reader', 'SET row_security = off; SELECT count(*) FROM todo_events_internal.secret');
$rights->refused('members of pg_write_all_data plant no secret', 'reader', q{INSERT INTO todo_events_internal.secret VALUES (2, 'sasl_password', 'x', now())});
is($node->safe_psql('shop', q{SELECT value FROM todo_events.settings WHERE name = 'sasl_password'}), '********', 'it is there');
is(join(' ', grep { !/extension/ && $may{owner}{$_} =~ /alter|trigger|truncate/ } @objects), '', 'nor change anything of the extension by hand');
is($node->safe_psql('shop', q{
	SELECT c.oid::regclass, a.grantee::regrole, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
	WHERE c.relnamespace IN ('todo_events'::regnamespace, 'todo_events_internal'::regnamespace)
		AND a.grantee <> c.relowner AND a.privilege_type IN ('TRIGGER', 'REFERENCES', 'TRUNCATE')}), '', 'triggers, foreign keys and TRUNCATE are given to nobody');

# an owner of a database in which a superuser made the extension has no rights
$node->safe_psql('other', 'CREATE EXTENSION todo_events');
is_deeply(try_all('other', 'owner'), $may{nobody}, "a database's owner who does not own the extension may do what anybody may");

$node->stop;
done_testing();
