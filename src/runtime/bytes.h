/*
 * bytes.h
 *	  A buffer that is filled at its end and consumed at its beginning.
 *	  Private to src/runtime.
 */
#ifndef TE_RUNTIME_BYTES_H
#define TE_RUNTIME_BYTES_H

#include "utils/memutils.h"

#define TE_BYTES_FIRST	(64 * 1024)
#define TE_BYTES_KEEP	(1024 * 1024)	/* an empty buffer larger than this is given back */

typedef struct TeBytes
{
	char	   *data;
	size_t		size;
	size_t		head;			/* first byte not yet consumed */
	size_t		tail;			/* end of what is filled */
} TeBytes;

/* room for so many bytes after the tail */
static inline void
te_bytes_reserve(TeBytes *b, size_t room)
{
	if (b->head == b->tail)
		b->head = b->tail = 0;
	if (b->size - b->tail >= room)
		return;
	if (b->head > 0 && b->size - (b->tail - b->head) >= room && b->head >= b->size / 2)
	{
		memmove(b->data, b->data + b->head, b->tail - b->head);
		b->tail -= b->head;
		b->head = 0;
		return;
	}
	{
		size_t		size = Max(b->size * 2, b->tail + room);

		size = Max(size, TE_BYTES_FIRST);
		if (b->data)
			b->data = repalloc_huge(b->data, size);
		else
			b->data = MemoryContextAllocHuge(TopMemoryContext, size);
		b->size = size;
	}
}

static inline void
te_bytes_shrink(TeBytes *b)
{
	if (b->head != b->tail)
		return;
	b->head = b->tail = 0;
	if (b->size > TE_BYTES_KEEP)
	{
		pfree(b->data);
		b->data = NULL;
		b->size = 0;
	}
}

static inline void
te_bytes_discard(TeBytes *b)
{
	b->head = b->tail = 0;
	te_bytes_shrink(b);
}

#endif
