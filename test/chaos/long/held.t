# test/tap/t/063_held.pl for two minutes, at 1,000 transactions a second.
use strict;
use warnings;
use File::Basename;

$ENV{TE_SECONDS} //= 60;
$ENV{TE_RATE} //= 1000;
exec $^X, (map { "-I$_" } @INC), dirname(__FILE__) . '/../../tap/t/063_held.pl' or die "$!";
