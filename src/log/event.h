/*-------------------------------------------------------------------------
 *
 * event.h
 *	  An event's names and its CloudEvent.  Pure: no I/O, unit-tested.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_LOG_EVENT_H
#define TE_LOG_EVENT_H

#include "lib/stringinfo.h"
#include "log/reader.h"

/* "created" etc.; NULL for CUSTOM and REDRIVE */
extern const char *te_event_suffix(TeEventType type);

/* uuid derived from 16 bytes of namespace and two numbers: injective in the second, stable for ever */
extern void te_event_derive_id(const pg_uuid_t *namespace, int32 origin, int64 number, pg_uuid_t *id);

/* full type name: prefix of the attachment + "." + suffix, or extra.type.  palloc'd */
extern char *te_event_type_name(const TeLogRow *row);

/*
 * The attachment's type prefix ("com.todo.task") by number; set by the tasks
 * room (which knows attachments) at init.  "com.todo.task" if it is unknown.
 */
typedef const char *(*TePrefixLookup) (int32 attachment);
extern void te_event_set_prefix_lookup(TePrefixLookup lookup);

/* the CloudEvent's id of a row: te uuid from (database id, origin, log id), or extra.id */
extern void te_event_id(const TeLogRow *row, pg_uuid_t *id);

/*
 * Append the CloudEvent of a row to buf, in structured JSON mode.  cursor:
 * NULL, or the token to carry as the attribute "cursor".  A REDRIVE row is
 * its payload verbatim.
 */
extern void te_event_render(StringInfo buf, const TeLogRow *row, const char *cursor);

/* text of a key or user appended to buf (not escaped) */
extern void te_name_text(StringInfo buf, const TeName *name);

/* a JSON string literal of len bytes appended to buf; fast path for plain ASCII */
extern void te_json_string(StringInfo buf, const char *s, int len);

/* the value of a member of extra as it stands there, quotes included; NULL if absent */
extern const char *te_extra_raw(const TeLogRow *row, const char *member, int *len);

/* member of a flat JSON object text as palloc'd string, NULL if absent; for extra */
extern char *te_extra_get(const TeLogRow *row, const char *member);

#endif
