/*
 * open_envelopes.c
 *		Opens known answers with src/token/envelope.c alone, without PostgreSQL.
 *
 * Reads lines "KEY CONTEXT ENVELOPE PLAINTEXT VALID", the first four in
 * hexadecimal ("-" for empty), and prints one TAP line for each; for a valid
 * one, another for all its single-bit flips.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token/envelope.h"

static size_t
read_hex(const char *text, uint8_t *bytes)
{
	size_t length = strcmp(text, "-") == 0 ? 0 : strlen(text) / 2;

	for (size_t i = 0; i < length; i++)
	{
		unsigned int byte = 0;

		if (sscanf(text + 2 * i, "%2x", &byte) != 1)
			abort();
		bytes[i] = (uint8_t) byte;
	}
	return length;
}

int
main(void)
{
	static char line[200000], texts[4][65536];
	static uint8_t key[65536], context[65536], envelope[65536], plaintext[65536], opened[65536];
	int number = 0;
	char valid[8];

	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		size_t context_length, length, plaintext_length;
		bool answer, expected;

		if (sscanf(line, "%65535s %65535s %65535s %65535s %7s", texts[0], texts[1], texts[2],
				   texts[3], valid) != 5)
			continue;
		read_hex(texts[0], key);
		context_length = read_hex(texts[1], context);
		length = read_hex(texts[2], envelope);
		plaintext_length = read_hex(texts[3], plaintext);
		expected = strcmp(valid, "valid") == 0;
		answer = open_envelope(key, (char *) context, context_length, envelope, length, opened);
		printf("%sok %d - known answer %s\n",
			   answer == expected && (!answer || (length - ENVELOPE_OVERHEAD == plaintext_length &&
												  memcmp(opened, plaintext, plaintext_length) == 0))
				   ? ""
				   : "not ",
			   number + 1, valid);
		number++;
		if (expected && length < 200)
		{
			bool refused = true;

			for (size_t bit = 0; bit < length * 8; bit++)
			{
				envelope[bit / 8] ^= (uint8_t) (1 << bit % 8);
				refused = refused && !open_envelope(key, (char *) context, context_length, envelope,
													length, opened);
				envelope[bit / 8] ^= (uint8_t) (1 << bit % 8);
			}
			printf("%sok %d - all %zu single-bit flips are refused\n", refused ? "" : "not ",
				   number + 1, length * 8);
			number++;
		}
	}
	printf("1..%d\n", number);
	return 0;
}
