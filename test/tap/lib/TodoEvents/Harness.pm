# Runs TAP tests as prove does, and adds what came out to the file TE_COUNTS, for
# the summary of scripts/test.sh:  prove --harness TodoEvents::Harness ...
#
# passed, failed and skipped are counted by assertion. A file that ended badly
# without a failed assertion of its own (it died, or its plan was not kept) is
# one failure, a file that skipped itself as a whole is one skip.
package TodoEvents::Harness;

use strict;
use warnings;
use parent 'TAP::Harness';

sub runtests
{
	my ($self, @tests) = @_;
	my $aggregate = $self->SUPER::runtests(@tests);
	my ($passed, $failed, $skipped) = (0, 0, 0);

	for my $parser ($aggregate->parsers)
	{
		my $bad = $parser->failed;
		$bad ||= 1 if $parser->has_problems || $parser->exit;
		$skipped += $parser->skipped;
		$skipped++ if defined $parser->skip_all;
		$passed += $parser->passed - $parser->skipped;
		$failed += $bad;
	}
	# whoever asks for nothing has made a mistake in naming it
	$failed++ unless @tests;
	if (my $file = $ENV{TE_COUNTS})
	{
		open(my $out, '>>', $file) or die "cannot open $file: $!";
		print $out "$passed $failed $skipped\n";
		close $out or die "cannot write $file: $!";
	}
	return $aggregate;
}

1;
