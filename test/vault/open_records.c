/*
 * open_records.c
 *		Opens known answers with the very functions of src/token that open
 *		envelopes, without PostgreSQL.
 *
 * Reads lines of hexadecimal ("-" for nothing) and prints a line of TAP for each:
 *		envelope KEY CONTEXT ENVELOPE PLAINTEXT valid|invalid
 *		gcm KEY IV BESIDE CIPHERTEXT TAG PLAINTEXT valid|invalid
 * A valid envelope is then opened with each of its bits flipped, and with
 * MUTATIONS random changes.
 */
#include "records.h"
#include "token/envelope.h"

#define MUTATIONS 10000
#define MAX_FIELD 140000

static char fields[8][MAX_FIELD];
static uint8_t key_bytes[MAX_FIELD], beside[MAX_FIELD], record[MAX_FIELD], plaintext[MAX_FIELD],
	opened[MAX_FIELD];

static bool
is_wiped(size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		if (opened[i] != 0)
			return false;
	}
	return true;
}

static bool
refuses_flips(const AesGcmKey *key, size_t context_length, size_t length)
{
	for (size_t bit = 0; bit < length * 8; bit++)
	{
		bool refused;

		record[bit / 8] ^= (uint8_t) (1 << bit % 8);
		refused = !open_envelope(key, (char *) beside, context_length, record, length, opened);
		record[bit / 8] ^= (uint8_t) (1 << bit % 8);
		if (!refused)
			return false;
	}
	return true;
}

/* Changes some bytes, or cuts or lengthens the record. */
static size_t
mutate(uint8_t *copy, size_t length)
{
	int changes = 1 + rand() % 4;
	size_t new_length = length;

	memcpy(copy, record, length);
	if (rand() % 3 == 0)
	{
		new_length = (size_t) rand() % (length + 40);
		for (size_t i = length; i < new_length; i++)
			copy[i] = (uint8_t) rand();
	}
	for (int i = 0; i < changes && new_length > 0; i++)
		copy[(size_t) rand() % new_length] ^= (uint8_t) (1 + rand() % 255);
	return new_length;
}

static bool
refuses_mutations(const AesGcmKey *key, size_t context_length, size_t length)
{
	for (int i = 0; i < MUTATIONS; i++)
	{
		/* Of the exact size, so that a sanitizer sees one byte too many. */
		uint8_t *copy = malloc(length + 40);
		size_t new_length = mutate(copy, length);
		uint8_t *exact = malloc(new_length > 0 ? new_length : 1);
		bool same = new_length == length && memcmp(copy, record, length) == 0;
		bool answer;

		memcpy(exact, copy, new_length);
		answer = open_envelope(key, (char *) beside, context_length, exact, new_length, opened);
		free(copy);
		free(exact);
		if (answer && !same)
			return false;
	}
	return true;
}

static int
try_envelope(const char *verdict, int number)
{
	size_t context_length = read_hexadecimal(fields[2], beside);
	size_t length = read_hexadecimal(fields[3], record);
	size_t plaintext_length = read_hexadecimal(fields[4], plaintext);
	bool valid = strcmp(verdict, "valid") == 0;
	AesGcmKey key;
	bool answer;

	if (!prepare_aes_gcm_key(&key, key_bytes))
		abort();
	memset(opened, 0, sizeof(opened));
	answer = open_envelope(&key, (char *) beside, context_length, record, length, opened);
	number =
		report(answer == valid && (!answer || (length - ENVELOPE_OVERHEAD == plaintext_length &&
											   memcmp(opened, plaintext, plaintext_length) == 0)),
			   number, valid ? "a valid envelope opens" : "an invalid envelope does not");
	if (valid && length < 200)
	{
		number = report(refuses_flips(&key, context_length, length), number,
						"none of its single-bit flips opens");
		number = report(refuses_mutations(&key, context_length, length), number,
						"none of 10,000 random mutations opens");
	}
	release_aes_gcm_key(&key);
	return number;
}

static int
try_gcm(const char *verdict, int number)
{
	uint8_t iv[AES_GCM_IV_BYTES], tag[AES_GCM_TAG_BYTES];
	ByteSpan span = {beside, read_hexadecimal(fields[3], beside)};
	ByteSpan ciphertext = {record, read_hexadecimal(fields[4], record)};
	size_t plaintext_length = read_hexadecimal(fields[6], plaintext);
	bool valid = strcmp(verdict, "valid") == 0;
	AesGcmKey key;
	bool answer;

	if (read_hexadecimal(fields[2], iv) != sizeof(iv) ||
		read_hexadecimal(fields[5], tag) != sizeof(tag) || !prepare_aes_gcm_key(&key, key_bytes))
		abort();
	memset(opened, 0, sizeof(opened));
	answer = open_aes_gcm(&key, iv, &span, 1, &ciphertext, tag, opened);
	release_aes_gcm_key(&key);
	return report(
		answer == valid && (answer ? ciphertext.length == plaintext_length &&
										 memcmp(opened, plaintext, plaintext_length) == 0
								   : is_wiped(ciphertext.length)),
		number, valid ? "a valid record opens" : "an invalid record does not, and leaves nothing");
}

int
main(void)
{
	static char line[400000];
	int number = 1;

	srand(1);
	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		int count = 0;

		for (char *word = strtok(line, " \n"); word != NULL && count < 8;
			 word = strtok(NULL, " \n"))
		{
			snprintf(fields[count], MAX_FIELD, "%s", word);
			count++;
		}
		if (count > 1 && read_hexadecimal(fields[1], key_bytes) != AES_GCM_KEY_BYTES)
			abort();
		if (count == 6 && strcmp(fields[0], "envelope") == 0)
			number = try_envelope(fields[5], number);
		else if (count == 8 && strcmp(fields[0], "gcm") == 0)
			number = try_gcm(fields[7], number);
		else
			abort();
	}
	printf("1..%d\n", number - 1);
	return 0;
}
