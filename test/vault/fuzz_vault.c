/*
 * fuzz_vault.c
 *		libFuzzer: whatever the bytes, the envelope and the key file are read
 *		without a fault, and what does not authenticate does not open.
 */
#include <stdlib.h>
#include <string.h>

#include "token/envelope.h"
#include "token/key_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t key_bytes[AES_GCM_KEY_BYTES] = {42};
	static AesGcmKey key;
	static WrappingKeys keys;
	uint8_t *plaintext = malloc(size + 1);
	uint8_t *envelope = malloc(size + ENVELOPE_OVERHEAD);
	int line;

	if (key.sealing == NULL && !prepare_aes_gcm_key(&key, key_bytes))
		abort();
	/* The first byte says how much of the input is context. */
	if (size > 1 && (size_t) data[0] < size)
	{
		size_t context = data[0];
		const uint8_t *rest = data + 1 + context;
		size_t length = size - 1 - context;

		if (open_envelope(&key, (const char *) data + 1, context, rest, length, plaintext))
			abort();
		if (seal_envelope(&key, 3, (const char *) data + 1, context, rest, length, envelope) !=
			(length >= 1 && length <= ENVELOPE_MAX_PLAINTEXT))
			abort();
		if (length >= 1 && length <= ENVELOPE_MAX_PLAINTEXT &&
			(!open_envelope(&key, (const char *) data + 1, context, envelope,
							length + ENVELOPE_OVERHEAD, plaintext) ||
			 memcmp(plaintext, rest, length) != 0))
			abort();
	}
	if (parse_key_file((const char *) data, size, &keys, &line) == NULL &&
		find_wrapping_key(&keys, 0) == NULL)
		abort();
	free(plaintext);
	free(envelope);
	return 0;
}
