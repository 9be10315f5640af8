/*-------------------------------------------------------------------------
 *
 * stats.c
 *	  What a STATS frame reports: totals, and the latency of the last window.
 *
 *-------------------------------------------------------------------------
 */
#include "stats.h"

#include <string.h>

static int
bucket_of(uint64_t us)
{
	int			power;

	if (us < 4)
		return (int) us;
	power = 63 - __builtin_clzll(us);
	if (power > TE_STATS_BUCKETS / 4)
		return TE_STATS_BUCKETS - 1;
	return 4 * (power - 1) + (int) ((us >> (power - 2)) & 3);
}

static uint64_t
bucket_edge(int bucket)
{
	if (bucket < 4)
		return (uint64_t) bucket;
	return ((uint64_t) (4 + (bucket & 3) + 1) << (bucket / 4 - 1)) - 1;
}

void
te_stats_latency(TeStats *stats, int64_t us)
{
	if (us < 0)
		return;
	stats->window[bucket_of((uint64_t) us)]++;
	stats->window_count++;
}

uint32_t
te_stats_quantile(const TeStats *stats, double quantile)
{
	double		want = quantile * stats->window_count;
	uint64_t	seen = 0;

	if (stats->window_count == 0)
		return 0;
	for (int i = 0; i < TE_STATS_BUCKETS; i++)
	{
		seen += stats->window[i];
		if (seen > 0 && (double) seen >= want)
			return bucket_edge(i) > UINT32_MAX ? UINT32_MAX : (uint32_t) bucket_edge(i);
	}
	return UINT32_MAX;
}

void
te_stats_new_window(TeStats *stats)
{
	memset(stats->window, 0, sizeof(stats->window));
	stats->window_count = 0;
}
