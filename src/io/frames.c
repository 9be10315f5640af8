/*-------------------------------------------------------------------------
 *
 * frames.c
 *	  Reading and writing the frames of wire.h on a non-blocking descriptor.
 *
 *-------------------------------------------------------------------------
 */
#include "frames.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "memory.h"

void
te_reader_init(TeReader *reader)
{
	reader->start = reader->fill = 0;
	reader->large = NULL;
	reader->large_len = reader->large_fill = 0;
	reader->large_type = 0;
}

void
te_reader_free(TeReader *reader)
{
	free(reader->large);
	reader->large = NULL;
}

/*
 * With a large frame under way the stage is empty, and takes what follows
 * that frame: one system call usually ends one frame and brings the next
 * header.
 */
int
te_reader_space(TeReader *reader, struct iovec iov[2])
{
	int			n = 0;

	if (reader->large)
	{
		iov[n].iov_base = reader->large + reader->large_fill;
		iov[n].iov_len = reader->large_len - reader->large_fill;
		n++;
	}
	iov[n].iov_base = reader->stage + reader->fill;
	iov[n].iov_len = TE_READER_STAGE - reader->fill;
	return n + 1;
}

void
te_reader_filled(TeReader *reader, size_t n)
{
	if (reader->large)
	{
		size_t		part = reader->large_len - reader->large_fill;

		if (part > n)
			part = n;
		reader->large_fill += part;
		n -= part;
	}
	reader->fill += n;
}

TeReadResult
te_reader_next(TeReader *reader, TeFrame *frame)
{
	size_t		have = reader->fill - reader->start;
	TeWireIn	in;
	uint32_t	len;
	uint16_t	type;

	if (reader->large)
	{
		if (reader->large_fill < reader->large_len)
			return TE_READ_MORE;
		frame->type = reader->large_type;
		frame->len = (uint32_t) reader->large_len;
		frame->body = frame->owned = reader->large;
		reader->large = NULL;
		return TE_READ_FRAME;
	}

	if (have >= TE_WIRE_HEADER)
	{
		in = te_wire_in(reader->stage + reader->start, TE_WIRE_HEADER);
		len = te_wire_get_u32(&in);
		type = te_wire_get_u16(&in);
		if (len > TE_WIRE_MAX_BODY || te_wire_get_u16(&in) != 0)
			return TE_READ_BAD;

		if (have - TE_WIRE_HEADER >= len)
		{
			frame->type = type;
			frame->len = len;
			frame->body = reader->stage + reader->start + TE_WIRE_HEADER;
			frame->owned = NULL;
			reader->start += TE_WIRE_HEADER + len;
			return TE_READ_FRAME;
		}
		if (TE_WIRE_HEADER + (size_t) len > TE_READER_STAGE)
		{
			/* pages of it exist only once bytes arrive, whatever the header claims */
			reader->large = te_alloc(len);
			reader->large_len = len;
			reader->large_type = type;
			reader->large_fill = have - TE_WIRE_HEADER;
			memcpy(reader->large, reader->stage + reader->start + TE_WIRE_HEADER,
				   reader->large_fill);
			reader->start = reader->fill = 0;
			return TE_READ_MORE;
		}
	}

	/* an unfinished small frame moves to the front, so that it fits */
	if (reader->start > 0)
	{
		memmove(reader->stage, reader->stage + reader->start, have);
		reader->start = 0;
		reader->fill = have;
	}
	return TE_READ_MORE;
}

TeReadResult
te_reader_fill(TeReader *reader, int fd)
{
	struct iovec iov[2];
	int			n = te_reader_space(reader, iov);
	ssize_t		got;

	do
		got = readv(fd, iov, n);
	while (got < 0 && errno == EINTR);

	if (got > 0)
	{
		te_reader_filled(reader, (size_t) got);
		return TE_READ_FRAME;
	}
	if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return TE_READ_MORE;
	return TE_READ_EOF;			/* an error on a socketpair means a dead peer, too */
}

void
te_writer_init(TeWriter *writer)
{
	memset(writer, 0, sizeof(*writer));
}

void
te_writer_free(TeWriter *writer)
{
	free(writer->data);
	te_writer_init(writer);
}

char *
te_writer_begin(TeWriter *writer, size_t max_body)
{
	size_t		need = TE_WIRE_HEADER + max_body;

	if (writer->start > 0 && writer->size - writer->fill < need)
	{
		memmove(writer->data, writer->data + writer->start, te_writer_pending(writer));
		writer->fill -= writer->start;
		writer->start = 0;
	}
	if (writer->size - writer->fill < need)
	{
		size_t		size = writer->size ? writer->size : 4096;

		while (size - writer->fill < need)
			size *= 2;
		writer->data = te_realloc(writer->data, size);
		writer->size = size;
	}
	writer->frame = writer->fill;
	return writer->data + writer->frame + TE_WIRE_HEADER;
}

void
te_writer_end(TeWriter *writer, uint16_t type, const char *end)
{
	char	   *header = writer->data + writer->frame;

	te_wire_put_header(header, (uint32_t) (end - header - TE_WIRE_HEADER), type);
	writer->fill = (size_t) (end - writer->data);
}

bool
te_writer_flush(TeWriter *writer, int fd)
{
	while (te_writer_pending(writer) > 0)
	{
		ssize_t		n = send(fd, writer->data + writer->start, te_writer_pending(writer),
							 MSG_NOSIGNAL);

		if (n < 0)
		{
			if (errno == EINTR)
				continue;
			return errno == EAGAIN || errno == EWOULDBLOCK;
		}
		writer->start += (size_t) n;
	}
	writer->start = writer->fill = 0;
	return true;
}
