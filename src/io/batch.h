/*-------------------------------------------------------------------------
 *
 * batch.h
 *	  A PUBLISH frame, decoded.
 *
 * Nothing is copied out of the frame: values, keys and headers point into
 * it, and the frame lives until the last message of the batch is settled
 * (delivered or refused).  That is also what makes it possible to produce a
 * message a second time.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_BATCH_H
#define TE_IO_BATCH_H

#include "wire.h"

typedef struct TeBatch TeBatch;

typedef struct TeMessage
{
	uint64_t	event;
	TeWireStr	value;			/* absent: a tombstone */
	TeWireStr	content_type;
	const char *headers;		/* header_count pairs of str, checked */
	uint32_t	header_bytes;
	uint8_t		header_count;
} TeMessage;

/* one message on its way to one topic */
typedef struct TeTarget
{
	TeBatch    *batch;
	TeMessage  *message;
	struct TeTarget *next;		/* in one of its topic's lists */
	TeWireStr	key;
	uint16_t	topic;
	uint16_t	attempts;		/* how often it was handed to the library */
	bool		suspect;		/* its record batch was refused; whether for its sake is not known */
} TeTarget;

struct TeBatch
{
	uint64_t	number;
	uint32_t	message_count;
	uint32_t	target_count;
	uint32_t	open;			/* targets not yet settled */
	size_t		bytes;			/* memory held: frame and arrays */
	char	   *frame;
	TeMessage  *messages;
	TeTarget   *targets;
};

/*
 * Decodes a body.  owned is the malloc'd body, which the batch takes over, or
 * NULL to have it copied.  NULL if the body is malformed; owned is then still
 * the caller's.
 */
extern TeBatch *te_batch_decode(const char *body, uint32_t len, char *owned);
extern void te_batch_free(TeBatch *batch);

/* the order in which targets were handed to us; for qsort of pointers and for merging */
extern int	te_target_compare(const TeTarget *a, const TeTarget *b);

/*
 * Bytes of the record batch that would carry this message alone, never more
 * than what the broker counts: what is above a topic's limit by this measure
 * is above it for the broker as well (without compression).
 */
extern size_t te_target_batch_bytes(const TeTarget *target);

#endif							/* TE_IO_BATCH_H */
