# Brokers that a database's owner names: only public addresses, and those of
# todo_events.allowed_networks; brokers of the configuration are not restricted (G12).
use strict;
use warnings;
use FindBin;
use IO::Select;
use IO::Socket::INET;
use TodoEvents;
use TodoEvents::Proxy;
use Test::More;

my $bootstrap = kafka()->{KAFKA_BOOTSTRAP};
my $node = todo_node('addresses', brokers => '', conf => "todo_events.allowed_networks = ''\n");

sub sql { return $node->safe_psql('postgres', @_); }

my $refused = qr/^error\|address 127\.0\.0\.1 of brokers set by SQL is not public and not in todo_events\.allowed_networks\|/;
my $networks = "127.0.0.0/8, ::1/128";

sub set
{
	my ($name, $value) = @_;
	$node->adjust_conf('postgresql.conf', "todo_events.$name", "'$value'");
	$node->reload;
}

# ---- without the network: nothing connects --------------------------------------

# anybody who connects waits in its queue
my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "no listener: $!";
my $address = '127.0.0.1:' . $listener->sockport;
my $before = -s $node->logfile;
sql("SELECT todo_events.configure('brokers', '$address')");
sql("SELECT todo_events.publish('$node->{todo_topics}{'task-events'}', 'com.example.x', '{}')");
wait_for('an address of this machine is refused', sub { health_line($node, 'broker') =~ $refused });
like(health_line($node, 'broker'), qr/superuser.*configuration file/, 'with a hint at who may help');
ok(!IO::Select->new($listener)->can_read(0), 'and nothing has connected');

# the same by a name that leads here
my ($port) = $address =~ /:(\d+)$/;
sql("SELECT todo_events.configure('brokers', 'localhost:$port')");
wait_for('a name is judged by what it resolves to',
	sub { health_line($node, 'broker') =~ /^error\|address (127\.0\.0\.1|::1) of brokers set by SQL is not public/ });
ok(!IO::Select->new($listener)->can_read(0), 'nothing has connected either');

# other spellings of the same machine
for my $other ("0.0.0.0:$port", "[::ffff:127.0.0.1]:$port", "[64:ff9b::7f00:1]:$port", "[::1]:$port")
{
	my ($host) = $other =~ /^\[?(.*?)\]?:\d+$/;
	sql("SELECT todo_events.configure('brokers', '$other')");
	wait_for("$host is refused",
		sub { health_line($node, 'broker') =~ /^error\|address \Q$host\E of brokers set by SQL is not public/ });
}
ok(!IO::Select->new($listener)->can_read(0), 'nothing has connected by any of them');

# the server's configuration is not restricted
set('brokers', $address);
sql(q{SELECT todo_events.configure('brokers', NULL)});
wait_for('brokers of the configuration are connected to', sub { IO::Select->new($listener)->can_read(0) });
my @lines = log_since($node, $before) =~ /address 127\.0\.0\.1 of brokers set by SQL/g;
cmp_ok(scalar @lines, '<=', 2, 'a refusal is not told again with every try');
close $listener;

# ---- with it ------------------------------------------------------------------------

sql("SELECT todo_events.configure('brokers', '$bootstrap')");
wait_for('the broker is refused as well', sub { health_line($node, 'broker') =~ $refused });
is(sql("SELECT todo_events.wait_for_delivery('100 ms')"), 'f', 'and nothing is delivered');
set('allowed_networks', '10.0.0.0/8');
wait_for_sql($node, 'another network is in force', "SELECT current_setting('todo_events.allowed_networks') = '10.0.0.0/8'");
is(sql("SELECT todo_events.wait_for_delivery('100 ms')"), 'f', 'another network does not help');
set('allowed_networks', $networks);
wait_for_delivery($node);
is(join(' ', map { $_->{type} } topic_events($node, 'task-events')), 'com.example.x', 'a listed one does, without a restart');
wait_for('health is content', sub { health_line($node, 'broker') eq '' });

# ---- advertised brokers ---------------------------------------------------------------

# the bootstrap address is allowed, and what it advertises, 127.0.0.1, is not
my $door = TodoEvents::Proxy::free_port();
my $proxy = TodoEvents::Proxy->new($door, $bootstrap, '127.0.0.2');
$before = -s $node->logfile;
set('allowed_networks', '127.0.0.2/32');
sql("SELECT todo_events.configure('brokers', '127.0.0.2:$door')");
sql("SELECT todo_events.publish('$node->{todo_topics}{'task-events'}', 'com.example.advertised', '{}')");
wait_for('an advertised broker is refused',
	sub { log_since($node, $before) =~ /brokers changed from "\Q$bootstrap\E" to "127\.0\.0\.2:$door".*address 127\.0\.0\.1 of brokers set by SQL/s });
like(health_line($node, 'broker'), $refused, 'and health says so');
is(sql("SELECT todo_events.wait_for_delivery('100 ms')"), 'f', 'and gets nothing');
set('allowed_networks', $networks);
wait_for_delivery($node);
is(join(' ', sort map { $_->{type} } topic_events($node, 'task-events')), 'com.example.advertised com.example.x',
	'until its network is listed');

# the demo broker is on this machine, and needs no network

set('allowed_networks', '');
sql(q{SELECT todo_events.configure('brokers', 'embedded')});
sql("SELECT todo_events.publish('$node->{todo_topics}{'task-events'}', 'com.example.demo', '{}')");
wait_for_delivery($node);
like(health_line($node, 'broker'), qr/^warning\|degraded: demo broker, memory only\|/, 'the demo broker is not restricted');

# ---- what the list may be ------------------------------------------------------------------

for my $bad ('localhost', '10.0.0.0/33', '10.0.0/8', '::1/129', '10.0.0.0/8 ::1')
{
	my ($status, $out, $err) = $node->psql('postgres', "SET todo_events.allowed_networks = '$bad'");
	isnt($status, 0, "no networks: $bad");
	like($err, qr/is no network/, 'and why');
}

$node->stop;
done_testing();
