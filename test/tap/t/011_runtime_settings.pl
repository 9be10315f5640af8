# Settings, secrets and rights, mostly as the plain owner of a database (G9, G12).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use TodoEvents ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('settings');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'todo_events'
wal_level = logical
log_statement = all
log_min_duration_statement = 0
log_error_verbosity = verbose
log_parameter_max_length_on_error = -1
});
$node->start;
$node->safe_psql('postgres', q{
CREATE ROLE plain LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE watcher LOGIN;
CREATE DATABASE shop OWNER plain;
});
my @plain = (extra_params => [ '-U', 'plain', '-v', 'VERBOSITY=verbose' ]);

sub as
{
	my ($role, $sql, $stdin) = @_;
	my ($rc, $out, $err) = $node->psql('shop', $sql, extra_params => [ '-U', $role, '-v', 'VERBOSITY=verbose' ]);
	return ($rc, $out, $err);
}

sub refused
{
	my ($what, $role, $sql, $state) = @_;
	my ($rc, $out, $err) = as($role, $sql);
	isnt($rc, 0, "refused: $what");
	like($err, qr/ERROR:  $state/, "SQLSTATE: $what");
	return $err;
}

sub allowed
{
	my ($what, $role, $sql, $expected) = @_;
	my ($rc, $out, $err) = as($role, $sql);
	is($err =~ s/^NOTICE.*//r, '', "allowed: $what");
	is($out, $expected, "result: $what") if defined $expected;
}

# ---- trusted installation by a plain owner, whatever his defaults ----

$node->safe_psql('shop', 'CREATE SCHEMA traps AUTHORIZATION plain');
allowed('CREATE EXTENSION', 'plain', q{SET search_path = traps; CREATE EXTENSION todo_events});
is($node->safe_psql('shop', q{
	SELECT count(*) FROM pg_class c WHERE c.relnamespace IN ('todo_events'::regnamespace, 'todo_events_internal'::regnamespace)
	AND c.relkind IN ('r', 'v') AND pg_get_userbyid(c.relowner) = 'plain'}), '0', 'the owner of the extension owns none of its tables');
is($node->safe_psql('shop', q{
	SELECT string_agg(pg_describe_object(classid, objid, objsubid), ', ') FROM pg_depend d
	WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'todo_events') AND deptype = 'e'
	AND obj_description(objid, classid::regclass::name) IS NULL
	AND classid NOT IN ('pg_type'::regclass)}), '', 'every object has a comment');
is($node->safe_psql('shop', q{
	SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p
	WHERE p.pronamespace IN ('todo_events'::regnamespace, 'todo_events_internal'::regnamespace)
	AND p.prorettype <> 'trigger'::regtype AND has_function_privilege('app', p.oid, 'EXECUTE')}), '', 'PUBLIC may execute nothing but trigger functions');
is($node->safe_psql('shop', q{
	SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c
	WHERE c.relnamespace IN ('todo_events'::regnamespace, 'todo_events_internal'::regnamespace)
	AND c.relkind IN ('r', 'v', 'p') AND has_table_privilege('app', c.oid, 'SELECT, INSERT, UPDATE, DELETE')}), '', 'PUBLIC may touch no table');

is($node->safe_psql('shop', q{
	SELECT string_agg(o.name, ', ') FROM (
		SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'todo_events'::regnamespace
			AND NOT has_function_privilege('plain', p.oid, 'EXECUTE')
		UNION
		SELECT c.oid::regclass::text FROM pg_class c WHERE c.relnamespace = 'todo_events'::regnamespace
			AND c.relkind IN ('r', 'v') AND NOT has_table_privilege('plain', c.oid, 'SELECT, INSERT')) AS o (name)}), '', 'the owner may use every function, view and table');

# ---- configure() ----

allowed('configure brokers', 'plain', q{SELECT todo_events.configure('brokers', 'kafka.example:9092, [2001:db8::1]:9093')}, '');
is($node->safe_psql('shop', q{SELECT value, source, class FROM todo_events.settings WHERE name = 'brokers'}),
	'kafka.example:9092, [2001:db8::1]:9093|row|database', 'the view shows the row');
