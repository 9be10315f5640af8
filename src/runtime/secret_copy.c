/*-------------------------------------------------------------------------
 *
 * secret_copy.c
 *	  While lines of todo_events.secret_input are read, no message quotes one.
 *
 * COPY adds the line that it is at to whatever is raised meanwhile: its own
 * errors, and the end of the session by an administrator, which no
 * PG_CATCH sees.  So the context is taken away where messages are emitted.
 *
 * Where the library is not preloaded, the utility hook does not see the first
 * COPY of a session.  But the table's statement trigger does, before the
 * first line is read, and loads the library.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "runtime/secret_copy.h"

static int	guarded = 0;		/* by the utility hook: how many deep */
static bool unguarded = false;	/* one that only the trigger has seen, until the transaction ends */
static emit_log_hook_type previous_hook = NULL;

static void
hide_line(ErrorData *edata)
{
	if (guarded > 0 || unguarded)
	{
		edata->context = NULL;
		/* what COPY says of a line's form may quote it in the message itself */
		if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_DATA_EXCEPTION && !edata->hide_stmt)
		{
			edata->message = "could not read the lines of secret_input";
			edata->detail = NULL;
			edata->detail_log = NULL;
			edata->hint = "Each line is name=value; a tab is written \\t and a backslash \\\\.";
		}
	}
	if (previous_hook)
		previous_hook(edata);
}

void
te_secret_copy_begin(void)
{
	guarded++;
}

void
te_secret_copy_end(void)
{
	guarded--;
}

static void
secret_copy_xact_callback(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		guarded = 0;
		unguarded = false;
	}
}

/* BEFORE INSERT STATEMENT trigger of secret_input */
PG_FUNCTION_INFO_V1(te_secret_input_statement);
Datum
te_secret_input_statement(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				errmsg("function \"%s\" was not called as its trigger", "secret_input_statement"));
	if (guarded == 0)
		unguarded = true;
	return PointerGetDatum(NULL);
}

void
te_secret_copy_init(void)
{
	RegisterXactCallback(secret_copy_xact_callback, NULL);
	previous_hook = emit_log_hook;
	emit_log_hook = hide_line;
}
