# What tests of Neon's ways share: a server that is as a Neon compute is, as far as an
# ordinary PostgreSQL can be.
#
#	my $node = neon_node('name', preload => 'neon_like, todo_events', conf => '...');
#
# Its parameters are those that a compute has and that an extension can notice; it
# listens on TCP; its roles are cloud_admin (superuser), neon_superuser and a member of
# that, owner, who owns the database neondb. Nothing of us is created in it.
package TodoEvents::Neon;

use strict;
use warnings;
use Exporter 'import';
use TodoEvents ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(neon_node neon_like as_owner);

# The library, built for this server; its path.
sub neon_like
{
	my $source = "$TodoEvents::top/test/neon/neon_like.c";
	my $library = PostgreSQL::Test::Utils::tempdir_short() . '/neon_like.so';
	chomp(my $include = `$TodoEvents::bindir/pg_config --includedir-server`);
	system('cc', '-shared', '-fPIC', '-O1', '-Wall', '-Werror', "-I$include", '-D_GNU_SOURCE', '-o', $library, $source) == 0
	  or die "cannot build $source";
	return $library;
}

sub neon_node
{
	my ($name, %option) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, own_host => 0);
	my $preload = $option{preload} // '';

	if ($preload =~ /neon_like/)
	{
		my $library = neon_like();
		$preload =~ s/neon_like/$library/;
	}
	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8', @{ $option{init} // [] } ]);
	$node->append_conf('postgresql.conf', <<"END");
shared_preload_libraries = '$preload'
listen_addresses = '127.0.0.1'
fsync = off
wal_level = replica
wal_log_hints = off
restart_after_crash = off
hot_standby = off
max_connections = 100
superuser_reserved_connections = 7
max_worker_processes = 12
max_prepared_transactions = 0
shared_buffers = 32MB
password_encryption = scram-sha-256
idle_in_transaction_session_timeout = 300000
client_connection_check_interval = 60000
log_error_verbosity = terse
log_min_error_statement = panic
log_connections = on
log_statement = none
log_line_prefix = '%m [%p] %b '
END
	$node->append_conf('postgresql.conf', $option{conf}) if $option{conf};
	$node->start;
	$node->safe_psql('postgres', <<'END');
CREATE ROLE cloud_admin SUPERUSER LOGIN;
CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS IN ROLE pg_read_all_data, pg_write_all_data, pg_monitor;
CREATE ROLE owner LOGIN CREATEDB CREATEROLE BYPASSRLS IN ROLE neon_superuser;
CREATE ROLE member LOGIN IN ROLE neon_superuser;
CREATE ROLE stranger LOGIN;
CREATE DATABASE neondb OWNER owner;
END
	return $node;
}

# SQL in neondb (or another database) as its owner
sub as_owner
{
	my ($node, $sql, $database) = @_;
	return $node->safe_psql($database // 'neondb', $sql, extra_params => [ '-U', 'owner' ]);
}

1;
