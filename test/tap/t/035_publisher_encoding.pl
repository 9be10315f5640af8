# Databases that are not UTF-8: what arrives on Kafka is, and what cannot be is no
# reason for what follows to wait.
use strict;
use warnings;
use Encode ();
use TodoEvents;
use Test::More;

my $node = todo_node('encoding', conf => "todo_events.allowed_networks = '127.0.0.0/8'\n");
my $bootstrap = kafka()->{KAFKA_BOOTSTRAP};

for my $case (
	# encoding, bytes in the database, what arrives
	['LATIN1', "caf\xe9", "caf\x{e9}"],
	['WIN1252', "5 \x80", "5 \x{20ac}"],
	['EUC_JP', "\xc6\xfc\xcb\xdc", "\x{65e5}\x{672c}"],
	['SQL_ASCII', "good \xc3\xa9, bad \xe9!", "good \x{e9}, bad \x{fffd}!"])
{
	my ($encoding, $bytes, $text) = @$case;
	my $database = lc $encoding;
	my $topic = unique_name($database);
	my $hex = unpack 'H*', $bytes;

	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($database, <<"END");
SET client_min_messages = warning;
CREATE EXTENSION todo_events;
SELECT todo_events.create_topic('$topic');
SELECT todo_events.configure('brokers', '$bootstrap');
CREATE FUNCTION raw(hex text) RETURNS text LANGUAGE sql AS \$\$ SELECT convert_from(decode(hex, 'hex'), '$encoding') \$\$;
SELECT todo_events.publish('$topic', 'com.example.text', format('{"text": %s}', to_json(raw('$hex')))::text, key => raw('$hex'));
SELECT todo_events.publish('$topic', 'com.example.next', '{"text": "next"}'::text);
END
	ok(wait_for_delivery($node, undef, $database), "$encoding: all is delivered");
	my %event = map { $_->{type} => $_ } topic_events($node, $topic);
	is($event{'com.example.text'}{data}{text}, $text, "$encoding: the text is UTF-8");
	is(Encode::decode('UTF-8', $event{'com.example.text'}{message}{key}), $text, "$encoding: so is the key");
	is($event{'com.example.next'}{data}{text}, 'next', "$encoding: and what follows came");
}

done_testing();
