/*-------------------------------------------------------------------------
 *
 * mark.c
 *	  The state of a reader as a value, and as text.
 *
 *	mark = high { ("p" | "h") lo "-" length "-" xid }
 *
 * in hexadecimal, lo counted down from high.  "p" is pending (xid is the
 * inserter), "h" a hole (xid is U).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "log/mark.h"

/* ---- ranges ----------------------------------------------------------- */

void
te_ranges_insert(TeRanges *ranges, int at, int64 lo, int64 hi, uint64 xid)
{
	if (ranges->n == ranges->max)
	{
		ranges->max = Max(8, ranges->max * 2);
		ranges->items = ranges->items == NULL
			? palloc(ranges->max * sizeof(TeRange))
			: repalloc_huge(ranges->items, ranges->max * sizeof(TeRange));
	}
	memmove(&ranges->items[at + 1], &ranges->items[at], (ranges->n - at) * sizeof(TeRange));
	ranges->items[at] = (TeRange) {lo, hi, xid};
	ranges->n++;
}

void
te_ranges_add(TeRanges *ranges, int64 lo, int64 hi, uint64 xid)
{
	TeRange    *last = ranges->n > 0 ? &ranges->items[ranges->n - 1] : NULL;

	if (last != NULL && last->xid == xid && last->hi + 1 == lo)
		last->hi = hi;
	else
		te_ranges_insert(ranges, ranges->n, lo, hi, xid);
}

