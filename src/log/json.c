/*
 * json.c
 *	  The little JSON that the log room writes and reads itself: string
 *	  literals, and the flat objects of strings in the column "extra".
 */
#include "postgres.h"

#include "log/event.h"

/* bytes that may stand in a literal as they are */
static inline bool
is_plain(unsigned char c)
{
	return c >= 0x20 && c != '"' && c != '\\';
}

void
te_json_string(StringInfo buf, const char *s, int len)
{
	const char *end = s + len;

	appendStringInfoCharMacro(buf, '"');
	while (s < end)
	{
		const char *from = s;
		unsigned char c;

		while (s < end && is_plain((unsigned char) *s))
			s++;
		if (s > from)
			appendBinaryStringInfo(buf, from, (int) (s - from));
		if (s == end)
			break;
		c = (unsigned char) *s++;
		switch (c)
		{
			case '"':
				appendBinaryStringInfo(buf, "\\\"", 2);
				break;
			case '\\':
				appendBinaryStringInfo(buf, "\\\\", 2);
				break;
			case '\n':
				appendBinaryStringInfo(buf, "\\n", 2);
				break;
			case '\r':
				appendBinaryStringInfo(buf, "\\r", 2);
				break;
			case '\t':
				appendBinaryStringInfo(buf, "\\t", 2);
				break;
			case '\b':
				appendBinaryStringInfo(buf, "\\b", 2);
				break;
			case '\f':
				appendBinaryStringInfo(buf, "\\f", 2);
				break;
			default:
				appendStringInfo(buf, "\\u%04x", c);
				break;
		}
	}
	appendStringInfoCharMacro(buf, '"');
}

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* past the literal that begins at p, NULL if it does not end */
static const char *
skip_string(const char *p, const char *end)
{
	if (p >= end || *p != '"')
		return NULL;
	for (p++; p < end; p++)
	{
		if (*p == '\\')
			p++;
		else if (*p == '"')
			return p + 1;
	}
	return NULL;
}

/* past a number, true, false or null */
static const char *
skip_scalar(const char *p, const char *end)
{
	const char *from = p;

	while (p < end && *p != ',' && *p != '}' && *p != ' ')
		p++;
	return p > from ? p : NULL;
}

const char *
te_extra_raw(const TeLogRow *row, const char *member, int *len)
{
	const char *p = row->extra;
	const char *end = p + row->extra_len;
	int			member_len = (int) strlen(member);

	if (p == NULL)
		return NULL;
	p = skip_space(p, end);
	if (p >= end || *p++ != '{')
		return NULL;
	for (;;)
	{
		const char *name = skip_space(p, end);
		const char *name_end = skip_string(name, end);
		const char *value;
		const char *value_end;

		if (name_end == NULL)
			return NULL;
		value = skip_space(name_end, end);
		if (value >= end || *value++ != ':')
			return NULL;
		value = skip_space(value, end);
		value_end = value < end && *value == '"' ? skip_string(value, end) : skip_scalar(value, end);
		if (value_end == NULL)
			return NULL;
		if (name_end - name - 2 == member_len && memcmp(name + 1, member, member_len) == 0)
		{
			*len = (int) (value_end - value);
			return value;
		}
		p = skip_space(value_end, end);
		if (p >= end || *p++ != ',')
			return NULL;
	}
}

char *
te_extra_get(const TeLogRow *row, const char *member)
{
	int			len;
	const char *raw = te_extra_raw(row, member, &len);
	StringInfoData buf;

	if (raw == NULL)
		return NULL;
	if (*raw != '"')
		return pnstrdup(raw, len);

	initStringInfo(&buf);
	for (int i = 1; i < len - 1; i++)
	{
		char		c = raw[i];

		if (c != '\\')
		{
			appendStringInfoCharMacro(&buf, c);
			continue;
		}
		c = raw[++i];
		switch (c)
		{
			case 'b':
				appendStringInfoCharMacro(&buf, '\b');
				break;
			case 'f':
				appendStringInfoCharMacro(&buf, '\f');
				break;
			case 'n':
				appendStringInfoCharMacro(&buf, '\n');
				break;
			case 'r':
				appendStringInfoCharMacro(&buf, '\r');
				break;
			case 't':
				appendStringInfoCharMacro(&buf, '\t');
				break;
			case 'u':
				/* te_json_string writes these for control characters only */
				if (i + 4 < len)
				{
					char		hex[5] = {raw[i + 1], raw[i + 2], raw[i + 3], raw[i + 4], '\0'};

					appendStringInfoCharMacro(&buf, (char) strtol(hex, NULL, 16));
					i += 4;
				}
				break;
			default:
				appendStringInfoCharMacro(&buf, c);
				break;
		}
	}
	return buf.data;
}
