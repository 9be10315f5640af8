/*-------------------------------------------------------------------------
 *
 * wire.h
 *	  The frames between a worker and its I/O process.
 *
 * A worker (engine) and the program it started (todo_events_io) talk over a
 * socketpair in frames.  This is the one header that both sides include, so
 * it needs nothing but the C library.  Both ends are built together and run
 * on the same machine: numbers travel in native byte order, and the first
 * frame each way carries version and build, so that a mismatch is a clear
 * error instead of garbage.
 *
 *	frame  = u32 length of the body, u16 type, u16 zero, body
 *	str    = u32 length, bytes (no terminator); TE_WIRE_NULL is "absent"
 *
 * A body is read with a TeWireIn, whose error flag is sticky: read all
 * fields, then look at ->bad once.  A bad frame ends the conversation: the
 * I/O process exits, the worker starts another, and whatever was not
 * acknowledged is sent again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_WIRE_H
#define TE_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define TE_WIRE_VERSION		1
#define TE_WIRE_HEADER		8			/* bytes before the body */
#define TE_WIRE_MAX_BODY	(64 * 1024 * 1024)
#define TE_WIRE_NULL		UINT32_MAX	/* length of an absent str */

/* exit statuses of the I/O process; the worker words its message by them */
#define TE_IO_EXIT_EOF		0	/* the worker went away, or asked us to go */
#define TE_IO_EXIT_ERROR	1	/* failed; a STATUS frame said why */
#define TE_IO_EXIT_WIRE		2	/* bad frame, or version mismatch */
#define TE_IO_EXIT_RESTART	3	/* library asks for a fresh start (fatal producer error) */

/* the descriptor on which the I/O process finds its end of the pair */
#define TE_IO_FD			3

/*
 * Every frame, in one table: name, number, direction, body.
 *
 * "event" is the log id; "batch" numbers PUBLISH frames, ascending by one
 * from 1 in each life of an I/O process.
 */
#define TE_WIRE_FRAMES(X) \
	/* both ways, first */ \
	X(HELLO, 1)			/* u32 wire version, str build, str role (worker) or str library versions (I/O) */ \
	/* worker -> I/O */ \
	X(CONFIG, 2)		/* u32 n, n * (str name, str value): the whole configuration, once, after HELLO */ \
	X(TOPIC, 3)			/* u16 number, str name, i32 partitions, i64 retention ms (-1: broker's), u8 create */ \
	X(PUBLISH, 4)		/* u64 batch, u32 n, n * message (below) */ \
	X(RETRY_TOPICS, 5)	/* empty: look at the topics again now */ \
	/* I/O -> worker */ \
	X(READY, 20)		/* empty: configuration accepted, PUBLISH may come (broker not necessarily up) */ \
	X(ACK, 21)			/* u64 batch: every message of it is acknowledged or was REFUSED before */ \
	X(REFUSED, 22)		/* u64 batch, u64 event, u16 topic, i32 code, str code name, str reason, u32 attempts */ \
	X(STATUS, 23)		/* u8 level, str component, str message, str hint: replaces the component's status */ \
	X(TOPIC_STATE, 24)	/* u16 number, u8 state, i32 partitions, i64 retention ms (-1 unlimited, -2 unknown), i64 max message bytes (-1 unknown), str difference */ \
	X(LOG, 25)			/* u8 level, str message: one line for the server log */ \
	X(STATS, 26)		/* u64 sent, u64 acked, u64 refused, u64 bytes, u32 queued, u32 p50 us, u32 p99 us (last window) */

/*
 * message in PUBLISH:
 *	u64 event, str value, str content type, u8 headers, headers * (str name, str value),
 *	u8 targets, targets * (u16 topic, str key)
 * One value may go to several topics; value bytes stay valid in the frame's
 * buffer, so that the I/O process need not copy them.
 */

typedef enum TeWireType
{
#define X(name, number) TE_FRAME_##name = number,
	TE_WIRE_FRAMES(X)
#undef X
} TeWireType;

/* level in STATUS and LOG */
typedef enum TeWireLevel
{
	TE_LEVEL_OK = 0,
	TE_LEVEL_INFO = 1,
	TE_LEVEL_WARNING = 2,
	TE_LEVEL_ERROR = 3
} TeWireLevel;

