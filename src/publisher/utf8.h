/*
 * utf8.h
 *	  What leaves for Kafka is UTF-8, whatever the database's encoding is.
 */
#ifndef TE_PUBLISHER_UTF8_H
#define TE_PUBLISHER_UTF8_H

#include "lib/stringinfo.h"

/*
 * Convert the end of buf, from start on, from the database's encoding to
 * UTF-8.  Needs a transaction unless the database's encoding is UTF-8.  What
 * has no UTF-8 (or, in a SQL_ASCII database, is none) becomes U+FFFD: an event
 * that cannot be converted must not stop those behind it.
 */
extern void te_utf8_convert_from(StringInfo buf, int start);

#endif
