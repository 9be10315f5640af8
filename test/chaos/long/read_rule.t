# test/tap/t/050_read_rule.pl for a minute.
use strict;
use warnings;
use File::Basename;

$ENV{TE_SECONDS} //= 60;
exec $^X, (map { "-I$_" } @INC), dirname(__FILE__) . '/../../tap/t/050_read_rule.pl' or die "$!";
