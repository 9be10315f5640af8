/*
 * columns.c
 *	  What the columns of an attached table mean: the trigger that says it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "nodes/primnodes.h"
#include "utils/lsyscache.h"

#include "tasks/columns.h"

const char *const te_column_role_names[TE_COLUMN_ROLES + 1] = {
	[TE_COLUMN_KEY] = "key",
	[TE_COLUMN_USER] = "user_key",
	[TE_COLUMN_COMPLETED] = "completed",
	[TE_COLUMN_TITLE] = "title",
	[TE_COLUMN_DUE_AT] = "due_at",
	[TE_COLUMN_REMIND_AT] = "remind_at",
	[TE_COLUMN_SEQUENCE] = "sequence",
	[TE_COLUMN_UPDATED_AT] = "updated_at",
	[TE_COLUMN_COMPLETED_AT] = "completed_at",
	[TE_COLUMN_EXCLUDE] = "exclude",
};

/* "role=place" */
static void
read_column(const TeTrigger *trigger, const char *arg, TeColumns *result)
{
	const char *equals = strchr(arg, '=');

	for (int i = 0; equals != NULL && i <= TE_COLUMN_ROLES; i++)
	{
		int			place;

		if (strlen(te_column_role_names[i]) != (size_t) (equals - arg) ||
			strncmp(te_column_role_names[i], arg, equals - arg) != 0)
			continue;
		place = te_trigger_parse_number(equals + 1);
		if (place < 0 || place >= trigger->nattrs)
			return;
		if (i == TE_COLUMN_EXCLUDE)
			result->exclude = lappend_int(result->exclude, trigger->attrs[place]);
		else
			result->columns[i] = trigger->attrs[place];
		return;
	}
}

static void
read_done(const char *done, TeColumns *result)
{
	if (strcmp(done, "bool") == 0)
		result->done = TE_DONE_BOOL;
	else if (strcmp(done, "not_null") == 0)
		result->done = TE_DONE_NOT_NULL;
	else if (strncmp(done, "value:", 6) == 0)
	{
		result->done = TE_DONE_VALUE;
		result->done_text = done + 6;
	}
}

bool
te_columns_read(const TeTrigger *trigger, TeColumns *result)
{
	const char *done = NULL;

	memset(result, 0, sizeof(*result));
	if (trigger == NULL)
		return false;
	for (int i = 1; i < trigger->nargs; i++)
	{
		const char *arg = trigger->args[i];

		if (strcmp(arg, "standard") == 0)
			result->standard = true;
		else if (strncmp(arg, "done=", 5) == 0)
			done = arg + 5;
		else
			read_column(trigger, arg, result);
	}
	if (done != NULL && result->columns[TE_COLUMN_COMPLETED] != InvalidAttrNumber)
		read_done(done, result);
	result->when = trigger->when;
	return result->columns[TE_COLUMN_KEY] != InvalidAttrNumber;
}

/* ---- the value that means "completed" ----------------------------------------- */

typedef struct Wanted
{
	Oid			type;
	Const	   *found;
} Wanted;

static bool
find_constant(Node *node, void *arg)
{
	Wanted	   *wanted = arg;

	if (node == NULL)
		return false;
	if (IsA(node, Const) && ((Const *) node)->consttype == wanted->type && !((Const *) node)->constisnull)
	{
		wanted->found = (Const *) node;
		return true;
	}
	return expression_tree_walker(node, find_constant, arg);
}

/*
 * As a value of the type below domains: a constraint that came later, and
 * forbids the value, makes no writer fail that does not write it.
 */
Datum
te_columns_done_value(const TeColumns *columns, Oid type, int32 typmod)
{
	Oid			base = getBaseTypeAndTypmod(type, &typmod);
	Oid			input;
	Oid			param;

	if (columns->when != NULL && get_typtype(base) == TYPTYPE_ENUM)
	{
		Wanted		wanted = {.type = base};

		if (find_constant(stringToNode(columns->when), &wanted))
			return wanted.found->constvalue;
	}
	getTypeInputInfo(base, &input, &param);
	return OidInputFunctionCall(input, unconstify(char *, columns->done_text), param, typmod);
}

const char *
te_columns_completed(const TeColumns *columns, Oid relid)
{
	AttrNumber	attno = columns->columns[TE_COLUMN_COMPLETED];
	const char *name = get_attname(relid, attno, true);
	const char *value = columns->done_text;
	Oid			type;
	Oid			output;
	bool		isvarlena;

	if (name == NULL || columns->done != TE_DONE_VALUE)
		return name;
	type = getBaseType(get_atttype(relid, attno));
	if (get_typtype(type) == TYPTYPE_ENUM)
	{
		getTypeOutputInfo(type, &output, &isvarlena);
		value = OidOutputFunctionCall(output, te_columns_done_value(columns, type, -1));
	}
	return psprintf("%s=%s", name, value);
}
