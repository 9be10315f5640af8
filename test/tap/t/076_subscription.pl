# A subscriber of a publication FOR ALL TABLES, which has the extension's own tables in
# it: it gets the user's rows and none of ours, whether it has the extension or not.
# What a replication worker brings fires no event, acts as no setting, moves no
# cursor and stops no subscription (G1, G8, G11, docs/replication.md).

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;

my $publisher = todo_node('publisher', init => [ allows_streaming => 'logical' ],
	conf => TodoEvents::Load::settings() . "todo_events.source = 'of-the-publisher'\nmax_wal_senders = 20\nmax_replication_slots = 20\n");
my $subscriber = todo_node('subscriber', conf => <<'END');
todo_events.source = 'of-the-subscriber'
max_worker_processes = 24
max_logical_replication_workers = 12
max_sync_workers_per_subscription = 6
wal_retrieve_retry_interval = 100ms
max_replication_slots = 40
END
my $ours = q{(SELECT oid FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'todo_events%'))};
my $secret = 'Tr0ub4dor';
my $from = -s $subscriber->logfile;
my $connection = $publisher->connstr('postgres') =~ s/'/''/gr;

sub pub { return $publisher->safe_psql('postgres', @_); }
sub sub_ { return $subscriber->safe_psql('postgres', @_); }

# what is ours at a node, but for what it may have written itself
sub own_state
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres', <<'END');
SELECT 'setting', name, value, updated_at::text FROM todo_events.setting_config
UNION ALL SELECT 'topic', topic, to_jsonb(t)::text, '' FROM todo_events.topic_config t
UNION ALL SELECT 'route', pattern, topic, is_default::text FROM todo_events.route_config
UNION ALL SELECT 'removed', kind, name, topic FROM todo_events.default_removed
UNION ALL SELECT 'attachment', number::text, relation::text, name FROM todo_events.attachment_config
UNION ALL SELECT 'epoch', to_jsonb(e)::text, '', '' FROM todo_events_internal.epoch e
UNION ALL SELECT 'secret', name, value, at::text FROM todo_events_internal.secret
UNION ALL SELECT 'letter', id::text, topic, at::text FROM todo_events_internal.dead_letter
UNION ALL SELECT 'redrive', dead_letter::text, at::text, '' FROM todo_events_internal.dead_letter_redrive
UNION ALL SELECT 'key', key, at::text, '' FROM todo_events_internal.idempotency
UNION ALL SELECT 'counter', key_uuid::text, sequence::text, deleted::text FROM todo_events_internal.counter
ORDER BY 1, 2, 3, 4
END
}

# waits until all tables are synchronized, and what the publisher had has been applied
sub catch_up
{
	my ($name, $database) = @_;
	$database //= 'postgres';
	wait_for_sql($subscriber, "$name: every table is synchronized",
		q{SELECT count(*) > 0 AND bool_and(srsubstate = 'r') FROM pg_subscription_rel}, 60, $database);
	$publisher->wait_for_catchup($name);
	return;
}

# ---- what both have ---------------------------------------------------------------------

load_setup($publisher);
pub(<<'END');
CREATE TABLE notes (id integer PRIMARY KEY, who text NOT NULL, body text);
SELECT todo_events.attach('notes', key => 'id', user_key => 'who', name => 'notes');
INSERT INTO notes SELECT i, 'u' || i % 3, 'body' FROM generate_series(1, 20) i;
DELETE FROM notes WHERE id > 15;
SELECT todo_events.configure('truncate_limit', '77');
SELECT todo_events.configure('source', 'from-a-row-of-the-publisher');
BEGIN;
SET LOCAL todo_events.idempotency_key = 'used at the publisher';
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'keyed');
COMMIT;
SELECT todo_events.create_topic('only-at-the-publisher', create_topic => false);
INSERT INTO todo_events.route_config VALUES ('com.example.*', 'only-at-the-publisher');
END
# a dead letter, redriven: an event larger than the broker takes
pub(q{SELECT todo_events.publish((SELECT topic FROM todo_events.topic_config WHERE topic LIKE 'task-events%'), 'com.example.large',
	to_json((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 70000))))});
$publisher->psql('postgres', "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret\n\\.\n", on_error_die => 1);
wait_for_sql($publisher, 'the publisher has a dead letter', 'SELECT count(*) > 0 FROM todo_events.dead_letters', 60);
pub('SELECT todo_events.redrive(min(id)) FROM todo_events.dead_letters');

