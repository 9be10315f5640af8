/*-------------------------------------------------------------------------
 *
 * topics.c
 *	  Topics as SQL and the views see them.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "publisher/topics.h"
#include "runtime/clock.h"
#include "runtime/compat.h"
#include "runtime/errors.h"
#include "runtime/own.h"
#include "runtime/shmem.h"
#include "runtime/wake.h"
#include "runtime/worker.h"

/* ---- configured? --------------------------------------------------------- */

bool
te_topic_exists(const char *name)
{
	Relation	rel = te_own_table_open("todo_events", "topic_config", AccessShareLock);
	Oid			index = te_compat_primary_key(rel);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	/* the table's own rights do not matter: publish() is granted by itself */
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(name));
	scan = systable_beginscan(rel, index, OidIsValid(index), NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

void
te_topic_check(const char *name)
{
	if (!te_topic_exists(name))
		ereport(ERROR,
				(errcode(ERRCODE_TE_NOT_FOUND),
				 errmsg("topic \"%s\" is not configured", name),
				 errhint("Configure it with todo_events.create_topic(), or see todo_events.topics for those that are.")));
}

PG_FUNCTION_INFO_V1(te_config_changed);

/* statement trigger of topic_config and route_config */
Datum
te_config_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "config_changed")));
	te_wake_note_reload();
	return PointerGetDatum(NULL);
}

/* ---- what the broker says ------------------------------------------------ */

void
te_outside_text(char *to, size_t size, TeWireStr from)
{
	int			len = from.data ? (int) Min(from.len, size - 1) : 0;
	bool		valid;

	if (len > 0)
		memcpy(to, from.data, len);
	len = pg_mbcliplen(to, len, size - 1);
	to[len] = '\0';
	valid = pg_verifymbstr(to, len, true);
	for (char *p = to; *p; p++)
	{
		if ((unsigned char) *p < 0x20 || *p == 0x7f || (!valid && (unsigned char) *p > 0x7f))
			*p = '?';
	}
}

static void
report_health(const TeTopicStatus *status)
{
	char	   *component = psprintf("topic:%s", status->name);
	const char *why = status->difference[0] ? status->difference : "no reason given";

	switch (status->state)
	{
		case TE_TOPIC_UNKNOWN:
			te_worker_health(status->difference[0] ? 3 : 0, component,
							 status->difference[0] ? psprintf("the topic does not exist on the broker: %s", why) : "",
							 "Its events wait until the broker can create it, or until it is removed from todo_events.topic_config.");
			break;
		case TE_TOPIC_MISSING:
			te_worker_health(3, component,
							 psprintf("the topic does not exist on the broker: %s", why),
							 "Create the topic on the broker, or set create_topic in todo_events.topic_config. Until then its events become dead letters.");
			break;
		case TE_TOPIC_DENIED:
			te_worker_health(3, component,
							 psprintf("the broker denies access to the topic: %s", why),
							 "Allow todo_events.sasl_username to describe and write the topic, and to create it if create_topic is set.");
			break;
		case TE_TOPIC_DIFFERS:
			te_worker_health(2, component,
							 psprintf("the topic on the broker differs from its configuration: %s", why),
							 "Change the topic on the broker, or its row in todo_events.topic_config.");
			break;
		default:
			te_worker_health(0, component, "", NULL);
			break;
	}
	pfree(component);
}

bool
te_topic_state(TeWireIn *in)
{
	TeDatabase *db = te_shmem_my_database(false);
	const TeTopic *topic = te_routes_topic(te_wire_get_u16(in));
	TeTopicStatus status = {0};
	int			i;

	status.state = te_wire_get_u8(in);
	status.partitions = (int32) te_wire_get_u32(in);
	status.retention_ms = (int64) te_wire_get_u64(in);
	status.max_message_bytes = (int64) te_wire_get_u64(in);
	te_outside_text(status.difference, sizeof(status.difference), te_wire_get_str(in));
	if (!te_wire_done(in) || topic == NULL || status.state > TE_TOPIC_DENIED)
		return false;
	/* its row is gone, and the I/O process has not been told */
	if (!topic->configured)
		return true;
	strlcpy(status.name, topic->name, sizeof(status.name));
	status.at = te_clock_now();

	report_health(&status);
	if (db == NULL)
		return true;
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	for (i = 0; i < db->ntopics; i++)
	{
		if (strcmp(db->topics[i].name, status.name) == 0)
			break;
	}
	if (i < TE_TOPIC_STATES)
	{
		db->topics[i] = status;
		db->ntopics = Max(db->ntopics, i + 1);
	}
	LWLockRelease(te_shmem_lock());
	return true;
}

