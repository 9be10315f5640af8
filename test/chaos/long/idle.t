# test/tap/t/064_idle.pl for a minute.
use strict;
use warnings;
use File::Basename;

$ENV{TE_SECONDS} //= 60;
exec $^X, (map { "-I$_" } @INC), dirname(__FILE__) . '/../../tap/t/064_idle.pl' or die "$!";
