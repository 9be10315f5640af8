# Standbys of a todo_node(): made, promoted, made standbys again, and what of ours runs on them.
#
#	use TodoEvents::Standby;
#	my $node = todo_node('a', init => [ allows_streaming => 1 ], conf => TodoEvents::Standby::settings());
#	my $standby = standby_of($node, 'b');      # streams, hot
#	...
#	my $at = promote($standby);                # { called, ready }: seconds since the epoch
#	rewind($node, $standby);                   # the old primary is a standby of the new one
package TodoEvents::Standby;

use strict;
use warnings;
use Exporter 'import';
use File::Copy ();
use Test::More;
use Time::HiRes qw(time);
use Time::Local ();
use TodoEvents;

our @EXPORT = qw(standby_of follow promote rewind our_processes server_processes is_gone wait_streaming);

# settings that rewinding and promoting to and fro need
sub settings
{
	return <<'END';
wal_log_hints = on
wal_keep_size = 512MB
wal_receiver_status_interval = 1
wal_retrieve_retry_interval = 200ms
END
}

# standby_of(UPSTREAM, NAME, [option => value ...]): a streaming standby, with the upstream's
# topics; its application_name is NAME.
#
#	base	the node whose base backup it begins with (default: the upstream); it is taken once
#	conf	lines for postgresql.conf, which is the base's otherwise
#	start	0: do not start it
sub standby_of
{
	my ($upstream, $name, %option) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);
	my $base = $option{base} // $upstream;

	$base->backup('base') unless -d $base->backup_dir . '/base';
	$standby->init_from_backup($base, 'base', has_streaming => 1);
	follow($standby, $upstream) if $base != $upstream;
	$standby->{todo_topics} = $base->{todo_topics};
	$standby->append_conf('postgresql.conf', $option{conf}) if $option{conf};
	$standby->start unless defined $option{start} && !$option{start};
	return $standby;
}

# A stopped cluster becomes a standby of another.
sub follow
{
	my ($node, $upstream) = @_;

	$node->append_conf('postgresql.conf', "primary_conninfo = '" . $upstream->connstr . ' application_name=' . $node->name . "'\n");
	$node->set_standby_mode;
	return;
}

# Waits until a standby streams from its upstream.
sub wait_streaming
{
	my ($upstream, $standby) = @_;

	wait_for_sql($upstream, $standby->name . ' streams from ' . $upstream->name,
		"SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = '" . $standby->name . "' AND state = 'streaming')");
	return;
}

# Promotes, and returns when the call began and when the server was ready, by its own log.
sub promote
{
	my ($standby) = @_;
	my $from = -s $standby->logfile;
	my $called = time;

	$standby->promote;
	my $line = wait_for($standby->name . ' says that it is ready',
		sub { log_since($standby, $from) =~ /^(\S+) (\d+):(\d+):([\d.]+) UTC .*database system is ready to accept connections/m && [ $1, $2, $3, $4 ] });
	my ($year, $month, $day) = split /-/, $line->[0];
	my $ready = Time::Local::timegm(0, $line->[2], $line->[1], $day, $month - 1, $year) + $line->[3];
	return { called => $called, ready => $ready };
}

# A stopped former primary, whatever it had and the new one has not, becomes its standby.
sub rewind
{
	my ($former, $primary) = @_;
	my $port = $former->port;
	my $dir = $former->data_dir;
	my $kept = PostgreSQL::Test::Utils::tempdir() . '/postgresql.conf';

	# pg_rewind takes the source's configuration, port and all
	File::Copy::copy("$dir/postgresql.conf", $kept) or die "$kept: $!";
	# the checkpoint tells pg_rewind of the new timeline
	$primary->safe_psql('postgres', 'CHECKPOINT');
	PostgreSQL::Test::Utils::run_log([ "$TodoEvents::bindir/pg_rewind", '-D', $dir, '--source-server', $primary->connstr('postgres'), '--no-sync' ])
	  or die "pg_rewind of $dir failed";
	File::Copy::copy($kept, "$dir/postgresql.conf") or die "$dir/postgresql.conf: $!";
	follow($former, $primary);
	die "port changed" unless $former->port == $port;
	return;
}

# Pids below a cluster's postmaster, by their command lines.
sub below
{
	my ($node) = @_;
	my (%parent, %command);

	open(my $pid_file, '<', $node->data_dir . '/postmaster.pid') or die $node->name . ' does not run';
	chomp(my $postmaster = <$pid_file>);
	for (`ps -eo pid=,ppid=,args=`)
	{
		my ($pid, $parent, $command) = /^\s*(\d+)\s+(\d+)\s+(.*)$/ or next;
		$parent{$pid} = $parent;
		$command{$pid} = $command;
	}
	for my $pid (keys %command)
	{
		my $above = $pid;
		$above = $parent{$above} while $above && $above != $postmaster;
		delete $command{$pid} unless $above && $pid != $postmaster;
	}
	die $node->name . ' has no processes' unless %command;
	return %command;
}

# server_processes(NODE): pids of everything below a cluster's postmaster.
sub server_processes
{
	my %command = below(@_);
	return keys %command;
}

# our_processes(NODE): [ pid, command line ] of what of it is ours.
sub our_processes
{
	my %command = below(@_);
	return map { [ $_, $command{$_} ] } grep { $command{$_} =~ /todo_events/ } keys %command;
}

# Has that process ended, or become another's?
sub is_gone
{
	my ($pid, $command) = @_;
	open(my $file, '<', "/proc/$pid/cmdline") or return 1;
	my $now = <$file> // '';
	return $now !~ /\Q$command\E/;
}

1;
