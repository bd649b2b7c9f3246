/*
 * fork_while_sealing.c
 *		A process that is forked while IVs are drawn ahead takes none of its parent's.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "records.h"
#include "token/envelope.h"

#define RECORDS 1000
#define RECORD_BYTES (ENVELOPE_OVERHEAD + 1)

static const uint8_t key_bytes[AES_GCM_KEY_BYTES] = {9};
static uint8_t records[2 * RECORDS][RECORD_BYTES];

static void
seal_all(const AesGcmKey *key, uint8_t (*to)[RECORD_BYTES])
{
	for (int i = 0; i < RECORDS; i++)
	{
		if (!seal_envelope(key, 1, "", 0, (const uint8_t *) "x", 1, to[i]))
			abort();
	}
}

static int
compare(const void *a, const void *b)
{
	return memcmp((const uint8_t *) a + 8, (const uint8_t *) b + 8, AES_GCM_IV_BYTES);
}

int
main(void)
{
	size_t received = 0;
	bool distinct = true;
	AesGcmKey key;
	int ends[2];

	/* The first record draws IVs ahead, which the child inherits. */
	if (!prepare_aes_gcm_key(&key, key_bytes) || pipe(ends) != 0)
		abort();
	if (!seal_envelope(&key, 1, "", 0, (const uint8_t *) "x", 1, records[0]))
		abort();
	if (fork() == 0)
	{
		seal_all(&key, records);
		if (write(ends[1], records, sizeof(records) / 2) < 0)
			abort();
		_exit(0);
	}
	seal_all(&key, records);
	close(ends[1]);
	for (ssize_t n = 1; n > 0 && received < sizeof(records) / 2; received += (size_t) n)
		n = read(ends[0], (uint8_t *) records[RECORDS] + received, sizeof(records) / 2 - received);
	wait(NULL);
	release_aes_gcm_key(&key);
	qsort(records, 2 * RECORDS, RECORD_BYTES, compare);
	for (int i = 1; i < 2 * RECORDS; i++)
		distinct = distinct && compare(records[i - 1], records[i]) != 0;
	report(received == sizeof(records) / 2 && distinct, 1,
		   "1,000 records of a process and 1,000 of its child have 2,000 IVs");
	printf("1..1\n");
	return 0;
}
