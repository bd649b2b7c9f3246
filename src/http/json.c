/*
 * json.c
 *		What came from outside becomes jsonb here, and not in jsonb_in: that knows
 *		no limit, takes 700 bytes for each {}, sorts the names of an object in
 *		quadratic time without asking whether it is to stop, refuses a whole page for
 *		one \u0000 in one title, and expands 1e100000 to as many digits.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "http/json.h"

PG_FUNCTION_INFO_V1(keypup_clean_json);

/* A page of 100 pull requests with 300 reviews and 500 comments has a tenth of these values. */
#define MAX_VALUES 120000
#define MAX_NAMES 1000
#define MAX_DEPTH 64
#define MAX_NUMBER 64
#define MAX_EXPONENT 64
#define REPLACEMENT 0xFFFD
/* A byte that is not UTF-8 becomes three; all else that is rewritten becomes shorter. */
#define MORE_TO_REWRITE (64 * 1024)
#define FIRST_ROOM 64
#define BLOCK_BYTES ((Size) 8192)

typedef struct JsonReader
{
	const char *at;
	const char *end;
	char *block; /* a piece of memory, of which so much is free */
	Size free;
	const char *why; /* which limit was reached; NULL: none, then it is not JSON */
	JsonbValue *stack; /* what the open containers hold, those of the innermost last */
	int stacked;
	int room;
	int values; /* in all */
	int depth;
	Size rewritten; /* bytes of strings that stand otherwise in the source */
	Size room_to_rewrite;
} JsonReader;

static bool read_value(JsonReader *reader);

static bool
reach_limit(JsonReader *reader, const char *why)
{
	reader->why = why;
	return false;
}

/* Memory for what a container holds: palloc would take half as much again for so many small pieces. */
static void *
take_memory(JsonReader *reader, Size size)
{
	size = MAXALIGN(size);
	if (size > reader->free)
	{
		reader->free = Max(size, BLOCK_BYTES);
		reader->block = palloc(reader->free);
	}
	reader->free -= size;
	return reader->block + reader->free;
}

static bool
push_value(JsonReader *reader, const JsonbValue *value)
{
	if (reader->stacked == reader->room)
	{
		reader->room *= 2;
		reader->stack = repalloc(reader->stack, sizeof(JsonbValue) * (Size) reader->room);
	}
	reader->stack[reader->stacked++] = *value;
	return true;
}

