/*-------------------------------------------------------------------------
 *
 * adopt.c
 *	  A copy of a database sends nothing to anybody, until it is adopted.
 *
 * The engine judges when it starts and whenever configuration has changed
 * (identity.c); in a copy it runs no role that acts outside the database.
 * adopt() makes the copy a database of its own: a new epoch with the present
 * facts, its own uuid on every row of the configuration, and every reader at
 * the log's end or, if what is waiting is to be sent, where it was.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "log/adopt.h"
#include "log/cursor.h"
#include "log/epoch.h"
#include "log/identity.h"
#include "log/reader.h"
#include "log/role.h"
#include "runtime/errors.h"
#include "runtime/health.h"
#include "runtime/instance.h"
#include "runtime/own.h"
#include "runtime/wake.h"
#include "runtime/worker.h"

PG_FUNCTION_INFO_V1(te_begin_epoch);
PG_FUNCTION_INFO_V1(te_adopt);
PG_FUNCTION_INFO_V1(te_database_id);
PG_FUNCTION_INFO_V1(te_own_row);

#define INSTANCE_HINT "It sends nothing to anybody. If it is no copy, set todo_events.instance as it was, in a configuration file outside the data directory, and restart the server. " \
	"If it is one, SELECT todo_events.adopt() makes it a database of its own and discards what waits to be sent."
#define ADOPT_HINT "It sends nothing to anybody. SELECT todo_events.adopt() makes it a database of its own and discards what waits to be sent; " \
	"adopt(backlog => 'send') lets it go on where its original was."

/* what it is a copy of, for a human being; palloc'd */
static char *
describe(TeCopy copy, const pg_uuid_t *from)
{
	const TeFacts *was = &te_epoch_newest()->facts;
	const TeFacts *is = te_facts();

	switch (copy)
	{
		case TE_COPY_NONE:
			break;
		case TE_COPY_OF_DATABASE:
			return psprintf("this database is a copy of the database with oid %u, made as from a template", was->database);
		case TE_COPY_OF_BRANCH:
			return psprintf("this database is a copy on another Neon branch: %s instead of %s",
							is->branch[0] ? is->branch : "none", was->branch[0] ? was->branch : "none");
		case TE_COPY_OF_INSTANCE:
			if (te_instance_ignored() != NULL)
				return psprintf("this database is taken for a physical copy: todo_events.instance was \"%s\", and is set in %s, where it has no effect",
								was->instance, te_instance_ignored());
			return psprintf("this database is a physical copy: todo_events.instance is \"%s\", and was \"%s\"",
							is->instance, was->instance);
		case TE_COPY_OF_CLUSTER:
			return pstrdup("this database comes from another cluster, as after pg_upgrade, and todo_events.instance does not say that it is still the same");
		case TE_COPY_RESTORED:
			return psprintf("this database was restored from a dump of the database %s",
							DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(from))));
	}
	return pstrdup("");
}

static const char *
hint(TeCopy copy)
{
	return copy == TE_COPY_OF_INSTANCE ? INSTANCE_HINT : ADOPT_HINT;
}

void
te_adopt_require(void)
{
	pg_uuid_t	from;
	TeCopy		copy = te_identity_copy(&from);

	if (copy != TE_COPY_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_ADOPTED),
				 errmsg("%s", describe(copy, &from)),
				 errhint("%s", hint(copy))));
}

/* ---- the engine ------------------------------------------------------------ */

/* the lock was taken: an epoch is still to be noted */
static bool to_be_noted = false;

/* no copy, but something has changed: a new history begins */
static void
note_epoch(void)
{
	const TeEpoch *newest = te_epoch_newest();
	const TeFacts *is = te_facts();
	const char *reason;

	if (newest->facts.cluster != is->cluster)
		reason = "upgrade";
	else if (newest->facts.timeline != is->timeline)
		reason = "promotion or recovery";
	else if (strcmp(newest->facts.instance, is->instance) != 0)
		reason = "instance named";
	else
		return;
	/* somebody is adopting, or vacuums the table: the log's role comes by again */
	to_be_noted = !te_epoch_lock(false);
	if (!to_be_noted)
		(void) te_epoch_begin(te_identity(), reason);
}

