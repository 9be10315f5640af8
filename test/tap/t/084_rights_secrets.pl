# Secrets are readable by no unprivileged role, and in no log, view, error,
# statement text or process title (G9), whichever way they are given, and where
# they are given in a wrong one.
use strict;
use warnings;
use TodoEvents;
use TodoEvents::Rights;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# each by the way it takes; none may be found again
my %secret = (input => 'Inp-Tr0ub4dor', file => 'Fil-h0rse', again => 'Again-st4ple', options => 'Opt-b4ttery', statement => 'Stm-c0rrect', fatal => 'Fat-m0nkey', bare => 'Bare-p4perclip');
my $any = join('|', map { quotemeta } values %secret);

my $node = PostgreSQL::Test::Cluster->new('secrets');
$node->init;
my $password_file = $node->basedir . '/password';
append_to_file($password_file, "$secret{file}\n");
chmod 0600, $password_file;
# everything that can be logged
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'todo_events'
log_statement = all
log_min_duration_statement = 0
log_min_messages = debug2
log_error_verbosity = verbose
log_parameter_max_length = -1
log_parameter_max_length_on_error = -1
log_lock_waits = on
debug_print_parse = on
debug_print_plan = on
todo_events.brokers = '127.0.0.1:1'
todo_events.sasl_mechanism = 'SCRAM-SHA-256'
todo_events.sasl_username = 'user'
todo_events.sasl_password_file = '$password_file'
todo_events.kafka_options = 'debug=all'
});
$node->start;
my $begin = -s $node->logfile;
$node->safe_psql('postgres', q{CREATE ROLE plain LOGIN; CREATE ROLE watcher LOGIN; GRANT pg_monitor, pg_read_all_data TO watcher; CREATE DATABASE shop OWNER plain});
my $shop = TodoEvents::Rights->new($node, 'shop');
$shop->allowed('CREATE EXTENSION', 'plain', 'CREATE EXTENSION todo_events');
$shop->allowed('rights for others', 'plain', q{SELECT todo_events.grant_access('watcher', 'operator')});

sub running
{
	my ($what) = @_;
	wait_for_sql($node, "a producer runs: $what", q{SELECT EXISTS (SELECT FROM todo_events.workers WHERE database = 'shop' AND role = 'publisher' AND state = 'running' AND io_pid > 0)}, undef, 'shop');
	wait_for_sql($node, "it has tried to connect: $what", q{SELECT EXISTS (SELECT FROM todo_events.health() WHERE component = 'broker' AND level <> 'ok')}, undef, 'shop');
	# what the processes show of themselves
	for my $pid (split /\n/, $node->safe_psql('shop', q{SELECT pid FROM pg_stat_activity UNION SELECT io_pid FROM todo_events.workers WHERE io_pid > 0}))
	{
		for my $file ('cmdline', 'environ', 'comm')
		{
			my $content = eval { slurp_file("/proc/$pid/$file") } // '';
			unlike($content, qr/$any/, "$what: /proc/$file of a process") if $content =~ /$any/;
		}
	}
	pass("$what: no process shows it");
}

# ---- by a file, then by secret_input ----

running('password file');
$node->safe_psql('shop', q{SELECT pg_stat_reset()});
$shop->allowed('a secret', 'plain', "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret{input}\nkey_password=$secret{again}\n\\.\n", '');
running('secret_input');
$shop->allowed('another', 'plain', "COPY todo_events.secret_input (line) FROM STDIN WITH (FORMAT csv);\nsasl_password=$secret{again}\n\\.\n", '');
running('secret_input again');
is($node->safe_psql('shop', q{SELECT string_agg(name || '=' || value, ',' ORDER BY name) FROM todo_events.settings WHERE kind = 'secret'}), 'key_password=********,sasl_password=********', 'both are there');

# ---- in the wrong place, or cut short ----

$node->append_conf('postgresql.conf', "log_statement = none\nlog_min_duration_statement = -1\ndebug_print_parse = off\ndebug_print_plan = off\n");
$node->reload;
wait_for_sql($node, 'statements are logged with errors only', q{SELECT current_setting('log_statement') = 'none'});
for my $option ('sasl.password', 'ssl.key.password', 'ssl.keystore.password', 'ssl.key.pem', 'sasl.oauthbearer.client.secret')
{
	unlike($shop->refused("$option in a row", 'plain', "SELECT todo_events.configure('kafka_options', 'linger.ms=5, $option=$secret{options}')", '22023'), qr/$any/, 'and not quoted');
	unlike($shop->refused("$option in a table", 'plain', "INSERT INTO todo_events.setting_config (name, value) VALUES ('kafka_options', '$option=$secret{options}')", '22023'), qr/$any/, 'and not quoted');
	$node->append_conf('postgresql.conf', "todo_events.kafka_options = '$option=$secret{options}'\n");
}
$node->reload;
wait_for('the configuration is refused', sub { log_since($node, $begin) =~ /invalid value for parameter "todo_events\.kafka_options"/ });
$node->append_conf('postgresql.conf', "todo_events.kafka_options = 'debug=all'\n");
$node->reload;
unlike($shop->refused('a secret as a setting', 'plain', "SELECT todo_events.configure('sasl_password', '$secret{statement}')", 'TE403'), qr/$any/, 'and not quoted');
unlike($shop->refused('INSERT of a secret', 'plain', "INSERT INTO todo_events.secret_input VALUES ('sasl_password=$secret{statement}')", '0A000'), qr/$any/, 'and not quoted');
for my $copy ("COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret{input}\tx\n\\.\n", "COPY todo_events.secret_input FROM STDIN (FORMAT csv, HEADER MATCH);\nsasl_password=$secret{input}\n\\.\n",
	"COPY todo_events.secret_input FROM STDIN (FORMAT csv);\n\"sasl_password=$secret{input}\n\\.\n", "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret{input}\xff\n\\.\n",
	"COPY todo_events.secret_input FROM STDIN;\nsasl_passwort=$secret{input}\n\\.\n", "COPY todo_events.secret_input FROM STDIN WHERE line::int > 0;\nsasl_password=$secret{input}\n\\.\n",
	"SET search_path = todo_events; COPY \"secret_input\" FROM STDIN;\n$secret{input}\n\\.\n")
{
	my ($rc, $out, $err) = $shop->as('plain', $copy);
	isnt($rc, 0, 'refused: a line that COPY cannot read');
	unlike($err, qr/$any/, 'and not quoted');
}

