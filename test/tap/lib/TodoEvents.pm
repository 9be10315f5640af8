# What tests of todo_events on real clusters and a real Kafka share: a layer on
# PostgreSQL::Test::Cluster, which it loads by itself.
#
#	use TodoEvents;
#	my $node = todo_node('name');                    # preloaded, extension created, own topics
#	$node->safe_psql('postgres', 'INSERT INTO tasks ...');
#	check_delivery($node);                           # sent against received
#
# The broker is that of KAFKA_BOOTSTRAP, which `make test` sets. Without it the
# first todo_node() starts one with scripts/kafka/kafka.sh, which ends with the
# test; so a single file runs by
#
#	prove -Itest/tap/lib test/tap/t/001_smoke.pl
#
# as an ordinary user, on what `make install` installed.
package TodoEvents;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use File::Path qw(rmtree);
use File::Spec;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time usleep);

our ($top, $bindir);

BEGIN
{
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	chomp(my $pgxs = `$pg_config --pgxs`);
	chomp($bindir = `$pg_config --bindir`);
	die "no $pg_config\n" unless $pgxs;
	my $source = dirname(dirname($pgxs));
	$ENV{PG_REGRESS} ||= "$source/test/regress/pg_regress";
	$ENV{PATH} = "$bindir:$ENV{PATH}";
	$top = dirname(dirname(dirname(dirname(File::Spec->rel2abs(__FILE__)))));
	# data and logs of the clusters: build/tmp_check, unless told otherwise
	unless ($ENV{TESTDIR} || $ENV{TESTDATADIR})
	{
		mkdir "$top/build";
		$ENV{TESTDIR} = "$top/build";
	}
	# the names that PostgreSQL's library has for them since 16
	$ENV{TESTDATADIR} ||= "$ENV{TESTDIR}/tmp_check";
	$ENV{TESTLOGDIR} ||= "$ENV{TESTDATADIR}/log";
	# what a failed run of this very test has left
	my $test = basename($0, '.pl');
	rmtree($_) for glob("$ENV{TESTDATADIR}/t_${test}_*");
	unshift @INC, "$source/test/perl";
}

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(todo_node todo_topics kafka kafka_start kafka_control
  wait_for wait_for_sql wait_for_delivery
  engine_pid io_pid launcher_pid health_line log_since
  topic_messages topic_events start_consumer
  delivery check_delivery check_storage unique_name);

my $json = JSON::PP->new->utf8->allow_nonref;
my $patience = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 60;

# ---- waiting ----------------------------------------------------------------

