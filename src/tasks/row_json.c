/*-------------------------------------------------------------------------
 *
 * row_json.c
 *	  Rows as JSON.
 *
 * row_to_json looks up every column's type, output function and name for
 * every row, which is a third of what an event costs.  Here that is done once
 * a relation, and the common types are written with no function call at all.
 *
 * The text must not depend on who writes: the same row has to look the same
 * whatever TimeZone, DateStyle or search_path the session has.  The common
 * types are written by code that looks at no setting; for the rest the
 * settings are pinned while the row is rendered, those that differ only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "log/event.h"
#include "tasks/row_json.h"

typedef struct RowColumn
{
	char	   *label;			/* ,"name": */
	int			label_len;
	bool		skip;			/* dropped, excluded, or not stored */
	TeJsonValue how;
} RowColumn;

struct TeRowJson
{
	int			natts;
	bool		pin;
	bool		user_functions;
	RowColumn	columns[FLEXIBLE_ARRAY_MEMBER];
};

#define append_literal(buf, s) appendBinaryStringInfo(buf, s, sizeof(s) - 1)

/* ---- the types ------------------------------------------------------ */

static void
write_bool(StringInfo buf, Datum value, const TeJsonValue *how)
{
	if (DatumGetBool(value))
		append_literal(buf, "true");
	else
		append_literal(buf, "false");
}

static void
write_int16(StringInfo buf, Datum value, const TeJsonValue *how)
{
	char		text[16];

	appendBinaryStringInfo(buf, text, pg_ltoa(DatumGetInt16(value), text));
}

static void
write_int32(StringInfo buf, Datum value, const TeJsonValue *how)
{
	char		text[16];

	appendBinaryStringInfo(buf, text, pg_ltoa(DatumGetInt32(value), text));
}

static void
write_int64(StringInfo buf, Datum value, const TeJsonValue *how)
{
	char		text[MAXINT8LEN + 1];

	appendBinaryStringInfo(buf, text, pg_lltoa(DatumGetInt64(value), text));
}

/* JSON has no NaN and no infinity: strings, as row_to_json writes them */
static bool
write_special(StringInfo buf, double value)
{
	if (isnan(value))
		append_literal(buf, "\"NaN\"");
	else if (isinf(value) && value > 0)
		append_literal(buf, "\"Infinity\"");
	else if (isinf(value))
		append_literal(buf, "\"-Infinity\"");
	else
		return false;
	return true;
}

static void
write_float4(StringInfo buf, Datum value, const TeJsonValue *how)
{
	char		text[FLOAT_SHORTEST_DECIMAL_LEN];

	if (!write_special(buf, DatumGetFloat4(value)))
		appendBinaryStringInfo(buf, text, float_to_shortest_decimal_buf(DatumGetFloat4(value), text));
}

static void
write_float8(StringInfo buf, Datum value, const TeJsonValue *how)
{
	char		text[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (!write_special(buf, DatumGetFloat8(value)))
		appendBinaryStringInfo(buf, text, double_to_shortest_decimal_buf(DatumGetFloat8(value), text));
}

static void
write_numeric(StringInfo buf, Datum value, const TeJsonValue *how)
{
	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	bool		special = isalpha((unsigned char) text[text[0] == '-']);

	if (special)
		appendStringInfoCharMacro(buf, '"');
	appendStringInfoString(buf, text);
	if (special)
		appendStringInfoCharMacro(buf, '"');
	pfree(text);
}

static void
write_text(StringInfo buf, Datum value, const TeJsonValue *how)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

	te_json_string(buf, VARDATA_ANY(text), (int) VARSIZE_ANY_EXHDR(text));
	if ((Pointer) text != DatumGetPointer(value))
		pfree(text);
}

static void
write_name(StringInfo buf, Datum value, const TeJsonValue *how)
{
	const char *text = NameStr(*DatumGetName(value));

	te_json_string(buf, text, (int) strlen(text));
}

static void
write_uuid(StringInfo buf, Datum value, const TeJsonValue *how)
{
	TeName		name = {.kind = TE_NAME_UUID, .uuid = *DatumGetUUIDP(value)};

	appendStringInfoCharMacro(buf, '"');
	te_name_text(buf, &name);
	appendStringInfoCharMacro(buf, '"');
}

static void
write_bytea(StringInfo buf, Datum value, const TeJsonValue *how)
{
	struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);
	int			len = (int) VARSIZE_ANY_EXHDR(bytes);

	append_literal(buf, "\"\\\\x");
	enlargeStringInfo(buf, 2 * len + 1);
	buf->len += (int) hex_encode(VARDATA_ANY(bytes), len, buf->data + buf->len);
	appendStringInfoCharMacro(buf, '"');
	if ((Pointer) bytes != DatumGetPointer(value))
		pfree(bytes);
}

/*
 * ISO 8601; a timestamptz in UTC.  A row's times are often the same one, that
 * of its transaction, so the last text is kept.
 */
