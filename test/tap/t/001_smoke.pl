# The main path, end to end over a real broker: SQL -> commit -> CloudEvent.
use strict;
use warnings;
use TodoEvents;
use Test::More;

my $node = todo_node('smoke');
my $user = '11111111-1111-4111-8111-111111111111';
my $other = '22222222-2222-4222-8222-222222222222';

$node->safe_psql('postgres', "SELECT todo_events.create_tasks('public.tasks')");

# ---- one task's life ----

my $task = (split /\n/, $node->safe_psql('postgres', <<"END"))[0];
INSERT INTO tasks (user_id, title, due_at) VALUES ('$user', 'buy milk', '2030-01-01 12:00+00') RETURNING id;
END
$node->safe_psql('postgres', <<"END");
UPDATE tasks SET title = 'buy oat milk', priority = 'high' WHERE id = '$task';
UPDATE tasks SET title = title WHERE id = '$task';
UPDATE tasks SET status = 'completed' WHERE id = '$task';
UPDATE tasks SET status = 'pending' WHERE id = '$task';
UPDATE tasks SET user_id = '$other' WHERE id = '$task';
DELETE FROM tasks WHERE id = '$task';
END

# ---- what must not arrive ----

$node->safe_psql('postgres', <<"END");
BEGIN;
INSERT INTO tasks (user_id, title) VALUES ('$user', 'rolled back');
ROLLBACK;
BEGIN;
INSERT INTO tasks (user_id, title) VALUES ('$user', 'kept');
SAVEPOINT s;
INSERT INTO tasks (user_id, title) VALUES ('$user', 'rolled back to a savepoint');
ROLLBACK TO s;
COMMIT;
END

my $is = check_delivery($node, name => 'task-events', duplicates => 0, at_least => 8);
is($is->{committed}, 8, 'one event a change, two for a new owner, none for an UPDATE that changes nothing');
check_delivery($node, name => 'task-updates', topic => 'task-updates', duplicates => 0, at_least => 8);

my @events = topic_events($node, 'task-events');
my @life = grep { $_->{data}{task_id} eq $task } @events;
is_deeply(
	[ map { $_->{type} =~ s/^com\.todo\.task\.//r } @life ],
	[qw(created updated completed reopened unassigned updated deleted)],
	'a task\'s events arrive in the order of its changes (G3)');
is_deeply([ map { $_->{data}{sequence} } @life ], [ 1 .. 7 ], 'its sequence is 1, 2, 3 ... (G3)');
is(scalar(grep { JSON::PP->new->encode($_->{data}) =~ /rolled back/ } @events),
	0, 'nothing of a rolled back transaction or savepoint arrives (G1)');

# ---- the CloudEvent ----

my $created = $life[0];
is($created->{specversion}, '1.0', 'specversion');
is($created->{source}, 'backend-api', 'source');
is($created->{datacontenttype}, 'application/json', 'datacontenttype');
like($created->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/, 'time is RFC 3339 in UTC');
is($created->{partitionkey}, $task, 'partitionkey is the task\'s key');
is($created->{message}{key}, $task, 'so is the message\'s key');
is($created->{data}{user_id}, $user, 'data.user_id');
is($created->{data}{idempotency_key}, $created->{id}, 'data.idempotency_key is the id where none was given');
is($created->{data}{payload}{after}{title}, 'buy milk', 'data.payload.after is the row');
is_deeply([ sort keys %{ $life[1]{data}{payload}{before} } ],
	[qw(priority sequence title updated_at)],
	'data.payload.before holds what was changed');
is($life[1]{data}{payload}{before}{title}, 'buy milk', 'with its old value');
is($life[4]{data}{user_id}, $user, 'a new owner: unassigned goes to the old user');
is($life[5]{data}{user_id}, $other, 'and updated to the new one');
is($life[6]{data}{payload}{before}{title}, 'buy oat milk', 'deleted holds the whole row before');

# ---- restart ----

$node->restart;
$node->safe_psql('postgres', "INSERT INTO tasks (user_id, title) VALUES ('$user', 'after a restart')");
check_delivery($node, name => 'after a restart', at_least => 9);
is($node->safe_psql('postgres', "SELECT string_agg(component || ': ' || message, '; ') FROM todo_events.health() WHERE level <> 'ok'"),
	'', 'health: all is well');

$node->stop;
done_testing();
