# The build as an image's maker does it: PGXS, USE_PGXS=1, no network, into a directory
# of its own; and what the fragment for the image's Dockerfile says (B1, B6, B7).
use strict;
use warnings;
use TodoEvents;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $top = $TodoEvents::top;
my $dir = PostgreSQL::Test::Utils::tempdir();
my ($version) = slurp_file("$top/todo_events.control") =~ /^default_version = '(.*)'/m;

# ---- a tree as it is unpacked, with the library that deps has made beside it ----------------

system("tar -C '$top' --exclude=./build --exclude=./.git --exclude='*.o' --exclude='*.bc' --exclude='*.so' -cf - . | tar -C '$dir' -xf - --no-same-owner") == 0
  or die 'cannot copy the tree';
mkdir "$dir/build";
system('cp', '-a', "$top/build/deps", "$dir/build/deps") == 0 or die;

# a namespace of the kernel that has no network, if this user may make one
my @alone = grep { system("@$_ true >/dev/null 2>&1") == 0 } [ 'unshare', '-rn' ], [ 'unshare', '-n' ];
my @without = @alone ? @{ $alone[0] } : ();

sub make
{
	my (@arguments) = @_;
	my $output;
	local %ENV = %ENV;
	# where there is no such namespace, those that would be asked are nowhere
	@ENV{qw(http_proxy https_proxy HTTP_PROXY HTTPS_PROXY npm_config_registry)} = ('http://127.0.0.1:9') x 5;
	delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
	my $done = IPC::Run::run([ @without, 'make', '-C', $dir, 'USE_PGXS=1', 'PG_CONFIG=' . ($ENV{PG_CONFIG} || 'pg_config'), @arguments ], '>&', \$output);
	note($output) unless $done;
	return ($done, $output);
}

my ($done, $output) = make('-j2');
ok($done, 'B1: make USE_PGXS=1 builds it' . (@without ? '' : ', with no registry or mirror to ask'));
SKIP:
{
	skip 'this user may make no namespace without a network', 1 unless @without;
	ok($done, 'B1: where there is no network at all');
}
my @compiled = grep { / -c / } split /\n/, $output;
my @unsigned = grep { !/-fsigned-char/ && !/clang.*-emit-llvm|-flto=thin/ } @compiled;
cmp_ok(scalar @compiled, '>', 70, 'B6: every file is compiled');
is(scalar @unsigned, 0, 'B6: with char signed, whatever the architecture');
note($unsigned[0]) if @unsigned;

($done, $output) = make('install', "DESTDIR=$dir/image");
ok($done, 'B1: make install puts it where DESTDIR says');
chomp(my $libdir = `$TodoEvents::bindir/pg_config --pkglibdir`);
chomp(my $share = `$TodoEvents::bindir/pg_config --sharedir`);
ok(-s "$dir/image$_", "B1: $_ is there")
  for "$libdir/todo_events.so", "$libdir/todo_events_io-$version", "$share/extension/todo_events.control", "$share/extension/todo_events--$version.sql";

# ---- the fragment -----------------------------------------------------------------------------

my $fragment = slurp_file("$top/neon/Dockerfile.fragment");
like($fragment, qr/^FROM build-deps AS todo_events-src$/m, 'B7: a layer of sources');
like($fragment, qr/^FROM pg-build AS todo_events-build$/m, 'B7: and one that builds them');
my @fetched = $fragment =~ /(?:wget|curl)\s/g;
my @checked = $fragment =~ /sha256sum --check/g;
cmp_ok(scalar @fetched, '>', 0, 'B7: it fetches sources');
is(scalar @checked, scalar @fetched, 'B7: each of which has its sum checked');
like($fragment, qr/\b[0-9a-f]{64}\b/, 'B7: pinned by sha256');
my ($package) = slurp_file("$top/scripts/librdkafka.sh") =~ /^npm_package=\@confluentinc\/(\S+)\@/m;
my ($release) = slurp_file("$top/scripts/librdkafka.sh") =~ /^npm_package=\S+\@(\S+)$/m;
like($fragment, qr{/\Q$package-$release\E\.tgz}, "B7: librdkafka's is the one that the build takes: $package $release");
my ($cached) = glob "$top/build/deps/cache/*$package-$release.tgz";
SKIP:
{
	skip 'that source is not here: librdkafka is the system\'s', 1 unless $cached;
	my ($sum) = `sha256sum '$cached'` =~ /^(\w+)/;
	like($fragment, qr/\b$sum\b/, 'B7: and the sum is that of what is built here');
}
for my $script (glob "$top/neon/ext-src/todo_events-src/*.sh")
{
	ok(-x $script && system('sh', '-n', $script) == 0, "B7: $script is a script that can run");
}
done_testing();