allowed('remove a row', 'plain', q{SELECT todo_events.configure('brokers', NULL)});
is($node->safe_psql('shop', q{SELECT value, source FROM todo_events.settings WHERE name = 'brokers'}), '|default', 'default again');
allowed('direct insert', 'plain', q{INSERT INTO todo_events.setting_config (name, value) VALUES ('truncate_limit', '5')});
is($node->safe_psql('shop', q{SELECT value FROM todo_events.settings WHERE name = 'truncate_limit'}), '5', 'and it counts');
is($node->safe_psql('shop', q{BEGIN; SELECT todo_events.configure('truncate_limit', '6'); SELECT value FROM todo_events.settings WHERE name = 'truncate_limit'; ROLLBACK;
	SELECT value FROM todo_events.settings WHERE name = 'truncate_limit'}), "\n6\n5", 'seen inside the transaction, and not after its rollback');

refused('unknown setting', 'plain', q{SELECT todo_events.configure('nonsense', '1')}, '42704');
refused('null name', 'plain', q{SELECT todo_events.configure(NULL, '1')}, '22004');
for my $server (qw(log_retention log_full ca_file sasl_password_file tls allowed_networks io_program inject databases))
{
	refused("server setting $server in a row", 'plain', qq{SELECT todo_events.configure('$server', 'x')}, 'TE403');
}
refused('server setting by direct insert', 'plain', q{INSERT INTO todo_events.setting_config (name, value) VALUES ('io_program', '/bin/sh')}, 'TE403');
refused('server setting by update', 'plain', q{UPDATE todo_events.setting_config SET name = 'io_program'}, 'TE403');
refused('session setting', 'plain', q{SELECT todo_events.configure('idempotency_key', 'x')}, 'TE403');
like(refused('a secret as a setting', 'plain', q{SELECT todo_events.configure('sasl_password', 'x')}, 'TE403'),
	qr/secret_input/, 'points to secret_input');
for my $bad (['brokers', 'host:99999'], ['brokers', 'ho st'], ['brokers', 'file:///etc/passwd'], ['brokers', '-x:1'],
	['brokers', 'embedded, a:1'], ['brokers', 'a:1,embedded'],
	['coalesce', '5000'], ['coalesce', 'soon'], ['truncate_limit', '-1'], ['sasl_mechanism', 'GSSAPI'], ['source', ''],
	['source', 'with space'], ['sasl_username', "a\nb"])
{
	refused("$bad->[0] = $bad->[1]", 'plain', "SELECT todo_events.configure('$bad->[0]', E'$bad->[1]')", '22023');
}

# ---- kafka_options ----

for my $bad ('plugin.library.paths=/tmp/evil.so', 'sasl.kerberos.kinit.cmd=touch /tmp/x', 'sasl.oauthbearer.config=x',
	'sasl.oauthbearer.token.endpoint.url=http://127.0.0.1/', 'ssl.ca.location=/etc/passwd', 'ssl.key.location=/etc/shadow',
	'ssl.keystore.location=/x', 'ssl.engine.location=/tmp/evil.so', 'ssl.providers=legacy', 'ssl.crl.location=/etc/passwd',
	'sasl.password=x', 'sasl.username=x', 'bootstrap.servers=x', 'acks=0', 'enable.idempotence=false', 'debug=all',
	'message.timeout.ms=1', 'partitioner=random', 'security.protocol=plaintext', 'enable.ssl.certificate.verification=false',
	'linger.ms=abc', 'linger.ms=-1', 'batch.size=1.5', 'batch.size=99999999999', 'compression.type=lzma', 'socket.nagle.disable=maybe',
	'max.in.flight.requests.per.connection=2', 'max.in.flight=2', 'client.idx=a', 'linger.ms=5,plugin.library.paths=/tmp/evil.so', 'linger.ms="5', 'linger.ms', '=5', 'linger.ms=5 "x', 'LINGER.MS=5,PLUGIN.library.paths=x')
{
	refused("row kafka_options $bad", 'plain', "SELECT todo_events.configure('kafka_options', '$bad')", '22023');
}
allowed('harmless kafka_options', 'plain', q{SELECT todo_events.configure('kafka_options', 'linger.ms=0.5, compression.type=lz4, batch.size=65536, socket.keepalive.enable=true, client.id="a, \"b\""')});
for my $bad ('plugin.library.paths=/tmp/evil.so', 'sasl.kerberos.kinit.cmd=x', 'sasl.oauthbearer.config=x', 'ssl.engine.location=x', 'bootstrap.servers=x', 'acks=1', 'max.in.flight=2', 'ssl.key.password=x', 'linger.ms=abc')
{
	my ($rc, $out, $err) = $node->psql('shop', "SET todo_events.kafka_options = '$bad'");
	isnt($rc, 0, "GUC kafka_options $bad, as superuser");
}
is($node->psql('shop', q{SET todo_events.kafka_options = 'debug=broker, ssl.endpoint.identification.algorithm=none'}), 0, 'a superuser may more');

