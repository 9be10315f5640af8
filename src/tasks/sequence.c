/*-------------------------------------------------------------------------
 *
 * sequence.c
 *	  The sequence column of an attached table.
 *
 * The BEFORE trigger fires last and has no side effect: a row that another
 * trigger then throws away, or ON CONFLICT does not insert, leaves nothing
 * behind.  An UPDATE's number is OLD's plus one or two, and OLD is locked.
 *
 * An INSERT's is its key's tombstone plus one.  Here is a race: the DELETE of
 * the same key may commit after we looked and before the unique index lets us
 * pass.  So the AFTER trigger looks again, with the row in the index and every
 * earlier owner of the key gone, and corrects the row if the number is too
 * low.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "runtime/compat.h"
#include "runtime/errors.h"
#include "tasks/counter.h"
#include "tasks/held.h"
#include "tasks/sequence.h"

/* ---- rows that move between partitions ------------------------------------ */

/*
 * An UPDATE that moves a row fires BEFORE UPDATE on the one partition and
 * then BEFORE INSERT on the other, which must leave the number alone.  What
 * was noted by the former is matched by the next call at the same depth of
 * triggers; AFTER triggers wipe it out.
 */
#define MOVE_DEPTH	16

typedef struct Noted
{
	int32		number;			/* 0 = nothing noted */
	Oid			relid;
	int64		sequence;
	TransactionId xid;
} Noted;

static Noted noted[MOVE_DEPTH];

int
te_trigger_depth(void)
{
	return DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));
}

static Noted *
noted_here(void)
{
	int			depth = te_trigger_depth();

	return depth < MOVE_DEPTH ? &noted[depth] : NULL;
}

static void
note_update(const TeAttachment *att, int64 sequence)
{
	Noted	   *here = noted_here();

	if (here == NULL)
		return;
	here->number = att->number;
	here->relid = att->relid;
	here->sequence = sequence;
	here->xid = GetTopTransactionIdIfAny();
}

void
te_sequence_forget_move(int depth)
{
	if (depth < MOVE_DEPTH)
		noted[depth].number = 0;
}

/* ---- the column ------------------------------------------------------------ */

int64
te_sequence_get(const TeAttachment *att, const TeRowImage *row)
{
	int			i = att->columns[TE_COLUMN_SEQUENCE] - 1;
	int64		value = 0;

	if (!row->nulls[i])
		value = att->sequence_type == INT8OID ? DatumGetInt64(row->values[i]) : DatumGetInt32(row->values[i]);
	return value > 0 ? value : att->start_sequence;
}

static Datum
sequence_datum(const TeAttachment *att, int64 value)
{
	if (att->sequence_type == INT8OID)
		return Int64GetDatum(value);
	if (value > PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("sequence number %lld does not fit the sequence column's type integer",
						(long long) value),
				 errhint("Detach the table, change the column's type to bigint, and attach it again.")));
	return Int32GetDatum((int32) value);
}

/* ---- the correction --------------------------------------------------------- */

/* the row being corrected, while our own UPDATE of it runs */
static struct
{
	Oid			relid;			/* InvalidOid = none */
	ItemPointerData tid;
	int64		sequence;
}			correction;

static bool
is_correction(Oid relid, const ItemPointerData *tid)
{
	return unlikely(correction.relid == relid) && OidIsValid(relid) &&
		ItemPointerEquals(unconstify(ItemPointerData *, tid), &correction.tid);
}

bool
te_sequence_is_correction(Relation rel, const TeRowImage *old)
{
	return is_correction(RelationGetRelid(rel), &old->tid);
}

