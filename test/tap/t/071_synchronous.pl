# Nothing is sent without the quorum's word: with synchronous standbys asked for, an event
# reaches Kafka when they have acknowledged it, whatever its writer waited for; also where
# they are asked for, or no longer, at run time; and a promotion finds nothing sent that the
# promoted standby has not (G1). 066 has the single standby, crashes and read().

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use TodoEvents::Standby;
use Test::More;
use Time::HiRes qw(time);

my $primary = todo_node('primary', init => [ allows_streaming => 1 ],
	conf => TodoEvents::Standby::settings() . "todo_events.inject = ''\nwal_writer_delay = 10s\n");
sub sql { return $primary->safe_psql('postgres', @_); }
sql(q{SELECT todo_events.create_tasks('public.tasks')});
my %standby = map { $_ => standby_of($primary, $_) } qw(a b);
my $consumer = start_consumer($primary);

sub arrived
{
	my ($title) = @_;
	return scalar grep { ($_->{data}{payload}{after}{title} // '') eq $title } $consumer->events;
}

sub insert_sql { my ($title, $commit) = @_; return "SET synchronous_commit = $commit; INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), '$title')"; }
sub insert { return sql(insert_sql(@_)); }

# the file says it, the checkpointer and every new session know it
sub ask_for
{
	my ($names) = @_;
	$primary->append_conf('postgresql.conf', qq{synchronous_standby_names = '$names'\n});
	$primary->reload;
	wait_for_sql($primary, "'$names' is asked for", "SELECT current_setting('synchronous_standby_names') = '$names'");
	return;
}

# For half a second nothing comes of what everybody sees.
sub nothing_comes
{
	my ($title, $what) = @_;
	my $until = time + 0.5;
	is(sql("SELECT count(*) FROM todo_events.outbox WHERE event->'data'->'payload'->'after'->>'title' = '$title'"), 1, "$what: the event is there");
	wait_for('time passes', sub { time > $until || arrived($title) });
	is(arrived($title), 0, "$what: it is not sent");
	return;
}

sub comes
{
	my ($title, $what) = @_;
	wait_for("$what: $title arrives", sub { arrived($title) });
	pass("$what: it is sent");
	return;
}

# A standby whose WAL receiver does nothing: connected, and away.
sub freeze
{
	my ($name) = @_;
	my $pid = $standby{$name}->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');
	kill 'STOP', $pid or die "$pid: $!";
	return $pid;
}
sub thaw { kill 'CONT', $_[0] or die "$_[0]: $!"; return; }

wait_streaming($primary, $standby{$_}) for qw(a b);
insert('warm', 'on');
comes('warm', 'no standby is asked for');

# ---- FIRST and ANY, whatever the writer waits for --------------------------------------------

ask_for('FIRST 1 (a, b)');
for my $commit (qw(remote_write on remote_apply))
{
	insert("first $commit", $commit);
	comes("first $commit", "FIRST 1 (a, b), synchronous_commit = $commit");
}
my $b = freeze('b');
insert('first without b', 'local');
comes('first without b', 'FIRST 1 (a, b) without b');
my $a = freeze('a');
insert('first without a', 'local');
nothing_comes('first without a', 'FIRST 1 (a, b) without either');
wait_for('health() says what is waited for',
	sub { health_line($primary, 'durability') =~ /^warning\|events wait until the synchronous standbys .*\|.*pg_stat_replication/ });
thaw($b);
nothing_comes('first without a', 'FIRST 1 (a, b) without a, which is connected');

ask_for('ANY 1 (a, b)');
comes('first without a', 'ANY 1 (a, b), asked for at run time instead');
is(health_line($primary, 'durability'), '', 'and health() has nothing more to say of it');
insert('any without a', 'off');
comes('any without a', 'ANY 1 (a, b) without a');
ask_for('ANY 2 (a, b)');
insert('both', 'off');
nothing_comes('both', 'ANY 2 (a, b) without a');
thaw($a);
comes('both', 'ANY 2 (a, b) with both');

# remote_write is less than what is asked for an event: written and not flushed is not enough;
# a writer that waits for no more sees its commit done, and its event waits
insert('written', 'remote_write');
comes('written', 'remote_write, with the flush behind it');

# ---- removed, and asked for, at run time ---------------------------------------------------------

$_->stop('immediate') for values %standby;
insert('nobody there', 'off');
nothing_comes('nobody there', 'both standbys are gone');
ask_for('');
comes('nobody there', 'no standby is asked for any more');

# The engine is at work when they are asked for, and learns of it only after it has read
# and sent what was committed since.
insert('awake', 'on');
comes('awake', 'before');
$primary->append_conf('postgresql.conf', "todo_events.inject = 'publisher_before_cycle=sleep:3000'\n");
$primary->reload;
wait_for_sql($primary, 'the engine passes the point', q{SELECT current_setting('todo_events.inject') <> ''});
my $from = time;
insert('asleep', 'on');
$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'a'\ntodo_events.inject = ''\n");
$primary->reload;
# a commit that waits shows that the server knows of it, whoever else does
my $waits = psql_script($primary, 'CREATE TABLE waits ()');
wait_for_sql($primary, 'a commit waits for the standby', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')});
insert('too early', 'off');
cmp_ok(time - $from, '<', 3, 'all of it while the engine slept');
wait_for('the engine has slept, and sent what it may', sub { time > $from + 3.5 || arrived('too early') });
is(arrived('too early'), 0, 'a standby asked for while the engine was at work: its word is waited for');

# ---- and promoted -------------------------------------------------------------------------------------

$standby{a}->start;
comes('too early', 'the standby is back');
$waits->finish;
$primary->wait_for_catchup($standby{a});
# from here on the standby gets nothing more
$a = freeze('a');
insert('lost', $_) for qw(off local);
my $late = psql_script($primary, insert_sql('lost', 'on'));
wait_for_sql($primary, 'a writer waits for the standby', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')});
is(sql(q{SELECT count(*) FROM tasks WHERE title = 'lost'}), 2, 'what waits for no standby is committed for all to see');
nothing_comes_of_lost();
$primary->stop('immediate');
$late->finish;
kill 'KILL', $a;
$standby{a}->append_conf('postgresql.conf', qq{synchronous_standby_names = ''\n});
$standby{a}->append_conf('postgresql.conf', qq{primary_conninfo = ''\n});
wait_for('the standby is back from the loss of its receiver', sub { $standby{a}->psql('postgres', 'SELECT 1') == 0 });
promote($standby{a});
is($standby{a}->safe_psql('postgres', q{SELECT count(*) FROM tasks WHERE title = 'lost'}), 0, 'the promoted standby has none of it');
$standby{a}->safe_psql('postgres', insert_sql('afterwards', 'on'));
comes('afterwards', 'and goes on');
is(arrived('lost'), 0, 'nor was any of it sent');
$consumer->stop;
check_delivery($standby{a}, at_least => 14);
$standby{a}->stop('fast');

sub nothing_comes_of_lost
{
	my $until = time + 0.5;
	wait_for('time passes', sub { time > $until || arrived('lost') });
	is(arrived('lost'), 0, 'and not sent');
	return;
}

done_testing();
