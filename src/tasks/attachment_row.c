/*
 * attachment_row.c
 *	  What an attachment says of the values of a row.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/uuid.h"

#include "runtime/compat.h"
#include "tasks/attachment.h"

TeName
te_attachment_name(const TeAttachment *att, TeColumnRole role,
				   const Datum *values, const bool *nulls, bool prefixed)
{
	TeName		name = {.kind = TE_NAME_NONE};
	AttrNumber	attno = att->columns[role];
	const TeJsonValue *how = &att->names[role];
	Datum		value;

	if (attno == InvalidAttrNumber || nulls[attno - 1])
		return name;
	value = values[attno - 1];
	if (how->type == UUIDOID)
	{
		name.kind = TE_NAME_UUID;
		name.uuid = *DatumGetUUIDP(value);
		return name;
	}

	name.kind = TE_NAME_TEXT;
	switch (how->type)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			{
				struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

				name.text = VARDATA_ANY(text);
				name.len = (int) VARSIZE_ANY_EXHDR(text);
				break;
			}
		case INT8OID:
		case INT4OID:
		case INT2OID:
			{
				char	   *text = palloc(MAXINT8LEN + 1);
				int64		number = how->type == INT8OID ? DatumGetInt64(value) :
					how->type == INT4OID ? DatumGetInt32(value) : DatumGetInt16(value);

				name.len = pg_lltoa(number, text);
				name.text = text;
				break;
			}
		default:
			name.text = te_json_value_text(how, value);
			name.len = (int) strlen(name.text);
			break;
	}

	if (prefixed && att->key_prefix != NULL)
	{
		char	   *text = palloc(att->key_prefix_len + name.len);

		memcpy(text, att->key_prefix, att->key_prefix_len);
		memcpy(text + att->key_prefix_len, name.text, name.len);
		name.text = text;
		name.len += att->key_prefix_len;
	}
	return name;
}

bool
te_attachment_is_done(const TeAttachment *att, const Datum *values, const bool *nulls)
{
	int			i = att->columns[TE_COLUMN_COMPLETED] - 1;

	switch (att->done)
	{
		case TE_DONE_NEVER:
			return false;
		case TE_DONE_BOOL:
			return !nulls[i] && DatumGetBool(values[i]);
		case TE_DONE_NOT_NULL:
			return !nulls[i];
		case TE_DONE_VALUE:
			return !nulls[i] &&
				datum_image_eq(values[i], att->done_value,
							   att->done_typbyval, att->done_typlen);
	}
	return false;
}

bool
te_attachment_differs(TupleDesc desc, int column, Datum old, bool old_null, Datum new, bool new_null)
{
	Form_pg_attribute att = TupleDescAttr(desc, column);

	if (old_null || new_null)
		return old_null != new_null;
	if (att->attbyval)
		return old != new;
	if (att->attlen == -1)
	{
		struct varlena *a = (struct varlena *) DatumGetPointer(old);
		struct varlena *b = (struct varlena *) DatumGetPointer(new);

		/* the same pointer into the TOAST table: the same value, not fetched */
		if (VARATT_IS_EXTERNAL(a) && VARATT_IS_EXTERNAL(b) &&
			VARSIZE_EXTERNAL(a) == VARSIZE_EXTERNAL(b) &&
			memcmp(a, b, VARSIZE_EXTERNAL(a)) == 0)
			return false;
	}
	return !datum_image_eq(old, new, att->attbyval, att->attlen);
}