static void
correct(const TeAttachment *att, Relation rel, const TeRowImage *new, int64 sequence)
{
	Form_pg_attribute column;
	Oid			type = TIDOID;
	Datum		value = PointerGetDatum(&new->tid);
	Oid			save_user;
	int			save_context;
	uint64		updated;
	char	   *query;

	if (rel == NULL || OidIsValid(correction.relid))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not number a row that was deleted at the same time"),
				 errhint("Retry the transaction.")));

	column = TupleDescAttr(RelationGetDescr(rel), att->columns[TE_COLUMN_SEQUENCE] - 1);

	/*
	 * An ordinary UPDATE, so that foreign keys and other indexes are looked
	 * after; as the table's owner, since the writer may have no right to it.
	 */
	query = psprintf("UPDATE ONLY %s SET %s = %s WHERE ctid OPERATOR(pg_catalog.=) $1",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)),
					 quote_identifier(NameStr(column->attname)),
					 quote_identifier(NameStr(column->attname)));
	GetUserIdAndSecContext(&save_user, &save_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner,
						   save_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	correction.relid = RelationGetRelid(rel);
	correction.tid = new->tid;
	correction.sequence = sequence;
	PG_TRY();
	{
		if (SPI_connect() != SPI_OK_CONNECT ||
			SPI_execute_with_args(query, 1, &type, &value, NULL, false, 0) != SPI_OK_UPDATE)
			elog(ERROR, "could not correct a sequence number");
		updated = SPI_processed;
		SPI_finish();
	}
	PG_FINALLY();
	{
		correction.relid = InvalidOid;
	}
	PG_END_TRY();
	SetUserIdAndSecContext(save_user, save_context);

	if (updated != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not number a row that was deleted at the same time"),
				 errdetail("A trigger of table \"%s\" kept its sequence from being corrected.",
						   RelationGetRelationName(rel)),
				 errhint("Retry the transaction.")));
}

/* ---- BEFORE ------------------------------------------------------------------ */

typedef struct Setter
{
	int			n;
	int			columns[3];
	Datum		values[3];
	bool		nulls[3];
} Setter;

static void
set(Setter *setter, AttrNumber attno, Datum value, bool isnull)
{
	setter->columns[setter->n] = attno;
	setter->values[setter->n] = value;
	setter->nulls[setter->n++] = isnull;
}

static void
set_sequence(const TeAttachment *att, Setter *setter, const TeRowImage *new, int64 sequence)
{
	AttrNumber	attno = att->columns[TE_COLUMN_SEQUENCE];
	Datum		value = sequence_datum(att, sequence);

	/* a column declared DEFAULT 1 mostly has the right number as it comes */
	if (new->nulls[attno - 1] || new->values[attno - 1] != value)
		set(setter, attno, value, false);
}

/*
 * The standard table's timestamps: updated_at moves with a change, and
 * completed_at says when the task became done; a value that the statement
 * gave itself is left alone.
 */
static void
set_timestamps(const TeAttachment *att, TupleDesc desc, Setter *setter,
			   const TeRowImage *old, const TeRowImage *new)
{
	int			updated = att->columns[TE_COLUMN_UPDATED_AT] - 1;
	int			completed = att->columns[TE_COLUMN_COMPLETED_AT] - 1;
	bool		done = te_attachment_is_done(att, new->values, new->nulls);
	Datum		now = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	if (old != NULL && updated >= 0 &&
		!te_attachment_differs(desc, updated, old->values[updated], old->nulls[updated],
							   new->values[updated], new->nulls[updated]))
		set(setter, updated + 1, now, false);
	if (completed < 0)
		return;
	if (done && new->nulls[completed])
		set(setter, completed + 1, now, false);
	else if (!done && !new->nulls[completed])
		set(setter, completed + 1, (Datum) 0, true);
}

static void
before_insert(const TeAttachment *att, TriggerData *trigdata, Setter *setter)
{
	TeRowImage	new = te_row_image(trigdata->tg_trigslot);
	Noted	   *here = att->is_partition ? noted_here() : NULL;
	TeName		key;
	int64		last;
	int64		tombstone;

	if (here != NULL && here->number == att->number)
	{
		bool		moved = here->relid != att->relid && here->xid == GetTopTransactionIdIfAny() &&
			here->sequence == te_sequence_get(att, &new);

		here->number = 0;
		if (moved)
			return;
	}

	if (new.nulls[att->columns[TE_COLUMN_KEY] - 1])
		return;					/* the column's NOT NULL will say it better */
	key = te_attachment_name(att, TE_COLUMN_KEY, new.values, new.nulls, false);
	last = te_counter_last(att->number, &key, false);
	tombstone = te_held_tombstone(att, trigdata->tg_relation, new.values[att->columns[TE_COLUMN_KEY] - 1]);
	set_sequence(att, setter, &new, Max(last, tombstone) + 1);
	if (att->standard)
		set_timestamps(att, RelationGetDescr(trigdata->tg_relation), setter, NULL, &new);
}

