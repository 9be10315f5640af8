# Attacks by the owner of a database, and by roles with less (G12): objects
# planted before and after CREATE EXTENSION in every place where names are looked
# up, triggers made by hand, forged rows, and calls with what nobody expects.
# What is planted says so in the log if it runs with anybody else's rights.
use strict;
use warnings;
use TodoEvents;
use TodoEvents::Rights;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('attacks', brokers => '', extension => 0, conf => "log_min_messages = warning\n");
my $begin = -s $node->logfile;
chomp(my $superuser = `id -un`);
$node->safe_psql('postgres', q{CREATE ROLE mallory LOGIN; CREATE ROLE alice LOGIN});
$node->safe_psql('postgres', q{CREATE DATABASE shop OWNER mallory});
my $rights = TodoEvents::Rights->new($node, 'shop');

sub not_trapped
{
	my ($what) = @_;
	unlike(log_since($node, $begin), qr/trapped/, "nothing that was planted ran: $what");
}

# as a superuser, what is planted first in every path
sub as_superuser
{
	my ($what, $sql) = @_;
	my ($rc, $out, $err) = $node->psql('shop', "SET search_path = evil, public, pg_catalog; $sql", on_error_stop => 1);
	is($rc, 0, "a superuser: $what") or diag($err);
	return $out;
}

# ---- planted before: schemas of these names ----

$rights->allowed('traps', 'mallory', q{
CREATE FUNCTION public.trap() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'mallory' THEN
		RAISE WARNING 'trapped %', current_user;
	END IF;
	RETURN 'x';
END $$;
CREATE FUNCTION public.trigger_trap() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.trap(); RETURN NEW; END';
GRANT CREATE ON SCHEMA public TO PUBLIC;
});
for my $schema (qw(todo_events todo_events_internal))
{
	$rights->allowed("a schema $schema", 'mallory', qq{CREATE SCHEMA $schema;
		CREATE FUNCTION $schema.register() RETURNS void LANGUAGE sql AS 'SELECT public.trap()';
		CREATE FUNCTION $schema.grant_access(regrole, text) RETURNS void LANGUAGE sql AS 'SELECT public.trap()'});
	my ($rc, $out, $err) = $node->psql('shop', 'CREATE EXTENSION todo_events');
	like($err, qr/schema "$schema" already exists/, "CREATE EXTENSION refuses to use another's schema $schema");
	not_trapped("CREATE EXTENSION with a schema $schema");
	$rights->allowed('it goes', 'mallory', "DROP SCHEMA $schema CASCADE");
}

# ---- planted before: whatever the script names ----

# functions, operators, types and casts that are a better match than pg_catalog's, or come first
my @functions = map { my $f = $_; map { "CREATE FUNCTION evil.$f->[0]($f->[1]) RETURNS $f->[2] LANGUAGE sql AS 'SELECT public.trap()::$f->[2]'" } 1 } (
	[ 'format', 'text, text', 'text' ], [ 'format', 'text, name', 'text' ], [ 'format', 'text, name, name, integer', 'text' ],
	[ 'format', 'text, text, regrole', 'text' ], [ 'format', 'text, text, text, regrole', 'text' ], [ 'now', '', 'text' ], [ 'clock_timestamp', '', 'text' ],
	[ 'setval', 'text, integer', 'text' ], [ 'nextval', 'text', 'text' ], [ 'gen_random_uuid', '', 'text' ], [ 'current_setting', 'text', 'text' ],
	[ 'set_config', 'text, text, boolean', 'text' ], [ 'pg_extension_config_dump', 'text, text', 'text' ], [ 'length', 'text', 'text' ],
	[ 'octet_length', 'text', 'text' ], [ 'strpos', 'text, text', 'text' ], [ 'make_interval', 'numeric', 'text' ], [ 'max', 'timestamptz', 'text' ]);