bool
te_adopt_to_be_noted(void)
{
	return to_be_noted;
}

void
te_adopt_note(void)
{
	pg_uuid_t	from;

	to_be_noted = false;
	if (te_identity_copy(&from) == TE_COPY_NONE)
		note_epoch();
}

/* the engine asks at its start and when something has changed: may its roles act outside? */
static bool
may_act(void)
{
	static TeCopy last = TE_COPY_NONE;
	pg_uuid_t	from;
	TeCopy		copy = te_identity_copy(&from);

	/* a database that is only looked into, or has to wait for a worker, says nothing; but what it is, is noted */
	if (copy == TE_COPY_NONE)
		note_epoch();
	if (!te_worker_is_engine())
		return copy == TE_COPY_NONE;
	if (copy != last && copy != TE_COPY_NONE)
		ereport(LOG,
				(errcode(ERRCODE_TE_NOT_ADOPTED),
				 errmsg("todo_events: %s", describe(copy, &from)),
				 errhint("%s", hint(copy))));
	else if (copy != last)
		ereport(LOG,
				(errmsg("todo_events: this database is adopted, and no copy any more")));
	last = copy;
	return copy == TE_COPY_NONE;
}

/* ---- SQL ------------------------------------------------------------------- */

/* begin_epoch(): the first one, when the extension is created */
Datum
te_begin_epoch(PG_FUNCTION_ARGS)
{
	pg_uuid_t	database_id = *DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));

	(void) te_epoch_begin(&database_id, "created");
	PG_RETURN_VOID();
}

Datum
te_database_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *result = palloc(sizeof(*result));

	*result = *te_identity();
	PG_RETURN_UUID_P(result);
}

/* BEFORE INSERT ROW trigger of what acts outside: a row that does not say who made it was made here */
Datum
te_own_row(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	HeapTuple	tuple;
	int			column;
	bool		isnull;
	Datum		own;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called as its trigger", "own_row")));
	tuple = trigger->tg_trigtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	column = SPI_fnumber(desc, "database_id");
	if (column <= 0 || SPI_gettypeid(desc, column) != UUIDOID)
		elog(ERROR, "table \"%s\" has no column database_id", RelationGetRelationName(trigger->tg_relation));

	/* a row of another database silences this one: the engine is to know */
	te_wake_note_reload();
	(void) SPI_getbinval(tuple, desc, column, &isnull);
	if (!isnull)
		return PointerGetDatum(tuple);
	own = UUIDPGetDatum(te_identity());
	isnull = false;
	return PointerGetDatum(heap_modify_tuple_by_cols(tuple, desc, 1, &column, &own, &isnull));
}

static bool
emit_nothing(void *arg, TeReader *reader, const TeLogRow *row)
{
	return true;
}

/* every reader at the log's end: what is committed by now counts as read, what is still open does not */
static void
discard_backlog(void)
{
	TeReader   *reader = te_reader_open(TE_LOG_READER, CurrentMemoryContext);
	TeReadLimit limit = {PG_INT32_MAX, PG_INT64_MAX};
	List	   *names = te_reader_names();
	ListCell   *cell;
	char	   *mark;

	PushActiveSnapshot(GetLatestSnapshot());
	while (te_reader_cycle(reader, GetActiveSnapshot(), limit, emit_nothing, NULL).more)
		CHECK_FOR_INTERRUPTS();
	PopActiveSnapshot();
	mark = te_reader_mark(reader);
	foreach(cell, names)
		te_cursor_save(lfirst(cell), mark);
	te_reader_close(reader);
}

