/*-------------------------------------------------------------------------
 *
 * report.c
 *	  Frames to the worker that any role sends: STATUS, LOG, HELLO.
 *
 *-------------------------------------------------------------------------
 */
#include "report.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char *
te_report_put_text(char *p, const char *text)
{
	size_t		len = text ? strlen(text) : 0;

	if (len > TE_REPORT_MAX_TEXT)
	{
		len = TE_REPORT_MAX_TEXT;
		/* not in the middle of a character: the worker's log is text */
		while (len > 0 && ((unsigned char) text[len] & 0xC0) == 0x80)
			len--;
	}
	return te_wire_put_str(p, text, len);
}

void
te_report_hello(TeWriter *out, const char *libraries)
{
	char	   *p = te_writer_begin(out, 4 + 2 * (4 + TE_REPORT_MAX_TEXT));

	p = te_wire_put_u32(p, TE_WIRE_VERSION);
	p = te_report_put_text(p, TE_VERSION);
	p = te_report_put_text(p, libraries);
	te_writer_end(out, TE_FRAME_HELLO, p);
}

void
te_report_status(TeWriter *out, TeWireLevel level, const char *component, const char *message,
				 const char *hint)
{
	char	   *p = te_writer_begin(out, 1 + 3 * (4 + TE_REPORT_MAX_TEXT));

	p = te_wire_put_u8(p, (uint8_t) level);
	p = te_report_put_text(p, component);
	p = te_report_put_text(p, message);
	p = te_report_put_text(p, hint ? hint : "");
	te_writer_end(out, TE_FRAME_STATUS, p);
}

void
te_report_log(TeWriter *out, TeWireLevel level, const char *format, ...)
{
	char		text[TE_REPORT_MAX_TEXT + 1];
	va_list		args;
	char	   *p;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	p = te_writer_begin(out, 1 + 4 + TE_REPORT_MAX_TEXT);
	p = te_wire_put_u8(p, (uint8_t) level);
	p = te_report_put_text(p, text);
	te_writer_end(out, TE_FRAME_LOG, p);
}

_Noreturn void
te_report_exit(TeWriter *out, int fd, int status)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};

	while (te_writer_flush(out, fd) && te_writer_pending(out) > 0)
		if (poll(&pfd, 1, 1000) <= 0)
			break;
	_exit(status);
}
