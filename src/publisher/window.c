/*-------------------------------------------------------------------------
 *
 * window.c
 *	  Batches in flight, and the marks behind them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "publisher/window.h"

typedef struct Batch
{
	uint32		messages;
	uint32		refused;
	uint32		unwritten;		/* refused, and not yet a dead letter */
	bool		acked;
	size_t		bytes;
} Batch;

struct TeWindow
{
	/* batches first .. next - 1 are in flight, at number % TE_WINDOW_BATCHES */
	uint64		first;
	uint64		next;
	size_t		bytes;
	Batch		batches[TE_WINDOW_BATCHES];

	/* one mark at most behind each batch, and one before the first */
	int			mark_first;
	int			mark_count;
	TeWindowMark marks[TE_WINDOW_BATCHES + 1];
};

TeWindow *
te_window_create(MemoryContext context)
{
	TeWindow   *window = MemoryContextAllocZero(context, sizeof(TeWindow));

	te_window_reset(window);
	return window;
}

static TeWindowMark *
window_mark_at(TeWindow *window, int i)
{
	return &window->marks[(window->mark_first + i) % lengthof(window->marks)];
}

void
te_window_reset(TeWindow *window)
{
	for (int i = 0; i < window->mark_count; i++)
		pfree(window_mark_at(window, i)->mark);
	window->mark_first = 0;
	window->mark_count = 0;
	window->first = window->next = 1;
	window->bytes = 0;
}

bool
te_window_has_room(const TeWindow *window, int batches)
{
	return window->bytes < TE_WINDOW_BYTES &&
		window->next - window->first + batches <= TE_WINDOW_BATCHES;
}

bool
te_window_is_empty(const TeWindow *window)
{
	return window->first == window->next && window->mark_count == 0;
}

static Batch *
window_find(TeWindow *window, uint64 batch)
{
	if (batch < window->first || batch >= window->next)
		return NULL;
	return &window->batches[batch % TE_WINDOW_BATCHES];
}

uint64
te_window_add(TeWindow *window, uint32 messages, size_t bytes)
{
	Batch	   *b = &window->batches[window->next % TE_WINDOW_BATCHES];

	Assert(window->next - window->first < TE_WINDOW_BATCHES);
	memset(b, 0, sizeof(*b));
	b->messages = messages;
	b->bytes = bytes;
	window->bytes += bytes;
	return window->next++;
}

void
te_window_mark(TeWindow *window, const TeWindowMark *mark)
{
	TeWindowMark *last = window->mark_count > 0
		? window_mark_at(window, window->mark_count - 1) : NULL;

	if (last == NULL || last->last_batch != window->next - 1)
	{
		Assert(window->mark_count < (int) lengthof(window->marks));
		last = window_mark_at(window, window->mark_count++);
		*last = *mark;
	}
	else
	{
		/* nothing was sent in between: the newer state replaces the older */
		TeWindowMark older = *last;

		pfree(older.mark);
		*last = *mark;
		last->ticket = Max(older.ticket, mark->ticket);
		last->last_time = Max(older.last_time, mark->last_time);
	}
	last->last_batch = window->next - 1;
}

bool
te_window_ack(TeWindow *window, uint64 batch, uint32 *acked)
{
	Batch	   *b = window_find(window, batch);

	*acked = 0;
	if (b == NULL || b->acked)
		return false;
	b->acked = true;
	*acked = b->messages - b->refused;
	return true;
}

bool
te_window_refuse(TeWindow *window, uint64 batch)
{
	Batch	   *b = window_find(window, batch);

	if (b == NULL || b->acked || b->refused >= b->messages)
		return false;
	b->refused++;
	b->unwritten++;
	return true;
}

void
te_window_dead_letter(TeWindow *window, uint64 batch)
{
	Batch	   *b = window_find(window, batch);

	if (b != NULL && b->unwritten > 0)
		b->unwritten--;
}

bool
te_window_next_mark(TeWindow *window, TeWindowMark *mark)
{
	TeWindowMark *first;

	while (window->first < window->next)
	{
		Batch	   *b = &window->batches[window->first % TE_WINDOW_BATCHES];

		if (!b->acked || b->unwritten > 0)
			break;
		window->bytes -= b->bytes;
		window->first++;
	}

	if (window->mark_count == 0)
		return false;
	first = window_mark_at(window, 0);
	if (first->last_batch >= window->first)
		return false;
	*mark = *first;
	window->mark_first = (window->mark_first + 1) % lengthof(window->marks);
	window->mark_count--;
	return true;
}
