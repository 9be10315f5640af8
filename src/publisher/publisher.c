/*-------------------------------------------------------------------------
 *
 * publisher.c
 *	  The publisher role: event log -> todo_events_io producer -> Kafka.
 *
 *	read	a cycle of the reader, in one short transaction, rendered into
 *			frames (cycle.c)
 *	wait	until what was read is durable: nothing leaves that a crash could
 *			take back
 *	send	the frames, as far as the window of bytes in flight has room; the
 *			reader's mark waits behind them (window.c)
 *	settle	acknowledgements and dead letters complete batches, in order; the
 *			mark behind the last complete one is what counts (progress.c)
 *
 * When the I/O process goes away, whatever was in flight is forgotten, the
 * reader goes back to the mark that counts, and everything after it is sent
 * again, with the same ids.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "log/reader.h"
#include "publisher/answers.h"
#include "publisher/connect.h"
#include "publisher/cycle.h"
#include "publisher/dead_letters.h"
#include "publisher/progress.h"
#include "publisher/publisher.h"
#include "publisher/routes.h"
#include "publisher/topics.h"
#include "publisher/window.h"
#include "runtime/clock.h"
#include "runtime/io_process.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/worker.h"

/* looking again at what is undecided, when nobody wakes us */
#define RELOOK_MIN_US		20000
#define RELOOK_MAX_US		1000000

/*
 * Above this many events a second a burst is worth a pause: the events that
 * come meanwhile share a transaction and requests to the broker, and their
 * writers need not signal us.  It grows with the rate, up to all of
 * todo_events.coalesce.
 */
#define COALESCE_RATE		1500
#define COALESCE_FULL_RATE	6000
#define RATE_WINDOW_US		50000

/* dead letters locked by another transaction: when to try again, and when to complain */
#define LETTERS_RETRY_US	250000
#define LETTERS_LOCKED_US	1000000

static struct
{
	MemoryContext context;
	TeDatabase *db;
	TeIoProcess *io;
	TeWindow   *window;
	TeCycle		cycle;
	TeReader   *reader;			/* NULL: to be opened by the next step */
	TeRefusals *refusals;		/* of the I/O process, to become dead letters */
	TeFingerprint fingerprint;	/* of the configuration that the I/O process has */
	char	   *brokers;

	bool		in_step;		/* still set when stop() is called: the step failed */

	/* the I/O process */
	bool		up;				/* it wants its configuration */
	bool		configured;		/* and has it */
	bool		ready;
	bool		lost;			/* it went away; in flight is to be forgotten */
	bool		restart;		/* its configuration is out of date */
	bool		topics_changed;
	bool		recount;		/* dead letters were redriven or purged */
	int64		letters_at;		/* locked: not before */
	int64		locked_since;	/* 0: not locked */

	/* when to read */
	bool		more;			/* the last cycle left something */
	uint64		seen_wakeups;
	uint64		seen_ticket;
	int64		relook_at;
	int64		relook_delay;
	int64		quiet_until;	/* coalescing */
	double		rate;			/* events a second */
	int64		rate_at;
} p;

/* ---- frames from the I/O process -------------------------------------------- */

static void
io_up(void *arg, TeWireStr versions)
{
	p.up = true;
	p.configured = false;
	p.ready = false;
}

static void
io_down(void *arg)
{
	p.up = false;
	/* the next one knows nothing: topics must not reach it before the configuration */
	p.configured = false;
	p.ready = false;
	p.lost = true;
}

static void
io_frame(void *arg, uint16 type, TeWireIn *in)
{
	bool		good = true;

	switch (type)
	{
		case TE_FRAME_READY:
			good = te_wire_done(in) && p.configured && !p.lost;
			p.ready = good;
			te_worker_health(0, "configuration", "", NULL);
			break;
		case TE_FRAME_ACK:
			good = te_answer_ack(in, p.window, &p.db->counters);
			break;
		case TE_FRAME_REFUSED:
			good = te_answer_refused(in, p.window, p.refusals, &p.db->counters);
			break;
		case TE_FRAME_TOPIC_STATE:
			good = te_topic_state(in);
			break;
		case TE_FRAME_STATS:
			good = te_answer_stats(in, &p.db->counters);
			break;
		default:
			good = false;
			break;
	}
	/* costs the process its life; what was not acknowledged is sent again */
	if (!good)
		in->bad = true;
}

/* ---- taking up and putting down ---------------------------------------------- */

bool
te_publisher_enabled(void)
{
	return te_setting_string(TE_SET_BROKERS)[0] != '\0';
}

/* what was handed to the I/O process, and what was read for it, is as if it had never been */
static void
forget_in_flight(void)
{
	te_window_reset(p.window);
	te_refusals_clear(p.refusals);
	te_cycle_discard(&p.cycle);
	p.lost = false;
	p.more = true;
	if (p.reader != NULL)
		te_reader_seek_mark(p.reader, te_progress_mark());
}

/* what the I/O process has said of itself; a new configuration has it say so anew */
static void
forget_health(void)
{
	te_topic_states_clear();
	te_worker_health(0, "broker", "", NULL);
	te_worker_health(0, "configuration", "", NULL);
	te_worker_health(0, "io:producer", "", NULL);
	te_cycle_forget_health(&p.cycle);
}

