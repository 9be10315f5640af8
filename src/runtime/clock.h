/*
 * clock.h
 *	  Time and randomness, injected: workers ask here and nowhere else, so
 *	  that tests can move the clock (todo_events.clock_offset, superuser) and
 *	  fix the jitter.
 */
#ifndef TE_RUNTIME_CLOCK_H
#define TE_RUNTIME_CLOCK_H

#include "datatype/timestamp.h"

/* wall clock in microseconds since 2000-01-01 UTC, plus the tests' offset */
extern TimestampTz te_clock_now(void);

/* monotonic microseconds since an arbitrary start; never moved */
extern int64 te_clock_monotonic(void);

/* uniform in [0, 1) */
extern double te_clock_random(void);

/*
 * Exponential backoff with full jitter: milliseconds to wait before attempt
 * n (0 = first retry), between base/2 and base, doubling up to cap.
 */
extern int	te_clock_backoff_ms(int attempt, int base_ms, int cap_ms);

#endif
