/*
 * mark.h
 *	  The state of a reader (reader.c) as a value, and as text.  Pure.
 */
#ifndef TE_LOG_MARK_H
#define TE_LOG_MARK_H

#include "postgres.h"

/* ids lo..hi; xid: inserter (pending) or U (hole), 64 bits */
typedef struct TeRange
{
	int64		lo;
	int64		hi;
	uint64		xid;
} TeRange;

typedef struct TeRanges
{
	int			n;
	int			max;
	TeRange    *items;
} TeRanges;

typedef struct TeMark
{
	int64		high;
	TeRanges	holes;			/* by lo */
	TeRanges	pending;		/* by (xid, lo) */
} TeMark;

#define TE_MARK_MAX		1000	/* bytes of a mark */
#define TE_TOKEN_MAX	200		/* bytes of a token */

/* append; joined to the last one if adjacent and of the same xid */
extern void te_ranges_add(TeRanges *ranges, int64 lo, int64 hi, uint64 xid);
extern void te_ranges_insert(TeRanges *ranges, int at, int64 lo, int64 hi, uint64 xid);
/* first entry with that xid, or where it would be; ranges sorted by xid */
extern int	te_ranges_find_xid(const TeRanges *ranges, uint64 xid);
extern void te_ranges_insert_xid(TeRanges *ranges, int64 lo, int64 hi, uint64 xid);
/* sort by lo and join what overlaps or touches, with the larger xid */
extern void te_ranges_sort_disjoint(TeRanges *ranges);

extern void te_mark_copy(TeMark *to, const TeMark *from);	/* into CurrentMemoryContext; "to" is overwritten */
extern void te_mark_assign(TeMark *to, const TeMark *from); /* frees what "to" held */
extern void te_mark_free(TeMark *mark);

/*
 * Text of at most max bytes.  Where the ranges do not fit, the ones closest
 * to each other are joined into holes that expire at "next" (the next
 * transaction id): re-reading such a range may repeat, never skip.
 */
extern char *te_mark_format(const TeMark *mark, uint64 next, int max);
extern bool te_mark_parse(TeMark *mark, const char *text);

/* no transaction id at or above next: a hole's U is lowered to it, a pending entry becomes a hole */
extern void te_mark_limit_xids(TeMark *mark, uint64 next);

/* lowest id not accounted for */
extern int64 te_mark_low(const TeMark *mark);

#endif
