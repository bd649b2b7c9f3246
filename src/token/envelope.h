/*
 * envelope.h
 *		The sealed record, version 1 (doc/tokens.md). Needs no backend.
 */
#ifndef KEYPUP_ENVELOPE_H
#define KEYPUP_ENVELOPE_H

#include "token/aes_gcm.h"

#define ENVELOPE_OVERHEAD 36
#define ENVELOPE_MAX_PLAINTEXT 8192
#define ENVELOPE_MIN_BYTES (ENVELOPE_OVERHEAD + 1)
#define ENVELOPE_MAX_BYTES (ENVELOPE_OVERHEAD + ENVELOPE_MAX_PLAINTEXT)

/*
 * seal_envelope
 *		Encrypt 1..8192 bytes under AES-256-GCM with a fresh random 96-bit IV.
 *
 * context: what the secret belongs to; authenticated, not stored.
 * envelope: room for plaintext_length + 36 bytes.
 * Returns false when the length is out of range or OpenSSL fails.
 */
extern bool
seal_envelope(const AesGcmKey *key, uint32_t key_id, const char *context, size_t context_length,
			  const uint8_t *plaintext, size_t plaintext_length, uint8_t *envelope);

/*
 * open_envelope
 *		Decrypt an envelope into plaintext, which has room for length - 36 bytes.
 *
 * Returns false, with plaintext wiped, for every failure alike.
 */
extern bool open_envelope(const AesGcmKey *key, const char *context, size_t context_length,
						  const uint8_t *envelope, size_t length, uint8_t *plaintext);

/*
 * read_envelope_key_id
 *		The id of the key that sealed it. False when it is no envelope of version 1.
 */
extern bool read_envelope_key_id(const uint8_t *envelope, size_t length, uint32_t *key_id);

#endif
