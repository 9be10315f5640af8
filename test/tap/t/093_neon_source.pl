# What the source and the binaries must be, for servers whose storage, hooks and images
# are not ours: Neon's, and others like it (B2, B4, B5, B6, D3, D4, L1, L9, L10, N1, N5,
# P3).
use strict;
use warnings;
use TodoEvents;
use File::Find;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = $TodoEvents::top;

# ---- the binaries --------------------------------------------------------------------

chomp(my $libdir = `$TodoEvents::bindir/pg_config --pkglibdir`);
my ($version) = slurp_file("$top/todo_events.control") =~ /^default_version = '(.*)'/m;
my %binary = (library => "$libdir/todo_events.so", 'I/O program' => "$libdir/todo_events_io-$version");

# present in every image of a Neon compute
my $known = qr/^(lib(c|m|pthread|dl|rt|curl|ssl|crypto|z|lz4|zstd|sasl2|cap)\.so\.[\d.]+|ld-linux.*\.so\.\d+)$/;
# what a build with sanitizers adds
sub needed { return grep { !$ENV{TE_SANITIZE} || !/^lib(a|ub)san\.so/ } `readelf -d $_[0]` =~ /\(NEEDED\)\s+Shared library: \[(.*)\]/g; }
for my $name (sort keys %binary)
{
	my @needed = needed($binary{$name});
	cmp_ok(scalar @needed, '>', 0, "B4: the $name says what it needs: @needed");
	is(join(' ', grep { $_ !~ $known } @needed), '', "B4: the $name needs nothing that an image may lack");
}
is(join(' ', grep { !/^(libc|libm|ld-linux.*)\.so/ } needed($binary{library})), '',
	'B4, L10: what a PostgreSQL process loads needs no library but the C library\'s');

my %own = map { $_ => 1 } qw(Pg_magic_func _PG_init te_launcher_main te_engine_main);
my $sql = join '', map { slurp_file($_) } glob "$top/src/*/*.sql";
$own{$_} = $own{"pg_finfo_$_"} = 1 for $sql =~ /'MODULE_PATHNAME', *'(\w+)'/g;
my @exported = `nm -D --defined-only $binary{library}` =~ /^\w+ [A-Z] (\w+)$/mg;
cmp_ok(scalar @exported, '>', 50, 'B5: the library exports what SQL calls');
is(join(' ', grep { !$own{$_} } @exported), '', 'B5: and no other symbol');
is(join(' ', grep { /pthread_create|^fork$|^popen$|^system$/ } `nm -D --undefined-only $binary{library}` =~ /U (\w+)/g), '',
	'L10: it starts no thread and no shell');

# ---- the source --------------------------------------------------------------------------

my %source;
find({ no_chdir => 1, wanted => sub { $source{ $_ =~ s/^\Q$top\E\///r } = slurp_file($_) if /\.[ch]$/ } }, "$top/src");
cmp_ok(scalar keys %source, '>', 80, 'the source is all here');
# comments and strings may say what they like
s{/\*.*?\*/}{}gs, s{"(\\.|[^"\\])*"}{""}g for values %source;

# files of the source where something stands, as file:word
sub uses
{
	my ($pattern, $files) = @_;
	my @found;

	for my $file (sort keys %source)
	{
		next if $files && $file !~ $files;
		push @found, "$file:$1" while $source{$file} =~ /\b($pattern)\b/g;
	}
	return "@found";
}
my $server = qr{^src/(?!io/)};

is(uses(qr/smgr\w+|RelationGetSmgr|md(open|extend|read|write)\w*/), '', 'B2: no call below the buffer manager');
is(uses(qr/MarkBufferDirty\w*|PageAddItem\w*|START_CRIT_SECTION|PageInit/), '', 'B2: no page is written by hand');
is(uses(qr/RegisterCustomRmgr|XLogInsert|XLogRegister\w+|log_newpage\w*|GenericXLog\w*/), '', 'D3: no WAL record of our own');
is(uses(qr/LogLogicalMessage|ReplicationSlotCreate\w*|CreateReplicationSlot\w*|CreateInitDecodingContext/), '', 'D3: no logical message, no slot');
is(uses(qr/TransactionIdGetCommitTsData|GetLatestCommitTsData|track_commit_timestamp|pgstat_fetch_(?!stat_(?:local_beentry|numbackends)\b)\w+/), '', 'D4: no commit timestamp, no statistics but who is there now');
is(uses(qr/(?:fopen|open|creat|AllocateFile|OpenTransientFile|BasicOpenFile\w*|PathNameOpenFile\w*|OpenTemporaryFile|mkdir|unlink|rename)(?=\s*\()|DataDir/, qr{^src/(?!io/)(?!runtime/(settings|instance))}), '',
	'D1: no file is opened in a server process, but what the configuration names');
is(uses(qr/Async_Notify/), '', 'N5: no NOTIFY');
is(uses(qr/CacheRegisterRelcacheCallback/), 'src/runtime/inval.c:CacheRegisterRelcacheCallback', 'one of the ten callbacks for changed relations is ours, whoever else is loaded (G11)');
is(uses(qr/(?:listen|bind|accept4?)(?=\s*\()/, qr{^src/}), '', 'N1: nothing listens in this version');
is(uses(qr/__x86_64__|__SSE\w*|_mm_\w+|\w+intrin|__asm__|asm/), '', 'B6: nothing for one architecture');
is(uses(qr/BgWorkerStart_(?!RecoveryFinished)\w+/), '', 'L1: workers start when recovery has ended');
isnt(uses(qr/BgWorkerStart_RecoveryFinished/), '', 'L1: all of them');
for my $flags (slurp_file("$top/Makefile") =~ /^PG_CFLAGS = (.*)$/m, slurp_file("$top/src/io/Makefile") =~ /^ALL_CFLAGS = (.*)$/m)
{
	like($flags, qr/-fsigned-char/, 'B6: char is signed, on every architecture');
}

# a hook that is set was read before, and what was there is called
my %hooks;
while (my ($file, $text) = each %source)
{
	$hooks{$_} = $file for $text =~ /\b((?!previous)\w+_hook) = \w+;/g;
}
cmp_ok(scalar keys %hooks, '>', 0, 'L9: hooks are used: ' . join(' ', sort keys %hooks));
for my $hook (sort keys %hooks)
{
	my ($before) = $source{ $hooks{$hook} } =~ /\b(\w+) = \Q$hook\E;/;
	ok($before && $source{ $hooks{$hook} } =~ /\bif \(\Q$before\E\)/, "L9: $hook calls what was there before");
}

# ---- SQL and documents -----------------------------------------------------------------------

my $words = qr/\b(ALTER SYSTEM|TABLESPACE|UNLOGGED|COPY\s[^;]*\b(?:PROGRAM|FROM\s+'\/|TO\s+'\/)|LOAD\s+')/i;
(my $statements = $sql) =~ s/'(''|[^'])*'/''/g;
is(join(' ', $statements =~ /$words/g), '', 'P3: no SQL of ours asks for what no owner of a database may do');
for my $document ('README.md', map { s/^\Q$top\E\///r } glob "$top/docs/*.md")
{
	next if $document eq 'docs/neon.md';    # which says what not to do
	is(join(' ', grep { !/tablespace|unlogged/i } slurp_file("$top/$document") =~ /$words/g), '', "P3: nor does $document");
}
done_testing();
