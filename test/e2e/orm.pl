# An ORM application that knows nothing of todo_events: django-todo from PyPI, with
# its own migrations, on a table of its own. Attached, its changes arrive.
use strict;
use warnings;
use TodoEvents;
use JSON::PP;
use Test::More;

my $dir = "$TodoEvents::top/test/e2e/orm";
my $packages = "$TodoEvents::top/build/deps/orm";
my $python = -x '/usr/bin/python3' ? '/usr/bin/python3' : 'python3';

die "no $packages: test/e2e/orm/install.sh makes it\n" unless -d "$packages/todo";

# The extension is the database owner's, who is no superuser.
my $node = todo_node('orm', extension => 0);
$node->safe_psql('postgres', 'CREATE ROLE django LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE django OWNER django');

sub as_django { return $node->safe_psql('django', "SET SESSION AUTHORIZATION django; $_[0]"); }

sub python
{
	my (@arguments) = @_;
	local %ENV = (%ENV,
		PYTHONPATH => "$packages:$dir",
		PYTHONDONTWRITEBYTECODE => 1,
		DJANGO_SETTINGS_MODULE => 'settings',
		PGHOST => $node->host,
		PGPORT => $node->port,
		PGUSER => 'django',
		PGDATABASE => 'django');
	my ($out, $err);
	my $ok = IPC::Run::run([ $python, @arguments ], '<', '/dev/null', '>', \$out, '2>', \$err);
	ok($ok, "@arguments[0 .. ($#arguments < 3 ? $#arguments : 3)]") or diag($out, $err);
	return $out;
}

# ---- its migrations, before and after the table is attached ----

$node->safe_psql('django',
	'SET client_min_messages = warning; SET SESSION AUTHORIZATION django; CREATE EXTENSION todo_events');
todo_topics($node, 'django');
python('-m', 'django', 'migrate', 'todo', '0012');
as_django(<<'END');
SELECT todo_events.attach('todo_task', user_key => 'created_by_id', completed => 'completed', title => 'title');
END
python('-m', 'django', 'migrate');

# ---- its pages and models ----

my $output = python("$dir/drive.py");
my $did = decode_json($output || '{}');
my $changes = 0;
$changes += @$_ for values %{ $did->{tasks} };
cmp_ok($changes, '>', 200, 'the application made changes');

# ---- what arrived ----

my $is = check_delivery($node, database => 'django', duplicates => 0, at_least => $changes);
is($is->{committed}, $changes, 'as many events as the application knows changes');

my (%arrived, %owner);
my $undone = 0;
for my $event (topic_events($node))
{
	my $payload = $event->{data}{payload};
	my $row = $payload->{after} // $payload->{before};
	push @{ $arrived{ $event->{data}{task_id} } }, [ $event->{type} =~ s/^com\.todo\.task\.//r, $row->{title} ];
	$owner{ $event->{data}{task_id} } //= $event->{data}{user_id};
	$undone++ if $event->{message}{value} =~ /$did->{undone}/;
}
is($undone, 0, 'nothing of what it rolled back arrives (G1)');
is_deeply([ sort keys %arrived ], [ sort keys %{ $did->{tasks} } ], 'events of its tasks, and of no others');
my @different = grep { encode_json($arrived{$_} // []) ne encode_json($did->{tasks}{$_}) } keys %{ $did->{tasks} };
is(scalar(@different), 0, 'each task\'s changes arrive, in order and with their content (G3)');
diag("task $_: did ", encode_json($did->{tasks}{$_}), ', arrived ', encode_json($arrived{$_} // []))
  for splice @different, 0, 3;
is(scalar(grep { $owner{$_} ne $did->{owners}{$_} } keys %{ $did->{owners} }),
	0, 'each task under the user who made it');
check_delivery($node, name => 'task-updates', database => 'django', topic => 'task-updates', at_least => $changes);

# ---- gone without a trace ----

as_django('SELECT todo_events.detach_all(); DROP EXTENSION todo_events');
python('-m', 'django', 'migrate', '--check');

$node->stop;
done_testing();