# the session is ended while a line waits for the table's lock, and after a line
my ($in, $out, $err) = ('', '', '');
my $ended = IPC::Run::start([ 'psql', '-XAtq', '-h', $node->host, '-p', $node->port, '-U', 'plain', '-d', 'shop' ], '<', \$in, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
my ($lin, $lout, $lerr) = ('', '', '');
my $locker = IPC::Run::start([ 'psql', '-XAtq', '-h', $node->host, '-p', $node->port, '-d', 'shop' ], '<', \$lin, '>', \$lout, '2>', \$lerr, IPC::Run::timeout(60));
$lin .= "BEGIN; LOCK TABLE todo_events_internal.secret IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n";
$locker->pump until $lout =~ /locked/;
$in .= "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret{fatal}\nsasl_password=$secret{fatal}\n\\.\n";
$ended->pump_nb;
wait_for_sql($node, 'the line waits', q{SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'todo_events_internal.secret'::regclass)}, undef, 'shop');
# longer than deadlock_timeout, for the message of log_lock_waits
wait_for('the wait is logged', sub { log_since($node, $begin) =~ /still waiting for ShareRowExclusiveLock/ });
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'plain' AND query ~ '^COPY'});
eval { $ended->finish };
$lin .= "ROLLBACK;\n\\q\n";
$locker->finish;
unlike($err, qr/$any/, 'the end of the session does not quote the line');

# ---- what an unprivileged role, and a monitoring one, can see ----

for my $view (q{SELECT name, setting, boot_val, reset_val FROM pg_settings}, q{SELECT query FROM pg_stat_activity}, q{SELECT * FROM pg_prepared_statements}, q{SELECT * FROM todo_events.settings}, q{SELECT * FROM todo_events.health()},
	q{SELECT * FROM todo_events.metrics()}, q{SELECT * FROM todo_events.workers}, q{SELECT * FROM todo_events.topics}, q{SELECT * FROM todo_events.setting_config}, q{SELECT * FROM todo_events.outbox}, q{SELECT * FROM todo_events.dead_letters},
	q{SELECT * FROM pg_db_role_setting}, q{SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats})
{
	unlike($shop->allowed($view, 'watcher', $view), qr/$any/, 'shows no secret');
}
$shop->allowed('the table of secrets, to who reads all data', 'watcher', 'SELECT * FROM todo_events_internal.secret', '');
$shop->refused('statistics of it', 'watcher', 'ANALYZE todo_events_internal.secret; SELECT 1/0', '22012');
is($node->safe_psql('shop', q{SELECT count(*) FROM pg_stats WHERE tablename = 'secret'}), '0', 'nobody but its owner makes statistics of it');
for my $options ([], ['--data-only'], [ '--section=pre-data', '--section=data' ])
{
	my ($dump, $errors);
	IPC::Run::run([ 'pg_dump', @$options, '-h', $node->host, '-p', $node->port, '-U', 'plain', 'shop' ], '>', \$dump, '2>', \$errors);
	unlike($dump . $errors, qr/$any/, "a dump has no secret @$options");
	like($dump, qr/PostgreSQL database dump complete/, 'and is one');
}

# ---- where the library is not preloaded ----

my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
my $from = -s $bare->logfile;
$bare->safe_psql('postgres', 'CREATE EXTENSION todo_events');
for my $copy ("COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret{bare}\tx\n\\.\n", "COPY todo_events.secret_input FROM STDIN (FORMAT csv);\n\"sasl_password=$secret{bare}\n\\.\n",
	"COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret{bare}\xff\n\\.\n", "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret{bare}\nsasl_password=$secret{bare}\tx\n\\.\n")
{
	my ($rc, $stdout, $stderr) = $bare->psql('postgres', $copy, on_error_stop => 1);
	isnt($rc, 0, 'not preloaded, refused: a line that COPY cannot read');
	unlike($stderr, qr/$any/, 'and not quoted');
}
my ($rc, $stdout, $stderr) = $bare->psql('postgres', "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$secret{bare}\n\\.\nSELECT 1/0", on_error_stop => 1);
like($stderr, qr/division by zero/, 'other errors are what they are');
is($bare->safe_psql('postgres', q{SELECT value FROM todo_events.settings WHERE name = 'sasl_password'}), '********', 'a good line is kept');
unlike(log_since($bare, $from), qr/$any/, 'nothing of it is in the log');
$bare->stop;

# ---- the log, last ----

my $log = log_since($node, $begin);
like($log, qr/todo_events: producer|librdkafka/, "the producer's messages are in the log");
like($log, qr/DEBUG/, 'and debugging ones');
my @found = grep { /$any/ } split /\n/, $log;
is(scalar(@found), 0, 'no secret is in the log') or diag(join "\n", map { substr($_, 0, 200) } @found[ 0 .. ($#found > 5 ? 5 : $#found) ]);

$node->stop;
done_testing();
