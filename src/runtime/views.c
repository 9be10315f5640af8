/*-------------------------------------------------------------------------
 *
 * views.c
 *	  todo_events.health(), workers and metrics(): what shared memory says
 *	  of this database, and what other rooms add.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "runtime/compat.h"
#include "runtime/databases.h"
#include "runtime/health.h"
#include "runtime/settings.h"
#include "runtime/shmem.h"
#include "runtime/version.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#define MAX_CALLBACKS	16

static TeHealthCallback health_callbacks[MAX_CALLBACKS];
static int	nhealth = 0;
static TeMetricCallback metric_callbacks[MAX_CALLBACKS];
static int	nmetrics = 0;

void
te_health_register(TeHealthCallback callback)
{
	if (nhealth == MAX_CALLBACKS)
		elog(ERROR, "too many health callbacks");
	health_callbacks[nhealth++] = callback;
}

void
te_metric_register(TeMetricCallback callback)
{
	if (nmetrics == MAX_CALLBACKS)
		elog(ERROR, "too many metric callbacks");
	metric_callbacks[nmetrics++] = callback;
}

/* a copy to look at at leisure; false if this database has no slot */
static bool
copy_slot(int i, TeDatabase *copy)
{
	TeDatabase *db = te_shmem_slot(i);
	bool		used;

	LWLockAcquire(te_shmem_lock(), LW_SHARED);
	used = db->state != TE_DB_FREE;
	if (used)
		memcpy(copy, db, sizeof(*copy));
	LWLockRelease(te_shmem_lock());
	return used;
}

static TeDatabase *
copy_mine(void)
{
	TeDatabase *copy = palloc(sizeof(*copy));

	for (int i = 0; i < te_shmem_slots(); i++)
		if (copy_slot(i, copy) && copy->dboid == MyDatabaseId)
			return copy;
	return NULL;
}

/* ---- health ----------------------------------------------------------- */

typedef struct HealthRow
{
	int			level;
	int			position;
	char	   *component;
	char	   *message;
	char	   *hint;
} HealthRow;

struct TeHealthSink
{
	HealthRow  *rows;
	int			n;
	int			room;
};

void
te_health_add(TeHealthSink *sink, int level, const char *component, const char *message, const char *hint)
{
	HealthRow  *row;

	if (sink->n == sink->room)
	{
		sink->room = Max(16, sink->room * 2);
		sink->rows = sink->rows ? repalloc(sink->rows, sink->room * sizeof(HealthRow)) :
			palloc(sink->room * sizeof(HealthRow));
	}
	row = &sink->rows[sink->n];
	row->level = level;
	row->position = sink->n++;
	row->component = pstrdup(component);
	row->message = pstrdup(message);
	row->hint = hint && hint[0] ? pstrdup(hint) : NULL;
}

/* worst first; among equals, as they came */
static int
compare_rows(const void *a, const void *b)
{
	const HealthRow *x = a;
	const HealthRow *y = b;

	return x->level != y->level ? y->level - x->level : x->position - y->position;
}

/* why nothing runs here; and what would keep it from running after a promotion, before that comes */
static void
standby_health(TeHealthSink *sink)
{
	if (!te_shmem_available())
		te_health_add(sink, 2, "engine", "this server is a standby, and todo_events is not preloaded on it: after a promotion nothing would be delivered",
					  "Add todo_events to this server's shared_preload_libraries and restart it.");
	else if (te_databases_verdict(MyDatabaseId) == TE_VERDICT_LEFT_OUT)
		te_health_add(sink, 2, "engine", "this server is a standby, and its todo_events.databases leaves this database out: after a promotion nothing would be delivered",
					  "Add the database to todo_events.databases on this server.");
	else
		te_health_add(sink, 1, "engine", "this server is a standby; the primary delivers",
					  "At promotion the engine starts by itself and goes on where the primary had come.");
}

