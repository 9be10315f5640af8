# The extension in the hands of a database's owner who is nobody's superuser, on a
# server that is as a Neon compute is, with and without the library preloaded: install,
# use, rights, regression tests from outside, drop (P1, P2, P4, P5, P6, P8, L9, T1, T2).
use strict;
use warnings;
use TodoEvents;
use TodoEvents::Neon;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $top = $TodoEvents::top;
my ($status, $out, $err);

# ---- without preload, from another machine -------------------------------------------

my $node = neon_node('outside');
my %there = (PGHOST => '127.0.0.1', PGPORT => $node->port);

# runs a command as a client that knows only host, port and user
sub outside
{
	my ($user, @command) = @_;
	local %ENV = (%ENV, %there, PGUSER => $user);
	delete @ENV{ 'PGDATABASE', grep { /^(HARNESS|TE_COUNTS)/ } keys %ENV };
	my $output;
	my $done = IPC::Run::run(\@command, '>&', \$output);
	note("@command:\n$output");
	return ($done, $output);
}

my ($regress) = slurp_file("$top/Makefile") =~ /^REGRESS_ANYWHERE = (.*)$/m;
my @tests = split ' ', $regress;
outside('owner', qw(createdb contrib_regression));
my $results = PostgreSQL::Test::Utils::tempdir();
my ($done, $output) = outside('owner', $ENV{PG_REGRESS}, '--use-existing', "--inputdir=$top", "--outputdir=$results",
	"--bindir=$TodoEvents::bindir", '--dbname=contrib_regression', @tests);
ok($done, 'T2: --use-existing passes for a member of neon_superuser');
note(slurp_file("$results/regression.diffs")) if !$done && -e "$results/regression.diffs";
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname ~ 'regress|attach_'}), 0, 'T2: and leaves no role');

SKIP:
{
	skip 'T1, T2: the rest is what make check-neon runs', 3 unless $ENV{TE_LONG};

	# as pg_regress does it, which sets a time zone of its own
	my @differ;
	local %ENV = (%ENV, PGDATESTYLE => 'Postgres, MDY', PGOPTIONS => '-c intervalstyle=postgres_verbose', PGTZ => 'Asia/Kathmandu');
	for my $test (@tests)
	{
		my (undef, $got) = outside('owner', 'sh', '-c',
			"psql -X -a -q -d contrib_regression -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on <'$top/sql/$test.sql' 2>&1");
		push @differ, $test if $got ne slurp_file("$top/expected/$test.out");
	}
	is("@differ", '', 'T2: nor does the time zone matter');

	($done, $output) = outside('cloud_admin', qw(make -C), $top, qw(USE_PGXS=1 installcheck));
	ok($done, 'T1: make installcheck passes against a server named by PGHOST and PGPORT');
	my $passes = () = $output =~ / \.\.\. ok |^ok \d/mg;
	is($passes, scalar @tests, 'T1: and has run its tests');
}

# ---- installed by the owner, not preloaded ------------------------------------------------

like(slurp_file("$top/todo_events.control"), qr/^trusted = true$/m, 'P1: the control file is of a trusted extension');
unlike(slurp_file("$top/todo_events.control"), qr/^(schema|superuser) *=|^relocatable = true/m, 'P1: with no schema of its own, not relocatable');
my ($version) = slurp_file("$top/todo_events.control") =~ /^default_version = '(.*)'/m;
(undef, undef, $err) = $node->psql('neondb', "CREATE EXTENSION IF NOT EXISTS todo_events WITH SCHEMA public VERSION \"$version\"",
	extra_params => [ '-U', 'owner' ]);
like($err, qr/WARNING:  todo_events is not preloaded.*\n.*HINT/, 'P5: CREATE EXTENSION says that it is not preloaded');
as_owner($node, <<'END');
SELECT todo_events.create_tasks('tasks');
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'stored');
END
is(as_owner($node, q{SELECT type, sequence FROM todo_events.outbox}), 'com.todo.task.created|1', 'P5: events are stored');
is(as_owner($node, q{SELECT count(*) FROM todo_events.read(NULL)}), 1, 'P5: and can be read');
is(as_owner($node, q{SELECT todo_events.maintain() >= 0}), 't', 'P5: and rotated');
like(as_owner($node, q{SELECT level, message, hint FROM todo_events.health() LIMIT 1}),
	qr/^error\|.*not preloaded.*\|.*shared_preload_libraries/, 'P5: health says what is missing');
