/*
 * records.h
 *		What the test programs of the vault share: reading hexadecimal.
 */
#ifndef KEYPUP_TEST_RECORDS_H
#define KEYPUP_TEST_RECORDS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads hexadecimal ("-" for nothing) into bytes; returns how many. */
static inline size_t
read_hexadecimal(const char *text, uint8_t *bytes)
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

/* Prints one line of TAP. */
static inline int
report(bool holds, int number, const char *what)
{
	printf("%sok %d - %s\n", holds ? "" : "not ", number, what);
	return number + 1;
}

#endif
