/*-------------------------------------------------------------------------
 *
 * stats.h
 *	  What a STATS frame reports: totals, and the latency of the last window.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_STATS_H
#define TE_IO_STATS_H

#include <stdint.h>

/* four buckets a power of two: a quantile is off by at most a fifth */
#define TE_STATS_BUCKETS	128

typedef struct TeStats
{
	uint64_t	sent;			/* messages handed to the library (repeats included) */
	uint64_t	acked;
	uint64_t	refused;
	uint64_t	bytes;			/* values and keys acknowledged */
	uint32_t	window_count;
	uint32_t	window[TE_STATS_BUCKETS];
} TeStats;

extern void te_stats_latency(TeStats *stats, int64_t us);

/* upper edge, in microseconds, of the bucket that holds this quantile of the window; 0 if empty */
extern uint32_t te_stats_quantile(const TeStats *stats, double quantile);
extern void te_stats_new_window(TeStats *stats);

#endif							/* TE_IO_STATS_H */
