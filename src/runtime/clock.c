/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  Time and randomness for workers, so that tests can own both.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "common/pg_prng.h"
#include "portability/instr_time.h"
#include "runtime/clock.h"
#include "runtime/settings.h"
#include "utils/timestamp.h"

TimestampTz
te_clock_now(void)
{
	return GetCurrentTimestamp() + (int64) te_setting_int(TE_SET_CLOCK_OFFSET) * 1000;
}

int64
te_clock_monotonic(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

double
te_clock_random(void)
{
	return pg_prng_double(&pg_global_prng_state);
}

int
te_clock_backoff_ms(int attempt, int base_ms, int cap_ms)
{
	double		full = base_ms * pow(2.0, Min(attempt, 30));

	if (full > cap_ms)
		full = cap_ms;
	return (int) (full / 2 + te_clock_random() * full / 2);
}
