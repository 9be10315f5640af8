# Rounds of promotion under load: the primary is killed, stopped at once, stopped in order, or
# left running beside its promoted standby, and then made the standby of that one, by pg_rewind
# or a base backup. As a manager of such a pair does it, a primary asks for the word of a
# standby when it has one. At the end everything is counted: what was committed and replicated,
# or acknowledged to a client, has arrived, in order, and nothing that the last server does not
# hold (G1, G2, G3, G11).
#
# TE_PROMOTIONS: how many (default 3; `make chaos` has 50). TE_SEED repeats a load.

use strict;
use warnings;
use File::Path qw(rmtree);
use TodoEvents;
use TodoEvents::Load;
use TodoEvents::Standby;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{TE_PROMOTIONS} // 3;
my @ends = ('kill', 'immediate stop', 'switchover', 'left running');

my $primary = todo_node('a', init => [ allows_streaming => 1 ],
	conf => TodoEvents::Standby::settings() . TodoEvents::Load::settings() . "wal_writer_delay = 10s\n");
load_setup($primary);
my $standby = standby_of($primary, 'b');
my $consumer = start_consumer($primary);

sub ask_for
{
	my ($names) = @_;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '$names'\n");
	$primary->reload;
	return;
}

# Clients that note what they were told is committed: "task|sequence" a line. Each waits for the
# standby in another way.
sub start_clients
{
	return map {
		psql_script($primary, "SET synchronous_commit = $_;\n" . <<'END' x 1000);
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'told' FROM (SELECT pg_sleep(0.01)) s RETURNING id, sequence;
UPDATE tasks SET title = 'told ' || clock_timestamp() WHERE id = '00000000-0000-4000-8000-000000000001' RETURNING id, sequence;
END
	} qw(on remote_apply remote_write);
}

my @told;

# what clients were told, now that they are gone
sub finish_clients
{
	for my $client (@_)
	{
		$client->finish;
		my @lines = grep { /^[0-9a-f-]{36}\|\d+$/ } split /\n/, psql_output($client);
		push @told, @lines;
	}
	return;
}

# the primary has a standby that has all, and asks for its word from now on
sub wait_synchronous
{
	my ($what) = @_;
	wait_streaming($primary, $standby);
	ask_for('*');
	wait_for_sql($primary, "$what: the standby is asked for", q{SELECT sync_state = 'sync' FROM pg_stat_replication});
	$primary->wait_for_catchup($standby, 'flush', $primary->lsn('insert'));
	return;
}

# every process of a server without a postmaster
sub wait_gone
{
	my ($what, @pids) = @_;
	wait_for("$what: nothing of it is left", sub { !grep { !is_gone($_, '') } @pids });
	return;
}

