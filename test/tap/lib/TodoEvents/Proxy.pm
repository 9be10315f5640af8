# A TCP proxy in front of a broker, that cuts connections: what a firewall, a load
# balancer or a network does to them.
#
#	my $port = TodoEvents::Proxy::free_port();
#	my $kafka = kafka_start('--set', "advertised.listeners=PLAINTEXT://127.0.0.1:$port");
#	my $proxy = TodoEvents::Proxy->new($port, $kafka->{KAFKA_BOOTSTRAP});	# third: another address than 127.0.0.1
#	$proxy->cut;		# resets every connection, in the middle of whatever they carry
#	$proxy->cuts;		# connections cut so far
package TodoEvents::Proxy;

use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Socket qw(SOL_SOCKET SO_LINGER);

sub free_port
{
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1', LocalPort => 0) or die $!;
	return $socket->sockport;
}

sub new
{
	my ($class, $port, $target, $address) = @_;
	my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => $address // '127.0.0.1', LocalPort => $port, ReuseAddr => 1)
	  or die "port $port: $!";

	pipe(my $reader, my $writer) or die $!;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		close $reader;
		$writer->autoflush(1);
		serve($listener, $target, $writer);
		POSIX::_exit(0);
	}
	close $writer;
	$reader->blocking(0);
	return bless { pid => $pid, owner => $$, reader => $reader, cuts => 0 }, $class;
}

sub serve
{
	my ($listener, $target, $writer) = @_;
	my $cut = 0;
	my %other;
	my $select = IO::Select->new($listener);
	my $parent = getppid;

	local $SIG{USR1} = sub { $cut = 1; };
	local $SIG{TERM} = sub { POSIX::_exit(0); };
	local $SIG{PIPE} = 'IGNORE';
	my $close = sub {
		my ($socket) = @_;
		for ($socket, delete $other{$socket})
		{
			next unless $_;
			delete $other{$_};
			$select->remove($_);
			close $_;
		}
	};
	while (getppid == $parent)
	{
		for my $socket ($select->can_read(0.2))
		{
			if ($socket == $listener)
			{
				my $client = $listener->accept or next;
				my $server = IO::Socket::INET->new(PeerAddr => $target);
				if (!$server)
				{
					close $client;
					next;
				}
				$other{$client} = $server;
				$other{$server} = $client;
				$select->add($client, $server);
				next;
			}
			my $peer = $other{$socket} or next;
			my $n = sysread($socket, my $bytes, 65536);
			if (!$n) { $close->($socket); next; }
			for (my $sent = 0; $sent < $n;)
			{
				my $w = syswrite($peer, $bytes, $n - $sent, $sent);
				if (!defined $w) { $close->($socket); last; }
				$sent += $w;
				last if $cut;
			}
			last if $cut;
		}
		next unless $cut;
		$cut = 0;
		my $n = 0;
		for my $socket (grep { $_ != $listener } $select->handles)
		{
			# no lingering: a reset, not an orderly end
			setsockopt($socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
			$close->($socket) if $other{$socket};
			$n++;
		}
		print $writer "$n\n";
	}
	return;
}

sub cut
{
	my ($self) = @_;
	kill 'USR1', $self->{pid};
	return;
}

# connections cut so far
sub cuts
{
	my ($self) = @_;
	my $reader = $self->{reader};
	while (sysread($reader, my $bytes, 4096))
	{
		$self->{cuts} += $_ for $bytes =~ /(\d+)/g;
	}
	return $self->{cuts};
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!);
	return unless $self->{owner} == $$;
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
	return;
}

1;
