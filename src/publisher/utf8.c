/*-------------------------------------------------------------------------
 *
 * utf8.c
 *	  From the database's encoding to UTF-8 (RFC 8259: JSON between systems).
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

#include "publisher/utf8.h"

#define REPLACEMENT		"\xef\xbf\xbd"	/* U+FFFD */

static bool
is_ascii(const char *s, int len)
{
	for (int i = 0; i < len; i++)
	{
		if (IS_HIGHBIT_SET(s[i]))
			return false;
	}
	return true;
}

/* how many bytes of src, at its beginning, could be converted; what they give is appended to buf */
static int
convert(StringInfo buf, Oid proc, const char *src, int len)
{
	int			encoding = GetDatabaseEncoding();
	int			done;

	if (encoding == PG_SQL_ASCII || !OidIsValid(proc))
	{
		done = pg_encoding_verifymbstr(PG_UTF8, src, len);
		appendBinaryStringInfo(buf, src, done);
		return done;
	}
	enlargeStringInfo(buf, len * MAX_CONVERSION_GROWTH + 1);
	done = pg_do_encoding_conversion_buf(proc, encoding, PG_UTF8,
										 (unsigned char *) unconstify(char *, src), len,
										 (unsigned char *) buf->data + buf->len,
										 len * MAX_CONVERSION_GROWTH + 1, true);
	buf->len += strlen(buf->data + buf->len);
	return done;
}

void
te_utf8_convert_from(StringInfo buf, int start)
{
	int			encoding = GetDatabaseEncoding();
	int			len = buf->len - start;
	Oid			proc = InvalidOid;
	char	   *copy;
	const char *src;

	if (encoding == PG_UTF8 || is_ascii(buf->data + start, len))
		return;
	if (encoding != PG_SQL_ASCII)
		proc = FindDefaultConversionProc(encoding, PG_UTF8);
	src = copy = pnstrdup(buf->data + start, len);
	buf->len = start;
	while (len > 0)
	{
		int			done = convert(buf, proc, src, len);

		src += done;
		len -= done;
		if (len > 0)
		{
			int			bad = Min(Max(pg_encoding_mblen(encoding, src), 1), len);

			appendStringInfoString(buf, REPLACEMENT);
			src += bad;
			len -= bad;
		}
	}
	pfree(copy);
}