/* adopt(backlog text) -> boolean */
Datum
te_adopt(PG_FUNCTION_ARGS)
{
	char	   *backlog = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		discard = strcmp(backlog, "discard") == 0;
	TeCopy		copy;
	pg_uuid_t	from;
	pg_uuid_t	own;
	Oid			types[] = {UUIDOID};
	Datum		values[1];

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("todo_events.adopt() does not run on a standby"),
				 errhint("A standby sends nothing, and after its promotion it goes on for its primary.")));
	if (!discard && strcmp(backlog, "send") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid backlog \"%s\"", backlog),
				 errhint("It is 'discard', or 'send' to send what the original had not.")));
	/* its snapshot would not show what is to be adopted */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("todo_events.adopt() works in READ COMMITTED transactions only"),
				 errhint("BEGIN ISOLATION LEVEL READ COMMITTED.")));
	(void) te_epoch_lock(true);
	copy = te_identity_copy(&from);
	if (copy == TE_COPY_NONE)
	{
		te_epoch_unlock();
		ereport(NOTICE,
				(errmsg("this database is no copy: there is nothing to adopt")));
		PG_RETURN_BOOL(false);
	}
	/* a restored one has a uuid of its own; two copies of one original must not share theirs */
	own = *te_identity();
	if (copy != TE_COPY_RESTORED)
		own = *DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));
	if (discard)
		discard_backlog();
	(void) te_epoch_begin(&own, discard ? "adopted, backlog discarded" : "adopted, backlog sent");

	values[0] = UUIDPGetDatum(&own);
	SPI_connect();
	for (int i = 0; te_identity_tables[i] != NULL; i++)
	{
		/* held, so that the statement's name means this table, and nothing that came in its place */
		table_close(te_own_table_open("todo_events", te_identity_tables[i], RowExclusiveLock), NoLock);
		(void) SPI_execute_with_args(psprintf("UPDATE todo_events.%s SET database_id = $1 WHERE database_id OPERATOR(pg_catalog.<>) $1", te_identity_tables[i]),
									 1, types, values, NULL, false, 0);
	}
	SPI_finish();
	te_wake_note_reload();
	PG_RETURN_BOOL(true);
}

/* ---- what can be seen --------------------------------------------------------- */

static void
health(TeHealthSink *sink)
{
	pg_uuid_t	from;
	TeCopy		copy;

	if (RecoveryInProgress())
	{
		/* what the primary goes by; after a promotion this server's own name counts */
		const char *primary = te_epoch_newest()->facts.instance;

		if (strcmp(primary, te_instance()) != 0)
			te_health_add(sink, 2, "identity",
						  psprintf("todo_events.instance is \"%s\" here and \"%s\" on the primary: after a promotion this server would be taken for a copy, and send nothing",
								   te_instance(), primary),
						  "Give a standby its primary's name, in a configuration file outside the data directory, and restart it.");
		return;
	}
	copy = te_identity_copy(&from);
	if (copy != TE_COPY_NONE)
		te_health_add(sink, 3, "identity", describe(copy, &from), hint(copy));
	else if (te_instance_ignored() != NULL)
		te_health_add(sink, 2, "identity",
					  psprintf("todo_events.instance has no effect: it is set in %s", te_instance_ignored()),
					  "Set it in a configuration file outside the data directory (include one from postgresql.conf) and restart the server.");
	else if (te_instance()[0] == '\0' && te_neon_branch()[0] == '\0')
		te_health_add(sink, 1, "identity",
					  "todo_events.instance is not set: a clone of this cluster, or a former primary, would be taken for it and send events too",
					  "Give the cluster and its standbys a name in a configuration file outside the data directory, and each clone another.");
	else
		te_health_add(sink, 1, "identity",
					  te_instance()[0] != '\0' ? psprintf("instance \"%s\"", te_instance()) :
					  psprintf("Neon branch %s", te_neon_branch()), NULL);
}

static void
metrics(TeMetricSink *sink)
{
	pg_uuid_t	from;

	if (!RecoveryInProgress())
		te_metric_add(sink, "unadopted_copy", NULL, NULL, te_identity_copy(&from) != TE_COPY_NONE, "gauge",
					  "Whether the database is a copy that sends nothing until todo_events.adopt().");
}

void
te_adopt_init(void)
{
	te_health_register(health);
	te_metric_register(metrics);
	te_worker_may_act_if(may_act);
}
