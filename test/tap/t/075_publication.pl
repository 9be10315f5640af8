# A publisher, with each kind of publication that has our tables in it: every
# statement of ours and of the application goes on, also those that update or
# delete configuration; what is sent has configuration at most; a slot that is
# held back holds no rotation. And the least that a server can log, which has no
# room for logical decoding at all. (G1, G2, G9, G11)

use strict;
use warnings;
use TodoEvents;
use TodoEvents::Load;
use Test::More;

my $node = todo_node('publication', init => [ allows_streaming => 'logical' ],
	conf => TodoEvents::Load::settings() . "todo_events.log_retention = 1s\n");
my $secret = 'Tr0ub4dor';

sub sql { return $node->safe_psql('postgres', @_); }

sub works
{
	my ($what, $query) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $query);
	is($err =~ s/^.*NOTICE:.*\n?//gmr, '', $what);
	return $out;
}

sub give_secret
{
	my ($value) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "COPY todo_events.secret_input FROM STDIN;\nsasl_password=$value\n\\.\n");
	is($rc, 0, 'a secret is taken') or diag($err);
	return;
}

load_setup($node);
sql(<<'END');
CREATE TABLE notes (id integer PRIMARY KEY, who text NOT NULL, body text);
CREATE TABLE parts (id integer PRIMARY KEY, who text NOT NULL, body text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
END

my %publication = (
	'FOR ALL TABLES' => 'FOR ALL TABLES',
	'FOR ALL TABLES, via the partitions\' root' => 'FOR ALL TABLES WITH (publish_via_partition_root = true)',
	'FOR TABLES IN SCHEMA, ours too' => 'FOR TABLES IN SCHEMA public, todo_events, todo_events_internal',
	'row filters and column lists' => q{FOR TABLE tasks WHERE (id IS NOT NULL), notes (id, who), parts WHERE (id < 150) WITH (publish_via_partition_root)},
);

my $load = load_start($node, seconds => 3600, clients => 4, rate => 100);
my $n = 0;
for my $kind (sort keys %publication)
{
	$n++;
	sql("CREATE PUBLICATION p $publication{$kind}");
	# the first is never read: it holds everything back that a slot can
	sql("SELECT pg_create_logical_replication_slot('slot_$n', 'pgoutput')");

	for my $round (1 .. ($kind eq 'FOR ALL TABLES' ? 2 : 1))
	{
		works("$kind: configuration, round $round", <<"END");
SELECT todo_events.configure('truncate_limit', '$n$round'), todo_events.configure('source', 'from-row-$n-$round');
SELECT todo_events.configure('source', NULL);
UPDATE todo_events.setting_config SET value = '1$n$round' WHERE name = 'truncate_limit';
SELECT todo_events.create_topic('topic-$n-$round', create_topic => false);
UPDATE todo_events.topic_config SET retention = '2 days';
INSERT INTO todo_events.route_config VALUES ('com.example.*', 'topic-$n-$round');
UPDATE todo_events.topic_config SET topic = 'renamed-$n-$round' WHERE topic = 'topic-$n-$round';
UPDATE todo_events.route_config SET pattern = 'com.example.other' WHERE topic = 'renamed-$n-$round';
DELETE FROM todo_events.route_config WHERE topic = 'renamed-$n-$round';
DELETE FROM todo_events.topic_config WHERE topic = 'renamed-$n-$round';
DELETE FROM todo_events.default_removed;
DELETE FROM todo_events.setting_config WHERE name = 'truncate_limit';
END
		works("$kind: attach, change and detach, round $round", <<"END");
SELECT todo_events.attach('notes', key => 'id', user_key => 'who', name => 'notes');
SELECT todo_events.attach('parts', key => 'id', user_key => 'who', name => 'parts');
INSERT INTO notes SELECT i, 'u', 'new' FROM generate_series(1, 10) i;
UPDATE notes SET who = 'other', body = 'changed';
UPDATE notes SET id = id + 100;
DELETE FROM notes WHERE id > 105;
INSERT INTO notes VALUES (110, 'u', 'again');
TRUNCATE notes;
INSERT INTO parts VALUES (1, 'u', 'new'), (101, 'u', 'new');
UPDATE parts SET body = 'changed';
DELETE FROM parts;
BEGIN;
SET LOCAL todo_events.idempotency_key = 'key $n $round';
INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'keyed');
COMMIT;
SELECT todo_events.detach('notes'), todo_events.detach('parts');
SELECT todo_events.create_tasks('public.more_$n$round');
SELECT todo_events.detach('more_$n$round');
DROP TABLE more_$n$round;
END
	}
	works("$kind: configuration as of another database", <<'END');
SELECT todo_events.configure('truncate_limit', '5');
UPDATE todo_events.setting_config SET database_id = gen_random_uuid() WHERE name = 'truncate_limit';
END
	is(works("$kind: adopt", q{SELECT todo_events.adopt(backlog => 'send')}), 't', "$kind: is adopted");
	give_secret("$secret$n");
	works("$kind: an event for the dead letters", q{
		SELECT todo_events.publish((SELECT topic FROM todo_events.topic_config WHERE topic LIKE 'task-events%'), 'com.example.large',
			to_json((SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 70000))))});
	wait_for_sql($node, "$kind: the broker refuses it", 'SELECT count(*) > 0 FROM todo_events.dead_letters', 30);
	works("$kind: redrive", 'SELECT todo_events.redrive(min(id)) FROM todo_events.dead_letters');
	wait_for_sql($node, "$kind: and refuses it again", 'SELECT count(*) > 1 FROM todo_events.dead_letters', 30);
	works("$kind: redrive of all", 'SELECT todo_events.redrive(NULL)');
	works("$kind: purge", q{SELECT todo_events.purge_dead_letters('infinity')});
	works("$kind: grant and revoke", <<'END');
