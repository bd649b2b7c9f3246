/*
 * key_file.c
 *		Reads the text of a key file. Where the text comes from, and who may read
 *		it, is wrapping.c's concern.
 */
#include "token/key_file.h"

#include <string.h>

static int
hexadecimal_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Returns NULL or what is wrong; a blank or comment line adds no key. */
static const char *
parse_line(const char *line, const char *end, WrappingKeys *keys)
{
	WrappingKey *key;
	uint64_t id = 0;

	while (line < end && is_blank(*line))
		line++;
	while (line < end && is_blank(end[-1]))
		end--;
	if (line == end || *line == '#')
		return NULL;
	if (keys->count == KEY_FILE_MAX_KEYS)
		return "is one key too many";
	key = &keys->keys[keys->count];
	while (line < end && *line >= '0' && *line <= '9' && id <= INT32_MAX)
		id = id * 10 + (uint64_t) (*line++ - '0');
	if (id == 0 || id > INT32_MAX || line == end || !is_blank(*line))
		return "does not begin with a key's number";
	while (line < end && is_blank(*line))
		line++;
	if (end - line != AES_GCM_KEY_BYTES * 2)
		return "does not have 64 hexadecimal digits";
	for (int i = 0; i < AES_GCM_KEY_BYTES; i++)
	{
		int high = hexadecimal_digit(line[2 * i]);
		int low = hexadecimal_digit(line[2 * i + 1]);

		if (high < 0 || low < 0)
			return "does not have 64 hexadecimal digits";
		key->bytes[i] = (uint8_t) (high << 4 | low);
	}
	if (find_wrapping_key(keys, (uint32_t) id) != NULL)
		return "repeats a key's number";
	key->key_id = (uint32_t) id;
	keys->count++;
	return NULL;
}

const char *
parse_key_file(const char *text, size_t length, WrappingKeys *keys, int *line)
{
	const char *end = text + length;
	const char *problem = NULL;

	keys->count = 0;
	*line = 0;
	for (const char *at = text; problem == NULL && at < end;)
	{
		const char *newline = memchr(at, '\n', (size_t) (end - at));
		const char *line_end = newline != NULL ? newline : end;

		++*line;
		problem = parse_line(at, line_end, keys);
		at = newline != NULL ? newline + 1 : end;
	}
	if (problem == NULL && keys->count == 0)
	{
		*line = 1;
		return "has no key";
	}
	return problem;
}

const WrappingKey *
find_wrapping_key(const WrappingKeys *keys, uint32_t key_id)
{
	const WrappingKey *found = NULL;

	for (int i = 0; i < keys->count; i++)
	{
		const WrappingKey *key = &keys->keys[i];

		if (key_id != 0 ? key->key_id == key_id : (found == NULL || key->key_id > found->key_id))
			found = key;
	}
	return found;
}