bool
te_topic_states_prune(void)
{
	TeDatabase *db = te_shmem_my_database(false);
	const TeTopic *topic;
	bool		closed = false;

	for (int i = 0; (topic = te_routes_topic(i)) != NULL; i++)
	{
		if (topic->configured)
			continue;
		te_worker_health(0, psprintf("topic:%s", topic->name), "", NULL);
		if (db == NULL)
			continue;
		LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
		for (int s = 0; s < db->ntopics; s++)
		{
			uint8		state = db->topics[s].state;

			if (strcmp(db->topics[s].name, topic->name) != 0)
				continue;
			closed = closed || state == TE_TOPIC_UNKNOWN || state == TE_TOPIC_MISSING ||
				state == TE_TOPIC_DENIED;
			db->topics[s] = db->topics[--db->ntopics];
			break;
		}
		LWLockRelease(te_shmem_lock());
	}
	return closed;
}

void
te_topic_states_clear(void)
{
	TeDatabase *db = te_shmem_my_database(false);
	const TeTopic *topic;

	for (int i = 0; (topic = te_routes_topic(i)) != NULL; i++)
	{
		char	   *component = psprintf("topic:%s", topic->name);

		te_worker_health(0, component, "", NULL);
		pfree(component);
	}
	if (db == NULL)
		return;
	LWLockAcquire(te_shmem_lock(), LW_EXCLUSIVE);
	db->ntopics = 0;
	LWLockRelease(te_shmem_lock());
}

static const char *
state_name(uint8 state)
{
	switch (state)
	{
		case TE_TOPIC_OK:
			return "ok";
		case TE_TOPIC_CREATED:
			return "created";
		case TE_TOPIC_DIFFERS:
			return "differs";
		case TE_TOPIC_MISSING:
			return "missing";
		case TE_TOPIC_DENIED:
			return "denied";
		default:
			return "unknown";
	}
}

PG_FUNCTION_INFO_V1(te_topic_states);

/* topic_states() -> (topic, state, partitions, retention_ms, max_message_bytes, difference, at) */
Datum
te_topic_states(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TeDatabase *db = te_shmem_available() ? te_shmem_my_database(false) : NULL;
	TeTopicStatus *topics;
	int			n = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (db == NULL)
		return (Datum) 0;

	/* nothing that may fail under the lock */
	topics = palloc(TE_TOPIC_STATES * sizeof(TeTopicStatus));
	LWLockAcquire(te_shmem_lock(), LW_SHARED);
	n = db->ntopics;
	memcpy(topics, db->topics, n * sizeof(TeTopicStatus));
	LWLockRelease(te_shmem_lock());

	for (int i = 0; i < n; i++)
	{
		const TeTopicStatus *t = &topics[i];
		Datum		values[7];
		bool		nulls[7] = {0};

		values[0] = CStringGetTextDatum(t->name);
		values[1] = CStringGetTextDatum(state_name(t->state));
		values[2] = Int32GetDatum(t->partitions);
		nulls[2] = t->partitions < 0;
		values[3] = Int64GetDatum(t->retention_ms);
		nulls[3] = t->retention_ms < 0;
		values[4] = Int64GetDatum(t->max_message_bytes);
		nulls[4] = t->max_message_bytes < 0;
		values[5] = CStringGetTextDatum(t->difference);
		nulls[5] = t->difference[0] == '\0';
		values[6] = TimestampTzGetDatum(t->at);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
