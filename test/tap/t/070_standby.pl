# A standby, hot, cold or of a standby: nothing of ours runs on it, health() says why, what
# reads works, what writes or needs the primary says so (G11).

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Standby;
use Test::More;

my $primary = todo_node('primary', init => [ allows_streaming => 1 ], conf => TodoEvents::Standby::settings());
sub sql { return $primary->safe_psql('postgres', @_); }

sql(q{SELECT todo_events.create_tasks('public.tasks');
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'before' FROM generate_series(1, 10)});
my $hot = standby_of($primary, 'hot');
my $next = standby_of($hot, 'next', base => $primary);
my $cold = standby_of($primary, 'cold', conf => "hot_standby = off\n");
sql(q{CREATE TABLE plain (id int PRIMARY KEY);
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'replicated' FROM generate_series(1, 10);
UPDATE tasks SET status = 'completed' WHERE title = 'before'});
wait_for_delivery($primary);
# a standby knows what is delivered by the persisted cursor
my $high = sql('SELECT high FROM todo_events.lag');
wait_streaming($hot, $next);
wait_for_sql($_, $_->name . ' has all of it', "SELECT high = $high FROM todo_events.lag") for $hot, $next;

# ---- nothing of ours runs ----------------------------------------------------------------

is(scalar(grep { $_->[1] =~ /launcher|engine|todo_events_io/ } our_processes($primary)), 3, 'launcher, engine and I/O process on the primary');
is_deeply([ our_processes($_) ], [], 'nothing of ours on the ' . $_->name . ' standby') for $hot, $next, $cold;
for my $node ($hot, $next)
{
	is(health_line($node, 'engine'), 'ok|this server is a standby; the primary delivers|At promotion the engine starts by itself and goes on where the primary had come.',
		'health() of the ' . $node->name . ' standby says why');
	is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT level, ' ') FROM todo_events.health()}), 'ok', 'and nothing is amiss');
}

# ---- what reads works ----------------------------------------------------------------------

my @same = (
	'SELECT id, event::text FROM todo_events.outbox ORDER BY id',
	'SELECT * FROM todo_events.attachments',
	'SELECT topic, partitions, retention, key_by FROM todo_events.topics ORDER BY 1',
	'SELECT * FROM todo_events.dead_letters',
	'SELECT * FROM todo_events.setting_config',
	q{SELECT * FROM todo_events.settings WHERE name <> 'brokers' ORDER BY name},
	'TABLE todo_events.route_config',
	'SELECT reader, events_behind, exact, oldest_undelivered_at, high, log_end FROM todo_events.lag',
);
for my $node ($hot, $next)
{
	for my $query (@same)
	{
		my ($view) = $query =~ /todo_events\.(\w+)/;
		is($node->safe_psql('postgres', $query), sql($query), $node->name . ": $view reads as on the primary");
	}
	is($node->safe_psql('postgres', q{SELECT string_agg(role || ' ' || state, ',') FROM todo_events.workers}), 'launcher stopped',
		$node->name . ': workers shows none');
	is($node->safe_psql('postgres', q{SELECT value FROM todo_events.metrics() WHERE name = 'todo_events_standby'}), '1', $node->name . ': metrics() tells a standby');
}
is(sql(q{SELECT value FROM todo_events.metrics() WHERE name = 'todo_events_standby'}), '0', 'and the primary');

# ---- what writes does not --------------------------------------------------------------------

my $topic = $hot->{todo_topics}{'task-events'};
my @calls = (
	'cursor()', 'read(NULL)', 'maintain()', q{configure('source', 'x')}, q{configure('source', NULL)},
	q{create_tasks('public.more')}, q{attach('plain')}, q{detach('tasks')}, 'detach_all()',
	qq{publish('$topic', 'com.example.thing', '{}'::json)}, qq{publish('$topic', 'com.example.thing', '{}'::text)},
	qq{publish('$topic', 'com.example.thing', '{}'::jsonb)},
	q{wait_for_delivery('1 hour')}, 'redrive(1)', qq{redrive('$topic', NULL, NULL, NULL)}, 'purge_dead_letters(now())',
);
for my $call (@calls)
{
	my ($name) = $call =~ /^(\w+)/;
	my ($out, $err) = ('', '');
	$hot->psql('postgres', "\\set VERBOSITY verbose\nSELECT todo_events.$call", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  25006: todo_events\.$name\(\) does not run on a standby\nHINT:  Call it on the primary server\./, "$call is refused on a standby, with a hint");
}
# PostgreSQL's own words, with the same code
for my $statement (qq{SELECT todo_events.create_topic('more')}, q{SELECT todo_events.grant_access('pg_monitor', 'viewer')},
	q{SELECT todo_events.revoke_access('pg_monitor')}, q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'no')},
	q{DELETE FROM todo_events.route_config}, "COPY todo_events.secret_input FROM STDIN;\nsasl_password=secret\n\\.\n")
{
	my ($out, $err) = ('', '');
	$hot->psql('postgres', "\\set VERBOSITY verbose\n$statement", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  25006: /, substr($statement, 0, 40) . ' ... is refused on a standby');
	unlike($err, qr/secret\b(?!_)/, 'without the secret') if $statement =~ /COPY/;
}
is_deeply([ our_processes($hot) ], [], 'none of it has started anything');

# a transaction that may not write, on the primary
for my $call (qq{publish('$topic', 'com.example.thing', '{}'::json)}, q{configure('source', 'x')})
{
	my ($name) = $call =~ /^(\w+)/;
	my ($out, $err) = ('', '');
	$primary->psql('postgres', "\\set VERBOSITY verbose\nBEGIN READ ONLY; SELECT todo_events.$call", stdout => \$out, stderr => \$err);
	like($err, qr/ERROR:  25006: cannot execute todo_events\.$name\(\) in a read-only transaction/, "$name() is refused in a read-only transaction");
}

# ---- a standby that would deliver nothing when promoted says so beforehand ---------------------

$hot->append_conf('postgresql.conf', "todo_events.databases = 'elsewhere'\n");
$hot->reload;
wait_for_sql($hot, 'the setting is read', q{SELECT current_setting('todo_events.databases') = 'elsewhere'});
like(health_line($hot, 'engine'), qr/^warning\|.*todo_events\.databases leaves this database out.*promotion/, 'todo_events.databases');
my $name = PostgreSQL::Test::Utils::tempdir() . '/name.conf';
PostgreSQL::Test::Utils::append_to_file($name, "todo_events.instance = 'elsewhere'\n");
$hot->append_conf('postgresql.conf', "todo_events.databases = '*'\ninclude = '$name'\n");
$hot->restart;
like(health_line($hot, 'identity'), qr/^warning\|todo_events\.instance is "elsewhere" here and "" on the primary: after a promotion .* send nothing\|/, 'another instance');
$hot->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$hot->restart;
like(health_line($hot, 'engine'), qr/^warning\|.*not preloaded.*promotion/, 'no preload');

# ---- a cold one is promoted as a hot one is --------------------------------------------------------

$_->stop('fast') for $next, $hot, $primary;
promote($cold);
$cold->safe_psql('postgres', q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'of the cold one')});
check_delivery($cold, at_least => 31, duplicates => 0);
$cold->stop('fast');
done_testing();