/* why there is no engine at work here, or that there is one */
static void
engine_health(TeHealthSink *sink, const TeDatabase *db)
{
	const char *deaf = "Events are stored, nothing is delivered.";
	TeVerdict	verdict;

	if (RecoveryInProgress())
	{
		standby_health(sink);
		return;
	}
	if (!te_shmem_available())
	{
		te_health_add(sink, 3, "engine", "todo_events is not preloaded: events are stored, nothing is delivered",
					  "Add todo_events to shared_preload_libraries and restart the server.");
		return;
	}
	verdict = te_databases_verdict(MyDatabaseId);
	if (verdict == TE_VERDICT_LEFT_OUT)
	{
		te_health_add(sink, 3, "engine", "todo_events.databases leaves this database out",
					  "Events are stored, nothing is delivered. Add the database to todo_events.databases.");
		return;
	}
	if (verdict == TE_VERDICT_TEMPLATE)
	{
		te_health_add(sink, 3, "engine", "this database is a template, which has no engine",
					  "Events are stored, nothing is delivered. ALTER DATABASE ... IS_TEMPLATE false, if it is more than that.");
		return;
	}
	if (te_shared->launcher_pid == 0)
		te_health_add(sink, 3, "launcher", "the todo_events launcher is not running",
					  "It is started again within a second; if not, raise max_worker_processes and look into the server log.");
	if (te_shared->out_of_workers && db &&
		(db->state == TE_DB_BACKOFF || db->state == TE_DB_PROBE || db->state == TE_DB_STARTING))
	{
		te_health_add(sink, 3, "engine", "no background worker slot is free for this database's engine",
					  "Events are stored, nothing is delivered. Raise max_worker_processes and restart the server.");
		return;
	}
	if (db == NULL)
	{
		te_health_add(sink, 3, "engine",
					  te_shared->left_out ? "shared memory has no slot left for this database" :
					  "this database has no engine yet",
					  te_shared->left_out ? "Events are stored, nothing is delivered. Raise todo_events.max_databases and restart the server." : deaf);
		return;
	}
	if (verdict == TE_VERDICT_CLOSED && db->state != TE_DB_RUNNING)
	{
		te_health_add(sink, 3, "engine", "this database allows no connections, so that no engine can start",
					  "Events are stored, nothing is delivered. ALTER DATABASE ... ALLOW_CONNECTIONS true.");
		return;
	}
	switch (db->state)
	{
		case TE_DB_RUNNING:
			te_health_add(sink, 1, "engine",
						  psprintf("running since %s", timestamptz_to_str(db->started_at)), NULL);
			break;
		case TE_DB_FREE:
		case TE_DB_ABSENT:
			te_health_add(sink, 3, "engine", "this database has no engine", deaf);
			break;
		case TE_DB_PROBE:
		case TE_DB_STARTING:
			te_health_add(sink, 2, "engine", "the engine is being started", NULL);
			break;
		case TE_DB_BACKOFF:
			te_health_add(sink, db->failures > 1 ? 3 : 2, "engine",
						  psprintf("the engine ended %d times in a row and is started again", Max(db->failures, 1)),
						  "The server log says why it ended.");
			break;
		case TE_DB_PARKED:
			te_health_add(sink, 2, "engine",
						  "parked while a CREATE, ALTER or DROP DATABASE needs this database alone",
						  "It goes on when that command has ended.");
			break;
		case TE_DB_WAITING:
			{
				int			waiting;

				LWLockAcquire(te_shmem_lock(), LW_SHARED);
				te_shmem_count_seats(NULL, &waiting);
				LWLockRelease(te_shmem_lock());
				te_health_add(sink, 3, "engine",
							  psprintf("max_worker_processes is too small for this database too: at most %d served, %d waiting",
									   te_shared->seats, waiting),
							  psprintf("Events are stored, nothing is delivered. Raise max_worker_processes by %d and restart the server, or name the databases to be served in todo_events.databases.",
									   Max(waiting, 1)));
			}
			break;
	}
}

