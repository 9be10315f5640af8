# pg_upgrade with attached tables and events that wait in the log (G8, G11): nothing runs
# and nothing is sent meanwhile, log and cursors come over, and what waited is
# delivered afterwards, once: by itself where todo_events.instance is set, and after
# adopt(backlog => 'send') where it is not.
#
# TE_UPGRADE_PATHS names the PostgreSQL installations to go through, oldest first, such
# as /usr/lib/postgresql/15:/usr/lib/postgresql/17 (make matrix); each has the extension.
# Without it the one under test is upgraded to itself.

use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Utils;
use TodoEvents;
use Test::More;

my @paths = split /:/, $ENV{TE_UPGRADE_PATHS} // join ':', (dirname($TodoEvents::bindir)) x 2;
my $dir = PostgreSQL::Test::Utils::tempdir();
# pg_upgrade writes where it runs
chdir $dir or die $!;

sub cluster
{
	my ($name, $path, $instance, %option) = @_;
	my ($major) = `$path/bin/pg_config --version` =~ /(\d+)/;
	# 18 has checksums unless told otherwise, and both clusters must agree
	my $node = todo_node($name, %option, start => 0, install_path => $path,
		init => $major >= 18 ? [ extra => ['--no-data-checksums'] ] : []);

	if ($instance)
	{
		append_to_file("$dir/$instance.conf", "todo_events.instance = '$instance'\n") unless -e "$dir/$instance.conf";
		$node->append_conf('postgresql.conf', "include '$dir/$instance.conf'");
	}
	return $node;
}

sub log_lines { return map { slurp_file($_) =~ /^.*todo_events.*$/mg } glob "$_[0]/pg_upgrade_output.d/*/log/*"; }

# what must come over, as text: log, cursors, tasks' counters, dead letters, configuration
sub contents
{
	my ($node) = @_;
	my @tables = qw(todo_events_internal.log todo_events_internal.cursor todo_events_internal.counter
	  todo_events_internal.idempotency todo_events_internal.secret todo_events_internal.epoch todo_events.outbox todo_events.attachments
	  todo_events.attachment_config todo_events.topic_config todo_events.route_config todo_events.setting_config);
	my @sequences = qw(log_id log_segment log_floor cursor_number cursor_segment counter_segment idempotency_segment);

	return $node->safe_psql('postgres', join ';',
		(map { "SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM $_ t" } @tables),
		(map { "SELECT '$_', last_value, is_called FROM todo_events_internal.$_" } @sequences));
}

my $round = 0;
sub write_events
{
	my ($node) = @_;
	$round++;
	$node->safe_psql('postgres', <<"END");
INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), 'round $round' FROM generate_series(1, 10);
UPDATE tasks SET status = 'in_progress' WHERE title = 'round $round';
INSERT INTO mine VALUES ($round, 'a', false);
UPDATE mine SET done = true WHERE id = $round;
DELETE FROM mine WHERE id = $round;
INSERT INTO parts VALUES ($round), (-$round);
BEGIN;
SET LOCAL todo_events.idempotency_key = 'key $round';
UPDATE tasks SET status = 'completed' WHERE title = 'round $round';
COMMIT;
END
	return 3 * 10 + 3 + 2;
}