my (%times, $seen);
for my $round (1 .. $rounds)
{
	my $end = $ends[ $round % @ends ];
	my $what = "round $round, $end";

	wait_synchronous($what);
	my @clients = start_clients();
	my $load = load_start($primary, seconds => 3600, clients => 6, rate => 150);
	my $before = $primary->safe_psql('postgres', 'SELECT count(*) FROM ledger');
	wait_for_sql($primary, "$what: there is load", "SELECT count(*) > $before + 100 FROM ledger");

	# ---- the end of the one ----
	my @ours = map { $_->[0] } our_processes($primary);
	if ($end eq 'kill')
	{
		my @all = server_processes($primary);
		$primary->kill9;
		wait_gone($what, @all, @ours);
	}
	elsif ($end eq 'immediate stop') { $primary->stop('immediate'); }
	elsif ($end eq 'switchover') { $primary->stop('fast'); }
	unless ($end eq 'left running')
	{
		wait_gone($what, @ours);
		load_finish($load, cut => 1, stopped => 1);
		finish_clients(@clients);
	}

	# ---- the other ----
	$seen = $consumer->count;
	my $at = promote($standby);
	$standby->safe_psql('postgres', "INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'probe $round')");
	my ($first, $probe);
	wait_for("$what: the new primary publishes", sub {
		my @new = ($consumer->messages)[ $seen .. $consumer->count - 1 ];
		($probe) = grep { $_->{value} =~ /"title":"probe $round"/ } @new;
		# what the old one had sent is of before the server was ready
		($first) = grep { $_->{received} / 1e6 > $at->{ready} } @new;
		return $probe;
	});
	push @{ $times{first} }, 1000 * ($first->{received} / 1e6 - $at->{ready});
	push @{ $times{probe} }, 1000 * ($probe->{received} / 1e6 - $at->{ready});
	push @{ $times{promote} }, 1000 * ($at->{ready} - $at->{called});
	if ($end eq 'left running')
	{
		# who waits for nobody goes on writing there, and nobody gets it
		$primary->safe_psql('postgres', q{SET synchronous_commit = local; INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'left running' FROM generate_series(1, 20)});
		wait_for("$what: it waits for its standby", sub { health_line($primary, 'durability') =~ /^warning/ });
		$primary->stop('immediate');
		wait_gone($what, @ours);
		load_finish($load, cut => 1, stopped => 1);
		finish_clients(@clients);
	}
	($primary, $standby) = ($standby, $primary);
	load_resolve($primary);

	# ---- and that one again, under load ----
	$load = load_start($primary, seconds => 3600, clients => 4, rate => 50);
	if ($round % 8 == 5)
	{
		my $backup = "round_$round";
		rmtree($standby->data_dir);
		$primary->backup($backup);
		$standby->init_from_backup($primary, $backup, has_streaming => 1);
		rmtree($primary->backup_dir . "/$backup");
	}
	elsif ($end eq 'switchover') { follow($standby, $primary); }
	else { rewind($standby, $primary); }
	$standby->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
	$standby->start;
	is_deeply([ our_processes($standby) ], [], "$what: nothing of ours runs on the former primary");
	load_stop($load);
	check_delivery($primary, name => "after $round rounds", timeout => 120) if $round % 10 == 0 && $round < $rounds;
}

# ---- counting -----------------------------------------------------------------------------------

$consumer->stop;
my $events = check_ledger($primary);
my $is = check_delivery($primary, name => "$rounds promotions", timeout => 120, at_least => 100 * $rounds);
check_delivery($primary, name => 'by user', topic => 'task-updates', timeout => 120);
ledger_against_topic($primary, 'against the ledger');

my $file = PostgreSQL::Test::Utils::tempdir() . '/told';
PostgreSQL::Test::Utils::append_to_file($file, join('', map { "$_\n" } @told));
my ($told, $gone) = split /\|/, $primary->safe_psql('postgres', <<"END");
CREATE TEMP TABLE told (task uuid, sequence bigint);
\\copy told FROM '$file' WITH (DELIMITER '|')
SELECT count(*), count(*) FILTER (WHERE l.task IS NULL) FROM told LEFT JOIN ledger l USING (task, sequence)
END
cmp_ok($told, '>', 10 * $rounds, "clients were told of $told commits");
is($gone, 0, 'none of which a promotion has taken back');
is($primary->safe_psql('postgres', q{SELECT count(*) FROM todo_events_internal.epoch}), $rounds + 1, 'each promotion began an epoch');

for my $name (qw(promote first probe))
{
	my @sorted = sort { $a <=> $b } @{ $times{$name} };
	my %label = (promote => 'pg_ctl promote -> ready', first => 'ready -> first event published', probe => 'ready -> an event committed after that');
	note(sprintf('%-40s p50 %.0f ms, max %.0f ms, of %d', $label{$name}, $sorted[ $#sorted / 2 ], $sorted[-1], scalar @sorted));
	cmp_ok($sorted[ $#sorted / 2 ], '<', 1000, 'publishing resumes within a second') if $name eq 'first';
}
note("$events events; $is->{received} messages, $is->{duplicates} duplicates, $is->{lost} lost, $is->{phantom} phantoms, $is->{misordered} out of order");
$_->stop('fast') for $standby, $primary;

done_testing();