sub_(<<'END');
SELECT todo_events.create_tasks('public.tasks');
CREATE TABLE ledger (task uuid, sequence bigint, xid xid8);
CREATE TABLE notes (id integer PRIMARY KEY, who text NOT NULL, body text);
SELECT todo_events.attach('notes', key => 'id', user_key => 'who', name => 'notes');
-- the same setting, differently
SELECT todo_events.configure('truncate_limit', '11');
END
# its own event
sub_(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'of the subscriber')});
wait_for_delivery($subscriber);

# ---- the subscriber has the extension ----------------------------------------------------

my $before = own_state($subscriber);
my $state = own_state($publisher);
for my $kind (qw(setting topic route removed attachment epoch secret letter redrive key counter))
{
	like($state, qr/^$kind\|/m, "the publisher has something of its own: $kind");
}
my $load = load_start($publisher, seconds => 3, clients => 4);
pub('CREATE PUBLICATION everything FOR ALL TABLES');
sub_("CREATE SUBSCRIPTION everything CONNECTION '$connection' PUBLICATION everything");
wait_for_sql($subscriber, 'rows arrive while the publisher is written to', 'SELECT count(*) > 10 FROM tasks', 60);
# each of our tables once more, now by the stream
pub(<<'END');
SELECT todo_events.configure('truncate_limit', '78');
SELECT todo_events.configure('source', NULL);
SELECT todo_events.configure('brokers', 'broker.of.the.publisher.example:9092');
SELECT todo_events.configure('brokers', NULL);
UPDATE todo_events.topic_config SET key_by = 'task';
UPDATE todo_events.topic_config SET topic = 'renamed-at-the-publisher' WHERE topic = 'only-at-the-publisher';
DELETE FROM todo_events.topic_config WHERE topic = 'renamed-at-the-publisher';
SELECT todo_events.detach('notes');
SELECT todo_events.attach('notes', key => 'id', user_key => 'who', name => 'notes again');
SELECT todo_events.purge_dead_letters('infinity');
UPDATE notes SET body = 'changed' WHERE id <= 5;
DELETE FROM notes WHERE id = 15;
END
$publisher->psql('postgres', "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret$secret\n\\.\n", on_error_die => 1);
load_finish($load);
wait_for_delivery($publisher);
catch_up('everything');

is(sub_('SELECT count(*) FROM tasks'), pub('SELECT count(*) FROM tasks') + 1, 'the user\'s rows are at the subscriber');
is(sub_(q{SELECT sum(sequence), count(DISTINCT id) FROM tasks WHERE title <> 'of the subscriber'}),
	pub('SELECT sum(sequence), count(DISTINCT id) FROM tasks'), 'with the numbers that the publisher gave them');
is(sub_('SELECT string_agg(notes::text, $$ $$ ORDER BY id) FROM notes'), pub('SELECT string_agg(notes::text, $$ $$ ORDER BY id) FROM notes'),
	'those of the other table too');
is(own_state($subscriber), $before, 'and nothing of ours has changed there: no setting, topic, attachment, secret, number');
is(sub_(q{SELECT count(*) FILTER (WHERE event->'data'->'payload'->'after'->>'title' = 'of the subscriber'), count(*) FROM todo_events.outbox}),
	'1|1', 'its log holds its own event and no other');
is(sub_(q{SELECT value FROM todo_events.settings WHERE name = 'truncate_limit'}), '11', 'a setting of the publisher does not act');
is(sub_(q{SELECT count(*) FROM todo_events.health() WHERE level <> 'ok'}), '0', 'health() has nothing to say');
wait_for_sql($subscriber, 'and each of our tables is synchronized',
	"SELECT count(*) = (SELECT count(*) FROM pg_class WHERE oid IN $ours AND relkind = 'r') FROM pg_subscription_rel WHERE srsubstate = 'r' AND srrelid IN $ours");
unlike(log_since($subscriber, $from), qr/ERROR|PANIC|FATAL/, 'no replication worker has met an error');

sub_(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'of the subscriber')});
sub_(q{UPDATE notes SET body = 'changed here' WHERE id = 1});
check_delivery($subscriber, duplicates => 0, at_least => 3);
my @sources = map { $_->{source} } topic_events($subscriber);
is(scalar(grep { $_ ne 'of-the-subscriber' } @sources), 0, 'its topics hold its own events only');

# ---- its triggers ENABLE ALWAYS ------------------------------------------------------------