(undef, undef, $err) = $node->psql('neondb', 'SELECT todo_events.wait_for_delivery()', extra_params => [ '-U', 'owner' ]);
like($err, qr/ERROR: .*\n.*HINT/, 'P5: what needs an engine says so');
as_owner($node, 'SELECT todo_events.detach_all(); DROP EXTENSION todo_events; DROP TABLE tasks');
$node->stop;

# ---- preloaded, beside another library with hooks ---------------------------------------------

$node = neon_node('chain', preload => 'neon_like, todo_events', conf => "todo_events.brokers = ''\n");
as_owner($node, 'CREATE EXTENSION todo_events');
for my $first ('before', 'after')
{
	wait_for_sql($node, 'the engine runs', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'todo_events engine'});
	is($node->safe_psql('postgres', <<'END', extra_params => [ '-U', 'owner' ]), 't', "L9: a utility hook loaded $first ours is called, and the engine makes way");
CREATE DATABASE copy TEMPLATE neondb;
DROP DATABASE copy;
SELECT current_setting('neon_like.commands')::int >= 2;
END
	last if $first eq 'after';
	my $libraries = join ', ', reverse split /, */, $node->safe_psql('postgres', 'SHOW shared_preload_libraries');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$libraries'");
	$node->restart;
}

# ---- who has which rights -------------------------------------------------------------------

is(as_owner($node, q{SELECT extowner::regrole FROM pg_extension WHERE extname = 'todo_events'}), 'owner', 'P2: the owner of the database owns the extension');
as_owner($node, <<'END');
SELECT todo_events.create_tasks('tasks');
SELECT todo_events.configure('source', 'neon');
COPY todo_events.secret_input FROM STDIN;
sasl_password=no-one-may-see-this
\.
SELECT todo_events.configure('source', NULL);
END
# database-class settings are rows: no file, no ALTER SYSTEM
is($node->safe_psql('neondb', q{SELECT count(*) FROM todo_events.settings WHERE class = 'database' AND restart}), 0, 'P4: no setting that an owner makes needs a restart');
is($node->safe_psql('neondb', q{SELECT string_agg(name, ' ' ORDER BY name) FROM pg_settings WHERE name LIKE 'todo\_events.%' AND context = 'postmaster' AND boot_val IS NULL}), '',
	'P4: every parameter of the server\'s start has a default');
for my $what ('TABLE todo_events_internal.secret', 'TABLE todo_events_internal.log', 'TABLE todo_events.outbox', q{SELECT todo_events.configure('source', 'x')})
{
	($status) = $node->psql('neondb', $what, extra_params => [ '-U', 'stranger' ]);
	isnt($status, 0, "P8: a role without the privileged one may not: $what");
}
# who reads all data, without passing by row-level security
is($node->safe_psql('neondb', q{SELECT count(*) FROM todo_events_internal.secret}, extra_params => [ '-U', 'member' ]), 0, 'P8: nor does a member of it see secrets');
is($node->safe_psql('neondb', q{SELECT count(*) FROM todo_events_internal.secret}), 1, 'P8: of which there is one');
for my $role ('owner', 'member', 'stranger')
{
	my $seen = '';
	for my $view (qw(settings workers topics lag outbox dead_letters health() metrics()))
	{
		(undef, $out, $err) = $node->psql('neondb', "SELECT * FROM todo_events.$view", extra_params => [ '-U', $role ]);
		$seen .= "$out$err";
	}
	$seen .= $node->safe_psql('neondb', 'SELECT query, application_name FROM pg_stat_activity', extra_params => [ '-U', $role ]);
	unlike($seen, qr/no-one-may-see-this/, "P8: no view shows a secret to $role");
}
unlike(slurp_file($node->logfile), qr/no-one-may-see-this/, 'P8: nor is it in the log');