# ---- the server class belongs to superusers (G12) ----

for my $guc (qw(brokers kafka_options ca_file io_program inject log_full databases clock_offset))
{
	refused("SET todo_events.$guc", 'plain', "SET todo_events.$guc = 'x'", '42501');
	refused("ALTER DATABASE SET todo_events.$guc", 'plain', "ALTER DATABASE shop SET todo_events.$guc = ''", '42501');
}
refused('unknown todo_events.x', 'plain', q{SET todo_events.x = '1'}, '42602');
refused('traceparent', 'plain', q{SET todo_events.traceparent = '00-x'}, '22023');
allowed('traceparent', 'plain', q{SET todo_events.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'}, '');
$node->safe_psql('shop', q{ALTER DATABASE shop SET todo_events.source = 'from-database'});
is($node->safe_psql('shop', q{SELECT value, source FROM todo_events.settings WHERE name = 'source'}), 'from-database|database', 'ALTER DATABASE SET counts');

# credentials of the server are not sent where an owner points
$node->append_conf('postgresql.conf', "todo_events.sasl_password_file = '/secret/file'");
$node->reload;
allowed('brokers of the owner', 'plain', q{SELECT todo_events.configure('brokers', 'mine.example:9092')});
ok($node->poll_query_until('shop', q{SELECT EXISTS (SELECT FROM todo_events.health() WHERE component = 'settings' AND message ~ 'sasl_password_file')}),
	'health says that the file is not used');
allowed('no brokers', 'plain', q{SELECT todo_events.configure('brokers', NULL)});

# ---- secrets (G9) ----

$node->safe_psql('shop', q{SELECT pg_create_logical_replication_slot('watch', 'test_decoding')});
my $secret = 'Tr0ub4dor';
sub copy_secret
{
	my ($lines, $options) = @_;
	return as('plain', 'COPY todo_events.secret_input FROM STDIN ' . ($options // '') . ";\n$lines\n\\.\n");
}
my ($rc, $out, $err) = copy_secret("sasl_password=$secret");
is($rc, 0, 'COPY takes a secret') or diag $err;
is($node->safe_psql('shop', 'SELECT count(*) FROM todo_events.secret_input'), '0', 'secret_input stays empty');
is($node->safe_psql('shop', q{SELECT value, source FROM todo_events.settings WHERE name = 'sasl_password'}), '********|secret_input', 'the view redacts');
for my $line ("sasl_password=$secret\tmore", "password=$secret", $secret, "sasl_password=$secret\\", "sasl_password=" . $secret x 600, "sasl_password=$secret\xff\xfe")
{
	($rc, $out, $err) = copy_secret($line);
	isnt($rc, 0, 'a bad line is refused');
	unlike($err, qr/$secret/, 'and not quoted');
}
# a statement's text is seen by more than its author: COPY only, and the refused one is not logged with the error
my $stated = 'c0rrectH0rse';
my $logged = -s $node->logfile;
$node->safe_psql('postgres', q{ALTER ROLE plain SET log_statement = 'none'; ALTER ROLE plain SET log_min_duration_statement = -1});
for my $insert ("INSERT INTO todo_events.secret_input VALUES ('sasl_password=$stated')",
	"INSERT INTO todo_events.secret_input SELECT 'password=$stated'",
	"DO \$\$ BEGIN INSERT INTO todo_events.secret_input VALUES ('sasl_password=$stated'); END \$\$",
	"PREPARE p AS INSERT INTO todo_events.secret_input VALUES (\$1); EXECUTE p('sasl_password=$stated')")
{
	like(refused('INSERT of a secret', 'plain', $insert, '0A000'), qr/COPY todo_events\.secret_input FROM STDIN/, 'with the way to do it');
}
$node->safe_psql('postgres', q{ALTER ROLE plain RESET log_statement; ALTER ROLE plain RESET log_min_duration_statement});
is($node->safe_psql('shop', q{SELECT value FROM todo_events.settings WHERE name = 'sasl_password'}), '********', 'the secret given before stays');
my $refusals = slurp_file($node->logfile, $logged);
like($refusals, qr/secret_input takes COPY only/, 'the log has the error');
unlike($refusals, qr/$stated/, 'and not the secret');
unlike($refusals, qr/INSERT INTO todo_events\.secret_input/, 'nor the statement');
unlike($node->safe_psql('shop', q{SELECT string_agg(data, ' ') FROM pg_logical_slot_get_changes('watch', NULL, NULL)}), qr/$secret/,
	'logical decoding does not show it');
# the client's own COPY data is in no log either
my $log = slurp_file($node->logfile);
unlike($log, qr/$secret/, 'nor does the server log');
for my $table (qw(todo_events_internal.secret todo_events.secret_input))
{
	refused("SELECT from $table", 'plain', "SELECT * FROM $table", '42501');
}
refused('calling the trigger function', 'plain', 'SELECT todo_events_internal.secret_input_row()', '42501');

# ---- levels of access ----

refused('health() without a level', 'watcher', 'SELECT * FROM todo_events.health()', '42501');
allowed('grant viewer', 'plain', q{SELECT todo_events.grant_access('watcher', 'viewer')});
allowed('grant app', 'plain', q{SELECT todo_events.grant_access('app', 'app')});
refused('unknown level', 'plain', q{SELECT todo_events.grant_access('app', 'king')}, '22023');
refused('granting by who got a level', 'watcher', q{SELECT todo_events.grant_access('watcher', 'operator')}, '42501');
for my $object ('health()', 'metrics()', 'workers', 'settings', 'lag', 'topics')
{
	allowed("viewer reads $object", 'watcher', "SELECT count(*) >= 0 FROM todo_events.$object", 't');
	allowed("operator reads $object", 'plain', "SELECT count(*) >= 0 FROM todo_events.$object", 't');
	refused("app reads $object", 'app', "SELECT * FROM todo_events.$object", '42501');
}
for my $object ('outbox', 'dead_letters', 'setting_config', 'read(NULL)')
{
	refused("viewer reads $object", 'watcher', "SELECT * FROM todo_events.$object", '42501');
	refused("app reads $object", 'app', "SELECT * FROM todo_events.$object", '42501');
}
refused('viewer configures', 'watcher', q{SELECT todo_events.configure('source', 'x')}, '42501');
allowed('app publishes', 'app', q{SELECT todo_events.publish('task-events', 'com.example.thing', '{}') IS NOT NULL});
allowed('app takes a cursor', 'app', q{SELECT todo_events.cursor() IS NOT NULL}, 't');
refused('app publishes no reserved type', 'app', q{SELECT todo_events.publish('task-events', 'com.todo.task.created', '{}')}, '\w{5}');
allowed('revoke', 'plain', q{SELECT todo_events.revoke_access('watcher')});
refused('health() after revoke_access', 'watcher', 'SELECT * FROM todo_events.health()', '42501');

# ---- dump and restore by the owner ----

my $dump = "$PostgreSQL::Test::Utils::tmp_check/shop.sql";
command_ok([ 'pg_dump', '-h', $node->host, '-p', $node->port, '-U', 'plain', '-f', $dump, 'shop' ], 'the owner can dump');
my $text = slurp_file($dump);
unlike($text, qr/$secret/, 'the dump has no secret');
like($text, qr/truncate_limit\t5/, 'but the settings');
$node->safe_psql('postgres', 'CREATE DATABASE copy OWNER plain');
command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-q', '-h', $node->host, '-p', $node->port, '-U', 'plain', '-f', $dump, 'copy' ], 'the owner can restore');
is($node->safe_psql('copy', q{SELECT value FROM todo_events.settings WHERE name = 'truncate_limit'}), '5', 'the setting is there');

$node->stop;
done_testing();
