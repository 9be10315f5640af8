# G11: the extension is dropped, or is to be: DROP EXTENSION with its hint, CASCADE
# under writers without a deadlock, rolled back, prepared, DROP OWNED, DROP ROLE,
# DROP SCHEMA. Events that are committed stay, writers go on, and no engine is left
# in a loop.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use TodoEvents;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = todo_node('dropped', brokers => '', topics => 0, conf => q{
max_prepared_transactions = 5
deadlock_timeout = 300ms
});
my $running = "SELECT EXISTS (SELECT FROM todo_events.workers WHERE role = 'engine' AND state = 'running' AND database = current_database())";
my $no_engine = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'todo_events engine')";
my $create = q{
CREATE EXTENSION todo_events;
SELECT todo_events.attach('a', key => 'id', user_key => 'u');
SELECT todo_events.attach('b', key => 'id', user_key => 'u', sequence => 's');
SELECT todo_events.attach('p', key => 'id', user_key => 'u');
};
my $lost = q{SELECT count(*) FROM (SELECT 'a', id, n FROM a UNION ALL SELECT 'b', id, n FROM b) r
	WHERE NOT EXISTS (SELECT FROM todo_events.outbox o WHERE o.key IN (r.id::text, 'a/' || r.id, 'b/' || r.id))};

sub served
{
	my ($what) = @_;
	wait_for_sql($node, $what, $running);
	pass($what);
}

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub refused
{
	my ($what, $sql, $error, @options) = @_;
	my (undef, undef, $err) = $node->psql('postgres', $sql, on_error_stop => 1, @options);

	like($err, $error, $what);
	return $err;
}

# ---- refused, with our hint ------------------------------------------------------

sql(q{
CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, u int DEFAULT 1, n int DEFAULT 0);
CREATE TABLE b (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, u int DEFAULT 1, n int DEFAULT 0, s bigint);
CREATE TABLE p (id bigint GENERATED ALWAYS AS IDENTITY, u int DEFAULT 1, PRIMARY KEY (id)) PARTITION BY HASH (id);
CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
});
sql("DROP EXTENSION todo_events; $create INSERT INTO a DEFAULT VALUES");
served('engine');
my $engine = engine_pid($node);
my $error = refused('DROP EXTENSION is refused while tables are attached', 'DROP EXTENSION todo_events',
	qr/ERROR:  cannot drop extension todo_events because tables are attached\nDETAIL:  Attached: public\.a, public\.b, public\.p\.\nHINT:  Call todo_events\.detach_all\(\) first\./);
unlike($error, qr/CASCADE/, 'without the advice to use CASCADE');
refused('with other extensions in the list too', 'CREATE EXTENSION IF NOT EXISTS plpgsql; DROP EXTENSION IF EXISTS plpgsql, todo_events', qr/tables are attached/);
refused('DROP SCHEMA', 'DROP SCHEMA todo_events CASCADE', qr/cannot drop schema todo_events because extension todo_events requires it/);
refused('DROP of its function', 'DROP FUNCTION todo_events.capture() CASCADE', qr/because extension todo_events requires it/);
sql('CREATE ROLE nobody LOGIN');
refused('by nobody', 'DROP EXTENSION todo_events CASCADE', qr/must be owner of extension/, extra_params => [ '-U', 'nobody' ]);
is(engine_pid($node), $engine, 'none of this has ended the engine');

# ---- eight writers, all the time ----------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir();
# both orders, so that locks of the tables cross each other; some write to the log before any table
append_to_file("$dir/ab", "BEGIN;\nINSERT INTO a DEFAULT VALUES;\nINSERT INTO b DEFAULT VALUES;\nEND;\n\\sleep 3 ms\n");
append_to_file("$dir/ba", "BEGIN;\nINSERT INTO b DEFAULT VALUES;\nINSERT INTO p DEFAULT VALUES;\nINSERT INTO a DEFAULT VALUES;\nEND;\n\\sleep 3 ms\n");
append_to_file("$dir/update", "UPDATE b SET n = n + 1 WHERE id = 1;\n\\sleep 3 ms\n");
my ($out, $trouble) = ('', '');
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', 8, '-T', 600, map({ ('-f', "$dir/$_") } qw(ab ba update)),
		'-h', $node->host, '-p', $node->port, 'postgres' ], '<', \undef, '>', \$out, '2>', \$trouble);
wait_for_sql($node, 'writers write', 'SELECT count(*) > 50 FROM b');

# ---- rolled back -----------------------------------------------------------------------

sql('BEGIN; DROP EXTENSION todo_events CASCADE; ROLLBACK');
served('engine after ROLLBACK of DROP EXTENSION');
is(engine_pid($node), $engine, 'the same one');
my $session = $node->background_psql('postgres');
$session->query_safe('BEGIN');
$session->query_safe('SAVEPOINT s');
$session->query_safe('SET LOCAL client_min_messages = error; DROP EXTENSION todo_events CASCADE');
$session->query_safe('ROLLBACK TO s');
$session->query_safe('COMMIT');
$session->quit;
is(engine_pid($node), $engine, 'the same one after ROLLBACK TO');