PG_FUNCTION_INFO_V1(te_health);
Datum
te_health(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"", "ok", "warning", "error"};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TeHealthSink sink = {NULL, 0, 0};
	TeDatabase *db = te_shmem_available() ? copy_mine() : NULL;

	InitMaterializedSRF(fcinfo, 0);
	engine_health(&sink, db);
	if (db && db->state == TE_DB_RUNNING)
		for (int i = 0; i < TE_HEALTH_LINES; i++)
			if (db->health[i].level > 0)
				te_health_add(&sink, db->health[i].level, db->health[i].component,
							  db->health[i].message, db->health[i].hint);
	if (te_setting_is_row(TE_SET_BROKERS) &&
		(te_setting_guc_string(TE_SET_SASL_PASSWORD_FILE)[0] || te_setting_guc_string(TE_SET_KEY_FILE)[0]))
		te_health_add(&sink, 2, "settings",
					  "the server's sasl_password_file, cert_file and key_file are not used, since brokers is set by configure()",
					  "Set todo_events.brokers in the server's configuration, or give the secret by COPY todo_events.secret_input.");
	te_version_health(&sink);
	/* they read rows of ours */
	if (te_version_served())
		for (int i = 0; i < nhealth; i++)
			health_callbacks[i] (&sink);

	qsort(sink.rows, sink.n, sizeof(HealthRow), compare_rows);
	for (int i = 0; i < sink.n; i++)
	{
		HealthRow  *row = &sink.rows[i];
		Datum		values[4];
		bool		nulls[4] = {false, false, false, row->hint == NULL};

		values[0] = CStringGetTextDatum(names[Max(0, Min(row->level, 3))]);
		values[1] = CStringGetTextDatum(row->component);
		values[2] = CStringGetTextDatum(row->message);
		values[3] = row->hint ? CStringGetTextDatum(row->hint) : (Datum) 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* ---- workers ---------------------------------------------------------- */

static const char *const state_names[] = {
	"free", "probing", "starting", "running", "restarting", "parked", "absent", "waiting"
};

static void
put_worker(ReturnSetInfo *result, const char *database, const char *role, int pid, int io_pid,
		   const char *state, TimestampTz since, int64 restarts, int64 errors, const char *last_error)
{
	Datum		values[9] = {0};
	bool		nulls[9] = {false};

	if (database)
		values[0] = CStringGetTextDatum(database);
	values[1] = CStringGetTextDatum(role);
	values[2] = Int32GetDatum(pid);
	values[3] = Int32GetDatum(io_pid);
	values[4] = CStringGetTextDatum(state);
	values[5] = TimestampTzGetDatum(since);
	values[6] = Int64GetDatum(restarts);
	values[7] = Int64GetDatum(errors);
	if (last_error && last_error[0])
	{
		char	   *text = pstrdup(last_error);

		/* another database's text need not be valid in this one's encoding */
		if (!pg_verifymbstr(text, strlen(text), true))
			for (char *p = text; *p; p++)
				if (IS_HIGHBIT_SET(*p))
					*p = '?';
		values[8] = CStringGetTextDatum(text);
	}
	nulls[0] = database == NULL;
	nulls[2] = pid == 0;
	nulls[3] = io_pid == 0;
	nulls[5] = since == 0;
	nulls[8] = !last_error || !last_error[0];
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * Rows of the view workers: of this database, and for who may monitor the
 * server (pg_monitor) of all.
 */
PG_FUNCTION_INFO_V1(te_workers_data);
Datum
te_workers_data(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		all = has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
	TeDatabase *db;

	InitMaterializedSRF(fcinfo, 0);
	if (!te_shmem_available())
		return (Datum) 0;
	if (all)
		put_worker(result, NULL, "launcher", te_shared->launcher_pid, 0,
				   te_shared->launcher_pid ? "running" : "stopped", 0, 0, 0, NULL);
	db = palloc(sizeof(*db));
	for (int i = 0; i < te_shmem_slots(); i++)
	{
		char	   *name;

		if (!copy_slot(i, db) || db->state == TE_DB_ABSENT ||
			(db->dboid != MyDatabaseId && !all))
			continue;
		name = get_database_name(db->dboid);
		put_worker(result, name, "engine", db->pid, 0, state_names[db->state],
				   db->state == TE_DB_RUNNING ? db->started_at : 0,
				   Max((int64) pg_atomic_read_u64(&db->counters.engine_starts) - 1, 0),
				   db->failures, NULL);
		for (int r = 0; r < db->nroles; r++)
		{
			TeRoleStatus *role = &db->roles[r];

			put_worker(result, name, role->name, role->running ? db->pid : 0, role->io_pid,
					   role->running ? "running" :
					   role->last_error_at >= role->since && role->errors > 0 ? "restarting" : "off",
					   role->since, role->restarts, role->errors, role->last_error);
		}
	}
	return (Datum) 0;
}

/* ---- metrics ---------------------------------------------------------- */

struct TeMetricSink
{
	ReturnSetInfo *result;
	char	   *database;
};

void
te_metric_add(TeMetricSink *sink, const char *name, const char *label, const char *label_value,
			  double value, const char *kind, const char *help)
{
	StringInfoData labels;
	Datum		values[5];
	bool		nulls[5] = {false};

	initStringInfo(&labels);
	appendStringInfoString(&labels, "{\"database\": ");
	escape_json(&labels, sink->database);
	if (label)
	{
		appendStringInfoString(&labels, ", ");
		escape_json(&labels, label);
		appendStringInfoString(&labels, ": ");
		escape_json(&labels, label_value ? label_value : "");
	}
	appendStringInfoChar(&labels, '}');
	values[0] = CStringGetTextDatum(psprintf("todo_events_%s", name));
	values[1] = DirectFunctionCall1(jsonb_in, CStringGetDatum(labels.data));
	values[2] = Float8GetDatum(value);
	values[3] = CStringGetTextDatum(kind);
	values[4] = CStringGetTextDatum(help);
	tuplestore_putvalues(sink->result->setResult, sink->result->setDesc, values, nulls);
}

static void
add_counters(TeMetricSink *sink, TeDatabase *db)
{
	TeCounters *c = &db->counters;
	const struct
	{
		const char *name;
		pg_atomic_uint64 *counter;
		const char *help;
	}			counters[] = {
		{"events_read_total", &c->events_read, "Events that the publisher has read from the log."},
		{"messages_sent_total", &c->messages_sent, "Messages handed to the I/O process (events times targets)."},
		{"messages_acked_total", &c->messages_acked, "Messages that the broker has acknowledged."},
		{"messages_refused_total", &c->messages_refused, "Messages that the broker has refused for good."},
		{"sent_bytes_total", &c->bytes_sent, "Bytes of messages handed to the I/O process."},
		{"publisher_cycles_total", &c->cycles, "Rounds of the publisher."},
		{"io_restarts_total", &c->io_restarts, "Restarts of I/O processes."},
		{"engine_starts_total", &c->engine_starts, "Starts of this database's engine."},
		{"dropped_events_total", &c->dropped, "Events dropped by log_full = drop_oldest."},
		{"wakeups_total", &db->wakeups, "Commits with events."},
	};

	for (size_t i = 0; i < lengthof(counters); i++)
		te_metric_add(sink, counters[i].name, NULL, NULL,
					  (double) pg_atomic_read_u64(counters[i].counter), "counter", counters[i].help);
	te_metric_add(sink, "ack_latency_seconds", "quantile", "0.5",
				  pg_atomic_read_u64(&c->ack_p50_us) / 1e6, "gauge",
				  "From handing a message to the broker's acknowledgement, last window.");
	te_metric_add(sink, "ack_latency_seconds", "quantile", "0.99",
				  pg_atomic_read_u64(&c->ack_p99_us) / 1e6, "gauge",
				  "From handing a message to the broker's acknowledgement, last window.");
	for (int r = 0; r < db->nroles; r++)
	{
		te_metric_add(sink, "role_up", "role", db->roles[r].name, db->roles[r].running, "gauge",
					  "Whether the role is at work.");
		te_metric_add(sink, "role_errors_total", "role", db->roles[r].name, db->roles[r].errors, "counter",
					  "Errors that ended a role's turn.");
	}
}

PG_FUNCTION_INFO_V1(te_metrics);
Datum
te_metrics(PG_FUNCTION_ARGS)
{
	TeMetricSink sink;
	TeDatabase *db = te_shmem_available() ? copy_mine() : NULL;

	InitMaterializedSRF(fcinfo, 0);
	sink.result = (ReturnSetInfo *) fcinfo->resultinfo;
	sink.database = get_database_name(MyDatabaseId);
	te_metric_add(&sink, "engine_up", NULL, NULL, db && db->state == TE_DB_RUNNING, "gauge",
				  "Whether this database's engine is running.");
	te_metric_add(&sink, "standby", NULL, NULL, RecoveryInProgress(), "gauge",
				  "Whether this server is a standby, where no engine runs.");
	if (db)
		add_counters(&sink, db);
	for (int i = 0; i < nmetrics; i++)
		metric_callbacks[i] (&sink);
	return (Datum) 0;
}
