/*
 * shape.c
 *		Whether documents have the shape that whoever stores them relies on: nothing
 *		is null, missing or of another kind that must be there. One pass over a page,
 *		before SQL sees it: to jsonb_to_recordset an object is text, and a list that is
 *		null has no rows.
 *
 * Shapes are data, a provider's (provider/NAME/shape.sql); the words for them stand
 * with keypup.misfits in http.sql.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "http/json_time.h"

PG_FUNCTION_INFO_V1(keypup_misfits);

/* keypup.clean_json lets nothing nest deeper. */
#define MAX_DEPTH 64
#define MAX_DIGITS 18

typedef enum Kind
{
	KIND_TEXT,
	KIND_NUMBER, /* a whole one that a bigint holds */
	KIND_DECIMAL, /* any number that a double precision holds */
	KIND_KEY, /* text or number: an id */
	KIND_BOOLEAN,
	KIND_TIME, /* ISO 8601: 2026-01-31T23:59:59Z */
	KIND_ANY,
	KIND_OBJECT
} Kind;

typedef enum Condition
{
	ALWAYS,
	IF_TYPENAME, /* "on NAME": when the object's __typename is NAME */
	IF_TRUE /* "if NAME": when the object's member NAME is true */
} Condition;

typedef struct Member Member;

typedef struct Shape
{
	const char *name;
	Kind kind;
	int count;
	Member *members;
} Shape;

struct Member
{
	char *name; /* or the name in its condition */
	int length;
	Condition condition;
	Shape *shape;
	bool is_list;
	bool may_be_null; /* or absent */
	bool may_be_absent;
};

/* The shapes that this session used last, compiled. */
typedef struct Compiled
{
	MemoryContext context;
	Jsonb *source;
	int count;
	Shape *shapes;
} Compiled;

static Compiled compiled;

static Shape simple_shapes[] = {
	{"text", KIND_TEXT, 0, NULL},		{"number", KIND_NUMBER, 0, NULL},
	{"decimal", KIND_DECIMAL, 0, NULL}, {"key", KIND_KEY, 0, NULL},
	{"boolean", KIND_BOOLEAN, 0, NULL}, {"time", KIND_TIME, 0, NULL},
	{"any", KIND_ANY, 0, NULL},
};

/* --- compiling --- */

static Shape *
find_shape(const Compiled *all, const char *name, Size length)
{
	for (int i = 0; i < (int) lengthof(simple_shapes); i++)
	{
		if (strlen(simple_shapes[i].name) == length &&
			memcmp(simple_shapes[i].name, name, length) == 0)
			return &simple_shapes[i];
	}
	for (int i = 0; i < all->count; i++)
	{
		if (strlen(all->shapes[i].name) == length && memcmp(all->shapes[i].name, name, length) == 0)
			return &all->shapes[i];
	}
	elog(ERROR, "no shape is called \"%.*s\"", (int) length, name);
	return NULL; /* not reached */
}

/* name: "title", "on IssueComment" or "if hasNextPage"; type: "text", "Actor?", "[Review]" or "LabelPage~". */
static void
read_member(const Compiled *all, const char *name, const char *type, Member *member)
{
	Size length = strlen(type);

	member->condition = strncmp(name, "on ", 3) == 0   ? IF_TYPENAME
						: strncmp(name, "if ", 3) == 0 ? IF_TRUE
													   : ALWAYS;
	member->name = pstrdup(member->condition == ALWAYS ? name : name + 3);
	member->length = (int) strlen(member->name);
	member->may_be_null = length > 0 && type[length - 1] == '?';
	member->may_be_absent = length > 0 && type[length - 1] == '~';
	if (member->may_be_null || member->may_be_absent)
		length--;
	member->is_list = length > 1 && type[0] == '[' && type[length - 1] == ']';
	member->shape =
		member->is_list ? find_shape(all, type + 1, length - 2) : find_shape(all, type, length);
}

static char *
copy_text(const JsonbValue *value)
{
	if (value->type != jbvString)
		elog(ERROR, "a shape is written as an object of texts");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* The members of an object, as names and values. Returns how many. */
static int
read_object(JsonbContainer *object, char ***names, JsonbValue **values)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbValue value;
	JsonbIteratorToken token;
	int count = 0;

	if (!JsonContainerIsObject(object))
		elog(ERROR, "shapes are written as an object of objects");
	*names = palloc(sizeof(char *) * Max(JsonContainerSize(object), 1));
	*values = palloc(sizeof(JsonbValue) * Max(JsonContainerSize(object), 1));
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			(*names)[count] = copy_text(&value);
		else if (token == WJB_VALUE)
			(*values)[count++] = value;
	}
	return count;
}

