# Beside other extensions in shared_preload_libraries, first, in the middle and last,
# each of them watching all that it can: everything works, each sees what it should,
# and no secret is seen by any of them or by the server log, however much that is
# asked to say (G9, G11). And the library loaded in the other ways that there are.

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;

my $libdir = `$TodoEvents::bindir/pg_config --pkglibdir` =~ s/\n//r;
my %here = map { $_ => -e "$libdir/$_.so" } qw(pg_stat_statements auto_explain pgaudit pg_cron);
note(join ', ', map { "$_: " . ($here{$_} ? 'yes' : 'not installed') } sort keys %here);
my @before = grep { $here{$_} } qw(pg_stat_statements pgaudit);
my @after = grep { $here{$_} } qw(auto_explain pg_cron);
my @orders = (['todo_events', @before, @after], [@before, 'todo_events', @after], [@after, @before, 'todo_events']);

my $node = todo_node('beside', conf => TodoEvents::Load::settings() . <<'END');
max_worker_processes = 20
track_activity_query_size = 16384
compute_query_id = on
END
load_setup($node);
my @secrets;
my $beginning = -s $node->logfile;

# in the server log since then?  (Not by like(): the log is long)
sub logged { return log_since($node, $_[0]) =~ $_[1] ? 1 : 0; }

sub sql { return $node->safe_psql('postgres', @_); }

# whatever can be logged
my $loud = <<'END';
log_statement = all
log_duration = on
log_min_messages = debug2
log_min_error_statement = debug5
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_error_verbosity = verbose
debug_print_parse = on
debug_print_rewritten = on
debug_print_plan = on
END
$loud .= <<'END' if $here{pg_stat_statements};
pg_stat_statements.track = all
pg_stat_statements.track_utility = on
END
$loud .= <<'END' if $here{auto_explain};
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_buffers = on
auto_explain.log_triggers = on
auto_explain.log_verbose = on
auto_explain.log_nested_statements = on
END
$loud .= <<'END' if $here{pgaudit};
pgaudit.log = 'all'
pgaudit.log_parameter = on
pgaudit.log_relation = on
pgaudit.log_catalog = on
pgaudit.log_rows = on
END
$loud .= "cron.database_name = 'postgres'\ncron.use_background_workers = on\n" if $here{pg_cron};
$node->append_conf('postgresql.conf', $loud);

for my $order (@orders)
{
	my $name = join ',', @$order;
	my $secret = 'Tr0ub4dor' . scalar(@secrets) . 'x';
	my ($refused, $tabbed) = ("${secret}r", "${secret}t");
	my $from = -s $node->logfile;

	push @secrets, $secret;
	$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'$name'");
	$node->restart;
	if (@secrets == 1)
	{
		sql("CREATE EXTENSION $_") for grep { $here{$_} && $_ ne 'auto_explain' } sort keys %here;
	}
	wait_for("$name: an engine serves", sub { engine_pid($node) });

	# some of everything
	load_finish(load_start($node, transactions => 6, clients => 4,
		scripts => { one => 3, hot => 3, many => 1, savepoint => 2, prepared => 2, rollback => 1 }));
	my $statements = <<'END';
CREATE TABLE notes (id integer PRIMARY KEY, who text, body text);
SELECT todo_events.attach('notes', user_key => 'who', name => 'notes ROUND');
INSERT INTO notes SELECT i, 'u', 'b' FROM generate_series(1, 5) i;
UPDATE notes SET body = 'c';
DELETE FROM notes WHERE id = 1;
INSERT INTO notes VALUES (1, 'u', 'again');
TRUNCATE notes;
SELECT todo_events.detach('notes');
DROP TABLE notes;
SELECT todo_events.configure('truncate_limit', '100'), todo_events.configure('truncate_limit', NULL);
BEGIN;
SET LOCAL todo_events.idempotency_key = 'key';
SELECT todo_events.publish((SELECT topic FROM todo_events.topic_config WHERE topic LIKE 'task-events%'), 'com.example.thing', '{"a":1}') IS NOT NULL;
ROLLBACK;
SELECT count(*) >= 0 FROM todo_events.read(NULL, 10);
SELECT todo_events.cursor() IS NOT NULL;
EXPLAIN (ANALYZE, VERBOSE) INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'explained');
SELECT count(*) FROM todo_events.health(), todo_events.metrics(), todo_events.settings;
END
	my ($rc, $out, $err) = $node->psql('postgres', $statements =~ s/ROUND/$#secrets/r);
	is($err, '', "$name: every statement works");

	# secrets, taken and refused
	($rc, $out, $err) = $node->psql('postgres', "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret\n\\.\n");
	is($rc, 0, "$name: a secret is taken");
	for my $line ("sasl_password=$refused\tand more", "no_such_name=$refused", $refused, "sasl_password=$tabbed\\")
	{
		($rc, $out, $err) = $node->psql('postgres', "COPY todo_events.secret_input FROM STDIN;\n$line\n\\.\n");
		isnt($rc, 0, "$name: a bad line is refused");
		unlike($err, qr/Tr0ub4dor/, "$name: and not quoted");
	}
	wait_for_delivery($node);
	is(sql(q{SELECT string_agg(level || ' ' || component, ', ') FROM todo_events.health() WHERE level <> 'ok'}), '', "$name: health() is content");
	is(logged($from, qr/Tr0ub4dor/), 0, "$name: no secret in the server log");
	if ($here{pg_stat_statements})
	{
		is(sql(q{SELECT count(*) FROM pg_stat_statements WHERE query ~ 'Tr0ub.dor'}), '0', "$name: nor in pg_stat_statements");
		cmp_ok(sql(q{SELECT sum(calls) FROM pg_stat_statements WHERE query ILIKE '%insert into tasks%'}), '>', 10, "$name: which sees the application's statements");
		cmp_ok(sql(q{SELECT sum(calls) FROM pg_stat_statements WHERE query ILIKE 'copy todo_events.secret_input%'}), '>', 0, "$name: and that secrets were given");
	}
	is(logged($from, qr/AUDIT: .*INSERT INTO tasks/), 1, "$name: pgaudit sees them") if $here{pgaudit};
	is(logged($from, qr/duration: .* plan:.*Query Text: INSERT INTO tasks.*Trigger !todo_events_capture/s), 1, "$name: auto_explain too, with our triggers") if $here{auto_explain};
	is(logged($from, qr/PANIC|terminated by signal|TRAP/), 0, "$name: and nothing has crashed");
}
check_delivery($node, name => 'in the end', duplicates => 0, where => 'true');