# open for longer than the engine's own patience: its roles fail, and go on as soon as they can
my $from = -s $node->logfile;
$session = $node->background_psql('postgres');
$session->query_safe('SET client_min_messages = error; BEGIN; DROP EXTENSION todo_events CASCADE');
$session->query_safe('SELECT pg_sleep(2)');
$session->query_safe('ROLLBACK');
$session->quit;
wait_for_sql($node, 'the roles are at work again', "SELECT bool_and(state IN ('running', 'off')) FROM todo_events.workers WHERE role <> 'launcher'", 5);
is(engine_pid($node), $engine, 'the engine has outlived a DROP EXTENSION that was open for two seconds');
my $errors = () = log_since($node, $from) =~ /todo_events engine ERROR/g;
cmp_ok($errors, '<=', 8, 'and has not filled the log');
is(sql($lost), '0', 'an event for each row');

# ---- prepared ------------------------------------------------------------------------------

sql("SET client_min_messages = error; BEGIN; DROP EXTENSION todo_events CASCADE; PREPARE TRANSACTION 'drop'");
sql("ROLLBACK PREPARED 'drop'");
wait_for_sql($node, 'the roles are at work after ROLLBACK PREPARED', "SELECT bool_and(state IN ('running', 'off')) FROM todo_events.workers WHERE role <> 'launcher'", 5);
served('engine after ROLLBACK PREPARED of DROP EXTENSION');
sql("SET client_min_messages = error; BEGIN; DROP EXTENSION todo_events CASCADE; PREPARE TRANSACTION 'drop'");
sql("COMMIT PREPARED 'drop'");
wait_for_sql($node, 'the engine leaves after COMMIT PREPARED of DROP EXTENSION', $no_engine);
pass('no engine after COMMIT PREPARED of DROP EXTENSION');
sql("BEGIN; CREATE EXTENSION todo_events; PREPARE TRANSACTION 'create'");
sql("COMMIT PREPARED 'create'");
sql($create =~ s/CREATE EXTENSION todo_events;//r);
served('engine after COMMIT PREPARED of CREATE EXTENSION');

# ---- dropped and created again and again, CASCADE and detach_all --------------------------------

for my $round (1 .. 2)
{
	sql("SET client_min_messages = error; DROP EXTENSION todo_events CASCADE");
	sql($create);
	sql("SELECT todo_events.detach_all()");
	sql('DROP EXTENSION todo_events');
	sql($create);
	sql("SET client_min_messages = error; BEGIN; DROP EXTENSION todo_events CASCADE; $create COMMIT");
}
wait_for_sql($node, 'the writers\' events', 'SELECT count(*) > 20 FROM todo_events.outbox');
served('engine after six times');
$engine = engine_pid($node);

# ---- owners and grants ------------------------------------------------------------------------------

sql(q{
SET client_min_messages = error;
DROP EXTENSION todo_events CASCADE;
CREATE ROLE keeper LOGIN; CREATE ROLE worker; CREATE ROLE heir; CREATE ROLE reader;
GRANT ALL ON DATABASE postgres TO keeper;
GRANT ALL ON SCHEMA public TO keeper, worker;
GRANT keeper TO worker;
SET ROLE keeper;
CREATE EXTENSION todo_events;
RESET ROLE;
SELECT todo_events.grant_access('worker', 'app');
SELECT todo_events.grant_access('reader', 'viewer');
SELECT todo_events.attach('a', key => 'id', user_key => 'u');
SELECT todo_events.attach('b', key => 'id', user_key => 'u', sequence => 's');
CREATE TABLE own (id int PRIMARY KEY, u int);
ALTER TABLE own OWNER TO worker;
SELECT todo_events.attach('own', key => 'id', user_key => 'u');
});
served('engine of an extension of an ordinary role');
$engine = engine_pid($node);
refused('a role with grants', 'DROP ROLE reader', qr/some objects depend on it/);
sql('DROP OWNED BY reader; DROP ROLE reader');
sql('DROP OWNED BY worker; DROP ROLE worker');
is(sql("SELECT string_agg(relation::text, ',' ORDER BY relation::text) FROM todo_events.attachments"), 'a,b', 'DROP OWNED BY the owner of an attached table takes its attachment along');
sql('REASSIGN OWNED BY keeper TO heir');
is(sql("SELECT extowner::regrole FROM pg_extension WHERE extname = 'todo_events'"), 'heir', 'REASSIGN OWNED');
served('engine after the drops of roles');
is(engine_pid($node), $engine, 'the same one');
sql("INSERT INTO a DEFAULT VALUES");
is(sql($lost =~ s/FROM a UNION.*?\) r/FROM a ORDER BY id DESC LIMIT 1) r/r), '0', 'events go on');
refused('DROP OWNED BY its owner, with attached tables', 'DROP OWNED BY heir', qr/depend on/);
sql('SET client_min_messages = error; DROP OWNED BY heir CASCADE');
wait_for_sql($node, 'the engine leaves after DROP OWNED', $no_engine);
pass('no engine after DROP OWNED BY the owner of the extension');
sql('DROP OWNED BY keeper; DROP ROLE keeper; DROP ROLE heir');
sql($create);
served('engine of a new one');

$writers->signal('INT');
$writers->finish;
unlike($trouble, qr/ERROR|abort/i, 'no writer has met an error');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
unlike($log, qr/deadlock detected/, 'no deadlock');
unlike($log, qr/STATEMENT:  (INSERT|UPDATE)/, 'and no other error of theirs');
unlike($log, qr/PANIC|signal 11|signal 6|TRAP/, 'nothing has crashed');

done_testing();
