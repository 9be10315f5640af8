/*-------------------------------------------------------------------------
 *
 * frames.h
 *	  Reading and writing the frames of wire.h on a non-blocking descriptor.
 *
 * The reader never holds more than one unfinished frame and a fixed stage,
 * whatever the peer sends.  A frame that does not fit into the stage gets a
 * buffer of its own, into which the kernel copies directly: the body of a
 * PUBLISH is never copied again.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_IO_FRAMES_H
#define TE_IO_FRAMES_H

#include <stddef.h>
#include <sys/uio.h>

#include "wire.h"

#define TE_READER_STAGE		(32 * 1024)

typedef struct TeReader
{
	size_t		start;			/* first byte of the stage not yet consumed */
	size_t		fill;			/* bytes in the stage */
	char	   *large;			/* body of a frame that the stage cannot hold, or NULL */
	size_t		large_len;
	size_t		large_fill;
	uint16_t	large_type;
	char		stage[TE_READER_STAGE];
} TeReader;

typedef struct TeFrame
{
	uint16_t	type;
	uint32_t	len;
	const char *body;
	char	   *owned;			/* malloc'd body, the caller's to free; NULL: valid until the next call */
} TeFrame;

typedef enum TeReadResult
{
	TE_READ_FRAME,				/* *frame is filled in */
	TE_READ_MORE,				/* no whole frame yet */
	TE_READ_EOF,
	TE_READ_BAD					/* not frames: the conversation is over */
} TeReadResult;

/* the parser alone: where bytes go, that n came, and the next whole frame */
extern void te_reader_init(TeReader *reader);
extern void te_reader_free(TeReader *reader);
extern int	te_reader_space(TeReader *reader, struct iovec iov[2]);
extern void te_reader_filled(TeReader *reader, size_t n);
extern TeReadResult te_reader_next(TeReader *reader, TeFrame *frame);

/* one read: TE_READ_FRAME if bytes came (call te_reader_next), MORE if none are there */
extern TeReadResult te_reader_fill(TeReader *reader, int fd);

typedef struct TeWriter
{
	char	   *data;
	size_t		size;
	size_t		start;			/* first byte not yet written */
	size_t		fill;
	size_t		frame;			/* where the frame being built begins */
} TeWriter;

extern void te_writer_init(TeWriter *writer);
extern void te_writer_free(TeWriter *writer);

/*
 * te_writer_begin returns room for max_body bytes; te_writer_end says what
 * end pointer the body reached.  Nothing is written before te_writer_flush,
 * which returns false if the peer is gone.
 */
extern char *te_writer_begin(TeWriter *writer, size_t max_body);
extern void te_writer_end(TeWriter *writer, uint16_t type, const char *end);
extern bool te_writer_flush(TeWriter *writer, int fd);

static inline size_t
te_writer_pending(const TeWriter *writer)
{
	return writer->fill - writer->start;
}

#endif							/* TE_IO_FRAMES_H */