# as much as there is to log, from the engine too, and nothing tracked
my $from = -s $node->logfile;
$node->adjust_conf('postgresql.conf', 'log_min_messages', 'debug5');
$node->append_conf('postgresql.conf', "track_activities = off\ntrack_counts = off\nupdate_process_title = off\n");
$node->restart;
my ($rc, $out, $err) = $node->psql('postgres', "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secrets[0]again\n\\.\n");
is($rc, 0, 'log_min_messages = debug5: a secret is taken');
sql(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'untracked')});
wait_for_delivery($node);
wait_for('the log has debug messages of the engine', sub { log_since($node, $from) =~ /todo_events engine DEBUG/ });
is(logged($from, qr/Tr0ub4dor/), 0, 'debug5: no secret in the server log');
$node->stop('fast');
is(logged($beginning, qr/Tr0ub4dor/), 0, 'nor in all of it');

# ---- not preloaded, but loaded otherwise --------------------------------------------------------------------

$node = todo_node('loaded', brokers => '', start => 0);
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$beginning = -s $node->logfile // 0;
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION todo_events; SELECT todo_events.create_tasks('public.tasks')});
$node->safe_psql('postgres', q{CREATE DATABASE other});
for (['LOAD by hand', "LOAD 'todo_events';", {}], ['LOAD twice', "LOAD 'todo_events'; LOAD 'todo_events';", {}],
	['session_preload_libraries', '', { PGOPTIONS => '-c session_preload_libraries=todo_events' }])
{
	my ($name, $first, $environment) = @$_;
	local %ENV = (%ENV, %$environment);
	($rc, $out, $err) = $node->psql('postgres', <<"END");
$first
SET todo_events.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), '$name');
SELECT event->>'traceparent' FROM todo_events.outbox WHERE event->'data'->'payload'->'after'->>'title' = '$name';
SELECT todo_events.maintain();
END
	is($err, '', "$name: works");
	is($out, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n0", "$name: events are stored");
	is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM todo_events.health() WHERE level = 'error' AND hint LIKE '%shared_preload_libraries%'}), 't',
		"$name: health() says that nothing is delivered");
	# where the extension is not created, it disturbs nothing
	is($node->safe_psql('other', "$first SELECT 1"), '1', "$name: in a database without the extension");
}
is(logged($beginning, qr/PANIC|FATAL|terminated by signal/), 0, 'and nothing has crashed');

# and as well as preloaded
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'todo_events'");
$node->append_conf('postgresql.conf', "session_preload_libraries = 'todo_events'\n");
$node->restart;
is($node->safe_psql('postgres', q{LOAD 'todo_events'; INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'both'); SELECT count(*) FROM todo_events.outbox}), '4',
	'preloaded, preloaded by the session and loaded by hand');
wait_for('with an engine', sub { engine_pid($node) });
$node->stop('fast');
done_testing();