# Events of rows that arrive, for whoever asks for them: with the publisher's numbers.
sub_(q{ALTER TABLE tasks ENABLE ALWAYS TRIGGER "!todo_events_capture", ENABLE ALWAYS TRIGGER zzzz_todo_events_sequence;
	ALTER TABLE notes ENABLE ALWAYS TRIGGER "!todo_events_capture"});
my $task = '11111111-0000-4000-8000-000000000000';
my $user = '22222222-0000-4000-8000-000000000000';
pub(<<"END");
INSERT INTO tasks (id, user_id, title) VALUES ('$task', gen_random_uuid(), 'first');
UPDATE tasks SET title = 'second' WHERE id = '$task';
UPDATE tasks SET user_id = '$user' WHERE id = '$task';
UPDATE tasks SET status = 'completed' WHERE id = '$task';
DELETE FROM tasks WHERE id = '$task';
INSERT INTO tasks (id, user_id, title) VALUES ('$task', '$user', 'again');
UPDATE tasks SET title = 'hot once more' WHERE id = '00000000-0000-4000-8000-000000000001';
INSERT INTO notes VALUES (100, 'u1', 'new');
UPDATE notes SET body = 'newer' WHERE id = 100;
END
catch_up('everything');
my $events = q{SELECT string_agg(split_part(type, '.', 4) || ' ' || sequence, ', ' ORDER BY id) FROM todo_events.outbox WHERE key = };
is(sub_("$events '$task'"), 'created 1, updated 2, unassigned 3, updated 4, completed 5, deleted 6, created 7',
	'ENABLE ALWAYS: rows that arrive make events, with the numbers of their rows');
is(sub_("$events '$task'"), pub("$events '$task'"), 'as at the publisher');
is(sub_("$events 'notes/100'"), 'created 1, updated 2', 'a table without a sequence column counts for itself');
check_delivery($subscriber, name => 'ENABLE ALWAYS', duplicates => 0);
# numbers that make no sense here: the publisher's own affair
pub(q{SET session_replication_role = replica; UPDATE tasks SET sequence = 50, title = 'jumps' WHERE id = '00000000-0000-4000-8000-000000000002';
	INSERT INTO tasks (id, user_id, title, sequence) VALUES ('33333333-0000-4000-8000-000000000000', gen_random_uuid(), 'begins late', 40)});
catch_up('everything');
is(sub_(q{SELECT string_agg(event->'data'->>'sequence' || ' ' || (event->'data'->'payload'->'after'->>'sequence'), ', ' ORDER BY id) FROM todo_events.outbox
	WHERE key IN ('00000000-0000-4000-8000-000000000002', '33333333-0000-4000-8000-000000000000')}),
	'50 50, 40 40', 'even where they are no sequence');
is(sub_(q{SELECT string_agg(tasks::text, ' ' ORDER BY id) FROM tasks WHERE title <> 'of the subscriber'}),
	pub('SELECT string_agg(tasks::text, $$ $$ ORDER BY id) FROM tasks'), 'and no row is renumbered or touched');

# ---- the guards survive what is done to triggers ---------------------------------------------

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
my $guards = q{SELECT count(*), count(*) FILTER (WHERE tgenabled <> 'A') FROM pg_trigger WHERE tgname = 'todo_events_guard'};
my $whole = sub_($guards);
like($whole, qr/^[1-9]\d*\|0$/, 'every guard fires always');
$subscriber->safe_psql('postgres', 'CREATE DATABASE restored');
$subscriber->safe_psql('restored', 'CREATE TABLE tasks (); CREATE TABLE notes (); CREATE EXTENSION todo_events');
$subscriber->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'a dump of the subscriber');
# its tables but not their triggers, and the data with all triggers off
$subscriber->command_ok([ 'pg_restore', '-d', 'restored', '--data-only', '--disable-triggers',
	(map { ('-t', $_) } qw(setting_config topic_config route_config default_removed attachment_config)), '-n', 'todo_events', $dump ],
	'pg_restore --data-only --disable-triggers loads the configuration');
is($subscriber->safe_psql('restored', q{SELECT value FROM todo_events.setting_config WHERE name = 'truncate_limit'}), '11',
	'which is there');
is($subscriber->safe_psql('restored', $guards), $whole, 'and it leaves the guards as they were');
sub_('ALTER TABLE todo_events.setting_config DISABLE TRIGGER ALL; ALTER TABLE todo_events.setting_config ENABLE TRIGGER USER');
is(sub_($guards), $whole, 'as does ALTER TABLE by hand');

# ---- TRUNCATE ----------------------------------------------------------------------------------