# wait_for(DESCRIPTION, sub { condition }, [SECONDS]): returns what the condition
# returned; a condition that stays false is a failed test, and ends the file.
sub wait_for
{
	my ($what, $condition, $timeout) = @_;
	my $deadline = time + ($timeout // $patience);
	my $pause = 2_000;

	while (1)
	{
		my $result = $condition->();
		return $result if $result;
		last if time > $deadline;
		usleep($pause);
		$pause *= 1.5 if $pause < 100_000;
	}
	fail("waiting: $what");
	give_up("timed out waiting: $what");
}

# Ends the file at once, with what is known in its output.
sub give_up
{
	my ($why) = @_;
	diag($why);
	done_testing();
	exit 1;
}

# wait_for_sql(NODE, DESCRIPTION, QUERY, [SECONDS], [DATABASE]): until it returns t
sub wait_for_sql
{
	my ($node, $what, $query, $timeout, $database) = @_;
	my ($out, $err);

	return wait_for(
		$what,
		sub {
			my $status = $node->psql($database // 'postgres', $query, stdout => \$out, stderr => \$err);
			return $status == 0 && $out eq 't';
		},
		$timeout);
}

# Waits until all that is committed is acknowledged.
sub wait_for_delivery
{
	my ($node, $timeout, $database) = @_;
	$timeout //= $patience;
	my $done = $node->safe_psql($database // 'postgres',
		"SELECT todo_events.wait_for_delivery('$timeout s')");
	return 1 if $done eq 't';
	fail('waiting: everything committed is acknowledged by the broker');
	diag($node->safe_psql($database // 'postgres', 'SELECT * FROM todo_events.health()'));
	give_up("not delivered within $timeout s");
}

# ---- Kafka --------------------------------------------------------------------

my @own_brokers;

# kafka_start(OPTION ...): a broker of this test's own, options as kafka.sh's;
# returns { dir, KAFKA_BOOTSTRAP, ... }. It ends with the test.
sub kafka_start
{
	my (@options) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short() . '/kafka';

	# remembered first: a start that fails half-way is stopped as well
	push @own_brokers, { dir => $dir, pid => $$ };
	system("$top/scripts/kafka/kafka.sh", 'start', $dir, '--quick', @options) == 0
	  or give_up("no Kafka: scripts/kafka/kafka.sh start $dir @options failed");
	my %kafka = (dir => $dir);
	open(my $env, '<', "$dir/env") or die "$dir/env: $!";
	while (my $line = <$env>)
	{
		$kafka{$1} = $2 if $line =~ /^(\w+)='(.*)'$/;
	}
	return \%kafka;
}

# kafka_control(KAFKA, stop|start|kill|freeze|thaw|status)
sub kafka_control
{
	my ($kafka, $command) = @_;
	my $status = system("$top/scripts/kafka/kafka.sh", $command, $kafka->{dir});
	die "kafka.sh $command failed" if $status != 0;
	return;
}

# The shared broker: { KAFKA_BOOTSTRAP, ... } from the environment, or started.
my $shared;

sub kafka
{
	return $shared if $shared;
	if ($ENV{KAFKA_BOOTSTRAP})
	{
		$shared = { map { $_ => $ENV{$_} } grep { /^KAFKA_/ } keys %ENV };
	}
	else
	{
		$shared = kafka_start('--sasl', '--tls');
		$ENV{$_} = $shared->{$_} for grep { /^KAFKA_/ } keys %$shared;
	}
	return $shared;
}

END
{
	my $status = $?;
	for my $kafka (@own_brokers)
	{
		# a child of ours must not end what is not its own
		system("$top/scripts/kafka/kafka.sh stop $kafka->{dir} >/dev/null 2>&1")
		  if $kafka->{pid} == $$ && -d $kafka->{dir};
	}
	$? = $status;
}

# ---- clusters -----------------------------------------------------------------

my $names = 0;

# A name that no other test has used on this broker.
sub unique_name
{
	my ($name) = @_;
	return sprintf('%s-%s-%d', $name, substr($ENV{TE_RUN_ID} // int(time), -6), $$) . '-' . ++$names;
}

# todo_node(NAME, [option => value ...]): a running cluster that preloads
# todo_events and publishes to the shared broker, with the extension in database
# postgres and topics of its own: { $node->{todo_topics} } by their usual names.
#
#	brokers		bootstrap address; '' for none
#	conf		lines for postgresql.conf
#	init		arguments for PostgreSQL::Test::Cluster::init, as an array
#	start		0: do not start it (then there is no extension either)
#	extension	0: do not create the extension
#	topics		0: leave the topics' names as they are
#	install_path	a PostgreSQL other than the one under test
sub todo_node
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name,
		$option{install_path} ? (install_path => $option{install_path}) : ());
	my $brokers = $option{brokers} // kafka()->{KAFKA_BOOTSTRAP};

	my %init = @{ $option{init} // [] };
	$init{extra} = [ '--encoding=UTF8', '--locale=C.UTF-8', @{ $init{extra} // [] } ];
	$node->init(%init);
	$node->append_conf('postgresql.conf', <<"END");
shared_preload_libraries = 'todo_events'
todo_events.brokers = '$brokers'
max_connections = 60
max_worker_processes = 16
log_statement = none
restart_after_crash = on
log_line_prefix = '%m [%p] %b '
END
	$node->append_conf('postgresql.conf', $option{conf}) if $option{conf};
	return $node if defined $option{start} && !$option{start};
	$node->start;
	return $node if defined $option{extension} && !$option{extension};
	my $create = 'CREATE EXTENSION todo_events;';
	if (defined $option{topics} && !$option{topics})
	{
		$node->safe_psql('postgres', $create);
	}
	else
	{
		todo_topics($node, 'postgres', $create);
	}
	return $node;
}

# Gives a database topics that nobody else on this broker uses; returns (and
# keeps in $node->{todo_topics}) the new names by the usual ones. $first is SQL
# that goes before, in the same transaction.
sub todo_topics
{
	my ($node, $database, $first) = @_;
	my $suffix = unique_name($node->name);
	$first //= '';
	my $renamed = $node->safe_psql($database // 'postgres', <<"END");
BEGIN;
$first
UPDATE todo_events.topic_config SET topic = topic || '-$suffix'
RETURNING left(topic, -length('-$suffix')), topic;
COMMIT;
END
	my %topics = map { split /\|/ } split /\n/, $renamed;
	$node->{todo_topics} = \%topics;
	return \%topics;
}

sub worker_column
{
	my ($node, $column, $role, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT $column FROM todo_events.workers WHERE role = '$role'"
		  . ($role eq 'launcher' ? '' : ' AND database = current_database()'));
}

# pids of what works for a database; '' where it does not run at the moment
sub engine_pid { return worker_column($_[0], 'pid', 'engine', $_[1]); }
sub io_pid { return worker_column($_[0], 'io_pid', 'publisher', $_[1]); }
sub launcher_pid { return worker_column($_[0], 'pid', 'launcher'); }

# level|message|hint of a component of health(), '' if it has no line
sub health_line
{
	my ($node, $component, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT level, message, hint FROM todo_events.health() WHERE component = '$component'");
}

# The server's log from an offset on: log_since($node, $from) with
# $from = -s $node->logfile taken before.
sub log_since
{
	my ($node, $from) = @_;
	return PostgreSQL::Test::Utils::slurp_file($node->logfile, $from);
}

# ---- what arrived ---------------------------------------------------------------

# The command that writes a topic's messages, a line each:
# topic, partition, offset, key, received (us), value
sub consumer_command
{
	my ($topic, @options) = @_;
	my $raw = "$top/build/bench/raw_consume";
	my $bootstrap = kafka()->{KAFKA_BOOTSTRAP};

	die "no $raw: make -C bench/raw builds it\n" unless -x $raw;
	return ($raw, $topic, '-b', $bootstrap, '--from', 'beginning', @options);
}

sub topic_name
{
	my ($node, $topic) = @_;
	$topic //= 'task-events';
	return ref $node && $node->{todo_topics}{$topic} || $topic;
}

sub parse_message
{
	my ($line) = @_;
	chomp $line;
	my %message;
	@message{qw(topic partition offset key received value)} = split /\t/, $line, 6;
	return \%message;
}

# topic_messages(NODE, [TOPIC]): all messages of a topic now, each
# { topic, partition, offset, key, received, value }. TOPIC is one of the usual
# names, which the node's own stand in for.
sub topic_messages
{
	my ($node, $topic, @options) = @_;
	my @command = consumer_command(topic_name($node, $topic), '--until-end', @options);

	open(my $pipe, '-|', @command) or die "$command[0]: $!";
	my @messages = map { parse_message($_) } <$pipe>;
	close $pipe or die "@command failed: status $?";
	return @messages;
}

# topic_events(NODE, [TOPIC]): the decoded CloudEvents; each also has its message
# as {message}. Within a partition they are in order.
sub topic_events
{
	my @messages = topic_messages(@_);

	return map {
		my $event = $json->decode($_->{value});
		$event->{message} = $_;
		$event
	} @messages;
}

# start_consumer(NODE, [TOPIC]): reads a topic from now on in the background, into
# a file; returns an object with ->messages, ->events, ->count, ->stop.
sub start_consumer
{
	my ($node, $topic) = @_;
	return TodoEvents::Consumer->new(topic_name($node, $topic));
}

# ---- sent against received --------------------------------------------------------

# A file with the ids of all that is committed in the log now.
sub log_ids
{
	my ($node, $database) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/log_ids';

	$node->safe_psql($database, "\\copy (SELECT id FROM todo_events_internal.log) TO '$file'");
	return $file;
}

# delivery(NODE, [option => value ...]): compares the log (todo_events.outbox) with
# a topic, shows the first of those lost or not committed, and returns counts:
#
#	committed	events in the log that belong in the topic
#	received	messages in the topic
#	lost		committed before, and not received
#	phantom		received, and not committed
#	duplicates	messages beyond the first of an id
#	changed		messages that differ from the event of that id in the log
#	miskeyed	messages with another key than the topic's rule asks for
#	misordered	first receipts of a task's events behind one with a higher sequence
#	gaps		tasks whose sequences in the log are not 1, 2, 3 ... (from the first kept)
#
# lost counts the events of option before, what log_ids() gave before their delivery was
# waited for: others may be committed while this looks. Without it, all.
#
# options: topic (usual name, default task-events), database, where (SQL condition
# on todo_events.outbox o: which events belong there; default: of tasks)
sub delivery
{
	my ($node, %option) = @_;
	my $database = $option{database} // 'postgres';
	my $topic = topic_name($node, $option{topic});
	my $where = $option{where} // "o.type LIKE 'com.todo.task.%'";
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my @command = consumer_command($topic, '--until-end');
	my $before = $option{before} // log_ids($node, $database);

	# Into the database and compared there: half a million events take seconds.
	# The quote is a byte that JSON escapes, so that nothing is special.
	my $status = PostgreSQL::Test::Utils::run_log([@command], '>', "$dir/received", '2>', "$dir/consumer.log");
	die "@command failed: " . PostgreSQL::Test::Utils::slurp_file("$dir/consumer.log") unless $status;

	my $result = $node->safe_psql($database, <<"END");
SET client_min_messages = warning;
SET todo_events_test.topic = '$topic';
CREATE TEMP TABLE received (topic text, part int, "offset" bigint, key text, at bigint, event text);
\\copy received FROM '$dir/received' WITH (FORMAT csv, DELIMITER E'\\t', QUOTE E'\\x01')
CREATE TEMP TABLE before (log_id bigint);
\\copy before FROM '$before'
ALTER TABLE received ADD id text, ADD first boolean;
UPDATE received SET id = event::json->>'id';
UPDATE received r SET first = (r.part, r."offset") = (f.part, f."offset")
FROM (SELECT DISTINCT ON (id) id, part, "offset" FROM received ORDER BY id, part, "offset") f WHERE f.id = r.id;
CREATE TEMP TABLE committed AS
SELECT o.id AS log_id, o.key, o.user_id, o.sequence, o.event::text AS event, o.event->>'id' AS id
FROM todo_events.outbox o WHERE $where;
CREATE INDEX ON received (id);
CREATE INDEX ON committed (id);
ANALYZE received;
ANALYZE committed;
SELECT 'lost: log id ' || c.log_id || ' ' || c.event FROM committed c JOIN before b USING (log_id)
	WHERE NOT EXISTS (SELECT FROM received r WHERE r.id = c.id) ORDER BY c.log_id LIMIT 5;
SELECT 'phantom: ' || r.part || '/' || r."offset" || ' ' || r.event FROM received r
	WHERE NOT EXISTS (SELECT FROM committed c WHERE c.id = r.id) ORDER BY 1 LIMIT 5;
SELECT string_agg(name || '=' || n, ' ') FROM (
	SELECT 'committed', count(*) FROM committed
	UNION ALL SELECT 'received', count(*) FROM received
	UNION ALL SELECT 'lost', count(*) FROM committed c JOIN before b USING (log_id)
		WHERE NOT EXISTS (SELECT FROM received r WHERE r.id = c.id)
	UNION ALL SELECT 'phantom', count(*) FROM received r
		WHERE NOT EXISTS (SELECT FROM committed c WHERE c.id = r.id)
	UNION ALL SELECT 'duplicates', count(*) FROM received WHERE NOT first
	UNION ALL SELECT 'changed', count(*) FROM received r JOIN committed c USING (id) WHERE r.event <> c.event
	UNION ALL SELECT 'miskeyed', count(*) FROM received r JOIN committed c USING (id)
		WHERE r.key IS DISTINCT FROM CASE
			(SELECT t.key_by FROM todo_events.topic_config t WHERE t.topic = current_setting('todo_events_test.topic'))
			WHEN 'user' THEN COALESCE(c.user_id, c.key) ELSE c.key END
	UNION ALL SELECT 'misordered', count(*) FROM (
		SELECT c.sequence < max(c.sequence) OVER (PARTITION BY r.key, c.key ORDER BY r.part, r."offset") AS bad
		FROM received r JOIN committed c USING (id) WHERE r.first) o WHERE o.bad
	UNION ALL SELECT 'gaps', count(*) FROM (
		SELECT c.key FROM committed c WHERE c.sequence IS NOT NULL GROUP BY c.key
		HAVING max(c.sequence) - min(c.sequence) + 1 <> count(*) OR count(DISTINCT c.sequence) <> count(*)) g
) AS v (name, n);
END
	my @lines = split /\n/, $result;
	my $counts = pop @lines;
	diag($_) for @lines;
	return { map { split /=/ } split / /, $counts };
}

# check_delivery(NODE, [option => value ...]): waits until all is acknowledged and
# tests the promises on what delivery() counts; options as there, and
#
#	name		begins the tests' names
#	timeout		seconds to wait for the acknowledgements
#	duplicates	the most that are allowed (default: any number, they are allowed after faults)
#	at_least	committed events that there must be (default 1), so that an empty run fails
#
# Returns the counts.
sub check_delivery
{
	my ($node, %option) = @_;
	my $name = $option{name} ? "$option{name}: " : '';
	my $least = $option{at_least} // 1;

	my $before = log_ids($node, $option{database} // 'postgres');
	wait_for_delivery($node, $option{timeout}, $option{database});
	my $is = delivery($node, %option, before => $before);
	note($name . join ', ', map { "$_ $is->{$_}" } sort keys %$is);
	cmp_ok($is->{committed}, '>=', $least, "${name}at least $least events are committed");
	is($is->{phantom}, 0, "${name}nothing arrives that was not committed (G1)");
	is($is->{lost}, 0, "${name}nothing committed is lost (G2)");
	is($is->{changed}, 0, "${name}what arrives is the event of the log, duplicates too (G2)");
	cmp_ok($is->{duplicates}, '<=', $option{duplicates}, "${name}at most $option{duplicates} duplicates")
	  if defined $option{duplicates};
	is($is->{gaps}, 0, "${name}sequences of a task have no gaps (G3)");
	is($is->{misordered}, 0, "${name}a task's events arrive in order (G3)");
	is($is->{miskeyed}, 0, "${name}every message has its key");
	return $is;
}

# check_storage(NODE, [NAME]): pg_amcheck of every table and index of every database,
# each row looked up in each btree.
sub check_storage
{
	my ($node, $name) = @_;
	my ($out, $err);
	my $good = PostgreSQL::Test::Utils::run_log(
		[ 'pg_amcheck', '-h', $node->host, '-p', $node->port, '--all', '--install-missing', '--heapallindexed', '--parent-check', '--verbose' ],
		'>', \$out, '2>', \$err);
	my @checked = $err =~ /checking (?:heap table|btree index) "[^"]*\.todo_events\w*\.[^"]*"/g;

	$name = $name ? "$name: " : '';
	ok($good, "${name}no table and no index is damaged (pg_amcheck)") or diag($out . $err =~ s/^.*: (?:info|query|checking).*\n//gmr);
	cmp_ok(scalar(@checked), '>', 50, "${name}ours among those that it checked");
	return;
}

package TodoEvents::Consumer;

use strict;
use warnings;
use IPC::Run ();

sub new
{
	my ($class, $topic) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { topic => $topic, file => "$dir/received", lines => [], position => 0 }, $class;
	my @command = TodoEvents::consumer_command($topic, '--topic-timeout', 60);

	$self->{run} = IPC::Run::start(\@command, '>', $self->{file}, '2>', "$dir/log");
	return $self;
}

# every message so far
sub messages
{
	my ($self) = @_;

	open(my $in, '<', $self->{file}) or return ();
	seek $in, $self->{position}, 0;
	while (my $line = <$in>)
	{
		last unless $line =~ /\n\z/;
		$self->{position} += length $line;
		push @{ $self->{lines} }, TodoEvents::parse_message($line);
	}
	return @{ $self->{lines} };
}

sub events
{
	my ($self) = @_;
	return map { my $event = $json->decode($_->{value}); $event->{message} = $_; $event } $self->messages;
}

sub count
{
	my ($self) = @_;
	return scalar(my @all = $self->messages);
}

# waits for that many messages; returns the events
sub wait_count
{
	my ($self, $count, $timeout) = @_;
	TodoEvents::wait_for("$count messages in $self->{topic}", sub { $self->count >= $count }, $timeout);
	return $self->events;
}

sub stop
{
	my ($self) = @_;
	my $run = delete $self->{run} or return;
	$run->signal('TERM');
	$run->finish;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local $?;
	$self->stop;
	return;
}

1;
