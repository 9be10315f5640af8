/*-------------------------------------------------------------------------
 *
 * row_json.h
 *	  Rows as JSON: the same value as row_to_json gives under pinned session
 *	  settings, from a plan made once a relation.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TE_TASKS_ROW_JSON_H
#define TE_TASKS_ROW_JSON_H

#include "access/tupdesc.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"

/* how values of one type are written */
typedef struct TeJsonValue TeJsonValue;
struct TeJsonValue
{
	void		(*write) (StringInfo buf, Datum value, const TeJsonValue *how);
	Oid			type;			/* domains looked through */
	FmgrInfo	function;		/* output function or cast to json, where write uses one */
	TeJsonValue *element;		/* arrays */
	int16		typlen;			/* of the element */
	bool		typbyval;
	char		typalign;
	bool		pin;			/* the text depends on session settings */
	bool		user_function;	/* function is not built in */
};

typedef struct TeRowJson TeRowJson;

/*
 * A plan for rows of that descriptor, allocated in the current context.
 * exclude: attribute numbers to leave out, or NULL.
 */
extern TeRowJson *te_row_json_create(TupleDesc desc, const Bitmapset *exclude);

/* is a function called that somebody may replace or drop?  Then its FmgrInfo holds only as long */
extern bool te_row_json_has_functions(const TeRowJson *json);

/*
 * Append a row as a JSON object; only: one flag a column, false = leave out,
 * or NULL.  Call between te_row_json_begin and _end.
 */
extern void te_row_json_append(const TeRowJson *json, StringInfo buf,
							   const Datum *values, const bool *nulls, const bool *only);

/*
 * Pin the settings that output functions look at, if any column of the row
 * needs that; on an error the (sub)transaction's abort restores them.
 */
extern int	te_row_json_begin(const TeRowJson *json);
extern void te_row_json_end(int nest_level);
extern int	te_row_json_pin(void);

/* one value by itself */
extern void te_json_value_init(TeJsonValue *how, Oid type);

/* a value's text, not JSON: output function under pinned settings.  palloc'd */
extern char *te_json_value_text(const TeJsonValue *how, Datum value);

#endif