static Compiled
compile_shapes(Jsonb *source)
{
	Compiled all = {0};
	MemoryContext outside;
	char **names;
	JsonbValue *bodies;

	all.context =
		AllocSetContextCreate(CurrentMemoryContext, "keypup shapes", ALLOCSET_SMALL_SIZES);
	outside = MemoryContextSwitchTo(all.context);
	all.source = palloc(VARSIZE(source));
	memcpy(all.source, source, VARSIZE(source));
	all.count = read_object(&all.source->root, &names, &bodies);
	all.shapes = palloc0(sizeof(Shape) * Max(all.count, 1));
	for (int i = 0; i < all.count; i++)
	{
		all.shapes[i].name = names[i];
		all.shapes[i].kind = KIND_OBJECT;
	}
	for (int i = 0; i < all.count; i++)
	{
		char **members;
		JsonbValue *types;

		if (bodies[i].type != jbvBinary)
			elog(ERROR, "shapes are written as an object of objects");
		all.shapes[i].count = read_object(bodies[i].val.binary.data, &members, &types);
		all.shapes[i].members = palloc0(sizeof(Member) * Max(all.shapes[i].count, 1));
		for (int j = 0; j < all.shapes[i].count; j++)
			read_member(&all, members[j], copy_text(&types[j]), &all.shapes[i].members[j]);
	}
	MemoryContextSwitchTo(outside);
	return all;
}

static const Compiled *
know_shapes(Jsonb *source)
{
	Compiled all;

	if (compiled.source != NULL && VARSIZE(compiled.source) == VARSIZE(source) &&
		memcmp(compiled.source, source, VARSIZE(source)) == 0)
		return &compiled;
	all = compile_shapes(source);
	if (compiled.context != NULL)
		MemoryContextDelete(compiled.context);
	MemoryContextSetParent(all.context, TopMemoryContext);
	compiled = all;
	return &compiled;
}

/* --- checking --- */

typedef struct Step
{
	const char *name; /* NULL: an element */
	int index;
} Step;

/* Where a check is, and in the end why a document does not fit. */
typedef struct Check
{
	int depth;
	Step path[MAX_DEPTH + 2];
	const char *is;
	const char *expected; /* or NULL */
} Check;

static bool
is_whole_number(Numeric number)
{
	char *digits = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
	Size length = strlen(digits);

	if (*digits == '-')
	{
		digits++;
		length--;
	}
	return length <= MAX_DIGITS && strspn(digits, "0123456789") == length;
}

static const char *
describe_kind(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "text";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		default:
			return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data)
					   ? "a list"
					   : "an object";
	}
}

static bool
misfit(Check *check, const char *is, const char *expected)
{
	check->is = is;
	check->expected = expected;
	return false;
}

static bool fits_member(Check *check, JsonbValue *value, const Member *member);

static bool
applies(JsonbContainer *object, const Member *member)
{
	JsonbValue buffer;
	JsonbValue *value;

	if (member->condition == IF_TYPENAME)
	{
		value = getKeyJsonValueFromContainer(object, "__typename", 10, &buffer);
		return value != NULL && value->type == jbvString &&
			   value->val.string.len == member->length &&
			   memcmp(value->val.string.val, member->name, member->length) == 0;
	}
	value = getKeyJsonValueFromContainer(object, member->name, member->length, &buffer);
	return value != NULL && value->type == jbvBool && value->val.boolean;
}

static bool
fits_object(Check *check, JsonbContainer *object, const Shape *shape)
{
	for (int i = 0; i < shape->count; i++)
	{
		const Member *member = &shape->members[i];
		JsonbValue buffer;
		bool fits;

		if (member->condition != ALWAYS)
		{
			if (applies(object, member) && !fits_object(check, object, member->shape))
				return false;
			continue;
		}
		check->path[check->depth++] = (Step){member->name, 0};
		fits = fits_member(
			check, getKeyJsonValueFromContainer(object, member->name, member->length, &buffer),
			member);
		if (!fits)
			return false;
		check->depth--;
	}
	return true;
}

static bool
is_double_precision(Numeric number)
{
	return !isinf(
		DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(number))));
}