for my $table ('todo_events.setting_config', 'todo_events_internal.log', 'todo_events_internal.dead_letter')
{
	my ($rc, $out, $err) = $publisher->psql('postgres', "\\set VERBOSITY verbose\nTRUNCATE $table CASCADE");
	like($err, qr/ERROR:  0A000: cannot truncate/, "TRUNCATE of $table, which would be published, is refused");
}

# ---- what a walsender hands out --------------------------------------------------------------------

sub walsender_copy
{
	my ($copy) = @_;
	my ($rows, $errors);
	my $good = PostgreSQL::Test::Utils::run_log(
		[ 'psql', '-XAtq', '-d', $publisher->connstr('postgres') . ' replication=database', '-c', $copy ], '>', \$rows, '2>', \$errors);
	ok($good, $copy) or diag($errors);
	return $rows;
}

for my $copy ('COPY todo_events_internal.secret TO STDOUT', 'COPY todo_events_internal.secret (name, value) TO STDOUT',
	'COPY todo_events.setting_config (name, value) TO STDOUT WITH (FORMAT csv)', 'COPY (SELECT id, payload FROM todo_events_internal.log) TO STDOUT',
	'COPY (SELECT * FROM ONLY todo_events_internal.secret WHERE true) TO STDOUT')
{
	is(walsender_copy($copy), '', 'hands out no row of ours');
}
is(scalar(split /\n/, walsender_copy('COPY notes TO STDOUT')), pub('SELECT count(*) FROM notes'), 'and every row of the user\'s');

# ---- a subscriber without the extension ----------------------------------------------------------

$subscriber->safe_psql('postgres', "CREATE DATABASE $_") for qw(bare remedied);
my $tables = q{CREATE TABLE tasks (id uuid PRIMARY KEY, user_id uuid, title text, description text, status text, priority text, tags text[],
	due_at timestamptz, remind_at timestamptz, sequence bigint, created_at timestamptz, updated_at timestamptz, completed_at timestamptz);
	CREATE TABLE ledger (task uuid, sequence bigint, xid xid8);
	CREATE TABLE notes (id integer PRIMARY KEY, who text NOT NULL, body text);};
$subscriber->safe_psql($_, $tables) for qw(bare remedied);
my $subscribe = "CREATE SUBSCRIPTION %s CONNECTION '$connection' PUBLICATION %s";
my ($rc, $out, $err) = $subscriber->psql('bare', sprintf($subscribe, 'bare', 'everything'));
like($err, qr/ERROR:  (schema|relation) "todo_events\S*" does not exist/, 'without the extension, a subscription to all tables is refused by PostgreSQL');

# one remedy: a publication of the application's schemas
pub('CREATE PUBLICATION of_the_application FOR TABLES IN SCHEMA public');
$subscriber->safe_psql('bare', sprintf($subscribe, 'bare', 'of_the_application'));
catch_up('bare', 'bare');
is($subscriber->safe_psql('bare', 'SELECT count(*) FROM tasks'), pub('SELECT count(*) FROM tasks'), 'FOR TABLES IN SCHEMA: the rows are there');
is($subscriber->safe_psql('bare', 'SELECT count(*) FROM pg_subscription_rel'), '3', 'of these tables only');

$subscriber->safe_psql('bare', 'DROP SUBSCRIPTION bare');
sub_('DROP SUBSCRIPTION everything');

# The other: the extension, not preloaded, with no table attached. And a publisher that
# does not preload it either, whose walsender copies our rows: the guards skip them.
for my $node ($publisher, $subscriber)
{
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
	$node->restart;
}
$subscriber->safe_psql('remedied', 'CREATE EXTENSION todo_events');
$subscriber->safe_psql('remedied', sprintf($subscribe, 'remedied', 'everything'));
catch_up('remedied', 'remedied');
is($subscriber->safe_psql('remedied', 'SELECT count(*) FROM tasks'), pub('SELECT count(*) FROM tasks'), 'CREATE EXTENSION: the rows are there');
is($subscriber->safe_psql('remedied', 'SELECT count(*) FROM todo_events.outbox'), '0', 'with no event');
is($subscriber->safe_psql('remedied', 'SELECT count(*) FROM todo_events.setting_config'), '0', 'and no setting');
is($subscriber->safe_psql('remedied', 'SELECT count(*) FROM todo_events_internal.secret'), '0', 'and no secret');

$subscriber->safe_psql('remedied', 'DROP SUBSCRIPTION remedied');
$subscriber->stop('fast');
$publisher->stop('fast');
done_testing();