static void
write_datetime(StringInfo buf, Datum value, const TeJsonValue *how)
{
	static const int utc = 0;
	static struct
	{
		Oid			type;		/* InvalidOid = nothing kept */
		Datum		value;		/* only of types passed by value */
		int			len;
		char		text[MAXDATELEN + 3];
	}			last;

	if (last.type != how->type || last.value != value)
	{
		last.type = InvalidOid;	/* an error leaves nothing half written */
		JsonEncodeDateTime(last.text + 1, value, how->type,
						   how->type == TIMESTAMPTZOID ? &utc : NULL);
		last.len = 2 + (int) strlen(last.text + 1);
		last.text[0] = last.text[last.len - 1] = '"';
		last.value = value;
		last.type = FLOAT8PASSBYVAL ? how->type : InvalidOid;
	}
	appendBinaryStringInfo(buf, last.text, last.len);
}

static void
write_json(StringInfo buf, Datum value, const TeJsonValue *how)
{
	struct varlena *text = PG_DETOAST_DATUM_PACKED(value);

	appendBinaryStringInfo(buf, VARDATA_ANY(text), (int) VARSIZE_ANY_EXHDR(text));
}

static void
write_jsonb(StringInfo buf, Datum value, const TeJsonValue *how)
{
	Jsonb	   *jsonb = DatumGetJsonbP(value);

	(void) JsonbToCString(buf, &jsonb->root, VARSIZE(jsonb));
}

/* the type has a cast to json of its own, which to_json honours too */
static void
write_by_cast(StringInfo buf, Datum value, const TeJsonValue *how)
{
	write_json(buf, FunctionCall1(unconstify(FmgrInfo *, &how->function), value), how);
}

static void
write_by_output(StringInfo buf, Datum value, const TeJsonValue *how)
{
	char	   *text = OutputFunctionCall(unconstify(FmgrInfo *, &how->function), value);

	te_json_string(buf, text, (int) strlen(text));
	pfree(text);
}

static int
write_dimension(StringInfo buf, const TeJsonValue *how, int dim, int ndim, const int *dims,
				const Datum *values, const bool *nulls, int next)
{
	appendStringInfoCharMacro(buf, '[');
	for (int i = 0; i < dims[dim]; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(buf, ',');
		if (dim + 1 < ndim)
			next = write_dimension(buf, how, dim + 1, ndim, dims, values, nulls, next);
		else
		{
			if (nulls[next])
				append_literal(buf, "null");
			else
				how->element->write(buf, values[next], how->element);
			next++;
		}
	}
	appendStringInfoCharMacro(buf, ']');
	return next;
}

static void
write_array(StringInfo buf, Datum value, const TeJsonValue *how)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Datum	   *values;
	bool	   *nulls;
	int			n;

	check_stack_depth();
	if (ARR_NDIM(array) == 0)
	{
		append_literal(buf, "[]");
		return;
	}
	deconstruct_array(array, ARR_ELEMTYPE(array), how->typlen, how->typbyval, how->typalign,
					  &values, &nulls, &n);
	(void) write_dimension(buf, how, 0, ARR_NDIM(array), ARR_DIMS(array), values, nulls, 0);
	pfree(values);
	pfree(nulls);
	if ((Pointer) array != DatumGetPointer(value))
		pfree(array);
}

/*
 * The fields' plan is made for each value: a composite type can be altered
 * without a word to the relations that use it.
 */
static void
write_composite(StringInfo buf, Datum value, const TeJsonValue *how)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	TupleDesc	desc;
	HeapTupleData tuple;
	Datum	   *values;
	bool	   *nulls;

	check_stack_depth();
	desc = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(header),
									   HeapTupleHeaderGetTypMod(header));
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	values = palloc(desc->natts * sizeof(Datum));
	nulls = palloc(desc->natts * sizeof(bool));
	heap_deform_tuple(&tuple, desc, values, nulls);
	te_row_json_append(te_row_json_create(desc, NULL), buf, values, nulls, NULL);
}

/* output functions that look at no setting */
static bool
output_is_fixed(Oid type)
{
	switch (type)
	{
		case CHAROID:
		case OIDOID:
		case TIMEOID:
		case TIMETZOID:
		case XIDOID:
		case CIDOID:
		case TIDOID:
		case XID8OID:
		case INETOID:
		case CIDROID:
		case MACADDROID:
		case MACADDR8OID:
		case BITOID:
		case VARBITOID:
		case TSVECTOROID:
		case PG_LSNOID:
		case JSONPATHOID:
			return true;
		default:
			return get_typtype(type) == TYPTYPE_ENUM;
	}
}

