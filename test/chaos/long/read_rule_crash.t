# test/tap/t/051_read_rule_crash.pl with thirty crashes.
use strict;
use warnings;
use File::Basename;

$ENV{TE_ROUNDS} //= 30;
exec $^X, (map { "-I$_" } @INC), dirname(__FILE__) . '/../../tap/t/051_read_rule_crash.pl' or die "$!";
