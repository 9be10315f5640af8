# An idle system runs no query, writes no WAL and takes no CPU (G10), also after a
# load and while a transaction with events is held open.
#
# TE_SECONDS: how long it is watched (default 6; test/chaos/idle.t has 60)

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{TE_SECONDS} // 6;
my $statements = -e `$TodoEvents::bindir/pg_config --sharedir` =~ s/\n//r . '/extension/pg_stat_statements.control';

# nothing of the server's own: no checkpoint, no snapshots for standbys, no autovacuum
my $node = todo_node('idle', conf => TodoEvents::Load::settings() . <<'END' . ($statements ? "shared_preload_libraries = 'pg_stat_statements, todo_events'\n" : ''));
checkpoint_timeout = 1h
wal_level = minimal
max_wal_senders = 0
autovacuum = off
END
sub sql { return $node->safe_psql('postgres', @_); }
load_setup($node);
sql('CREATE EXTENSION pg_stat_statements') if $statements;
load_finish(load_start($node, seconds => 2, clients => 8));
wait_for_delivery($node);

# clock ticks (10 ms) that a process has taken
sub ticks
{
	my ($pid) = @_;
	my $stat = PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat");
	my @field = split / /, $stat =~ s/^.*\) //sr;
	return $field[11] + $field[12];
}

# between two looks nothing is asked of the server
sub watch
{
	my ($what) = @_;
	my %pid = (launcher => launcher_pid($node), engine => engine_pid($node), 'I/O process' => io_pid($node));
	my %ticks;

	# the last save of the cursors is at most a second away, and the look at what is undecided ends
	my $calm = 0;
	my $lsn = '';
	wait_for("$what: it has calmed down", sub {
		my $now = sql('SELECT pg_current_wal_insert_lsn()');
		$calm = $now eq $lsn ? $calm + 1 : 0;
		$lsn = $now;
		my $next = time + 0.5;
		wait_for('half a second', sub { time > $next });
		return $calm >= 4;
	});
	sql('SELECT pg_stat_statements_reset()') if $statements;
	$lsn = sql('SELECT pg_current_wal_insert_lsn()');
	$ticks{$_} = ticks($pid{$_}) for keys %pid;
	my $until = time + $seconds;
	wait_for("$what: $seconds seconds pass", sub { time > $until }, $seconds + 5);
	for my $who (sort keys %pid)
	{
		my $took = ticks($pid{$who}) - $ticks{$who};
		note("$what: $who took $took ticks of 10 ms in $seconds s");
		# librdkafka has timers of its own: some tenths of a per mille
		cmp_ok($took, '<=', $who eq 'I/O process' ? 1 + $seconds / 5 : 0, "$what: no CPU for the $who");
	}
	is(sql('SELECT pg_current_wal_insert_lsn()'), $lsn, "$what: no WAL");
	is( sql(q{SELECT string_agg(query, E'\n') FROM pg_stat_statements
		WHERE query NOT LIKE '%pg_current_wal_insert_lsn%' AND query NOT LIKE '%pg_stat_statements%'}),
		'', "$what: no query")
	  if $statements;
	return;
}

watch('after a load');
my $open = $node->background_psql('postgres');
$open->query_safe('BEGIN');
$open->query_safe(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'open')});
sql(q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'beside it')});
wait_for_delivery($node);
my $lsn = '';
wait_for('beside an open transaction no WAL is written', sub {
	my $now = sql('SELECT pg_current_wal_insert_lsn()');
	my $same = $now eq $lsn;
	$lsn = $now;
	my $next = time + 1.5;
	wait_for('more than a second', sub { time > $next });
	return $same;
});
$open->query_safe('COMMIT');
$open->quit;
check_delivery($node, at_least => 100);

$node->stop('fast');
done_testing();