my @operators = map {
	my ($op, $left, $right) = @$_;
	my $f = 'op_' . ++$a;
	("CREATE FUNCTION evil.$f($left, $right) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap() IS NULL'",
		"CREATE OPERATOR evil.$op (LEFTARG = $left, RIGHTARG = $right, FUNCTION = evil.$f)");
} ([ '=', 'text', 'text' ], [ '=', 'name', 'text' ], [ '=', 'oid', 'regrole' ], [ '=', 'oid', 'oid' ], [ '<>', 'text', 'text' ], [ '||', 'text', 'text' ],
	[ '||', 'text', 'integer' ], [ '||', 'text', 'regclass' ], [ '||', 'text', 'regprocedure' ], [ '~', 'text', 'text' ], [ '!~', 'text', 'text' ],
	[ '->>', 'json', 'text' ], [ '=', 'oid', 'regnamespace' ], [ '=', '"char"', 'text' ], [ '=', 'regtype', 'regtype' ], [ '+', 'integer', 'integer' ],
	[ '/', 'bigint', 'numeric' ], [ '-', 'timestamptz', 'timestamptz' ]);
my @types = map { "CREATE DOMAIN evil.$_ AS pg_catalog.$_ CHECK (public.trap() IS NOT NULL)" } qw(text uuid json timestamptz int4 int8 bool regrole regclass name);
$rights->allowed('planted in a schema that comes first', 'mallory', join(";\n", 'CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC', @functions, @operators, @types));
my $temp = join(";\n", map { s/evil\./pg_temp./gr } @types);

as_superuser('CREATE EXTENSION', "$temp; CREATE EXTENSION todo_events");
not_trapped('the script by a superuser');
as_superuser('DROP EXTENSION', 'DROP EXTENSION todo_events');
as_superuser('CREATE EXTENSION ... SCHEMA', 'CREATE EXTENSION todo_events SCHEMA evil');
as_superuser('DROP EXTENSION', 'DROP EXTENSION todo_events');
$rights->allowed('CREATE EXTENSION by the owner himself', 'mallory', "SET search_path = evil, public, pg_catalog; $temp; CREATE EXTENSION todo_events");
not_trapped('the script by the owner');
is($node->safe_psql('shop', q{
	SELECT count(*) FROM pg_depend d JOIN pg_depend e ON e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e'
	JOIN pg_extension x ON x.oid = e.refobjid AND x.extname = 'todo_events'
	WHERE (d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'evil'::regnamespace))
		OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT oid FROM pg_type WHERE typnamespace = 'evil'::regnamespace))
		OR (d.refclassid = 'pg_operator'::regclass AND d.refobjid IN (SELECT oid FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace))}),
	'0', 'nothing of the extension is made of what was planted');

# ---- used by a superuser who has the traps first in his path ----

$node->safe_psql('shop', q{CREATE TABLE alices (id int PRIMARY KEY, name text, done boolean, seq bigint); ALTER TABLE alices OWNER TO alice});
for my $call (q{SELECT FROM todo_events.health()}, q{SELECT FROM todo_events.metrics()}, (map { "SELECT FROM todo_events.$_" } qw(workers settings lag topics attachments outbox dead_letters)),
	q{SELECT todo_events.configure('source', 'shop'), todo_events.configure('source', NULL)}, q{SELECT todo_events.create_topic('t1')}, q{SELECT todo_events.create_tasks('public.tasks')},
	q{SELECT todo_events.attach('public.alices', key => 'id', completed => 'done', sequence => 'seq', backfill => 'snapshot')},
	q{INSERT INTO public.tasks (user_id, title) SELECT pg_catalog.gen_random_uuid(), 'milk' FROM pg_catalog.generate_series(1, 2)}, q{UPDATE public.tasks SET status = 'completed'},
	q{DELETE FROM public.tasks}, q{INSERT INTO public.alices VALUES (1, 'milk', false)}, q{UPDATE public.alices SET id = 2}, q{TRUNCATE public.alices},
	q{SELECT todo_events.publish('t1', 'com.example.thing', '{}'::pg_catalog.text), todo_events.publish('t1', 'com.example.thing', '{}'::pg_catalog.json), todo_events.publish('t1', 'com.example.thing', '{}'::pg_catalog.jsonb)},
	q{SELECT todo_events.cursor()}, q{SELECT FROM todo_events.read(NULL)}, q{SELECT event, type, key FROM todo_events.outbox}, q{SELECT todo_events.redrive(NULL::pg_catalog.text)},
	q{SELECT todo_events.purge_dead_letters('infinity')}, q{UPDATE todo_events.topic_config SET partitions = 4}, q{UPDATE todo_events.topic_config SET topic = 't2' WHERE key_by OPERATOR(pg_catalog.=) 'user'},
	q{INSERT INTO todo_events.route_config VALUES ('com.*', 't1')}, q{DELETE FROM todo_events.route_config WHERE is_default}, q{DELETE FROM todo_events.topic_config WHERE topic OPERATOR(pg_catalog.=) 't1'},
	q{INSERT INTO todo_events.default_removed VALUES ('topic', 'reminders')}, q{SELECT todo_events.maintain()},
	q{SELECT todo_events.grant_access('alice', 'operator'), todo_events.revoke_access('alice')}, q{SELECT todo_events.detach('public.alices')}, q{SELECT todo_events.detach_all()},
	q{CREATE TABLE public.p (id int) PARTITION BY LIST (id); CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1)}, q{ALTER EXTENSION todo_events UPDATE})
{
	as_superuser($call, "$temp; $call");
}
not_trapped('everything used by a superuser');

