# test/tap/t/060_broker_faults.pl with the broker away for a minute.
use strict;
use warnings;
use File::Basename;

$ENV{TE_AWAY} //= 60;
exec $^X, (map { "-I$_" } @INC), dirname(__FILE__) . '/../../tap/t/060_broker_faults.pl' or die "$!";
