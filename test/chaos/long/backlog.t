# test/tap/t/061_backlog.pl with half a million events.
use strict;
use warnings;
use File::Basename;

$ENV{TE_EVENTS} //= 500_000;
exec $^X, (map { "-I$_" } @INC), dirname(__FILE__) . '/../../tap/t/061_backlog.pl' or die "$!";
