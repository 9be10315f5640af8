# pgbouncer in front of a node: the one of scripts/deps.sh, or the one in the PATH,
# on a free loopback port, with trust for everybody. It ends with the test.
#
#	use TodoEvents::Pooler;
#	my $pooler = pooler_start($node, pool_mode => 'transaction', default_pool_size => 3) or plan skip_all => ...;
#	psql -d $pooler->{connstr}          # database postgres
#	$pooler->{version}                  # 1.018
#	pooler_stop($pooler);
package TodoEvents::Pooler;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run ();
use TodoEvents;

our @EXPORT = qw(pooler_program pooler_start pooler_stop);

my @poolers;

# path of pgbouncer, '' if there is none; its libraries may lie beside it
sub pooler_program
{
	my $unpacked = "$TodoEvents::top/build/deps/pgbouncer/usr/sbin/pgbouncer";

	return $unpacked if -x $unpacked;
	for my $dir (split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin')
	{
		return "$dir/pgbouncer" if -x "$dir/pgbouncer";
	}
	return '';
}

sub environment
{
	my @libraries = glob("$TodoEvents::top/build/deps/pgbouncer/usr/lib/*-linux-*");

	return ('env', 'LD_LIBRARY_PATH=' . join(':', @libraries, $ENV{LD_LIBRARY_PATH} || ()));
}

# pooler_start(NODE, name => value ...): settings of pgbouncer.ini
sub pooler_start
{
	my ($node, %setting) = @_;
	my $program = pooler_program() or die "no pgbouncer\n";
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my $user = $ENV{PGUSER} // scalar getpwuid($>);
	my %all = (
		listen_addr => '127.0.0.1', listen_port => $port, unix_socket_dir => $dir, auth_type => 'any',
		pool_mode => 'transaction', default_pool_size => 3, max_client_conn => 100,
		ignore_startup_parameters => 'extra_float_digits', logfile => "$dir/log", pidfile => "$dir/pid",
		%setting);

	PostgreSQL::Test::Utils::append_to_file("$dir/ini", sprintf("[databases]\n* = host=%s port=%s user=%s\n[pgbouncer]\n%s",
		$node->host, $node->port, $user, join '', map { "$_ = $all{$_}\n" } sort keys %all));
	my %pooler = (dir => $dir, port => $port, host => '127.0.0.1', node => $node,
		connstr => "host=127.0.0.1 port=$port dbname=postgres user=$user");
	$pooler{version} = `@{[ environment() ]} $program --version` =~ /(\d+)\.(\d+)/ ? sprintf('%d.%03d', $1, $2) : 0;
	$pooler{run} = IPC::Run::start([ environment(), $program, '-q', "$dir/ini" ], '>', "$dir/out", '2>&1');
	push @poolers, \%pooler;
	wait_for('pgbouncer answers', sub {
		PostgreSQL::Test::Utils::run_log([ 'psql', '-XAtq', '-d', $pooler{connstr}, '-c', 'SELECT 1' ], '>', \my $out, '2>', \my $err);
	});
	return \%pooler;
}

sub pooler_stop
{
	my ($pooler) = @_;
	my $run = delete $pooler->{run} or return;

	# at once, whatever is connected
	$run->signal('TERM');
	$run->finish;
	return;
}

END
{
	my $status = $?;
	pooler_stop($_) for @poolers;
	$? = $status;
}

1;
