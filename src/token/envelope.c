/*
 * envelope.c
 *		The layout of one sealed record. Bytes in, bytes out: no keys are kept
 *		here, no PostgreSQL is called, and no error is raised.
 *
 * Layout: "KP" 01 01 | key_id u32 BE | IV[12] | ciphertext | tag[16].
 * Authenticated beside it: "keypup/v1\0" | the first 8 bytes | context length u32 BE | context.
 */
#include "token/envelope.h"

#include <string.h>

#define HEADER_BYTES 8
#define IV_AT HEADER_BYTES
#define CIPHERTEXT_AT (IV_AT + AES_GCM_IV_BYTES)
#define SPANS 4

static const uint8_t magic[4] = {'K', 'P', 1, 1};

static void
write_u32(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t) (value >> 24);
	to[1] = (uint8_t) (value >> 16);
	to[2] = (uint8_t) (value >> 8);
	to[3] = (uint8_t) value;
}

/* What is authenticated beside the ciphertext; length is where the context's length is written. */
static void
list_spans(ByteSpan *spans, const uint8_t *envelope, const char *context, size_t context_length,
		   uint8_t *length)
{
	static const uint8_t label[10] = "keypup/v1";

	write_u32(length, (uint32_t) context_length);
	spans[0] = (ByteSpan){label, sizeof(label)};
	spans[1] = (ByteSpan){envelope, HEADER_BYTES};
	spans[2] = (ByteSpan){length, 4};
	spans[3] = (ByteSpan){(const uint8_t *) context, context_length};
}

bool
seal_envelope(const AesGcmKey *key, uint32_t key_id, const char *context, size_t context_length,
			  const uint8_t *plaintext, size_t plaintext_length, uint8_t *envelope)
{
	ByteSpan text = {plaintext, plaintext_length};
	ByteSpan spans[SPANS];
	uint8_t length[4];

	if (plaintext_length < 1 || plaintext_length > ENVELOPE_MAX_PLAINTEXT)
		return false;
	memcpy(envelope, magic, sizeof(magic));
	write_u32(envelope + sizeof(magic), key_id);
	list_spans(spans, envelope, context, context_length, length);
	return seal_aes_gcm(key, spans, SPANS, &text, envelope + IV_AT, envelope + CIPHERTEXT_AT,
						envelope + CIPHERTEXT_AT + plaintext_length);
}

bool
open_envelope(const AesGcmKey *key, const char *context, size_t context_length,
			  const uint8_t *envelope, size_t length, uint8_t *plaintext)
{
	ByteSpan spans[SPANS];
	ByteSpan ciphertext;
	uint8_t context_bytes[4];
	uint32_t key_id;

	if (!read_envelope_key_id(envelope, length, &key_id))
		return false;
	ciphertext = (ByteSpan){envelope + CIPHERTEXT_AT, length - ENVELOPE_OVERHEAD};
	list_spans(spans, envelope, context, context_length, context_bytes);
	return open_aes_gcm(key, envelope + IV_AT, spans, SPANS, &ciphertext,
						envelope + length - AES_GCM_TAG_BYTES, plaintext);
}

bool
read_envelope_key_id(const uint8_t *envelope, size_t length, uint32_t *key_id)
{
	if (length < ENVELOPE_MIN_BYTES || length > ENVELOPE_MAX_BYTES ||
		memcmp(envelope, magic, sizeof(magic)) != 0)
		return false;
	*key_id = (uint32_t) envelope[4] << 24 | (uint32_t) envelope[5] << 16 |
			  (uint32_t) envelope[6] << 8 | envelope[7];
	return true;
}
