# What the tests of rights share: a statement as some role, allowed or refused.
#
#	my $rights = TodoEvents::Rights->new($node, 'database');
#	$rights->allowed('what', 'role', 'SQL', 'expected output');
#	$rights->refused('what', 'role', 'SQL', '42501');
package TodoEvents::Rights;

use strict;
use warnings;
use Test::More;

sub new
{
	my ($class, $node, $database) = @_;
	return bless { node => $node, database => $database }, $class;
}

# exit status, output, errors with their SQLSTATE
sub as
{
	my ($self, $role, $sql) = @_;
	return $self->{node}->psql($self->{database}, $sql, on_error_stop => 1,
		extra_params => [ '-U', $role, '-v', 'VERBOSITY=verbose' ]);
}

# $state: the SQLSTATE, or a pattern; returns the errors
sub refused
{
	my ($self, $what, $role, $sql, $state) = @_;
	my ($rc, $out, $err) = $self->as($role, $sql);
	$state //= '42501';
	ok($rc != 0 && $err =~ /(?:ERROR|FATAL):  $state:/, "refused to $role: $what") or diag("$state expected: $out $err");
	return $err;
}

sub allowed
{
	my ($self, $what, $role, $sql, $expected) = @_;
	my ($rc, $out, $err) = $self->as($role, $sql);
	ok($rc == 0, "allowed to $role: $what") or diag($err);
	is($out, $expected, "with this result: $what") if defined $expected;
	return $out;
}

1;
