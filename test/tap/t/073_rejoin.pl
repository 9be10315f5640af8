# Former primaries: rebuilt by pg_rewind, by a fresh base backup, or just followed, each is a
# standby on which nothing of ours runs and that sends nothing, and later a primary again; one
# that still runs beside its successor sends nothing either, for want of the quorum's word.
# Standbys of standbys follow (G1, G2, G11).

use strict;
use warnings;
use File::Path qw(rmtree);
use TodoEvents;
use TodoEvents::Standby;
use Test::More;
use Time::HiRes qw(time);

my $a = todo_node('a', init => [ allows_streaming => 1 ], conf => TodoEvents::Standby::settings());
$a->safe_psql('postgres', q{SELECT todo_events.create_tasks('public.tasks')});
my $b = standby_of($a, 'b');
my $consumer = start_consumer($a);
wait_streaming($a, $b);
$_->append_conf('postgresql.conf', "synchronous_standby_names = '*'\n"), $_->reload for $a, $b;

sub insert
{
	my ($node, $title, $n) = @_;
	$node->safe_psql('postgres', "SET synchronous_commit = local; INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), '$title' FROM generate_series(1, $n)");
	return;
}

sub arrived
{
	my ($title) = @_;
	my %ids = map { $_->{id} => 1 } grep { ($_->{data}{payload}{after}{title} // '') eq $title } $consumer->events;
	return scalar keys %ids;
}

sub comes
{
	my ($title, $n, $what) = @_;
	wait_for("$what: $title arrives", sub { arrived($title) >= $n });
	is(arrived($title), $n, $what);
	return;
}

# A standby is one: nothing runs, and it says so.
sub is_standby
{
	my ($node, $what) = @_;
	is_deeply([ our_processes($node) ], [], "$what: nothing of ours runs");
	like(health_line($node, 'engine'), qr/^ok\|this server is a standby/, "$what: and health() says why");
	return;
}

insert($a, 'first', 5);
comes('first', 5, 'the first primary sends');

# ---- pg_rewind, of one that has what nobody else has ---------------------------------------

$b->stop('fast');
insert($a, 'lost', 20);
my @was = ([ engine_pid($a), 'todo_events' ], [ io_pid($a), 'todo_events_io' ]);
$a->stop('immediate');
wait_for('what ran for the first primary is gone', sub { !grep { !is_gone(@$_) } @was });
$b->start;
promote($b);
insert($b, 'alone', 5);
wait_for('the successor waits for a standby of its own', sub { health_line($b, 'durability') =~ /^warning/ });
is(arrived('alone'), 0, 'the successor, alone, sends nothing');
rewind($a, $b);
$a->start;
wait_streaming($b, $a);
comes('alone', 5, 'the successor sends when the rewound one has joined');
is_standby($a, 'pg_rewind');
is($a->safe_psql('postgres', q{SELECT count(*) FROM tasks WHERE title = 'lost'}), 0, 'pg_rewind: it has forgotten what was its own');

# ---- promoted again, beside a primary that does not know -------------------------------------

my $c = standby_of($a, 'c');
wait_streaming($a, $c);
insert($b, 'before', 3);
comes('before', 3, 'with a standby of a standby');
is_standby($c, 'a standby of a standby');
$b->wait_for_catchup($a);
promote($a);
insert($b, 'split', 20);
wait_streaming($a, $c);
insert($a, 'again', 5);
comes('again', 5, 'a former primary, promoted again, sends');
wait_for('the one that it left waits for a standby', sub { health_line($b, 'durability') =~ /^warning/ });
is($b->safe_psql('postgres', q{SELECT state FROM todo_events.workers WHERE role = 'engine'}), 'running', 'which still runs');
is_standby($c, 'a standby of one promoted');
is($c->safe_psql('postgres', q{SELECT count(*) FROM tasks WHERE title = 'again'}), 5, 'and follows it') if wait_for_sql($c, 'c has it', q{SELECT count(*) = 5 FROM tasks WHERE title = 'again'});

# ---- a fresh base backup in the place of that one ----------------------------------------------

@was = ([ engine_pid($b), 'todo_events' ], [ io_pid($b), 'todo_events_io' ]);
$b->stop('immediate');
wait_for('what ran for it is gone', sub { !grep { !is_gone(@$_) } @was });
rmtree($b->data_dir);
$a->backup('anew');
$b->init_from_backup($a, 'anew', has_streaming => 1);
$b->start;
wait_streaming($a, $b);
is_standby($b, 'a fresh base backup');
insert($a, 'once more', 5);
comes('once more', 5, 'its primary sends');

# ---- an orderly switchover, and back to where it began -------------------------------------------

$a->wait_for_catchup($b);
my $sent = $consumer->count;
$a->stop('fast');
promote($b);
follow($a, $b);
$a->start;
wait_streaming($b, $a);
insert($b, 'last', 5);
comes('last', 5, 'after a switchover');
is($consumer->count, $sent + 5, 'which sends nothing twice');
is_standby($a, 'after a switchover');

is(arrived($_), 0, "nothing was sent that the successor had not: $_") for qw(lost split);
my @reasons = split /\n/, $b->safe_psql('postgres', 'SELECT epoch, reason FROM todo_events_internal.epoch ORDER BY epoch');
is(scalar(@reasons), 4, 'each promotion began an epoch');
$consumer->stop;
my $is = check_delivery($b, at_least => 28);
note("$is->{duplicates} duplicates of $is->{received} messages");
$_->stop('fast') for $c, $a, $b;
done_testing();