static void
publisher_start(void)
{
	static const TeIoCallbacks callbacks = {.up = io_up, .frame = io_frame, .down = io_down};

	if (p.context == NULL)
	{
		p.context = AllocSetContextCreate(TopMemoryContext, "todo_events publisher",
										  ALLOCSET_DEFAULT_SIZES);
		p.db = te_shmem_my_database(true);
		p.io = te_io_create("producer", &callbacks, NULL);
		p.window = te_window_create(p.context);
		p.refusals = te_refusals_create(p.context);
		te_cycle_init(&p.cycle, p.context, te_refusals_create(p.context));
	}
	p.in_step = false;
	p.up = p.configured = p.ready = p.restart = false;
	p.lost = true;
	p.quiet_until = 0;
	te_io_start(p.io);
}

static void
publisher_stop(void)
{
	bool		failed = p.in_step;

	p.in_step = false;
	te_io_stop(p.io);
	if (p.reader != NULL)
		te_reader_close(p.reader);
	p.reader = NULL;
	forget_in_flight();
	/* after an error the role comes back, and goes on from what is acknowledged */
	if (failed)
		return;
	te_progress_save();
	te_progress_end();
	forget_health();
}

static void
open_log(void)
{
	te_worker_begin("opening the event log");
	te_routes_load();
	p.reader = te_reader_open(TE_PUBLISHER_READER, p.context);
	te_reader_seek_mark(p.reader, te_progress_start(te_reader_mark(p.reader)));
	p.recount = !te_dead_letters_health();
	te_worker_commit();
	p.relook_at = TE_NEVER;
	p.more = true;
}

static void
note_brokers(void)
{
	const char *brokers = te_setting_string(TE_SET_BROKERS);

	if (p.brokers != NULL && strcmp(p.brokers, brokers) == 0)
		return;
	if (p.brokers != NULL)
	{
		ereport(LOG,
				(errmsg("todo_events: brokers changed from \"%s\" to \"%s\": the publisher's cursor goes on, nothing already delivered is sent again",
						p.brokers, brokers)));
		pfree(p.brokers);
	}
	p.brokers = MemoryContextStrdup(p.context, brokers);
}

static void
configure(void)
{
	te_worker_begin("configuring the producer");
	te_connect_send_config(p.io, &p.fingerprint);
	note_brokers();
	te_connect_send_topics(p.io);
	te_worker_commit();
	te_io_flush(p.io);
	p.configured = true;
	p.topics_changed = false;
}

/* called in a transaction: the work that needs none is left to the next step */
static bool
publisher_reload(void)
{
	TeFingerprint now;

	if (p.reader == NULL)
		return false;			/* the first step reads everything anyway */
	te_routes_load();
	/* what waits in the I/O process for a topic that is gone would hold up the cursor for ever */
	if (te_topic_states_prune() && !te_window_is_empty(p.window))
		p.restart = true;
	p.topics_changed = true;
	p.recount = true;
	te_connect_fingerprint(&now);
	if (p.configured && memcmp(&now, &p.fingerprint, sizeof(now)) != 0)
		p.restart = true;
	return false;
}

static void
note_letters(bool locked)
{
	int64		now = te_clock_monotonic();

	if (!locked)
		p.letters_at = p.locked_since = 0;
	else
	{
		if (p.locked_since == 0)
			p.locked_since = now;
		else if (now - p.locked_since > LETTERS_LOCKED_US)
			te_dead_letters_locked();
		p.letters_at = now + LETTERS_RETRY_US;
	}
}

static void
take_up_changes(void)
{
	if (p.restart)
	{
		te_io_stop(p.io);
		forget_health();
		p.restart = p.up = p.configured = p.ready = false;
		p.lost = true;
		te_io_start(p.io);
	}
	if (p.lost)
		forget_in_flight();
	if (p.up && !p.configured)
		configure();
	if (p.topics_changed && p.configured)
	{
		te_connect_send_topics(p.io);
		te_io_flush(p.io);
		p.topics_changed = false;
	}
	if (p.recount && te_clock_monotonic() >= p.letters_at)
	{
		te_worker_begin("looking at dead letters");
		p.recount = !te_dead_letters_health();
		te_worker_commit();
		note_letters(p.recount);
	}
}

/* ---- publishing ---------------------------------------------------------------- */

static void
settle_dead_letter(void *arg, const TeRefusal *refusal)
{
	te_window_dead_letter(p.window, refusal->batch);
}

static void
nothing_to_settle(void *arg, const TeRefusal *refusal)
{
	pg_atomic_fetch_add_u64(&p.db->counters.messages_refused, 1);
}

/* some of them; false: p.letters_at says when to try again */
static bool
write_letters(TeRefusals *refusals, TeDeadLetterWritten written)
{
	bool		locked;

	if (te_clock_monotonic() < p.letters_at)
		return false;
	locked = te_refusals_write(refusals, written, NULL) == 0;
	note_letters(locked);
	return !locked;
}

