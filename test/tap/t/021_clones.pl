# Physical copies: a clone with another todo_events.instance, or without the original's, and a
# Neon branch send nothing until they are adopted; a promotion, a recovery to a point in time
# and a restart go on, in a new epoch; where no instance is set, health says so. (G8)

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use TodoEvents;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();

# a configuration file outside the data directory
sub outside
{
	my ($node, $name, @lines) = @_;
	my $file = "$dir/$name.conf";
	append_to_file($file, join("", map { "$_\n" } @lines));
	$node->append_conf('postgresql.conf', "include '$file'");
	return;
}

my $primary = todo_node('clones', start => 0, init => [ has_archiving => 1, allows_streaming => 1 ]);
outside($primary, 'prod', "todo_events.instance = 'prod'");
$primary->start;
my $topics = todo_topics($primary, 'postgres', 'CREATE EXTENSION todo_events;');
$primary->safe_psql('postgres', "SELECT todo_events.create_tasks('public.tasks')");
sub insert
{
	my ($node, $title, $rows) = @_;
	$node->safe_psql('postgres', "INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), '$title' FROM generate_series(1, " . ($rows // 1) . ')');
	return;
}
sub epochs { return $_[0]->safe_psql('postgres', "SELECT string_agg(reason || ':' || instance, ', ' ORDER BY epoch) FROM todo_events_internal.epoch"); }
insert($primary, 'original', 3);
wait_for_delivery($primary);
like(health_line($primary, 'identity'), qr/^ok\|instance "prod"/, 'health names the instance');
$primary->backup('base');
insert($primary, 'later', 2);
wait_for_delivery($primary);
my $point = $primary->safe_psql('postgres', 'SELECT now()');
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');

# titles that have arrived, each with how often
sub arrived
{
	my ($node) = @_;
	my %count;

	$node->{todo_topics} = $topics;
	$count{ $_->{data}{payload}{after}{title} }++ for topic_events($node);
	return join(', ', map { "$_ $count{$_}" } sort keys %count);
}

# a clone with the include of its original replaced by other lines
sub clone
{
	my ($name, $backup, @lines) = @_;
	my $clone = PostgreSQL::Test::Cluster->new($name);

	$clone->init_from_backup($primary, $backup);
	my $conf = slurp_file($clone->data_dir . '/postgresql.conf');
	$conf =~ s/^include .*$//mg;
	$conf =~ s/^archive_.*$//mg;
	open(my $file, '>', $clone->data_dir . '/postgresql.conf') or die $!;
	print $file $conf;
	close $file;
	outside($clone, $name, @lines) if @lines;
	return $clone;
}

sub start_and_look
{
	my ($node) = @_;
	$node->start;
	wait_for_sql($node, $node->name . ': its engine has looked around',
		"SELECT bool_or(state = 'running') FROM todo_events.workers WHERE role = 'log'");
	return;
}

sub is_silent
{
	my ($node, $why) = @_;
	my $before = arrived($node);

	like(health_line($node, 'identity'), qr/^error\|this database.*$why.*adopt/, $node->name . ': health says that it is a copy, and why');
	insert($node, 'in ' . $node->name);
	is($node->safe_psql('postgres', "SELECT state, io_pid FROM todo_events.workers WHERE role = 'publisher'"), 'off|', $node->name . ': no publisher');
	is(arrived($node), $before, $node->name . ': nothing leaves');
	return;
}

# ---- a clone with another instance, and one with none ---------------------------------

my $staging = clone('staging', 'base', "todo_events.instance = 'staging'");
start_and_look($staging);
is_silent($staging, 'instance is "staging", and was "prod"');
$staging->restart;
is_silent($staging, 'instance is "staging", and was "prod"');
is($staging->safe_psql('postgres', 'SELECT todo_events.adopt()'), 't', 'adopted');
insert($staging, 'adopted staging');
wait_for_delivery($staging);
like(arrived($staging), qr/^adopted staging 1, later 2, original 3$/, 'it sends what comes from then on');
is(epochs($staging), 'created:prod, adopted, backlog discarded:staging', 'adopt begins an epoch');
$staging->restart;
insert($staging, 'adopted staging');
wait_for_delivery($staging);
like(health_line($staging, 'identity'), qr/^ok\|instance "staging"/, 'and is remembered');
$staging->stop('fast');

# two copies with one name, as when staging is made anew every week
my $who_is = 'SELECT todo_events_internal.database_id()';
my $again_staging = clone('staging2', 'base', "todo_events.instance = 'staging'");
start_and_look($again_staging);
is($again_staging->safe_psql('postgres', 'SELECT todo_events.adopt()'), 't', 'a second copy of that name is adopted');
my $second = $again_staging->safe_psql('postgres', $who_is);
$again_staging->stop('fast');
$staging->start;
isnt($second, $staging->safe_psql('postgres', $who_is), 'and is another database than the first');
$staging->stop('fast');

my $nameless = clone('nameless', 'base');
start_and_look($nameless);
is_silent($nameless, 'instance is "", and was "prod"');
$nameless->stop('fast');

# one inside the data directory would be copied along: it has no effect
my $inside = clone('inside', 'base');
$inside->append_conf('postgresql.conf', "todo_events.instance = 'prod'");
start_and_look($inside);
is_silent($inside, 'instance was "prod", and is set in a file inside the data directory, where it has no effect');
$inside->stop('fast');

# ---- a Neon branch -----------------------------------------------------------------------

my $main = clone('branch_main', 'base', "todo_events.instance = 'prod'", "neon.timeline_id = 'aaaa'");
start_and_look($main);
is_silent($main, 'Neon branch: aaaa instead of none');
is($main->safe_psql('postgres', "SELECT todo_events.adopt('send')"), 't', 'adopted');
wait_for_delivery($main);
like(arrived($main), qr/in branch_main 1/, 'with what waited');
$main->backup('branch');
my $branch = PostgreSQL::Test::Cluster->new('branch');
$branch->init_from_backup($main, 'branch');
outside($branch, 'branch', "neon.timeline_id = 'bbbb'");
start_and_look($branch);
is_silent($branch, 'Neon branch: bbbb instead of aaaa');
my ($out, $err);
$branch->psql('postgres', q{SET neon.timeline_id = 'aaaa'; SELECT level FROM todo_events.health() WHERE component = 'identity'}, stdout => \$out);
is($out, 'error', 'a session that says otherwise changes nothing');
$branch->stop('fast');
$main->stop('fast');

# ---- a recovery to a point in time, in place -------------------------------------------------

insert($primary, 'undone', 2);
wait_for_delivery($primary);
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
my $was = epochs($primary);
$primary->stop('fast');
my $again = PostgreSQL::Test::Cluster->new('recovered');
$again->init_from_backup($primary, 'base', has_restoring => 1);
$again->append_conf('postgresql.conf', "recovery_target_time = '$point'\nrecovery_target_action = promote");
$again->start;
wait_for_sql($again, 'recovery has ended', 'SELECT NOT pg_is_in_recovery()');
wait_for_sql($again, 'a new epoch has begun', 'SELECT count(*) = 2 FROM todo_events_internal.epoch');
is(epochs($again), "$was, promotion or recovery:prod", 'the same instance on a new timeline goes on, in a new epoch');
insert($again, 'recovered', 2);
wait_for_delivery($again);
my %events;
$again->{todo_topics} = $topics;
push @{ $events{ $_->{id} } }, $_->{data}{payload}{after}{title} for topic_events($again);
is(scalar(grep { my %titles = map { $_ => 1 } @{ $events{$_} }; keys %titles > 1 } keys %events), 0,
	'no event has the id of one that the recovery has undone');
like(arrived($again), qr/recovered 2.*undone 2/, 'what comes is sent');
$again->stop('fast');

# ---- no instance -------------------------------------------------------------------------------

my $plain = todo_node('plain', brokers => '', topics => 0, conf => "max_worker_processes = 5\n", init => [ allows_streaming => 1 ]);
# there is one seat: this one waits
$plain->safe_psql('postgres', 'CREATE DATABASE waiting');
$plain->safe_psql('waiting', 'CREATE EXTENSION todo_events');
like(health_line($plain, 'identity'), qr/^ok\|todo_events.instance is not set: a clone/, 'without an instance health says that copies are not told apart');
$plain->safe_psql('postgres', "SELECT todo_events.create_tasks('public.tasks')");
insert($plain, 'nameless', 3);
outside($plain, 'named', "todo_events.instance = 'named'");
start_and_look($plain) if $plain->stop('fast');
wait_for_sql($plain, 'the name is noted', 'SELECT count(*) = 2 FROM todo_events_internal.epoch');
is(epochs($plain), 'created:, instance named:named', 'the first name given is no copy\'s');
wait_for_sql($plain, 'also in a database that waits for a worker', "SELECT bool_or(instance = 'named') FROM todo_events_internal.epoch", undef, 'waiting');

# a clone whose facts are those that its original had at first
my $ids = "SELECT string_agg(event->>'id', ' ' ORDER BY id) FROM todo_events.outbox WHERE id <= 3";
my $first_ids = $plain->safe_psql('postgres', $ids);
$plain->backup('named');
my $former = PostgreSQL::Test::Cluster->new('former');
$former->init_from_backup($plain, 'named');
my $conf = slurp_file($former->data_dir . '/postgresql.conf');
$conf =~ s/^include .*$//mg;
open(my $file, '>', $former->data_dir . '/postgresql.conf') or die $!;
print $file $conf;
close $file;
start_and_look($former);
is($former->safe_psql('postgres', $ids), $first_ids, 'events of the original have their ids in a copy');
is($former->safe_psql('postgres', "SELECT todo_events.adopt('send')"), 't', 'which is adopted');
is($former->safe_psql('postgres', $ids), $first_ids, 'and keep them');
isnt($former->safe_psql('postgres', $who_is), $plain->safe_psql('postgres', $who_is), 'though it is another database');
$former->stop('fast');
$plain->append_conf('postgresql.auto.conf', "todo_events.instance = 'other'");
$plain->stop('fast');
start_and_look($plain);
is_silent($plain, 'instance was "named", and is set in a file inside the data directory, where it has no effect');
$plain->stop('fast');

done_testing();
