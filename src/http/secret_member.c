/*
 * secret_member.c
 *		Takes a token out of a reply before anything else is done with the reply.
 */
#include "postgres.h"

#include "http/secret_member.h"

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
