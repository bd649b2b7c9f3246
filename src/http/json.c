/*
 * json.c
 *		One pass over a reply before jsonb sees it: jsonb refuses a whole page for
 *		one \u0000 in one title, and expands 1e100000 to as many digits.
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "http/json.h"

PG_FUNCTION_INFO_V1(keypup_clean_json);

#define MAX_DEPTH 64
#define MAX_NUMBER 64
#define MAX_EXPONENT 308
#define REPLACEMENT "\xEF\xBF\xBD"

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

/* Copies one escape of a string; returns where the next character is, or NULL when JSON has no such escape. */
static const char *
copy_escape(const char *at, const char *end, StringInfo out)
{
	int value = read_escape(at, end);
	int low;

	if (value < 0)
	{
		/* strchr finds a NUL, too: PostgreSQL's own parser lets one pass here. */
		if (end - at < 2 || at[1] == '\0' || strchr("\"\\/bfnrt", at[1]) == NULL)
			return NULL;
		appendBinaryStringInfo(out, at, 2);
		return at + 2;
	}
	if (value >= 0xD800 && value <= 0xDBFF)
	{
		low = read_escape(at + 6, end);
		if (low >= 0xDC00 && low <= 0xDFFF)
		{
			appendBinaryStringInfo(out, at, 12);
			return at + 12;
		}
	}
	if (value == 0 || (value >= 0xD800 && value <= 0xDFFF))
		appendBinaryStringInfo(out, "\\ufffd", 6);
	else
		appendBinaryStringInfo(out, at, 6);
	return at + 6;
}

/* Copies a string from its opening quote; returns where it ended, or NULL when it is malformed. */
static const char *
copy_string(const char *at, const char *end, StringInfo out)
{
	appendStringInfoChar(out, *at++);
	while (at != NULL && at < end && *at != '"')
	{
		unsigned char c = (unsigned char) *at;

		if (c == '\\')
			at = copy_escape(at, end, out);
		else if (c < 0x80)
			appendStringInfoChar(out, *at++);
		else
		{
			int length = pg_utf_mblen((const unsigned char *) at);

			if (at + length <= end && pg_utf8_islegal((const unsigned char *) at, length))
			{
				appendBinaryStringInfo(out, at, length);
				at += length;
			}
			else
			{
				appendBinaryStringInfo(out, REPLACEMENT, 3);
				at++;
			}
		}
	}
	if (at != NULL && at < end)
		appendStringInfoChar(out, *at++);
	return at;
}

/* Whether the digits of an exponent, after its e, are more than a number may have. */
static bool
exponent_is_absurd(const char *at, const char *end)
{
	int value = 0;

	if (at < end && (*at == '+' || *at == '-'))
		at++;
	/* Stops at the first value beyond the limit, and so cannot overflow. */
	for (; at < end && *at >= '0' && *at <= '9' && value <= MAX_EXPONENT; at++)
		value = value * 10 + (*at - '0');
	return value > MAX_EXPONENT;
}

/* Copies a number; returns where it ended, or NULL when it is absurd. */
static const char *
copy_number(const char *at, const char *end, StringInfo out)
{
	size_t length = 0;
	const char *exponent;

	while (at + length < end && length <= MAX_NUMBER &&
		   strchr("+-.0123456789eE", at[length]) != NULL && at[length] != '\0')
		length++;
	if (length > MAX_NUMBER)
		return NULL;
	for (exponent = at; exponent < at + length && (*exponent | 0x20) != 'e'; exponent++)
		;
	if (exponent < at + length && exponent_is_absurd(exponent + 1, at + length))
		return NULL;
	appendBinaryStringInfo(out, at, (int) length);
	return at + length;
}

char *
clean_json(const char *bytes, Size length, const char **why)
{
	const char *at = bytes;
	const char *end = bytes + length;
	int depth = 0;
	StringInfoData out;
	JsonLexContext *lexer;

	initStringInfo(&out);
	while (at < end)
	{
		if (*at == '"')
		{
			at = copy_string(at, end, &out);
			if (at == NULL)
			{
				*why = "the reply is not JSON";
				return NULL;
			}
		}
		else if (*at == '-' || (*at >= '0' && *at <= '9'))
		{
			at = copy_number(at, end, &out);
			if (at == NULL)
			{
				*why = "the reply holds a number that is too long";
				return NULL;
			}
		}
		else if ((unsigned char) *at >= 0x80 || *at == '\0')
			break;
		else
		{
			if (*at == '{' || *at == '[')
				depth++;
			else if (*at == '}' || *at == ']')
				depth--;
			if (depth > MAX_DEPTH)
			{
				*why = "the reply nests too deep";
				return NULL;
			}
			appendStringInfoChar(&out, *at++);
		}
	}
	*why = "the reply is not JSON";
	if (at < end)
		return NULL;
	lexer = keypup_json_lexer(out.data, out.len, false);
	if (pg_parse_json(lexer, &nullSemAction) != JSON_SUCCESS)
		return NULL;
	*why = NULL;
	return out.data;
}

Datum
keypup_clean_json(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	const char *why;
	char *json = clean_json(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &why);

	if (json == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), errmsg("%s", why)));
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/* From the first character of a string: the quote that ends it, or the end of all. */
static char *
find_quote(char *c, const char *end, bool *has_escapes)
{
	*has_escapes = false;
	while (c < end && *c != '"')
	{
		if (*c == '\\')
			*has_escapes = true;
		c += *c == '\\' && c + 1 < end ? 2 : 1;
	}
	return c;
}

static char *
skip_space(char *c, const char *end)
{
	while (c < end && (*c == ' ' || *c == '\t' || *c == '\n' || *c == '\r'))
		c++;
	return c;
}

Secret *
take_secret_member(char *json, Size length, const char *name)
{
	Secret *secret = NULL;
	const char *end = json + length;
	int depth = 0;

	for (char *c = json; c < end; c++)
	{
		bool has_escapes;
		char *text;
		bool named;

		if (*c == '{' || *c == '[')
			depth++;
		else if (*c == '}' || *c == ']')
			depth--;
		if (*c != '"')
			continue;
		text = c + 1;
		c = find_quote(text, end, &has_escapes);
		named = depth == 1 && (Size) (c - text) == strlen(name) &&
				memcmp(text, name, strlen(name)) == 0;
		text = c < end ? skip_space(c + 1, end) : c;
		if (!named || text >= end || *text != ':')
			continue;
		text = skip_space(text + 1, end);
		if (text >= end || *text != '"')
			continue;
		text++;
		c = find_quote(text, end, &has_escapes);
		if (secret == NULL && !has_escapes && c > text)
		{
			secret = allocate_secret((Size) (c - text));
			memcpy(secret->bytes, text, secret->length);
		}
		memset(text, '*', (Size) (c - text));
	}
	return secret;
}