int
te_ranges_find_xid(const TeRanges *ranges, uint64 xid)
{
	int			lo = 0;
	int			hi = ranges->n;

	/* newer inserters are asked for more often */
	if (hi > 0 && ranges->items[hi - 1].xid < xid)
		return hi;
	while (lo < hi)
	{
		int			mid = (lo + hi) / 2;

		if (ranges->items[mid].xid < xid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void
te_ranges_insert_xid(TeRanges *ranges, int64 lo, int64 hi, uint64 xid)
{
	int			at = te_ranges_find_xid(ranges, xid);

	while (at < ranges->n && ranges->items[at].xid == xid && ranges->items[at].lo < lo)
		at++;
	te_ranges_insert(ranges, at, lo, hi, xid);
}

static int
compare_lo(const void *a, const void *b)
{
	int64		x = ((const TeRange *) a)->lo;
	int64		y = ((const TeRange *) b)->lo;

	return x < y ? -1 : x > y;
}

void
te_ranges_sort_disjoint(TeRanges *ranges)
{
	int			n = 0;

	if (ranges->n < 2)
		return;
	qsort(ranges->items, ranges->n, sizeof(TeRange), compare_lo);
	for (int i = 1; i < ranges->n; i++)
	{
		TeRange    *last = &ranges->items[n];
		TeRange    *r = &ranges->items[i];

		/* neighbours with different U stay apart, so that each closes in its time */
		if (r->lo <= last->hi || (r->lo == last->hi + 1 && r->xid == last->xid))
		{
			last->hi = Max(last->hi, r->hi);
			last->xid = Max(last->xid, r->xid);
		}
		else
			ranges->items[++n] = *r;
	}
	ranges->n = n + 1;
}

/* ---- marks ------------------------------------------------------------ */

static void
ranges_copy(TeRanges *to, const TeRanges *from)
{
	to->n = to->max = from->n;
	to->items = NULL;
	if (from->n > 0)
	{
		to->items = palloc_extended(from->n * sizeof(TeRange), MCXT_ALLOC_HUGE);
		memcpy(to->items, from->items, from->n * sizeof(TeRange));
	}
}

void
te_mark_copy(TeMark *to, const TeMark *from)
{
	to->high = from->high;
	ranges_copy(&to->holes, &from->holes);
	ranges_copy(&to->pending, &from->pending);
}

void
te_mark_free(TeMark *mark)
{
	if (mark->holes.items)
		pfree(mark->holes.items);
	if (mark->pending.items)
		pfree(mark->pending.items);
	memset(mark, 0, sizeof(TeMark));
}

void
te_mark_assign(TeMark *to, const TeMark *from)
{
	te_mark_free(to);
	te_mark_copy(to, from);
}

void
te_mark_limit_xids(TeMark *mark, uint64 next)
{
	int			kept = 0;

	for (int i = 0; i < mark->holes.n; i++)
		mark->holes.items[i].xid = Min(mark->holes.items[i].xid, next);
	for (int i = 0; i < mark->pending.n; i++)
	{
		TeRange    *r = &mark->pending.items[i];

		if (r->xid < next)
			mark->pending.items[kept++] = *r;
		else
			te_ranges_insert(&mark->holes, mark->holes.n, r->lo, r->hi, next);
	}
	mark->pending.n = kept;
	te_ranges_sort_disjoint(&mark->holes);
}

int64
te_mark_low(const TeMark *mark)
{
	int64		low = mark->high + 1;

	for (int i = 0; i < mark->holes.n; i++)
		low = Min(low, mark->holes.items[i].lo);
	for (int i = 0; i < mark->pending.n; i++)
		low = Min(low, mark->pending.items[i].lo);
	return low;
}

/* ---- text ------------------------------------------------------------- */

static void
format_ranges(StringInfo buf, const TeMark *mark, const TeRanges *ranges, char kind)
{
	for (int i = 0; i < ranges->n; i++)
	{
		const TeRange *r = &ranges->items[i];

		appendStringInfo(buf, "%c%llx-%llx-%llx", kind,
						 (unsigned long long) (mark->high - r->lo),
						 (unsigned long long) (r->hi - r->lo),
						 (unsigned long long) r->xid);
	}
}

static int
compare_gap_desc(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x > y ? -1 : x < y;
}

/* all ranges as at most "keep" holes: cut where the gaps are widest */
static void
join_ranges(TeMark *joined, const TeMark *mark, uint64 next, int keep)
{
	TeRanges	all = {0};
	int64	   *gaps;
	int64		least;
	int			cuts = 0;

	for (int i = 0; i < mark->holes.n; i++)
		te_ranges_add(&all, mark->holes.items[i].lo, mark->holes.items[i].hi, next);
	for (int i = 0; i < mark->pending.n; i++)
		te_ranges_add(&all, mark->pending.items[i].lo, mark->pending.items[i].hi, next);
	te_ranges_sort_disjoint(&all);

	memset(joined, 0, sizeof(TeMark));
	joined->high = mark->high;
	if (all.n <= keep)
	{
		joined->holes = all;
		return;
	}

	gaps = palloc_extended(all.n * sizeof(int64), MCXT_ALLOC_HUGE);
	for (int i = 1; i < all.n; i++)
		gaps[i - 1] = all.items[i].lo - all.items[i - 1].hi;
	qsort(gaps, all.n - 1, sizeof(int64), compare_gap_desc);
	least = keep > 1 ? gaps[keep - 2] : PG_INT64_MAX;
	for (int i = 0; i < all.n; i++)
	{
		TeRange    *r = &all.items[i];
		TeRange    *last = joined->holes.n > 0 ? &joined->holes.items[joined->holes.n - 1] : NULL;

		if (last != NULL && (r->lo - last->hi < least || cuts >= keep - 1))
			last->hi = r->hi;
		else
		{
			cuts += last != NULL;
			te_ranges_insert(&joined->holes, joined->holes.n, r->lo, r->hi, next);
		}
	}
	pfree(gaps);
	pfree(all.items);
}

char *
te_mark_format(const TeMark *mark, uint64 next, int max)
{
	StringInfoData buf;
	int			keep = max / 8; /* a range takes no less */

	initStringInfo(&buf);
	appendStringInfo(&buf, "%llx", (unsigned long long) mark->high);
	if (mark->holes.n + mark->pending.n <= keep)
	{
		format_ranges(&buf, mark, &mark->holes, 'h');
		format_ranges(&buf, mark, &mark->pending, 'p');
		if (buf.len <= max)
			return buf.data;
	}
	do
	{
		TeMark		joined;

		join_ranges(&joined, mark, next, keep);
		resetStringInfo(&buf);
		appendStringInfo(&buf, "%llx", (unsigned long long) joined.high);
		format_ranges(&buf, &joined, &joined.holes, 'h');
		te_mark_free(&joined);
		keep = keep * 3 / 4;
	} while (buf.len > max && keep > 0);
	return buf.data;
}

/* 1 to 16 hexadecimal digits, at most 2^63 - 1 */
static bool
parse_hex(const char **p, uint64 *value)
{
	int			digits = 0;

	*value = 0;
	for (;; (*p)++, digits++)
	{
		char		c = **p;

		if (c >= '0' && c <= '9')
			*value = *value << 4 | (uint64) (c - '0');
		else if (c >= 'a' && c <= 'f')
			*value = *value << 4 | (uint64) (c - 'a' + 10);
		else
			break;
		if (digits == 16)
			return false;
	}
	return digits > 0 && *value <= (uint64) PG_INT64_MAX;
}

bool
te_mark_parse(TeMark *mark, const char *text)
{
	const char *p = text;
	uint64		high;

	memset(mark, 0, sizeof(TeMark));
	if (!parse_hex(&p, &high))
		return false;
	mark->high = (int64) high;
	while (*p != '\0')
	{
		char		kind = *p++;
		uint64		down;
		uint64		length;
		uint64		xid;
		int64		lo;

		if ((kind != 'h' && kind != 'p') ||
			!parse_hex(&p, &down) || *p++ != '-' ||
			!parse_hex(&p, &length) || *p++ != '-' ||
			!parse_hex(&p, &xid) ||
			down > high || length > down)
			return false;
		lo = mark->high - (int64) down;
		if (kind == 'h')
			te_ranges_insert(&mark->holes, mark->holes.n, lo, lo + (int64) length, xid);
		else
			te_ranges_insert_xid(&mark->pending, lo, lo + (int64) length, xid);
	}
	te_ranges_sort_disjoint(&mark->holes);
	return true;
}
