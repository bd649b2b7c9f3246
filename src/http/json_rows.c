/*
 * json_rows.c
 *		What stands in the lists of a document, as rows with columns of their types:
 *		in one walk, without a copy of any part of the document.
 *
 * jsonb_to_recordset and jsonb_array_elements copy each element, and a list in it
 * once more for each row; reading a page with them takes as long as storing it.
 * Paths and types stand with keypup.json_rows in http.sql. What is of another type
 * than its column is an error, as of data that is wrong: nothing becomes text that
 * was none.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "http/json_time.h"

PG_FUNCTION_INFO_V1(keypup_json_rows);
PG_FUNCTION_INFO_V1(keypup_json_objects);

#define MAX_STEPS 6
#define MAX_NAMES 3
/* Lists in each other, from the document's to that of the rows. */
#define MAX_LISTS 8

/* A member by its name, or, where there is none of this name or it is null, by the next. */
typedef struct Step
{
	int count;
	const char *names[MAX_NAMES];
	int lengths[MAX_NAMES];
} Step;

typedef struct Path
{
	const char *text;
	int up; /* how many lists further out it begins */
	int count;
	Step steps[MAX_STEPS];
} Path;

/* Texts that a column of a list collects. */
typedef struct Names
{
	int count;
	int room;
	text **texts;
} Names;

typedef struct Walk
{
	ReturnSetInfo *result;
	Path list; /* of a walk through lists */
	const char *member; /* of one through objects */
	int member_length;
	int columns;
	Path *paths;
	Datum *values;
	bool *nulls;
	MemoryContext row; /* what the values of a row take */
	int depth;
	JsonbContainer *elements[MAX_LISTS]; /* where it is, the outermost first */
} Walk;

/* --- paths --- */

static void
read_path(const char *text, Path *path)
{
	const char *at = text;

	path->text = text;
	path->up = path->count = 0;
	while (strncmp(at, "../", 3) == 0)
	{
		path->up++;
		at += 3;
	}
	while (*at != '\0')
	{
		Step *step = &path->steps[path->count];

		if (path->count++ == MAX_STEPS)
			elog(ERROR, "\"%s\" is no path", text);
		step->count = 0;
		for (;;)
		{
			Size length = strcspn(at, ".|");

			if (length == 0 || step->count == MAX_NAMES)
				elog(ERROR, "\"%s\" is no path", text);
			step->names[step->count] = at;
			step->lengths[step->count++] = (int) length;
			at += length;
			if (*at != '|')
				break;
			at++;
		}
		if (*at == '.')
			at++;
	}
}

static void
read_columns(ArrayType *columns, Walk *walk)
{
	Datum *texts;
	int count;

	deconstruct_array(columns, TEXTOID, -1, false, TYPALIGN_INT, &texts, NULL, &count);
	if (count != walk->result->setDesc->natts)
		elog(ERROR, "there are %d paths for %d columns", count, walk->result->setDesc->natts);
	walk->columns = count;
	walk->paths = palloc(sizeof(Path) * count);
	for (int i = 0; i < count; i++)
		read_path(TextDatumGetCString(texts[i]), &walk->paths[i]);
}

/* --- values --- */

static void
refuse_value(const Path *path, const char *expected)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("\"%s\" is not %s in the document", path->text, expected)));
}

/* The member that a step leads to; NULL: there is none, or it is null. */
static JsonbValue *
take_step(const Path *path, const Step *step, JsonbContainer *object, JsonbValue *buffer)
{
	if (!JsonContainerIsObject(object))
		refuse_value(path, "a member of an object");
	for (int i = 0; i < step->count; i++)
	{
		JsonbValue *value =
			getKeyJsonValueFromContainer(object, step->names[i], step->lengths[i], buffer);

		if (value != NULL && value->type != jbvNull)
			return value;
	}
	return NULL;
}

/* The value at the end of a path that goes through objects, and through lists by "0", their first element. */
static JsonbValue *
follow_path(const Path *path, JsonbContainer *from, JsonbValue *buffer)
{
	JsonbValue *value = NULL;

	for (int i = 0; i < path->count; i++)
	{
		const Step *step = &path->steps[i];

		if (value != NULL && value->type != jbvBinary)
			refuse_value(path, "a member of an object");
		if (value != NULL)
			from = value->val.binary.data;
		value = JsonContainerIsArray(from) && step->lengths[0] == 1 && *step->names[0] == '0'
					? getIthJsonbValueFromContainer(from, 0)
					: take_step(path, step, from, buffer);
		if (value == NULL || value->type == jbvNull)
			return NULL;
	}
	return value;
}