static bool
fits_shape(Check *check, JsonbValue *value, const Shape *shape)
{
	TimestampTz time;

	switch (shape->kind)
	{
		case KIND_TEXT:
			return value->type == jbvString || misfit(check, describe_kind(value), "text");
		case KIND_NUMBER:
			if (value->type != jbvNumeric)
				return misfit(check, describe_kind(value), "a number");
			return is_whole_number(value->val.numeric) || misfit(check, "no whole number", NULL);
		case KIND_DECIMAL:
			if (value->type != jbvNumeric)
				return misfit(check, describe_kind(value), "a number");
			return is_double_precision(value->val.numeric) ||
				   misfit(check, "a number that is too large", NULL);
		case KIND_KEY:
			return value->type == jbvString || value->type == jbvNumeric ||
				   misfit(check, describe_kind(value), "an id");
		case KIND_BOOLEAN:
			return value->type == jbvBool || misfit(check, describe_kind(value), "a boolean");
		case KIND_TIME:
			if (value->type != jbvString)
				return misfit(check, describe_kind(value), "a time");
			return read_json_time(value->val.string.val, value->val.string.len, &time) ||
				   misfit(check, "no time that there is", NULL);
		case KIND_ANY:
			return true;
		case KIND_OBJECT:
			break;
	}
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return misfit(check, describe_kind(value), "an object");
	if (check->depth >= MAX_DEPTH)
		return misfit(check, "nested too deep", NULL);
	return fits_object(check, value->val.binary.data, shape);
}

static bool
fits_list(Check *check, JsonbValue *list, const Member *member)
{
	JsonbIterator *iterator;
	JsonbValue value;
	JsonbIteratorToken token;
	Member element = *member;

	element.is_list = element.may_be_null = element.may_be_absent = false;
	if (list->type != jbvBinary || !JsonContainerIsArray(list->val.binary.data))
		return misfit(check, describe_kind(list), "a list");
	iterator = JsonbIteratorInit(list->val.binary.data);
	check->path[check->depth++] = (Step){NULL, 0};
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (!fits_member(check, &value, &element))
			return false;
		check->path[check->depth - 1].index++;
	}
	check->depth--;
	return true;
}

/* value: NULL when it is absent. */
static bool
fits_member(Check *check, JsonbValue *value, const Member *member)
{
	if (value == NULL)
		return member->may_be_null || member->may_be_absent || misfit(check, "missing", NULL);
	if (value->type == jbvNull)
		return member->may_be_null || (!member->is_list && member->shape->kind == KIND_ANY) ||
			   misfit(check, "null", NULL);
	return member->is_list ? fits_list(check, value, member)
						   : fits_shape(check, value, member->shape);
}

/* "reviews.nodes.3.url is an object where text is expected" */
static Datum
describe_misfit(const Check *check)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < check->depth; i++)
	{
		if (i > 0)
			appendStringInfoChar(&text, '.');
		if (check->path[i].name != NULL)
			appendStringInfoString(&text, check->path[i].name);
		else
			appendStringInfo(&text, "%d", check->path[i].index);
	}
	appendStringInfo(&text, "%s %s", check->depth == 0 ? "it is" : " is", check->is);
	if (check->expected != NULL)
		appendStringInfo(&text, " where %s is expected", check->expected);
	return PointerGetDatum(cstring_to_text_with_len(text.data, text.len));
}

Datum
keypup_misfits(PG_FUNCTION_ARGS)
{
	Jsonb *list = PG_GETARG_JSONB_P(0);
	text *name = PG_GETARG_TEXT_PP(1);
	const Compiled *all = know_shapes(PG_GETARG_JSONB_P(2));
	Member element = {0};
	int count = (int) JB_ROOT_COUNT(list);
	Datum *reasons;
	bool *nulls;
	bool all_fit = true;
	JsonbIterator *iterator;
	JsonbValue value;
	JsonbIteratorToken token;
	int i = 0;
	int one = 1;

	if (!JB_ROOT_IS_ARRAY(list) || JB_ROOT_IS_SCALAR(list))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a list of documents is needed")));
	element.shape = find_shape(all, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	reasons = palloc0(sizeof(Datum) * Max(count, 1));
	nulls = palloc0(sizeof(bool) * Max(count, 1));
	iterator = JsonbIteratorInit(&list->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		Check check = {0};

		if (token != WJB_ELEM)
			continue;
		nulls[i] = fits_member(&check, &value, &element);
		if (!nulls[i])
		{
			reasons[i] = describe_misfit(&check);
			all_fit = false;
		}
		i++;
	}
	if (all_fit)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(
		construct_md_array(reasons, nulls, 1, &count, &one, TEXTOID, -1, false, TYPALIGN_INT));
}
