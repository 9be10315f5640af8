# A synchronous standby is promoted under load, after an immediate stop of its primary, while
# Kafka is away and transactions are prepared: no writer waits (G4), everything committed
# arrives when Kafka is back, in order, nothing else does (G1, G2, G3); readers go on with the
# cursors that the old primary gave, and skip nothing (G7); sessions of the standby live on.

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use TodoEvents::Standby;
use Test::More;
use Time::HiRes qw(time);

# this broker is going to be frozen
my $kafka = kafka_start();
local $ENV{KAFKA_BOOTSTRAP} = $kafka->{KAFKA_BOOTSTRAP};

my $old = todo_node('old', init => [ allows_streaming => 1 ],
	conf => TodoEvents::Standby::settings() . TodoEvents::Load::settings());
load_setup($old);
readers_setup($old);
my $new = standby_of($old, 'new');
wait_streaming($old, $new);
$old->append_conf('postgresql.conf', "synchronous_standby_names = 'new'\n");
$old->reload;
$old->safe_psql('postgres', <<'END');
INSERT INTO place VALUES ('reader1', NULL);
BEGIN;
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'kept' FROM generate_series(1, 3);
PREPARE TRANSACTION 'kept';
BEGIN;
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'never' FROM generate_series(1, 3);
PREPARE TRANSACTION 'dropped';
END
# the prepared events lie behind what has arrived, and in every cursor from now on
$old->safe_psql('postgres', q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'after the prepared ones')});
wait_for_delivery($old);

# ---- before ----------------------------------------------------------------------------------

my @readers = map { psql_script($old, $_) } q{CALL follow('reader1', 50)}, q{CALL take_listings('listing')};
my $load = load_start($old, seconds => 600, clients => 8, rate => 200);
wait_for_sql($old, 'there is load, and some listings', 'SELECT (SELECT count(*) > 150 FROM ledger) AND (SELECT count(*) > 2 FROM listing)');
kafka_control($kafka, 'freeze');
my $before = $old->safe_psql('postgres', 'SELECT count(*) FROM ledger');
wait_for_sql($old, 'the load goes on without Kafka', "SELECT count(*) > $before + 100 FROM ledger");
is($new->safe_psql('postgres', q{SELECT count(*) > 0 FROM todo_events.lag WHERE events_behind > 50}), 't', 'the standby knows what is not delivered');

# a session that lives through it
my $session = psql_script($new, <<'END');
SELECT count(*) > 0 FROM todo_events.outbox;
SELECT level || ' ' || message FROM todo_events.health() WHERE component = 'engine';
DO $$
BEGIN
	PERFORM todo_events.cursor();
	RAISE NOTICE 'a cursor on a standby';
EXCEPTION WHEN read_only_sql_transaction THEN
END $$;
DO $$ BEGIN WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT todo_events.cursor() AS now \gset
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'of an old session');
SELECT 'read on: ' || count(*) FROM todo_events.read(:'now', 100) WHERE event LIKE '%of an old session%';
END
wait_for_sql($new, 'the session waits for the promotion', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep')});

my ($engine, $io) = (engine_pid($old), io_pid($old));
$old->stop('immediate');
wait_for('nothing of the old primary is left', sub { is_gone($engine, 'todo_events') && is_gone($io, 'todo_events_io') });
pass('engine and I/O process ended with their server');
load_finish($load, cut => 1, stopped => 1);
$_->finish for @readers;

# ---- and after --------------------------------------------------------------------------------

my $at = promote($new);
is($new->safe_psql('postgres', q{SELECT string_agg(gid, ',' ORDER BY gid) FROM pg_prepared_xacts WHERE gid NOT LIKE 'load%'}), 'dropped,kept', 'what was prepared is prepared');
wait_for_sql($new, 'the engine runs', q{SELECT state = 'running' FROM todo_events.workers WHERE role = 'engine' AND database = 'postgres'});
note(sprintf('engine seen %.0f ms after the server was ready', 1000 * (time - $at->{ready})));
$session->finish;
is(psql_output($session), "t\nok this server is a standby; the primary delivers\nread on: 1\n", 'a session of the standby lives through its promotion');

load_resolve($new);
$load = load_start($new, seconds => 600, clients => 8, rate => 200);
$before = $new->safe_psql('postgres', 'SELECT count(*) FROM ledger');
wait_for_sql($new, 'the load goes on on the new primary, without Kafka', "SELECT count(*) > $before + 100 FROM ledger");
$new->safe_psql('postgres', q{COMMIT PREPARED 'kept'; ROLLBACK PREPARED 'dropped'});
kafka_control($kafka, 'thaw');
load_stop($load);
is($new->safe_psql('postgres', q{SELECT count(*) FROM tasks WHERE title = 'of an old session'}), 1, 'a session of the standby goes on to write');

$new->safe_psql('postgres', q{INSERT INTO stop VALUES ('promoted')});
$new->safe_psql('postgres', q{CALL follow('reader1', 1000)});
$new->safe_psql('postgres', q{CALL finish_listings()});
check_readers($new, 1, crash => 1);
is($new->safe_psql('postgres', q{SELECT count(*) FROM received r JOIN tasks t ON t.id::text = r.task WHERE r.reader = 'reader1' AND t.title = 'kept'}), 3,
	'events prepared before the promotion come to a reader that had passed them');
check_ledger($new);
my $is = check_delivery($new, at_least => 400, timeout => 60);
ledger_against_topic($new, 'against the ledger');
note("$is->{duplicates} duplicates of $is->{received} messages");
like($new->safe_psql('postgres', 'SELECT reason FROM todo_events_internal.epoch ORDER BY epoch DESC LIMIT 1'), qr/promotion/, 'a new epoch has begun');
$new->stop('fast');
done_testing();