static text *
make_text(const Path *path, const JsonbValue *value)
{
	if (value->type == jbvString)
		return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
	if (value->type != jbvNumeric)
		refuse_value(path, "text");
	return cstring_to_text(
		DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))));
}

/* A whole number, that a bigint holds. */
static Datum
make_bigint(const Path *path, const JsonbValue *value)
{
	Datum number;
	Datum again;

	if (value->type != jbvNumeric)
		refuse_value(path, "a number");
	number = DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric));
	again = DirectFunctionCall1(int8_numeric, number);
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, again, NumericGetDatum(value->val.numeric))))
		refuse_value(path, "a whole number");
	return number;
}

static void
collect_names(const Path *path, int next, JsonbValue *value, Names *names)
{
	JsonbValue buffer;

	if (value->type == jbvNull)
		return;
	if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
	{
		JsonbIterator *iterator = JsonbIteratorInit(value->val.binary.data);
		JsonbValue element;
		JsonbIteratorToken token;

		while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
		{
			if (token == WJB_ELEM)
				collect_names(path, next, &element, names);
		}
	}
	else if (next < path->count)
	{
		JsonbValue *member;

		if (value->type != jbvBinary)
			refuse_value(path, "a member of an object");
		member = take_step(path, &path->steps[next], value->val.binary.data, &buffer);
		if (member != NULL)
			collect_names(path, next + 1, member, names);
	}
	else
	{
		if (names->count == names->room)
		{
			names->room = Max(16, 2 * names->room);
			names->texts = names->texts == NULL
							   ? palloc(sizeof(text *) * names->room)
							   : repalloc(names->texts, sizeof(text *) * names->room);
		}
		names->texts[names->count++] = make_text(path, value);
	}
}

/* By bytes, as COLLATE "C" has it. */
static int
compare_names(const void *one, const void *other)
{
	text *a = *(text *const *) one;
	text *b = *(text *const *) other;
	int order = memcmp(VARDATA(a), VARDATA(b), Min(VARSIZE_ANY_EXHDR(a), VARSIZE_ANY_EXHDR(b)));

	return order != 0 ? order : (int) VARSIZE_ANY_EXHDR(a) - (int) VARSIZE_ANY_EXHDR(b);
}