/* exponentially weighted; a single event counts little, a long silence much */
static void
note_rate(int64 now, int events)
{
	double		elapsed = Max(now - p.rate_at, 1);

	p.rate += elapsed / (elapsed + RATE_WINDOW_US) * (events * 1000000.0 / elapsed - p.rate);
	p.rate_at = now;
}

/* is there a reason to read? */
static bool
reading_is_due(int64 now)
{
	return p.more || now >= p.relook_at ||
		pg_atomic_read_u64(&p.db->wakeups) != p.seen_wakeups ||
		pg_atomic_read_u64(&p.db->wait_requested) != p.seen_ticket;
}

static void
read_cycle(void)
{
	TeReadResult *result = &p.cycle.result;
	int64		now;

	/* before the snapshot: what is counted here is visible to it */
	p.seen_wakeups = pg_atomic_read_u64(&p.db->wakeups);
	p.seen_ticket = pg_atomic_read_u64(&p.db->wait_requested);

	te_worker_injection_point("publisher_before_cycle");
	te_cycle_read(&p.cycle, p.reader, p.seen_ticket);
	te_worker_injection_point("publisher_after_cycle");

	now = te_clock_monotonic();
	note_rate(now, result->events);
	p.more = result->more;
	if (!result->unsettled)
	{
		p.relook_at = TE_NEVER;
		p.relook_delay = 0;
	}
	else
	{
		p.relook_delay = result->events > 0 || p.relook_delay == 0
			? RELOOK_MIN_US : Min(p.relook_delay * 2, RELOOK_MAX_US);
		p.relook_at = now + p.relook_delay;
	}
	pg_atomic_fetch_add_u64(&p.db->counters.cycles, 1);
	pg_atomic_fetch_add_u64(&p.db->counters.events_read, result->events);
}

static void
send_cycle(void)
{
	pg_atomic_fetch_add_u64(&p.db->counters.messages_sent, p.cycle.messages);
	pg_atomic_fetch_add_u64(&p.db->counters.bytes_sent, p.cycle.buf.len);
	if (p.cycle.nframes == 0)
	{
		te_cycle_queue(&p.cycle, p.io, p.window);
		return;
	}
	te_worker_injection_point("publisher_before_flush");
	te_cycle_queue(&p.cycle, p.io, p.window);
	te_io_flush(p.io);
	te_worker_injection_point("publisher_after_flush");
}

/* one cycle at most; returns when to be called again */
static int64
publish(void)
{
	int64		now = te_clock_monotonic();
	int			retry_ms = 0;

	if (!p.ready)
		return TE_NEVER;

	if (!p.cycle.pending)
	{
		/* an acknowledgement makes room, and wakes us */
		if (!te_window_has_room(p.window, TE_CYCLE_FRAMES))
			return TE_NEVER;
		if (now < p.quiet_until && !p.more)
		{
			te_worker_coalesce((int) ((p.quiet_until - now + 999) / 1000));
			return 0;
		}
		if (!reading_is_due(now))
			return p.relook_at;
		read_cycle();
	}

	while (te_refusals_count(p.cycle.refusals) > 0)
	{
		if (!write_letters(p.cycle.refusals, nothing_to_settle))
			return p.letters_at;
	}

	if (!te_cycle_durable(&p.cycle, &retry_ms))
		return now + (int64) retry_ms * 1000;
	send_cycle();

	if (p.more)
		return 0;
	if (p.rate > COALESCE_RATE)
	{
		double		share = (p.rate - COALESCE_RATE) / (COALESCE_FULL_RATE - COALESCE_RATE);

		p.quiet_until = te_clock_monotonic() +
			(int64) (Min(share, 1.0) * te_setting_int(TE_SET_COALESCE) * 1000);
		return 0;
	}
	return p.relook_at;
}

static int64
publisher_step(bool woken)
{
	int64		due;
	int64		publish_due;
	int64		save_due;

	p.in_step = true;
	if (p.reader == NULL)
		open_log();
	take_up_changes();
	due = te_io_step(p.io);
	if (p.lost)
		forget_in_flight();

	if (te_refusals_count(p.refusals) > 0)
		(void) write_letters(p.refusals, settle_dead_letter);
	if (te_progress_advance(p.window))
		te_worker_injection_point("publisher_after_ack");
	/* not inside Min(), which would call it twice */
	publish_due = publish();
	due = Min(due, publish_due);
	if (te_progress_advance(p.window))
		te_worker_injection_point("publisher_after_ack");
	save_due = te_progress_save_if_due();
	due = Min(due, save_due);
	/* the rest of the refusals in the next step */
	if (te_refusals_count(p.refusals) > 0 || p.recount)
		due = Min(due, p.letters_at);
	p.in_step = false;
	return due;
}

static const TeRole publisher_role = {
	.name = "publisher",
	.enabled = te_publisher_enabled,
	.start = publisher_start,
	.stop = publisher_stop,
	.reload = publisher_reload,
	.step = publisher_step,
};

void
te_publisher_init(void)
{
	te_worker_register_role(&publisher_role);
	te_reader_register(TE_PUBLISHER_READER, te_publisher_enabled);
	te_dead_letters_init();
}