# a DBA's default privileges are not the extension's
as_owner($node, 'SELECT todo_events.detach_all(); DROP EXTENSION todo_events');
$node->safe_psql('neondb', <<'END', extra_params => [ '-U', 'cloud_admin' ]);
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO stranger;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO stranger;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO stranger;
ALTER DEFAULT PRIVILEGES GRANT CREATE, USAGE ON SCHEMAS TO stranger;
CREATE EXTENSION todo_events;
END
is($node->safe_psql('neondb', q{SELECT todo_events.configure('source', 'by-member'); SELECT value FROM todo_events.settings WHERE name = 'source'}, extra_params => [ '-U', 'member' ]), "\nby-member",
	'P2: members administer an extension that cloud_admin has installed');
is($node->safe_psql('neondb', q{
	SELECT count(*) FROM (SELECT relacl FROM pg_class WHERE relnamespace::regnamespace::text LIKE 'todo\_events%'
		UNION ALL SELECT proacl FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'todo\_events%'
		UNION ALL SELECT nspacl FROM pg_namespace WHERE nspname LIKE 'todo\_events%') a (acl), aclexplode(acl) e
	WHERE e.grantee = 'stranger'::regrole}), 0, 'P8: ALTER DEFAULT PRIVILEGES gives nobody a right on it (G9)');
$node->safe_psql('neondb', 'DROP EXTENSION todo_events', extra_params => [ '-U', 'cloud_admin' ]);

# ---- the event trigger --------------------------------------------------------------------------

as_owner($node, <<'END');
CREATE EXTENSION todo_events;
DROP TABLE tasks;
CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
SELECT todo_events.attach('parted');
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
END
my $has = q{SELECT count(*) FROM pg_trigger WHERE tgname = 'todo_events_truncate' AND tgrelid = '%s'::regclass};
is(as_owner($node, sprintf $has, 'parted_1'), 1, 'P6: the event trigger fires for the owner');
$node->safe_psql('neondb', join('; ', map { "ALTER EVENT TRIGGER todo_events_ddl_$_ DISABLE" } qw(begin end dropped)), extra_params => [ '-U', 'cloud_admin' ]);
as_owner($node, <<'END');
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
INSERT INTO parted VALUES (1, 'a'), (11, 'b'), (12, 'c');
UPDATE parted SET v = 'd' WHERE id = 11;
TRUNCATE parted;
END
is(as_owner($node, sprintf $has, 'parted_2'), 0, 'P6: where it is skipped ...');
is(as_owner($node, q{SELECT string_agg(split_part(type, '.', 4) || ' ' || key, ', ' ORDER BY split_part(type, '.', 4), key) FROM todo_events.outbox}),
	'created 1, created 11, created 12, deleted 1, deleted 11, deleted 12, updated 11',
	'P6: ... changes of the partition, and TRUNCATE of the table, make their events');
($done, $output) = do
{
	local $ENV{PGDATABASE} = 'neondb';
	local %ENV = (%ENV, PGHOST => '127.0.0.1', PGPORT => $node->port, PGUSER => 'owner');
	delete @ENV{ grep { /^(HARNESS|TE_COUNTS)/ } keys %ENV };
	my $text;
	(IPC::Run::run([ "$top/scripts/pgtap.sh", '--installed' ], '>&', \$text), $text);
};
like($output, qr/\(public\.parted_2,todo_events_truncate\)/, 'P6: ... and check-installed tells what is missing');
unlike($output, qr/skipped: the rights of each level/, 'P7: as an owner with CREATEROLE it looks at the rights of every level too');
is(scalar(() = $output =~ /^# Failed test/mg), 2, 'P7: which are right: only what the event trigger was kept from is amiss');
as_owner($node, 'SELECT todo_events.detach_all(); DROP EXTENSION todo_events');
is($node->safe_psql('neondb', q{SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'todo\_events%'}), 0, 'P2: DROP EXTENSION by the owner leaves nothing');
# it has gone with its database's extension, and comes with it
as_owner($node, 'CREATE EXTENSION todo_events; ALTER EXTENSION todo_events UPDATE');
wait_for_sql($node, 'the engine runs', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'todo_events engine'});
$node->stop;
done_testing();