/* All texts that a path leads to, through whatever lists, sorted, and each once. */
static Datum
make_names(const Path *path, JsonbContainer *from)
{
	JsonbValue whole = {.type = jbvBinary};
	Names names = {0};
	int distinct = 0;

	whole.val.binary.data = from;
	collect_names(path, 0, &whole, &names);
	if (names.count > 1)
		qsort(names.texts, names.count, sizeof(text *), compare_names);
	for (int i = 0; i < names.count; i++)
	{
		if (distinct == 0 || compare_names(&names.texts[distinct - 1], &names.texts[i]) != 0)
			names.texts[distinct++] = names.texts[i];
	}
	return PointerGetDatum(
		construct_array((Datum *) names.texts, distinct, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
make_value(const Path *path, Oid type, JsonbContainer *from, bool *isnull)
{
	JsonbValue buffer;
	JsonbValue *value;
	TimestampTz time;

	*isnull = false;
	if (type == TEXTARRAYOID)
		return make_names(path, from);
	value = follow_path(path, from, &buffer);
	*isnull = value == NULL;
	if (value == NULL)
		return (Datum) 0;
	switch (type)
	{
		case TEXTOID:
			return PointerGetDatum(make_text(path, value));
		case INT8OID:
			return make_bigint(path, value);
		case BOOLOID:
			if (value->type != jbvBool)
				refuse_value(path, "true or false");
			return BoolGetDatum(value->val.boolean);
		case TIMESTAMPTZOID:
			if (value->type != jbvString ||
				!read_json_time(value->val.string.val, value->val.string.len, &time))
				refuse_value(path, "a time");
			return TimestampTzGetDatum(time);
		case JSONBOID:
			return JsonbPGetDatum(JsonbValueToJsonb(value));
		default:
			elog(ERROR, "no column can be of type %u", type);
			return (Datum) 0; /* not reached */
	}
}

/* --- rows --- */

/* The row of the element where the walk is. */
static void
put_row(Walk *walk)
{
	TupleDesc description = walk->result->setDesc;
	MemoryContext outside = MemoryContextSwitchTo(walk->row);

	for (int i = 0; i < walk->columns; i++)
	{
		const Path *path = &walk->paths[i];

		if (path->up >= walk->depth)
			elog(ERROR, "\"%s\" leads out of the document", path->text);
		walk->values[i] = make_value(path, TupleDescAttr(description, i)->atttypid,
									 walk->elements[walk->depth - 1 - path->up], &walk->nulls[i]);
	}
	MemoryContextSwitchTo(outside);
	tuplestore_putvalues(walk->result->setResult, description, walk->values, walk->nulls);
	MemoryContextReset(walk->row);
}

static void walk_list(Walk *walk, int next, JsonbContainer *list);

/* From an element, by the steps that are left, into the next list; without any it is a row. */
static void
walk_element(Walk *walk, int next, JsonbContainer *element)
{
	JsonbValue buffer;

	if (next == walk->list.count)
	{
		put_row(walk);
		return;
	}
	while (next < walk->list.count)
	{
		JsonbValue *value = take_step(&walk->list, &walk->list.steps[next++], element, &buffer);

		if (value == NULL)
			return;
		if (value->type != jbvBinary)
			refuse_value(&walk->list, "a list");
		element = value->val.binary.data;
		if (JsonContainerIsArray(element))
		{
			walk_list(walk, next, element);
			return;
		}
	}
	refuse_value(&walk->list, "a list");
}

static void
walk_list(Walk *walk, int next, JsonbContainer *list)
{
	JsonbIterator *iterator = JsonbIteratorInit(list);
	JsonbValue element;
	JsonbIteratorToken token;

	if (walk->depth == MAX_LISTS)
		refuse_value(&walk->list, "a list");
	walk->depth++;
	while ((token = JsonbIteratorNext(&iterator, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM || element.type == jbvNull)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
			refuse_value(&walk->list, "a list of objects");
		walk->elements[walk->depth - 1] = element.val.binary.data;
		walk_element(walk, next, element.val.binary.data);
	}
	walk->depth--;
}

/* All that is in a container, and it. */
static void
walk_objects(Walk *walk, JsonbContainer *container)
{
	JsonbIterator *iterator;
	JsonbValue value;
	JsonbIteratorToken token;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (JsonContainerIsObject(container) &&
		getKeyJsonValueFromContainer(container, walk->member, walk->member_length, &value) !=
			NULL &&
		value.type == jbvString)
	{
		walk->elements[0] = container;
		put_row(walk);
	}
	iterator = JsonbIteratorInit(container);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if ((token == WJB_ELEM || token == WJB_VALUE) && value.type == jbvBinary)
			walk_objects(walk, value.val.binary.data);
	}
}

static void
begin_walk(FunctionCallInfo fcinfo, Walk *walk)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	walk->result = (ReturnSetInfo *) fcinfo->resultinfo;
	read_columns(PG_GETARG_ARRAYTYPE_P(2), walk);
	walk->values = palloc0(sizeof(Datum) * walk->columns);
	walk->nulls = palloc0(sizeof(bool) * walk->columns);
	walk->row = AllocSetContextCreate(CurrentMemoryContext, "keypup row", ALLOCSET_DEFAULT_SIZES);
}

Datum
keypup_json_rows(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	Walk walk = {0};

	begin_walk(fcinfo, &walk);
	read_path(text_to_cstring(PG_GETARG_TEXT_PP(1)), &walk.list);
	if (!JB_ROOT_IS_ARRAY(document) || JB_ROOT_IS_SCALAR(document))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a list of documents is needed")));
	walk_list(&walk, 0, &document->root);
	MemoryContextDelete(walk.row);
	return (Datum) 0;
}

Datum
keypup_json_objects(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	text *member = PG_GETARG_TEXT_PP(1);
	Walk walk = {.depth = 1};

	begin_walk(fcinfo, &walk);
	walk.member = VARDATA_ANY(member);
	walk.member_length = (int) VARSIZE_ANY_EXHDR(member);
	walk_objects(&walk, &document->root);
	MemoryContextDelete(walk.row);
	return (Datum) 0;
}
