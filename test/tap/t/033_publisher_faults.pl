# The publisher fails, ends or is killed at each of its steps, under load: nothing
# is lost, nothing is out of order, what is repeated has its old id.
use strict;
use warnings;
use TodoEvents;
use PostgreSQL::Test::Utils;
use Test::More;

my @points = map { "publisher_$_" }
  qw(before_cycle after_cycle before_flush after_flush after_ack before_save after_save);
my $node = todo_node('faults', conf => 'todo_events.coalesce = 0');

sub sql { return $node->safe_psql('postgres', @_); }

# false while the server recovers from a kill
sub try_sql { return eval { $node->psql('postgres', $_[0], on_error_stop => 1) == 0 }; }

sql(<<'END');
CREATE TABLE items (id int PRIMARY KEY, owner text NOT NULL, title text NOT NULL, done boolean NOT NULL DEFAULT false, sequence bigint);
SELECT todo_events.attach('items', key => 'id', user_key => 'owner', title => 'title', completed => 'done', sequence => 'sequence');
INSERT INTO items SELECT i, 'u' || i % 7, 'item', false FROM generate_series(1, 40) i;
END
my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
append_to_file($script, <<'END');
\set id random(1, 40)
\set r random(1, 10)
\set away random(0, 1)
BEGIN;
UPDATE items SET title = 'item ' || clock_timestamp() WHERE id = :id;
SAVEPOINT s;
UPDATE items SET done = NOT done WHERE id = :id;
\if :away
ROLLBACK TO s;
\endif
SELECT :r <= 2 AS undone \gset
\if :undone
ROLLBACK;
\else
COMMIT;
\endif
END

for my $fault (qw(error exit kill))
{
	# an engine counts the passes of a point once: a new one for each kind of fault
	$node->restart;
	my $rounds = 0;
	my $committed = 0;
	for my $point (@points)
	{
		my $from = -s $node->logfile;
		my $engine = engine_pid($node);

		# the second pass from now on
		sql("ALTER SYSTEM SET todo_events.inject = '$point=$fault\@2'");
		$node->reload;
		# a kill takes the writers' connections along: PostgreSQL restarts all of it
		my ($out, $err);
		run_log(['pgbench', '-n', '-c', 4, '-j', 2, '-t', 60, '-f', $script, '-h', $node->host, '-p', $node->port, 'postgres'],
			'>', \$out, '2>', \$err);
		wait_for("$point: the fault has happened", sub {
			# save is due a second after the last; commits keep it coming
			try_sql("UPDATE items SET title = 'again ' || clock_timestamp() WHERE id = 1");
			my $log = log_since($node, $from);
			return $log =~ /injected error at "$point"/ if $fault eq 'error';
			return $log =~ /terminated by signal 9/ if $fault eq 'kill';
			return $log =~ /background worker "todo_events engine" \(PID $engine\) exited/;
		});
		# it may happen again before the setting has gone
		wait_for('the setting is taken back', sub { try_sql("ALTER SYSTEM RESET todo_events.inject") });
		$node->reload;
		wait_for('the server is up', sub {
			try_sql("DO \$\$ BEGIN ASSERT current_setting('todo_events.inject') = ''; END \$\$") });
		# an engine that ends again and again is given longer and longer pauses
		$node->restart if $fault eq 'exit';
		$rounds++;
	}
	check_delivery($node, name => "$fault at each of $rounds steps", at_least => 100);
	check_delivery($node, name => "$fault, by user", topic => 'task-updates', at_least => 100);
}

check_storage($node);
$node->stop('fast');
done_testing();
