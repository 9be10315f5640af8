# Installing, giving rights and moving by roles that are no superusers (G11, G12):
# a plain owner of a database, and a member of a role as clouds have it instead of
# a superuser.
use strict;
use warnings;
use TodoEvents;
use TodoEvents::Rights;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('owner', brokers => '', extension => 0);
chomp(my $superuser = `id -un`);
$node->safe_psql('postgres', q{
CREATE ROLE cloud_superuser CREATEDB CREATEROLE REPLICATION BYPASSRLS NOLOGIN;
GRANT pg_read_all_data, pg_write_all_data, pg_monitor TO cloud_superuser;
CREATE ROLE tenant LOGIN CREATEDB CREATEROLE IN ROLE cloud_superuser;
CREATE ROLE plain LOGIN;
CREATE ROLE plain2 LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE viewer LOGIN;
CREATE ROLE worker LOGIN;
CREATE ROLE "o'dd ""role"" $1; --" LOGIN;
CREATE DATABASE shop OWNER plain;
CREATE DATABASE odd OWNER "o'dd ""role"" $1; --";
});
my $shop = TodoEvents::Rights->new($node, 'shop');

# ---- installed by who owns no more than the database ----

$node->safe_psql('postgres', 'CREATE DATABASE rented OWNER tenant');
for my $case ([ 'shop', 'plain' ], [ 'rented', 'tenant' ], [ 'odd', q{o'dd "role" $1; --} ])
{
	my ($database, $owner) = @$case;
	my $in = TodoEvents::Rights->new($node, $database);

	$in->allowed("CREATE EXTENSION in $database", $owner, 'CREATE EXTENSION todo_events', '');
	$in->allowed('ALTER EXTENSION', $owner, 'ALTER EXTENSION todo_events UPDATE', '');
	$in->refused('CREATE EXTENSION again', $owner, 'CREATE EXTENSION todo_events', '42710');
	$in->allowed('CREATE EXTENSION IF NOT EXISTS', $owner, 'CREATE EXTENSION IF NOT EXISTS todo_events', '');
	$in->allowed('tasks', $owner, q{SELECT todo_events.create_tasks('public.tasks'); INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'milk')});
	$in->allowed('the event', $owner, q{SELECT type FROM todo_events.outbox}, 'com.todo.task.created');
	$in->allowed('DROP EXTENSION', $owner, 'SELECT todo_events.detach_all(); DROP EXTENSION todo_events', 1);
	$in->allowed('CREATE EXTENSION after it', $owner, 'CREATE EXTENSION todo_events; DROP TABLE tasks', '');
	is($node->safe_psql($database, q{SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ' ') FROM pg_class WHERE relnamespace IN ('todo_events'::regnamespace, 'todo_events_internal'::regnamespace)}),
		$superuser, 'what it is made of belongs to the superuser');
	is($node->safe_psql($database, q{SELECT DISTINCT pg_get_userbyid(evtowner) FROM pg_event_trigger WHERE evtname ~ '^todo_events'}), $superuser, 'the event trigger too');
}
$shop->refused('dropping another owner\'s extension', 'plain2', 'DROP EXTENSION todo_events');
$shop->refused('dropping one of its objects', 'plain', 'DROP FUNCTION todo_events.publish(text, text, text, text, text)', '42501|2BP01');
$shop->refused('taking an object out of it', 'plain', 'ALTER EXTENSION todo_events DROP TABLE todo_events.topic_config');
$shop->refused('moving it', 'plain', 'CREATE SCHEMA elsewhere; ALTER EXTENSION todo_events SET SCHEMA elsewhere', '0A000');

# ---- giving and taking ----

$shop->refused('granting by who is not the owner', 'plain2', q{SELECT todo_events.grant_access('plain2', 'operator')});
$shop->allowed('app', 'plain', q{SELECT todo_events.grant_access('app', 'app')});
$shop->refused('granting by who has a level', 'app', q{SELECT todo_events.grant_access('worker', 'app')});
$shop->allowed('a level has no grant option', 'app', q{GRANT EXECUTE ON FUNCTION todo_events.cursor() TO worker});
$shop->refused('cursor() through a role that has the level', 'worker', 'SELECT todo_events.cursor()');
my $err = $shop->refused('an unknown level', 'plain', q{SELECT todo_events.grant_access('app', 'king')}, '22023');
like($err, qr/The levels are app, operator, viewer and gateway/, 'the levels are named');
$shop->refused('no level', 'plain', q{SELECT todo_events.grant_access('app', NULL)}, '22023');
for my $function (q{grant_access(%s, 'app')}, 'revoke_access(%s)')
{
	$shop->refused("$function, null", 'plain', 'SELECT todo_events.' . sprintf($function, 'NULL'), '22004');
	$shop->refused("$function, PUBLIC", 'plain', 'SELECT todo_events.' . sprintf($function, q{'public'}), '42704');
	$shop->refused("$function, no role", 'plain', 'SELECT todo_events.' . sprintf($function, q{'-'}), '42704');
	$shop->refused("$function, no such role", 'plain', 'SELECT todo_events.' . sprintf($function, q{4000000000::oid::regrole}), '42704');
	$shop->allowed("$function, an odd name", 'plain', 'SELECT todo_events.' . sprintf($function, q{'"o''dd ""role"" $1; --"'}), '');
}
$shop->refused('revoking from the owner', 'plain', q{SELECT todo_events.revoke_access('plain')}, '55000');
$shop->refused('revoking from who owns the objects', 'plain', "SELECT todo_events.revoke_access('$superuser')", '55000');

# less than before, by revoking first; a level more is added
$shop->allowed('operator', 'plain', q{SELECT todo_events.grant_access('worker', 'operator')});
$shop->allowed('an operator reads', 'worker', 'SELECT count(*) >= 0 FROM todo_events.outbox', 't');
$shop->allowed('viewer besides', 'plain', q{SELECT todo_events.grant_access('worker', 'viewer')});
$shop->allowed('an operator still', 'worker', 'SELECT count(*) >= 0 FROM todo_events.outbox', 't');
$shop->allowed('viewer instead', 'plain', q{SELECT todo_events.revoke_access('worker'), todo_events.grant_access('worker', 'viewer')});
$shop->refused('outbox', 'worker', 'SELECT FROM todo_events.outbox');
$shop->allowed('health', 'worker', 'SELECT count(*) > 0 FROM todo_events.health()', 't');
$shop->allowed('everything taken', 'plain', q{SELECT todo_events.revoke_access('worker'), todo_events.revoke_access('worker')});
is($node->safe_psql('shop', q{SELECT count(*) FROM pg_shdepend WHERE refobjid = 'worker'::regrole}), '0', 'nothing depends on the role any more');
$node->safe_psql('shop', 'DROP ROLE worker; CREATE ROLE worker LOGIN');

# a role that is dropped
$shop->allowed('viewer', 'plain', q{SELECT todo_events.grant_access('worker', 'viewer')});
$err = $shop->refused('dropping a role that has rights', $superuser, 'DROP ROLE worker', '2BP01');
$shop->allowed('DROP OWNED', $superuser, 'DROP OWNED BY worker; DROP ROLE worker');
$shop->allowed('grant_access goes on', 'plain', q{SELECT todo_events.grant_access('viewer', 'viewer')});

# ---- dumped and restored by the owner: settings, and what he gave to others ----

sub dump_and_restore
{
	my ($from, $to, $owner) = @_;
	my $file = $node->basedir . "/$to.sql";
	my @login = ('-h', $node->host, '-p', $node->port, '-U', $owner);

	command_ok([ 'pg_dump', @login, '-f', $file, $from ], "$owner dumps $from");
	$node->safe_psql('postgres', "CREATE DATABASE $to OWNER $owner");
	my ($out, $errors) = run_command([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', @login, '-f', $file, $to ]);
	is($errors, '', "$owner restores it with neither error nor warning");
	return TodoEvents::Rights->new($node, $to);
}

$shop->allowed('a setting', 'plain', q{SELECT todo_events.configure('truncate_limit', '5')});
my $copy = dump_and_restore('shop', 'copy', 'plain');
my $again = dump_and_restore('copy', 'copy2', 'plain');
for my $in ($copy, $again)
{
	$in->allowed('publish after the restore', 'app', q{SELECT todo_events.publish('task-events', 'com.example.thing', '{}') IS NOT NULL}, 't');
	$in->allowed('settings after the restore', 'viewer', q{SELECT value FROM todo_events.settings WHERE name = 'truncate_limit'}, '5');
	$in->refused('reading after the restore', 'app', 'SELECT todo_events.read(NULL)');
	$in->allowed('grant option of the owner', 'plain', 'GRANT EXECUTE ON FUNCTION todo_events.cursor() TO plain2; GRANT EXECUTE ON FUNCTION todo_events.wait_for_delivery(interval) TO PUBLIC');
	$in->allowed('taking what the restore gave', 'plain', q{SELECT todo_events.revoke_access('app'), todo_events.revoke_access('viewer')});
	$in->refused('publish after that', 'app', q{SELECT todo_events.publish('task-events', 'com.example.thing', '{}')});
	$in->refused('settings after that', 'viewer', 'SELECT FROM todo_events.settings');
	$in->allowed("others keep what the owner gave", 'plain2', 'SELECT todo_events.cursor() IS NOT NULL', 't');
	$in->refused('no brokers, but the right', 'app', 'SELECT todo_events.wait_for_delivery()', 'TE002');
	$in->allowed('the owner can still give', 'plain', q{SELECT todo_events.grant_access('app', 'app'); GRANT EXECUTE ON FUNCTION todo_events.health() TO plain2});
}

# ---- another owner ----

$node->safe_psql('postgres', 'ALTER DATABASE copy OWNER TO plain2');
$node->safe_psql('copy', 'REASSIGN OWNED BY plain TO plain2');
$copy->refused('the new owner has no rights yet', 'plain2', 'SELECT FROM todo_events.outbox');
$copy->allowed('the old one gives them', 'plain', q{SELECT todo_events.grant_access('plain2', 'operator')});
$copy->allowed('the old one goes', 'plain2', q{SELECT todo_events.revoke_access('plain')});
$copy->refused('the old one is gone', 'plain', 'SELECT FROM todo_events.outbox');
$copy->allowed('the new one gives', 'plain2', q{SELECT todo_events.grant_access('viewer', 'viewer')});
dump_and_restore('copy', 'copy3', 'plain2');
$copy->allowed('the new one drops', 'plain2', 'DROP EXTENSION todo_events', '');

# ---- a superuser owns it ----

$node->safe_psql('postgres', 'CREATE EXTENSION todo_events');
my $postgres = TodoEvents::Rights->new($node, 'postgres');
$node->safe_psql('postgres', q{SELECT todo_events.grant_access('plain', 'operator')});
$postgres->refused('an operator who is not the owner gives no level', 'plain', q{SELECT todo_events.grant_access('app', 'app')});
$postgres->refused('nor any right', 'plain', 'CREATE TRIGGER t BEFORE INSERT ON todo_events.topic_config EXECUTE FUNCTION todo_events.capture()');
$node->safe_psql('postgres', q{SELECT todo_events.revoke_access('plain')});
$postgres->refused('outbox after that', 'plain', 'SELECT FROM todo_events.outbox');

$node->stop;
done_testing();