static void
before_update(const TeAttachment *att, TriggerData *trigdata, Setter *setter)
{
	TupleDesc	desc = RelationGetDescr(trigdata->tg_relation);
	AttrNumber	attno = att->columns[TE_COLUMN_SEQUENCE];
	TeRowImage	old = te_row_image(trigdata->tg_trigslot);
	TeRowImage	new = te_row_image(trigdata->tg_newslot);
	TeChange	change;
	TeName		key;
	int64		sequence;

	if (is_correction(RelationGetRelid(trigdata->tg_relation), &old.tid))
	{
		set_sequence(att, setter, &new, correction.sequence);
		return;
	}

	change = te_change_of(att, &old, &new, NULL);
	if (att->is_partition)
		note_update(att, te_sequence_get(att, &old));
	if (change == TE_CHANGE_NONE)
	{
		/* an unchanged row keeps its number, even none */
		if (te_attachment_differs(desc, attno - 1, old.values[attno - 1], old.nulls[attno - 1],
								  new.values[attno - 1], new.nulls[attno - 1]))
			set(setter, attno, old.values[attno - 1], old.nulls[attno - 1]);
		return;
	}
	if (change == TE_CHANGE_KEY)
	{
		if (new.nulls[att->columns[TE_COLUMN_KEY] - 1])
			return;
		key = te_attachment_name(att, TE_COLUMN_KEY, new.values, new.nulls, false);
		sequence = te_counter_last(att->number, &key, false);
		sequence = Max(sequence, te_held_tombstone(att, trigdata->tg_relation,
												   new.values[att->columns[TE_COLUMN_KEY] - 1])) + 1;
	}
	else
		sequence = te_sequence_get(att, &old) + (change == TE_CHANGE_OWNER ? 2 : 1);
	set_sequence(att, setter, &new, sequence);
	if (att->is_partition)
		note_update(att, sequence);
	if (att->standard)
		set_timestamps(att, desc, setter, &old, &new);
}

HeapTuple
te_sequence_before(const TeAttachment *att, TriggerData *trigdata)
{
	bool		update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	HeapTuple	tuple = update ? trigdata->tg_newtuple : trigdata->tg_trigtuple;
	Setter		setter = {.n = 0};

	/* a row that replication brings has its publisher's number, and both must stay the same */
	if (att->columns[TE_COLUMN_SEQUENCE] == InvalidAttrNumber || IsLogicalWorker())
		return tuple;
	if (update)
		before_update(att, trigdata, &setter);
	else
		before_insert(att, trigdata, &setter);
	if (setter.n == 0)
		return tuple;
	return heap_modify_tuple_by_cols(tuple, RelationGetDescr(trigdata->tg_relation),
									 setter.n, setter.columns, setter.values, setter.nulls);
}

/* ---- AFTER -------------------------------------------------------------------- */

pg_noreturn static void
changed_by_others(const TeAttachment *att, int64 found, int64 expected)
{
	Form_pg_attribute column = TupleDescAttr(att->desc, att->columns[TE_COLUMN_SEQUENCE] - 1);

	ereport(ERROR,
			(errcode(ERRCODE_TE_SEQUENCE),
			 errmsg("sequence column \"%s\" of table \"%s\" was changed by others",
					NameStr(column->attname), get_rel_name(att->relid)),
			 errdetail("It is %lld, and todo_events had set %lld.", (long long) found, (long long) expected),
			 errhint("Look for a trigger that fires after \"%s\", or for that trigger being disabled.",
					 TE_TRIGGER_SEQUENCE)));
}

int64
te_sequence_check_updated(const TeAttachment *att, const TeRowImage *old,
						  const TeRowImage *new, TeChange change)
{
	int64		expected = te_sequence_get(att, old);
	int64		found = te_sequence_get(att, new);

	if (change != TE_CHANGE_NONE)
		expected += change == TE_CHANGE_OWNER ? 2 : 1;
	if (found != expected && !IsLogicalWorker())
		changed_by_others(att, found, expected);
	return found;
}

bool
te_sequence_check_created(const TeAttachment *att, Relation rel, const TeRowImage *new, int64 expected)
{
	int64		found = te_sequence_get(att, new);

	if (likely(found == expected))
		return true;
	if (found > expected)
		changed_by_others(att, found, expected);
	correct(att, rel, new, expected);
	return false;
}