CREATE ROLE guest;
SELECT todo_events.grant_access('guest', 'operator'), todo_events.revoke_access('guest');
DROP ROLE guest;
END

	my ($name) = $publication{$kind} =~ /^FOR TABLE / ? ('nothing of ours') : ('configuration at most');
	my @sent = split /\n/, sql(<<"END");
SELECT convert_from(substring(data FROM 6 FOR position('\\x00'::bytea IN substring(data FROM 6)) - 1), 'UTF8') || '.' ||
	convert_from(substring(rest FROM 1 FOR position('\\x00'::bytea IN rest) - 1), 'UTF8')
FROM (SELECT data, substring(data FROM 6 + position('\\x00'::bytea IN substring(data FROM 6))) AS rest
	FROM pg_logical_slot_peek_binary_changes('slot_$n', NULL, NULL, 'proto_version', '1', 'publication_names', 'p') WHERE get_byte(data, 0) = ascii('R')) r GROUP BY 1
END
	cmp_ok(scalar(grep { $_ eq 'public.tasks' } @sent), '==', 1, "$kind: the application's rows are sent");
	my @ours = grep { /^todo_events/ } @sent;
	my $allowed = $name eq 'nothing of ours' ? qr/^$/ : qr/^todo_events\.(\w+_config|default_removed)$/;
	note("sent of ours: @ours");
	is(join(' ', grep { $_ !~ $allowed } @ours), '', "$kind: $name is sent of ours");
	cmp_ok(scalar(@ours), '>', 3, "$kind: and that is") if $name ne 'nothing of ours';
	is(sql(<<"END"), '0', "$kind: no secret is sent (G9)");
SELECT count(*) FROM pg_logical_slot_peek_binary_changes('slot_$n', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')
WHERE position('$secret'::bytea IN data) > 0
END
	sql('DROP PUBLICATION p');
	sql("SELECT pg_drop_replication_slot('slot_$n')") if $n > 1;
}
load_stop($load);
wait_for_delivery($node);
wait_for_sql($node, 'a slot that nobody reads holds no rotation', q{INSERT INTO tasks (user_id, title) VALUES (gen_random_uuid(), 'wake up');
	SELECT last_value > 100 FROM todo_events_internal.log_floor});
ledger_against_topic($node, 'under publications', at_least => 300);
$node->stop('fast');

# ---- the least that a server can log ------------------------------------------------------------

$node = todo_node('minimal', brokers => '', topics => 0, conf => TodoEvents::Load::settings() . <<'END');
wal_level = minimal
max_wal_senders = 0
todo_events.inject = ''
END
load_setup($node);
$load = load_start($node, seconds => 3600, clients => 4);
wait_for_sql($node, 'wal_level = minimal: events are made', 'SELECT count(*) > 300 FROM ledger');
# created, filled and emptied in one transaction: such files are not logged but synced
sql(<<'END');
BEGIN;
CREATE TABLE notes (id integer PRIMARY KEY, who text);
SELECT todo_events.attach('notes', user_key => 'who', name => 'notes');
INSERT INTO notes SELECT i, 'u' FROM generate_series(1, 500) i;
COMMIT;
INSERT INTO todo_events_internal.dead_letter SELECT i, now() + i * interval '1 s', 'publisher', i, i, 'e', 't', 'k', 'y', 'r', 0, 'n', 1, 'c', NULL, repeat(md5(i::text), 300)
FROM generate_series(1, 50) i;
SELECT todo_events.purge_dead_letters(now() + interval '20 s');
END
my $letters = sql('SELECT count(*), sum(length(event)), min(id) FROM todo_events.dead_letters');
like($letters, qr/^[23]\d\|/, 'some dead letters are purged');
$node->stop('immediate');
load_finish($load, cut => 1, stopped => 1);
$node->start;
load_resolve($node);
is(sql('SELECT count(*), sum(length(event)), min(id) FROM todo_events.dead_letters'), $letters, 'and the others are there after a crash');
is(sql(q{SELECT count(*) FROM todo_events.outbox WHERE key LIKE 'notes/%'}), '500', 'as are the events of a table made in their transaction');
is(sql(<<'END'), '0|0', 'the log has what the ledger has');
SELECT count(*) FILTER (WHERE o.key IS NULL), count(*) FILTER (WHERE l.task IS NULL)
FROM ledger l FULL JOIN (SELECT key, sequence FROM todo_events.outbox WHERE key NOT LIKE 'notes/%') o ON o.key = l.task::text AND o.sequence = l.sequence
END

$node->stop('fast');
done_testing();