/* state in TOPIC_STATE */
typedef enum TeWireTopicState
{
	TE_TOPIC_UNKNOWN = 0,		/* not yet looked at, or absent and to be created: "difference" says why it is not yet */
	TE_TOPIC_OK = 1,
	TE_TOPIC_CREATED = 2,
	TE_TOPIC_DIFFERS = 3,		/* exists with other partitions or retention; "difference" says which */
	TE_TOPIC_MISSING = 4,		/* absent, and not created: "difference" says why */
	TE_TOPIC_DENIED = 5			/* the broker refuses this user */
} TeWireTopicState;

/* ---- writing -------------------------------------------------------- */

static inline char *
te_wire_put(char *p, const void *data, size_t n)
{
	memcpy(p, data, n);
	return p + n;
}

static inline char *
te_wire_put_u8(char *p, uint8_t v)
{
	*p = (char) v;
	return p + 1;
}

static inline char *
te_wire_put_u16(char *p, uint16_t v)
{
	return te_wire_put(p, &v, sizeof(v));
}

static inline char *
te_wire_put_u32(char *p, uint32_t v)
{
	return te_wire_put(p, &v, sizeof(v));
}

static inline char *
te_wire_put_u64(char *p, uint64_t v)
{
	return te_wire_put(p, &v, sizeof(v));
}

/* data == NULL writes an absent string; the caller's buffer holds 4 + n bytes */
static inline char *
te_wire_put_str(char *p, const char *data, size_t n)
{
	if (data == NULL)
		return te_wire_put_u32(p, TE_WIRE_NULL);
	p = te_wire_put_u32(p, (uint32_t) n);
	return te_wire_put(p, data, n);
}

static inline char *
te_wire_put_header(char *p, uint32_t length, uint16_t type)
{
	p = te_wire_put_u32(p, length);
	p = te_wire_put_u16(p, type);
	return te_wire_put_u16(p, 0);
}

/* ---- reading -------------------------------------------------------- */

typedef struct TeWireStr
{
	const char *data;			/* NULL if absent; not terminated */
	uint32_t	len;
} TeWireStr;

typedef struct TeWireIn
{
	const char *p;
	const char *end;
	bool		bad;			/* read past the end: all later reads give zero */
} TeWireIn;

static inline TeWireIn
te_wire_in(const char *body, size_t len)
{
	TeWireIn	in = {body, body + len, false};

	return in;
}

static inline bool
te_wire_get(TeWireIn *in, void *out, size_t n)
{
	if (in->bad || (size_t) (in->end - in->p) < n)
	{
		in->bad = true;
		memset(out, 0, n);
		return false;
	}
	memcpy(out, in->p, n);
	in->p += n;
	return true;
}

static inline uint8_t
te_wire_get_u8(TeWireIn *in)
{
	uint8_t		v;

	te_wire_get(in, &v, sizeof(v));
	return v;
}

static inline uint16_t
te_wire_get_u16(TeWireIn *in)
{
	uint16_t	v;

	te_wire_get(in, &v, sizeof(v));
	return v;
}

static inline uint32_t
te_wire_get_u32(TeWireIn *in)
{
	uint32_t	v;

	te_wire_get(in, &v, sizeof(v));
	return v;
}

static inline uint64_t
te_wire_get_u64(TeWireIn *in)
{
	uint64_t	v;

	te_wire_get(in, &v, sizeof(v));
	return v;
}

static inline TeWireStr
te_wire_get_str(TeWireIn *in)
{
	TeWireStr	s = {NULL, 0};
	uint32_t	len = te_wire_get_u32(in);

	if (in->bad || len == TE_WIRE_NULL)
		return s;
	if ((size_t) (in->end - in->p) < len)
	{
		in->bad = true;
		return s;
	}
	s.data = in->p;
	s.len = len;
	in->p += len;
	return s;
}

/* a body is well-formed when nothing was missing and nothing is left over */
static inline bool
te_wire_done(const TeWireIn *in)
{
	return !in->bad && in->p == in->end;
}

#endif							/* TE_WIRE_H */
