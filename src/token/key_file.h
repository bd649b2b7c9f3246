/*
 * key_file.h
 *		The text of a key file. Needs no backend and raises no error.
 */
#ifndef KEYPUP_KEY_FILE_H
#define KEYPUP_KEY_FILE_H

#include "token/aes_gcm.h"

#define KEY_FILE_MAX_KEYS 256

typedef struct WrappingKey
{
	uint32_t key_id; /* 1..2^31-1 */
	uint8_t bytes[AES_GCM_KEY_BYTES];
} WrappingKey;

typedef struct WrappingKeys
{
	int count;
	WrappingKey keys[KEY_FILE_MAX_KEYS];
} WrappingKeys;

/*
 * parse_key_file
 *		Reads lines "NUMBER 64-hexadecimal-digits"; '#' begins a comment.
 *
 * text: length bytes. keys: receives them; the caller wipes it.
 * Returns NULL, or what is wrong, with *line the number of the line; it says
 * nothing of what stands there.
 */
extern const char *parse_key_file(const char *text, size_t length, WrappingKeys *keys, int *line);

/*
 * find_wrapping_key
 *		The key of that number, or NULL; number 0 asks for the highest.
 */
extern const WrappingKey *find_wrapping_key(const WrappingKeys *keys, uint32_t key_id);

#endif
