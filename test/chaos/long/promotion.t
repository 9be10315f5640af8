# test/tap/t/074_promotions.pl with fifty promotions.
use strict;
use warnings;
use File::Basename;

$ENV{TE_PROMOTIONS} //= 50;
exec $^X, (map { "-I$_" } @INC), dirname(__FILE__) . '/../../tap/t/074_promotions.pl' or die "$!";
