# Two versions of the extension in a PostgreSQL of the test's own.
#
#	use TodoEvents::Upgrade;
#	my $pg = upgrade_setup();            # a private copy of PostgreSQL, with the version under test
#	my $node = todo_node('name', install_path => $pg->{path});
#	install_next($pg);                   # the files of the next version, over them
#
# $pg: { path, version, next }, and libdir and extdir, where the files are. The next
# version is this one with a function more (scripts/upgrade.sh next); it is built
# once for all tests of a run.
package TodoEvents::Upgrade;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use File::Copy qw(copy);
use File::Path qw(rmtree mkpath);
use TodoEvents;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(upgrade_setup install_this install_next);

my $scripts = "$TodoEvents::top/scripts";

sub command
{
	my (@command) = @_;
	my ($out, $err);

	IPC::Run::run(\@command, '>', \$out, '2>', \$err) or die "@command failed: $out$err";
	chomp $out;
	return $out;
}

# Puts copies in place by a rename, as package managers do: what runs keeps the old file.
sub put
{
	my ($file, $to) = @_;

	copy($file, "$to.new") or die "$file: $!";
	chmod((stat $file)[2] & 07777, "$to.new");
	rename("$to.new", $to) or die "$to: $!";
	return;
}

sub installed_files
{
	my ($libdir, $extdir) = @_;
	return glob("$libdir/todo_events.so $libdir/todo_events_io-* $extdir/todo_events.control $extdir/todo_events--*.sql");
}

sub upgrade_setup
{
	my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
	my $root = PostgreSQL::Test::Utils::tempdir();
	my %pg = (config => command("$scripts/upgrade.sh", 'server', $root));

	$pg{path} = dirname(dirname($pg{config}));
	$pg{libdir} = command($pg{config}, '--pkglibdir');
	$pg{extdir} = command($pg{config}, '--sharedir') . '/extension';
	$pg{tested} = { libdir => command($pg_config, '--pkglibdir'), extdir => command($pg_config, '--sharedir') . '/extension' };
	install_this(\%pg);
	open(my $control, '<', "$pg{extdir}/todo_events.control") or die $!;
	($pg{version}) = grep { $_ } map { /^default_version = '(.*)'/ ? $1 : undef } <$control>;

	$pg{tree} = "$ENV{TESTDATADIR}/next_version";
	my $newer = "find '$TodoEvents::top/src' '$TodoEvents::top/Makefile' '$scripts/upgrade.sh' -newer '$pg{tree}/.built'";
	if (!-e "$pg{tree}/.built" || `$newer`)
	{
		rmtree($pg{tree});
		mkpath($pg{tree});
		command("$scripts/upgrade.sh", 'next', $pg{tree});
		command('make', '-C', $pg{tree}, '-j2', "PG_CONFIG=$pg_config");
		open(my $stamp, '>', "$pg{tree}/.built") or die $!;
	}
	$pg{next} = command('sed', '-n', q{s/^default_version = '\(.*\)'/\1/p}, "$pg{tree}/todo_events.control");
	return \%pg;
}

# the version under test, and nothing else
sub install_this
{
	my ($pg) = @_;

	unlink installed_files($pg->{libdir}, $pg->{extdir});
	put($_, "$pg->{libdir}/" . basename($_)) for glob("$pg->{tested}{libdir}/todo_events.so $pg->{tested}{libdir}/todo_events_io-*");
	put($_, "$pg->{extdir}/" . basename($_)) for glob("$pg->{tested}{extdir}/todo_events.control $pg->{tested}{extdir}/todo_events--*.sql");
	return;
}

# make install: beside what is there, and over what has the same name
sub install_next
{
	my ($pg) = @_;

	command('make', '-C', $pg->{tree}, 'install', "PG_CONFIG=$pg->{config}");
	return;
}

1;
