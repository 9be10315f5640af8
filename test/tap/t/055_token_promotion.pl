# A cursor that a client holds, across a promotion: ids that the former primary gave out and
# the standby never had are drawn again; the cursor may repeat, or be gone, and never skips. (G7)

use strict;
use warnings;
use TodoEvents;
use Test::More;

my $primary = todo_node('token_primary', brokers => '', topics => 0, init => [ allows_streaming => 1 ]);
sub insert { return "INSERT INTO tasks (user_id, title) SELECT gen_random_uuid(), '$_[0]' FROM generate_series(1, $_[1])"; }
$primary->safe_psql('postgres', q{SELECT todo_events.create_tasks('public.tasks')});
$primary->safe_psql('postgres', insert('both', 10));
my $both = $primary->safe_psql('postgres', 'SELECT cursor FROM todo_events.read(NULL) OFFSET 4 LIMIT 1');

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('token_standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->reload;
wait_for('the standby is on its own', sub { $primary->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_replication') == 0 });

$primary->safe_psql('postgres', insert('lost', 100));
my $ahead = $primary->safe_psql('postgres', 'SELECT todo_events.cursor()');
$primary->stop('immediate');
$standby->promote;
$standby->safe_psql('postgres', insert('new', 200));

my ($out, $err);
$standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM todo_events.read('$ahead')", stdout => \$out, stderr => \$err);
like($err, qr/ERROR:  TE410:/, 'a cursor into what was lost is gone, and says so');
is($out, '', 'and skips nothing');
is($standby->safe_psql('postgres', "SELECT count(*) FROM todo_events.read('$both')"), 205, 'one from before goes on');
my $now = $standby->safe_psql('postgres', "SELECT cursor FROM todo_events.read('$both') OFFSET 104 LIMIT 1");
is($standby->safe_psql('postgres', "SELECT count(*) FROM todo_events.read('$now')"), 100, 'and so does one of the new primary');

$standby->stop('fast');
done_testing();