static void
skip_blanks(JsonReader *reader)
{
	while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
										*reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

/* After blanks: whether that character is next; then it is read. */
static bool
read_mark(JsonReader *reader, char mark)
{
	skip_blanks(reader);
	if (reader->at == reader->end || *reader->at != mark)
		return false;
	reader->at++;
	return true;
}

/* --- strings --- */

/* The value of the four hexadecimal digits after \u, or -1. */
static int
read_escape(const char *at, const char *end)
{
	int value = 0;

	if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		char c = at[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* The character that an escape stands for, what text cannot hold replaced; 0 when JSON has no such escape. */
static pg_wchar
read_escaped(const char **at, const char *end)
{
	static const char names[] = "\"\\/bfnrt";
	static const char characters[] = "\"\\/\b\f\n\r\t";
	int value = read_escape(*at, end);
	int low;

	if (value < 0)
	{
		const char *name = end - *at < 2 ? NULL : memchr(names, (*at)[1], sizeof(names) - 1);

		*at += 2;
		return name == NULL ? 0 : (pg_wchar) characters[name - names];
	}
	*at += 6;
	if (value >= 0xD800 && value <= 0xDBFF)
	{
		low = read_escape(*at, end);
		if (low >= 0xDC00 && low <= 0xDFFF)
		{
			*at += 6;
			return surrogate_pair_to_codepoint((pg_wchar) value, (pg_wchar) low);
		}
	}
	return value == 0 || (value >= 0xD800 && value <= 0xDFFF) ? REPLACEMENT : (pg_wchar) value;
}

/* The length of the character at a byte beyond ASCII; 0 when it is none. */
static int
utf8_length(const char *at, const char *end)
{
	int length = pg_utf_mblen((const unsigned char *) at);

	return length <= end - at && pg_utf8_islegal((const unsigned char *) at, length) ? length : 0;
}

/*
 * Reads a string from the character after its opening quote up to its closing one,
 * and writes it into out unless that is NULL. Returns its length, or -1 when it is
 * malformed. is_as_written: whether the source has the same bytes.
 */
static int
copy_string(const char **from, const char *end, char *out, bool *is_as_written)
{
	const char *at = *from;
	int length = 0;

	*is_as_written = true;
	while (at < end && *at != '"')
	{
		unsigned char character[4];
		const char *piece = at;
		int piece_length = 1;
		pg_wchar replaced = 0;

		if ((unsigned char) *at < 0x20)
			return -1;
		if (*at == '\\')
		{
			replaced = read_escaped(&at, end);
			if (replaced == 0)
				return -1;
		}
		else if ((unsigned char) *at < 0x80)
			at++;
		else
		{
			piece_length = utf8_length(at, end);
			replaced = piece_length == 0 ? REPLACEMENT : 0;
			at += Max(piece_length, 1);
		}
		if (replaced != 0)
		{
			*is_as_written = false;
			piece = (const char *) unicode_to_utf8(replaced, character);
			piece_length = pg_utf_mblen(character);
		}
		if (out != NULL)
			memcpy(out + length, piece, (Size) piece_length);
		length += piece_length;
	}
	*from = at;
	return at < end ? length : -1;
}

static bool
read_string(JsonReader *reader)
{
	JsonbValue value = {.type = jbvString};
	const char *start = reader->at + 1;
	bool is_as_written;

	reader->at = start;
	value.val.string.len = copy_string(&reader->at, reader->end, NULL, &is_as_written);
	if (value.val.string.len < 0)
		return false;
	reader->at++;
	if (is_as_written)
		value.val.string.val = unconstify(char *, start);
	else
	{
		reader->rewritten += (Size) value.val.string.len;
		if (reader->rewritten > reader->room_to_rewrite)
			return reach_limit(reader, "the reply holds too many bytes that are not UTF-8");
		value.val.string.val = take_memory(reader, (Size) value.val.string.len);
		(void) copy_string(&start, reader->end, value.val.string.val, &is_as_written);
	}
	return push_value(reader, &value);
}

/* --- numbers and words --- */

static const char *
skip_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

/* Whether the digits of an exponent are more than a number may have. */
static bool
exponent_is_absurd(const char *at, const char *end)
{
	int value = 0;

	/* Stops at the first value beyond the limit, and so cannot overflow. */
	for (; at < end && value <= MAX_EXPONENT; at++)
		value = value * 10 + (*at - '0');
	return value > MAX_EXPONENT;
}

/* Where the number ends, or NULL when it is none. exponent: its digits, or NULL. */
static const char *
find_number_end(const char *at, const char *end, const char **exponent)
{
	const char *digits = *at == '-' ? at + 1 : at;

	*exponent = NULL;
	at = skip_digits(digits, end);
	if (at == digits || (*digits == '0' && at > digits + 1))
		return NULL;
	if (at < end && *at == '.')
	{
		digits = at + 1;
		at = skip_digits(digits, end);
		if (at == digits)
			return NULL;
	}
	if (at < end && (*at | 0x20) == 'e')
	{
		digits = at + 1;
		if (digits < end && (*digits == '+' || *digits == '-'))
			digits++;
		*exponent = digits;
		at = skip_digits(digits, end);
		if (at == digits)
			return NULL;
	}
	return at;
}

static bool
read_number(JsonReader *reader)
{
	JsonbValue value = {.type = jbvNumeric};
	const char *exponent;
	const char *end = find_number_end(reader->at, reader->end, &exponent);
	char text[MAX_NUMBER + 1];
	Numeric number;

	if (end == NULL)
		return false;
	if (end - reader->at > MAX_NUMBER || (exponent != NULL && exponent_is_absurd(exponent, end)))
		return reach_limit(reader, "the reply holds a number that is too long");
	memcpy(text, reader->at, (Size) (end - reader->at));
	text[end - reader->at] = '\0';
	reader->at = end;
	number = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	value.val.numeric = memcpy(take_memory(reader, VARSIZE(number)), number, VARSIZE(number));
	pfree(number);
	return push_value(reader, &value);
}

static bool
read_word(JsonReader *reader, const char *word, JsonbValue value)
{
	Size length = strlen(word);

	if ((Size) (reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
		return false;
	reader->at += length;
	return push_value(reader, &value);
}

/* --- containers --- */

/* By length and bytes, as jsonb keeps them; of the same name the last is first. */
static int
compare_pairs(const void *left, const void *right)
{
	const JsonbPair *a = left;
	const JsonbPair *b = right;
	int order = a->key.val.string.len - b->key.val.string.len;

	if (order == 0)
		order = memcmp(a->key.val.string.val, b->key.val.string.val, (Size) a->key.val.string.len);
	return order != 0 ? order : a->order < b->order ? 1 : -1;
}

/* An object of the names and values from that place of the stack on. */
static JsonbValue
make_object(JsonReader *reader, int first)
{
	int count = (reader->stacked - first) / 2;
	JsonbPair *pairs = take_memory(reader, sizeof(JsonbPair) * (Size) count);
	int kept = 0;

	for (int i = 0; i < count; i++)
		pairs[i] = (JsonbPair){.key = reader->stack[first + 2 * i],
							   .value = reader->stack[first + 2 * i + 1],
							   .order = (uint32) i};
	qsort(pairs, (size_t) count, sizeof(JsonbPair), compare_pairs);
	for (int i = 0; i < count; i++)
	{
		if (kept == 0 || pairs[kept - 1].key.val.string.len != pairs[i].key.val.string.len ||
			memcmp(pairs[kept - 1].key.val.string.val, pairs[i].key.val.string.val,
				   (Size) pairs[i].key.val.string.len) != 0)
			pairs[kept++] = pairs[i];
	}
	return (JsonbValue){.type = jbvObject, .val.object = {.nPairs = kept, .pairs = pairs}};
}

static JsonbValue
make_array(JsonReader *reader, int first)
{
	Size size = sizeof(JsonbValue) * (Size) (reader->stacked - first);
	JsonbValue *elements = take_memory(reader, size);

	memcpy(elements, reader->stack + first, size);
	return (JsonbValue){.type = jbvArray,
						.val.array = {.nElems = reader->stacked - first, .elems = elements}};
}

static bool
read_members(JsonReader *reader)
{
	int names = 0;

	do
	{
		if (++names > MAX_NAMES)
			return reach_limit(reader, "reply has an object of more than 1000 names");
		skip_blanks(reader);
		if (reader->at == reader->end || *reader->at != '"' || !read_string(reader) ||
			!read_mark(reader, ':') || !read_value(reader))
			return false;
	} while (read_mark(reader, ','));
	return true;
}

static bool
read_elements(JsonReader *reader)
{
	do
	{
		if (!read_value(reader))
			return false;
	} while (read_mark(reader, ','));
	return true;
}

static bool
read_container(JsonReader *reader, char closing)
{
	int first = reader->stacked;
	JsonbValue value;

	if (++reader->depth > MAX_DEPTH)
		return reach_limit(reader, "the reply nests too deep");
	reader->at++;
	if (!read_mark(reader, closing) &&
		(!(closing == '}' ? read_members(reader) : read_elements(reader)) ||
		 !read_mark(reader, closing)))
		return false;
	reader->depth--;
	value = closing == '}' ? make_object(reader, first) : make_array(reader, first);
	reader->stacked = first;
	return push_value(reader, &value);
}

/* Reads a value, and leaves it on the stack. */
static bool
read_value(JsonReader *reader)
{
	skip_blanks(reader);
	if (reader->at == reader->end)
		return false;
	if (++reader->values > MAX_VALUES)
		return reach_limit(reader, "reply has more than 120000 values");
	switch (*reader->at)
	{
		case '"':
			return read_string(reader);
		case '{':
			return read_container(reader, '}');
		case '[':
			return read_container(reader, ']');
		case 't':
			return read_word(reader, "true", (JsonbValue){.type = jbvBool, .val.boolean = true});
		case 'f':
			return read_word(reader, "false", (JsonbValue){.type = jbvBool});
		case 'n':
			return read_word(reader, "null", (JsonbValue){.type = jbvNull});
		default:
			return read_number(reader);
	}
}

Jsonb *
clean_json(const char *bytes, Size length, const char **why)
{
	MemoryContext before = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(before, "keypup JSON", ALLOCSET_DEFAULT_SIZES);
	JsonReader reader = {.at = bytes,
						 .end = bytes + length,
						 .free = BLOCK_BYTES,
						 .room = FIRST_ROOM,
						 .room_to_rewrite = length + MORE_TO_REWRITE};
	bool is_read = false;
	Jsonb *json = NULL;

	MemoryContextSwitchTo(context);
	reader.stack = palloc(sizeof(JsonbValue) * FIRST_ROOM);
	reader.block = palloc(BLOCK_BYTES);
	if (length > JSON_MAX_BYTES)
		(void) reach_limit(&reader, "reply is larger than 8 MiB");
	else if (read_value(&reader))
	{
		skip_blanks(&reader);
		is_read = reader.at == reader.end;
	}
	MemoryContextSwitchTo(before);
	if (is_read)
	{
		JsonbValue value = reader.stack[0];

		/* Both at once would be the most that is ever needed. */
		pfree(reader.stack);
		json = JsonbValueToJsonb(&value);
	}
	MemoryContextDelete(context);
	*why = reader.why;
	return json;
}

Datum
keypup_clean_json(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	const char *why;
	Jsonb *json = clean_json(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &why);

	if (json == NULL && why != NULL)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s", why)));
	if (json == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), errmsg("the reply is not JSON")));
	PG_RETURN_JSONB_P(json);
}
