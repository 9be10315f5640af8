/*
 * row.c
 *	  A stored row of the log as a TeLogRow.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "log/row.h"

/* text of a varlena: in place if it is neither compressed nor out of line, else a copy */
static const char *
varlena_text(Datum value, int *len)
{
	struct varlena *v = pg_detoast_datum_packed((struct varlena *) DatumGetPointer(value));

	*len = VARSIZE_ANY_EXHDR(v);
	return VARDATA_ANY(v);
}

static void
row_name(TeName *name, const Datum *values, const bool *nulls, int uuid, int text)
{
	name->kind = TE_NAME_NONE;
	name->len = 0;
	if (!nulls[uuid - 1])
	{
		name->kind = TE_NAME_UUID;
		name->uuid = *DatumGetUUIDP(values[uuid - 1]);
	}
	else if (!nulls[text - 1])
	{
		name->kind = TE_NAME_TEXT;
		name->text = varlena_text(values[text - 1], &name->len);
	}
}

void
te_row_from_values(TeLogRow *row, const Datum *values, const bool *nulls)
{
	row->id = DatumGetInt64(values[TE_LOG_ID - 1]);
	row->time = DatumGetTimestampTz(values[TE_LOG_TIME - 1]);
	row->sequence = nulls[TE_LOG_SEQUENCE - 1] ? 0 : DatumGetInt64(values[TE_LOG_SEQUENCE - 1]);
	row->origin = DatumGetInt32(values[TE_LOG_ORIGIN - 1]);
	row->attachment = DatumGetInt32(values[TE_LOG_ATTACHMENT - 1]);
	row->type = (TeEventType) DatumGetInt16(values[TE_LOG_TYPE - 1]);
	row_name(&row->key, values, nulls, TE_LOG_KEY_UUID, TE_LOG_KEY_TEXT);
	row_name(&row->user, values, nulls, TE_LOG_USER_UUID, TE_LOG_USER_TEXT);
	row->extra = NULL;
	row->extra_len = 0;
	if (!nulls[TE_LOG_EXTRA - 1])
		row->extra = varlena_text(values[TE_LOG_EXTRA - 1], &row->extra_len);
	row->payload = "";
	row->payload_len = 0;
	if (!nulls[TE_LOG_PAYLOAD - 1])
		row->payload = varlena_text(values[TE_LOG_PAYLOAD - 1], &row->payload_len);
	row->detoasted = !nulls[TE_LOG_PAYLOAD - 1] &&
		VARATT_IS_EXTENDED((struct varlena *) DatumGetPointer(values[TE_LOG_PAYLOAD - 1])) &&
		!VARATT_IS_SHORT((struct varlena *) DatumGetPointer(values[TE_LOG_PAYLOAD - 1]));
}

void
te_row_from_slot(TeLogRow *row, TupleTableSlot *slot)
{
	slot_getsomeattrs(slot, TE_LOG_PAYLOAD);
	te_row_from_values(row, slot->tts_values, slot->tts_isnull);
}

/* only the payload is ever large: the rest goes with the caller's memory context */
void
te_row_release(TeLogRow *row)
{
	if (row->detoasted)
		pfree(unconstify(char *, row->payload) - VARHDRSZ);
}