# ---- a superuser attaches a table of the attacker's ----

$rights->allowed('a table with code of its owner', 'mallory', q{
CREATE DOMAIN public.checked AS text CHECK (public.trap() IS NOT NULL);
CREATE TYPE public.pair AS (a int, b public.checked);
CREATE TYPE public.shown AS ENUM ('a');
CREATE FUNCTION public.to_json(public.shown) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM public.trap(); RETURN '1'; END $$;
CREATE CAST (public.shown AS json) WITH FUNCTION public.to_json(public.shown);
CREATE FUNCTION public.index_trap(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM public.trap(); RETURN $1; END $$;
CREATE TABLE public.mallorys (id int PRIMARY KEY, state public.checked, pair public.pair, shown public.shown, seq bigint,
	made text GENERATED ALWAYS AS (public.index_trap('x')) STORED);
CREATE INDEX ON public.mallorys (public.index_trap(state));
INSERT INTO public.mallorys SELECT i, 'new', ROW(i, 'x'::checked)::pair, 'a' FROM generate_series(1, 3) i;
ALTER TABLE public.mallorys ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON public.mallorys USING (public.trap() IS NOT NULL);
});
as_superuser('attach', q{SELECT todo_events.attach('public.mallorys', key => 'id', completed => 'state=done', sequence => 'seq', backfill => 'snapshot')});
is($node->safe_psql('shop', q{SELECT count(*) FROM todo_events.outbox WHERE event->'data'->'payload'->'after' ? 'shown'} =~ s/event->'data'/event::jsonb->'data'/r), '3', 'each row is an event');
as_superuser('look', q{SELECT FROM todo_events.attachments; SELECT FROM todo_events.health(); SELECT event FROM todo_events.outbox; SELECT FROM todo_events.read(NULL)});
as_superuser('detach', q{SELECT todo_events.detach('public.mallorys')});
not_trapped('attaching and reading by a superuser');

# ---- triggers made by hand ----

as_superuser('a table of alice', q{SELECT todo_events.attach('public.alices', key => 'id', name => 'alices')});
my $number = $node->safe_psql('shop', q{SELECT number FROM todo_events.attachments WHERE name = 'alices'});
my $events = q{SELECT count(*) FROM todo_events.outbox WHERE key ~ '^(alices/)?9'};
for my $trap (
	[ 'another attachment\'s number', qq{CREATE TRIGGER todo_events_columns AFTER UPDATE OF id ON forged FOR EACH ROW WHEN (false) EXECUTE FUNCTION todo_events.capture('$number', 'key=0');
		CREATE TRIGGER "!todo_events_capture" AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION todo_events.capture('$number')}, 'TE422' ],
	[ 'any other name', "CREATE TRIGGER a AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION todo_events.capture('$number')", 'TE422' ],
	[ 'no argument', q{CREATE TRIGGER "!todo_events_capture" AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION todo_events.capture()}, 'TE422' ],
	[ 'not a number', q{CREATE TRIGGER "!todo_events_capture" AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION todo_events.capture('x')}, 'TE422' ],
	[ 'a number too large', q{CREATE TRIGGER "!todo_events_capture" AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION todo_events.capture('99999999999')}, 'TE422' ],
	[ 'sequence alone', "CREATE TRIGGER zzzz_todo_events_sequence BEFORE INSERT ON forged FOR EACH ROW EXECUTE FUNCTION todo_events.capture('$number')", 'TE422' ],
	[ 'a deferred one', qq{CREATE CONSTRAINT TRIGGER "!todo_events_capture" AFTER INSERT ON forged INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION todo_events.capture('$number')}, 'TE422' ],
	[ 'TRUNCATE\'s for INSERT', "CREATE TRIGGER todo_events_truncate AFTER INSERT ON forged EXECUTE FUNCTION todo_events.capture('$number')", 'TE422' ])
{
	my ($what, $sql, $state) = @$trap;
	$rights->refused("a trigger by hand: $what", 'mallory', "CREATE TABLE forged (id int PRIMARY KEY); $sql; INSERT INTO forged VALUES (99)", $state);
	$node->safe_psql('shop', 'DROP TABLE IF EXISTS forged');
}
# on what is no table, and on an attached table of one's own with the wrong columns, kinds and events
$rights->refused('a view', 'mallory', "CREATE VIEW forged_view AS SELECT 1 AS id; CREATE TRIGGER zzzz_todo_events_sequence INSTEAD OF INSERT ON forged_view FOR EACH ROW EXECUTE FUNCTION todo_events.capture('$number'); INSERT INTO forged_view VALUES (9)", 'TE422');
$rights->allowed('a table of his own', 'mallory', q{CREATE TABLE own (id int PRIMARY KEY, name text, done numeric, seq text); SELECT todo_events.attach('own', key => 'id'); INSERT INTO own VALUES (1, 'x', 1, 'y')});
my $own = $node->safe_psql('shop', q{SELECT number FROM todo_events.attachments WHERE name = 'own'});
for my $columns (q{'sequence=0'}, q{'key=0', 'sequence=1'}, q{'key=0', 'updated_at=1', 'standard'}, q{'key=0', 'completed_at=1'}, q{'key=0', 'completed=2', 'done=bool'},
	q{'key=0', 'completed=2', 'done=value:x'}, q{'key=0', 'completed=1', 'done=value:'}, q{'key=7'}, q{'key=-1'}, q{'key=x'}, q{'key='}, q{'='}, q{'exclude=0'}, q{'key=0', 'exclude=0', 'exclude=1', 'exclude=2', 'exclude=3'},
	q{'key=0', 'standard'}, q{'key=2', 'user_key=3'}, q{'key=0', 'completed=0', 'done=not_null', 'sequence=0'}, q{''}, q{'key=0key=1'})
{
	my ($rc, $out, $err) = $node->psql('shop', qq{\\set ON_ERROR_ROLLBACK 1\nBEGIN; DROP TRIGGER todo_events_columns ON own;
		CREATE TRIGGER todo_events_columns AFTER UPDATE OF id, name, done, seq ON own FOR EACH ROW WHEN (false) EXECUTE FUNCTION todo_events.capture('$own', $columns);
		CREATE TRIGGER zzzz_todo_events_sequence BEFORE INSERT OR UPDATE ON own FOR EACH ROW EXECUTE FUNCTION todo_events.capture('$own');
		SELECT count(*) FROM todo_events.attachments; INSERT INTO own VALUES (2, 'a', 2, 'b'); UPDATE own SET id = id + 10, name = NULL, done = NULL; DELETE FROM own; TRUNCATE own; ROLLBACK}, on_error_stop => 0, extra_params => [ '-U', 'mallory', '-v', 'VERBOSITY=verbose' ]);
	unlike($err, qr/server closed|connection to server|internal error|XX000/, "columns by hand: $columns");
}
for my $statement ('UPDATE', 'DELETE')
{
	$rights->refused("TRUNCATE's trigger for $statement", 'mallory', "DROP TRIGGER todo_events_truncate ON own; CREATE TRIGGER todo_events_truncate BEFORE $statement ON own EXECUTE FUNCTION todo_events.capture('$own'); " . ($statement eq 'UPDATE' ? "UPDATE own SET name = 'z'" : 'DELETE FROM own'), 'TE422');
	$node->safe_psql('shop', "DROP TRIGGER todo_events_truncate ON own; CREATE TRIGGER todo_events_truncate BEFORE TRUNCATE ON own EXECUTE FUNCTION todo_events.capture('$own')");
}
is($node->safe_psql('shop', $events), '0', 'no event was forged under the number of another table');

# ---- rows that a dump could have: the owner of the extension can write them ----

my $row = "INSERT INTO todo_events.attachment_config VALUES (%s, '%s'::regclass, '%s', '%s', false, %s, now(), NULL)";
for my $forged ([ 'a reserved prefix', 90, 'own', 'a', 'com.todo.reminder', 0 ], [ 'a prefix with quotes', 91, 'own', 'a', 'a"b', 0 ], [ 'a long prefix', 92, 'own', 'a', 'a' x 101, 0 ],
	[ 'a name with a slash', 93, 'own', 'a/b', 'a.b', 0 ], [ 'an empty name', 94, 'own', '', 'a.b', 0 ], [ 'a negative number', -1, 'own', 'a', 'a.b', 0 ], [ 'zero', 0, 'own', 'a', 'a.b', 0 ],
	[ 'a negative start', 95, 'own', 'a', 'a.b', -5 ])
{
	my ($what, @values) = @$forged;
	$rights->refused("a row of attachment_config: $what", 'mallory', sprintf($row, @values), '23514');
}
# of tables of others, catalogs, views: nothing comes of it, and nothing breaks
my $n = 100;
for my $relation (qw(public.alices pg_catalog.pg_authid pg_catalog.pg_class todo_events.outbox todo_events_internal.log_id todo_events_internal.log pg_catalog.pg_class_oid_index public.p1))
{
	$rights->allowed("a row for $relation", 'mallory', sprintf($row, $n++, $relation, "r$n", 'a.b', 0));
}
$rights->allowed('a row for nothing', 'mallory', "INSERT INTO todo_events.attachment_config VALUES (99, '0'::regclass, 'none', 'a.b', true, 9223372036854775807, 'infinity', NULL)");
as_superuser('look', q{SELECT FROM todo_events.attachments; SELECT FROM todo_events.health(); SELECT FROM todo_events.metrics(); INSERT INTO public.alices VALUES (7, 'x', true); SELECT event FROM todo_events.outbox});
is($node->safe_psql('shop', q{SELECT count(*) FROM todo_events.outbox WHERE key IN ('7', 'alices/7')}), '1', "another's table goes on under its own number");
$rights->refused('attaching a table of another', 'mallory', q{SELECT todo_events.attach('public.alices', name => 'mine')});
$rights->refused('detaching a table of another', 'mallory', q{SELECT todo_events.detach('public.alices')});
$rights->refused('detaching all, another\'s among them', 'mallory', q{SELECT todo_events.detach_all()});
$rights->refused('a null setting', 'mallory', q{INSERT INTO todo_events.setting_config (name, value) VALUES (NULL, 'x')}, '23502');
$rights->refused('a null value', 'mallory', q{INSERT INTO todo_events.setting_config (name, value) VALUES ('source', NULL)}, '23502');

# ---- hooks into the extension's tables ----

my %hook = (
	trigger => 'CREATE TRIGGER t BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION public.trigger_trap()',
	rule => 'CREATE RULE r AS ON INSERT TO %s DO ALSO SELECT public.trap()',
	'foreign key' => 'CREATE TABLE public.refers (c text REFERENCES %s)',
	child => 'CREATE TABLE public.child () INHERITS (%s)', 'index' => 'CREATE INDEX ON %s ((public.index_trap(\'x\')))',
	policy => 'CREATE POLICY p ON %s USING (public.trap() IS NOT NULL)', statistics => 'CREATE STATISTICS public.s ON (public.index_trap(\'x\')), (1) FROM %s',
	'default' => 'ALTER TABLE %s ALTER COLUMN 1 SET DEFAULT public.trap()', 'security label' => 'ALTER TABLE %s ENABLE ROW LEVEL SECURITY');
for my $table (qw(todo_events.topic_config todo_events.setting_config todo_events.secret_input))
{
	for my $kind (sort keys %hook)
	{
		next if $kind eq 'default';
		$rights->refused("$kind on $table", 'mallory', sprintf($hook{$kind}, $table), '42501|42809|42P16|42830|42704');
	}
}
$rights->refused('a partition of the log', 'mallory', 'CREATE TABLE public.part PARTITION OF todo_events_internal.log FOR VALUES IN (77)');
$rights->refused('a partition attached to the log', 'mallory', 'CREATE TABLE public.part (id int); ALTER TABLE todo_events_internal.log ATTACH PARTITION public.part FOR VALUES IN (77)');
$rights->refused('an operator class', 'mallory', 'CREATE OPERATOR CLASS public.o FOR TYPE text USING btree AS FUNCTION 1 public.index_trap(text)', '42501|42P13|42P17');

# ---- settings ----

for my $statement ("ALTER SYSTEM SET todo_events.brokers = 'x:1'", "ALTER DATABASE shop SET todo_events.io_program = '/bin/sh'", "ALTER ROLE mallory SET todo_events.allowed_networks = '0.0.0.0/0'",
	"ALTER ROLE mallory IN DATABASE shop SET todo_events.inject = 'x=kill'", "SET LOCAL todo_events.clock_offset = 5", "SET todo_events.log_full = 'drop_oldest'",
	q{SELECT set_config('todo_events.ca_file', '/etc/passwd', false)}, q{UPDATE pg_settings SET setting = '/etc/passwd' WHERE name = 'todo_events.ca_file'},
	q{CREATE FUNCTION public.sets() RETURNS void LANGUAGE sql SET todo_events.tls = 'off' AS 'SELECT 1'}, q{GRANT SET ON PARAMETER todo_events.brokers TO mallory})
{
	$rights->refused($statement, 'mallory', $statement);
}
# where the library is not loaded yet, a placeholder does not survive its loading
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
$bare->safe_psql('postgres', 'CREATE ROLE mallory LOGIN; CREATE DATABASE shop OWNER mallory');
my $elsewhere = TodoEvents::Rights->new($bare, 'shop');
$elsewhere->allowed('CREATE EXTENSION without preload', 'mallory', 'CREATE EXTENSION todo_events');
$elsewhere->refused('ALTER DATABASE before the library is loaded', 'mallory', q{ALTER DATABASE shop SET todo_events.io_program = '/bin/sh'});
like($elsewhere->allowed('SET before the library is loaded', 'mallory', q{SET todo_events.io_program = '/bin/sh'; SET todo_events.brokers = 'x:1'; SELECT todo_events.cursor() IS NOT NULL; SHOW todo_events.io_program; SHOW todo_events.brokers}),
	qr/\At\n*\z/, 'does not survive it');
$bare->stop;

# ---- odd calls ----

my ($rc, $out, $err) = $node->psql('shop', q{SELECT format('%s.%s(%s)', n.nspname, p.proname, (SELECT string_agg(format_type(t, NULL), ',') FROM unnest(p.proargtypes) t))
	FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('todo_events', 'todo_events_internal') ORDER BY 1});
my %odd = (text => [ q{''}, q{'x'}, q{repeat('x', 100000)}, q{E'\\x01'}, q{'te1.1.0.9223372036854775807'}, q{'te1.-1.zzzzzzzz.-5'}, q{'te1.1.00000000.1-9223372036854775807,0-0'}, q{'todo_events.outbox'}, q{'"'} ],
	integer => [ '0', '-1', '2147483647', '-2147483648' ], bigint => [ '0', '-1', '9223372036854775807', '-9223372036854775808' ],
	boolean => ['true'], interval => [ q{'-1 s'}, q{'1 ms'}, q{'-178000000 years'} ], 'timestamp with time zone' => [ q{'infinity'}, q{'-infinity'}, q{'4713-01-01 BC'} ],
	json => [ q{'1'}, q{'"\\u0000"'} ], jsonb => [ q{'null'}, q{'[]'} ], 'text[]' => [ q{'{}'}, q{'{NULL}'}, q{'{{a},{b}}'}, q{'[5:6]={a,b}'} ],
	regclass => [ '0', '4000000000', q{'pg_class'}, q{'pg_class_oid_index'}, q{'todo_events.outbox'}, q{'pg_toast.pg_toast_1255'}, q{'todo_events_internal.log'}, q{'todo_events.attachment_number'} ],
	regrole => [ '0', '4000000000' ],
	'todo_events_internal.log' => [ 'ROW(NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL)',
		(map { "ROW(1,'infinity',-5,0,0,$_,NULL,NULL,repeat('k', 10),repeat('\"', 1000),%s,%s,0)" } (-1, 0, 1, 6, 7, 100, 101, 32767)) ]);
my $calls = 0;
my $script = "SET statement_timeout = '5s';\nSET lock_timeout = '2s';\n";
for my $function (split /\n/, $out)
{
	my ($name, $args) = $function =~ /^([^(]+)\((.*)\)$/;
	my @args = split /,/, $args;
	my @lists = ([]);
	for my $type (@args)
	{
		my @values = @{ $odd{$type} // [] };
		@values = map { my $v = $_; $v =~ /%s/ ? map { sprintf($v, @$_) } ([ 'NULL', 'NULL' ], [ q{'[]'}, q{'"'||''} ], [ q{'{"type":1,"id":"x","topic":null}'}, q{'{}'} ], [ q{'{"type":"\\\\u00e9\\"","traceparent":{}}'}, q{'1'} ]) : $v } @values;
		# each value once, with nulls or first values beside it
		my $i = 0;
		@lists = map { my $l = $_; map { [ @$l, "$_\::$type" ] } ($i++ < 12 ? ('NULL', @values) : ('NULL')) } @lists;
	}
	for my $list (@lists[ 0 .. ($#lists > 60 ? 60 : $#lists) ])
	{
		$script .= "BEGIN; SELECT $name(" . join(', ', @$list) . "); ROLLBACK;\n";
		$calls++;
	}
}
cmp_ok($calls, '>', 200, "$calls calls");
my $file = $node->basedir . '/odd.sql';
append_to_file($file, $script);
my $odd = IPC::Run::run([ 'psql', '-XAtq', '-h', $node->host, '-p', $node->port, '-d', 'shop', '-f', $file ], '>', \$out, '2>', \$err);
like($err, qr/ERROR/, 'many of them are errors');
unlike($err, qr/server closed|connection to server/, 'and none ends the server');
is(join("\n", grep { /XX000|cache lookup|unexpected/ } split /\n/, $err), '', 'nor is an internal one');
unlike(log_since($node, $begin), qr/terminated by signal|PANIC/, 'no process has crashed');

# rows of the log that nobody of ours wrote: who may write all data can
$node->safe_psql('shop', q{
INSERT INTO todo_events_internal.log (id, time, origin, attachment, type, segment)
	SELECT 1000000 + i, CASE i % 3 WHEN 0 THEN timestamptz 'infinity' WHEN 1 THEN '-infinity' ELSE now() END, 0, 0, (ARRAY[-1, 0, 1, 6, 7, 100, 101, 32767])[i], 0 FROM generate_series(1, 8) i;
INSERT INTO todo_events_internal.log (id, time, origin, attachment, type, extra, payload, segment)
	SELECT 1000100 + i, now(), 0, 0, t, e::json, '"x"', 0 FROM unnest('{1,100,101}'::int[]) t, unnest(ARRAY['{}', '[]', '{"id":"x"}', '{"type":null,"topic":7}', '""']) WITH ORDINALITY AS e (e, i)});
($rc, $out, $err) = $node->psql('shop', q{SELECT count(event::text || type) FROM todo_events.outbox WHERE id > 1000000; SELECT count(*) FROM todo_events.read(NULL); SELECT count(*) FROM todo_events.lag}, on_error_stop => 0);
unlike($err, qr/server closed|connection to server/, 'odd rows of the log end no server');
# the engine's publisher reads them as well: it has a broker now, which is not there
$node->safe_psql('postgres', q{ALTER DATABASE shop SET todo_events.brokers = '127.0.0.1:1'});
wait_for_sql($node, 'a publisher has begun', q{SELECT EXISTS (SELECT FROM todo_events.workers WHERE database = 'shop' AND role = 'publisher' AND (state = 'running' OR errors > 0))}, undef, 'shop');
my $last = q{SELECT COALESCE(max(number), 0) FROM todo_events_internal.cursor WHERE reader = 'log'};
my $before = $node->safe_psql('shop', $last);
$rights->allowed('another event', 'mallory', q{SELECT todo_events.publish('task-events', 'com.example.thing', '{}') IS NOT NULL}, 't');
wait_for_sql($node, 'the engine follows the log', "SELECT ($last) > $before", undef, 'shop');
unlike(log_since($node, $begin), qr/terminated by signal|PANIC/, 'nor any process');

$node->stop;
done_testing();