for my $instance ('', 'prod')
{
	my $name = $instance ? 'with instance' : 'no instance';
	my $old = cluster('old_' . ($instance || 'none'), $paths[0], $instance);
	my $events;
	$round = 0;

	$old->start;
	my $topics = todo_topics($old, 'postgres', 'CREATE EXTENSION todo_events;');
	$old->safe_psql('postgres', <<'END');
SELECT todo_events.create_tasks('public.tasks');
CREATE TABLE mine (id int PRIMARY KEY, owner_id text, done boolean);
SELECT todo_events.attach('public.mine', key => 'id', user_key => 'owner_id', completed => 'done');
CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (MINVALUE) TO (0);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (0) TO (MAXVALUE);
SELECT todo_events.attach('public.parts', key => 'id');
SELECT todo_events.configure('truncate_limit', '77');
COPY todo_events.secret_input FROM STDIN;
key_password=secret
\.
CREATE DATABASE without;
END
	$events = write_events($old);
	check_delivery($old, name => "$name, before", at_least => $events);

	for my $hop (1 .. $#paths)
	{
		my ($from, $to) = @paths[ $hop - 1, $hop ];
		my $what = "$name, " . join ' to ', map { /(\d+)/ ? $1 : $_ } map { `$_/bin/pg_config --version` } $from, $to;
		my $token = $old->safe_psql('postgres', 'SELECT todo_events.cursor()');

		# these wait: their broker is away
		$old->stop('fast');
		$old->append_conf('postgresql.conf', "todo_events.brokers = '127.0.0.1:1'");
		$old->start;
		$events += write_events($old);
		my $waiting = $old->safe_psql('postgres', 'SELECT events_behind FROM todo_events.lag');
		cmp_ok($waiting, '>=', 35, "$what: events wait");
		$old->stop('fast');
		# its own upkeep may carry counters over until the end, so what there is now is looked at without it
		$old->append_conf('postgresql.conf', "shared_preload_libraries = ''");
		$old->start;
		my $before = contents($old);
		$old->stop('fast');
		$old->append_conf('postgresql.conf', "shared_preload_libraries = 'todo_events'\ntodo_events.brokers = '" . kafka()->{KAFKA_BOOTSTRAP} . "'");

		my $new = cluster('new_' . ($instance || 'none') . "_$hop", $to, $instance);
		my @upgrade = ("$to/bin/pg_upgrade", '-b', "$from/bin", '-B', "$to/bin", '-d', $old->data_dir, '-D', $new->data_dir,
			'-s', $old->host, '-p', $old->port, '-P', $new->port, '--retain');
		my $sent = topic_messages($old);
		my ($out, $err);
		ok(IPC::Run::run([ @upgrade, '--check' ], '>', \$out, '2>', \$err), "$what: pg_upgrade --check finds nothing") or diag("$out$err");
		ok(IPC::Run::run(\@upgrade, '>', \$out, '2>', \$err), "$what: pg_upgrade") or diag("$out$err");
		is(scalar(topic_messages($old)), $sent, "$what: nothing is sent meanwhile, although there is a broker");
		is(scalar(grep { /engine|launcher|todo_events_io/ } log_lines($new->data_dir), log_lines($dir)), 0, "$what: and no process of ours is started");
		ok(!-e "$dir/update_extensions.sql", "$what: the extension is not in need of an update");

		$new->append_conf('postgresql.conf', "shared_preload_libraries = ''");
		$new->start;
		is(contents($new), $before, "$what: log, cursors and configuration have come over, and events have the ids that they had");
		$new->stop('fast');
		$new->append_conf('postgresql.conf', "shared_preload_libraries = 'todo_events'");
		$new->start;
		$new->{todo_topics} = $topics;
		if (!$instance)
		{
			wait_for("$what: health says that it is taken for a copy", sub { health_line($new, 'identity') =~ /^error/ });
			is(scalar(topic_messages($new)), $sent, "$what: nothing is sent before adopt()");
			$new->safe_psql('postgres', "SELECT todo_events.adopt(backlog => 'send')");
		}
		check_delivery($new, name => "$what: what waited", at_least => $events, duplicates => 0);
		is($new->safe_psql('postgres', "SELECT count(*) FROM todo_events.read('$token', 1000)"), $waiting, "$what: a reader goes on where it was");
		$events += write_events($new);
		check_delivery($new, name => "$what: and new ones", at_least => $events, duplicates => 0);
		my (undef, undef, $refused) = $new->psql('postgres', "BEGIN; SET LOCAL todo_events.idempotency_key = 'key 1'; DELETE FROM tasks; COMMIT");
		like($refused, qr/idempotency/, "$what: an idempotency key used before is remembered");
		$new->safe_psql('postgres', 'VACUUM FREEZE; REINDEX DATABASE postgres; ANALYZE');
		is($new->safe_psql('postgres', q{SELECT string_agg(component, ', ') FROM todo_events.health() WHERE level <> 'ok'}), '', "$what: health has no complaint") if $instance;
		$old = $new;
	}
	$old->stop('fast');
}
done_testing();