void
te_json_value_init(TeJsonValue *how, Oid type)
{
	Oid			function;
	Oid			element;
	bool		isvarlena;

	memset(how, 0, sizeof(*how));
	type = getBaseType(type);
	how->type = type;

	switch (type)
	{
		case BOOLOID:
			how->write = write_bool;
			return;
		case INT2OID:
			how->write = write_int16;
			return;
		case INT4OID:
			how->write = write_int32;
			return;
		case INT8OID:
			how->write = write_int64;
			return;
		case FLOAT4OID:
			how->write = write_float4;
			return;
		case FLOAT8OID:
			how->write = write_float8;
			return;
		case NUMERICOID:
			how->write = write_numeric;
			return;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			how->write = write_text;
			return;
		case NAMEOID:
			how->write = write_name;
			return;
		case UUIDOID:
			how->write = write_uuid;
			return;
		case BYTEAOID:
			how->write = write_bytea;
			return;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			how->write = write_datetime;
			return;
		case JSONOID:
			how->write = write_json;
			return;
		case JSONBOID:
			how->write = write_jsonb;
			return;
		default:
			break;
	}

	element = get_element_type(type);
	if (OidIsValid(element))
	{
		how->write = write_array;
		how->element = palloc(sizeof(TeJsonValue));
		te_json_value_init(how->element, element);
		get_typlenbyvalalign(element, &how->typlen, &how->typbyval, &how->typalign);
		how->pin = how->element->pin;
		how->user_function = how->element->user_function;
		return;
	}
	if (type_is_rowtype(type))
	{
		how->write = write_composite;
		how->pin = true;
		return;
	}
	if (type >= FirstNormalObjectId &&
		find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function) == COERCION_PATH_FUNC)
	{
		how->write = write_by_cast;
		how->pin = true;
		how->user_function = true;
		fmgr_info(function, &how->function);
		return;
	}
	how->write = write_by_output;
	how->pin = !output_is_fixed(type);
	getTypeOutputInfo(type, &function, &isvarlena);
	how->user_function = function >= FirstNormalObjectId;
	fmgr_info(function, &how->function);
}

char *
te_json_value_text(const TeJsonValue *how, Datum value)
{
	Oid			function;
	bool		isvarlena;
	int			nest_level = te_row_json_pin();
	char	   *text;

	getTypeOutputInfo(how->type, &function, &isvarlena);
	text = OidOutputFunctionCall(function, value);
	te_row_json_end(nest_level);
	return text;
}

/* ---- rows ------------------------------------------------------------ */

TeRowJson *
te_row_json_create(TupleDesc desc, const Bitmapset *exclude)
{
	TeRowJson  *json = palloc0(offsetof(TeRowJson, columns) + desc->natts * sizeof(RowColumn));

	json->natts = desc->natts;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		RowColumn  *column = &json->columns[i];
		StringInfoData label;

		/* a virtual generated column ('v', PostgreSQL 18) has no value here */
		if (att->attisdropped || att->attgenerated == 'v' || bms_is_member(att->attnum, exclude))
		{
			column->skip = true;
			continue;
		}
		initStringInfo(&label);
		appendStringInfoChar(&label, ',');
		te_json_string(&label, NameStr(att->attname), (int) strlen(NameStr(att->attname)));
		appendStringInfoChar(&label, ':');
		column->label = label.data;
		column->label_len = label.len;
		te_json_value_init(&column->how, att->atttypid);
		json->pin |= column->how.pin;
		json->user_functions |= column->how.user_function;
	}
	return json;
}

bool
te_row_json_has_functions(const TeRowJson *json)
{
	return json->user_functions;
}

void
te_row_json_append(const TeRowJson *json, StringInfo buf,
				   const Datum *values, const bool *nulls, const bool *only)
{
	int			start = buf->len;

	for (int i = 0; i < json->natts; i++)
	{
		const RowColumn *column = &json->columns[i];

		if (column->skip || (only != NULL && !only[i]))
			continue;
		appendBinaryStringInfo(buf, column->label, column->label_len);
		if (nulls[i])
			append_literal(buf, "null");
		else
			column->how.write(buf, values[i], &column->how);
	}
	/* the first member's comma becomes the brace */
	if (buf->len > start)
		buf->data[start] = '{';
	else
		appendStringInfoCharMacro(buf, '{');
	appendStringInfoCharMacro(buf, '}');
}

static void
pin(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

int
te_row_json_pin(void)
{
	int			nest_level = NewGUCNestLevel();

	if (session_timezone == NULL || strcmp(pg_get_timezone_name(session_timezone), "UTC") != 0)
		pin("TimeZone", "UTC");
	if (DateStyle != USE_ISO_DATES || DateOrder != DATEORDER_MDY)
		pin("DateStyle", "ISO, MDY");
	if (IntervalStyle != INTSTYLE_POSTGRES)
		pin("IntervalStyle", "postgres");
	if (bytea_output != BYTEA_OUTPUT_HEX)
		pin("bytea_output", "hex");
	if (extra_float_digits != 1)
		pin("extra_float_digits", "1");
	if (strcmp(GetConfigOption("lc_monetary", false, false), "C") != 0)
		pin("lc_monetary", "C");
	if (strcmp(namespace_search_path, "pg_catalog, pg_temp") != 0)
		pin("search_path", "pg_catalog, pg_temp");
	return nest_level;
}

int
te_row_json_begin(const TeRowJson *json)
{
	return json->pin ? te_row_json_pin() : 0;
}

void
te_row_json_end(int nest_level)
{
	if (nest_level > 0)
		AtEOXact_GUC(true, nest_level);
}
