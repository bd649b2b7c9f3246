/*
 * envelope.c
 *		Seals and opens one record. Bytes in, bytes out: no keys are kept here,
 *		no PostgreSQL is called, and no error is raised.
 *
 * Layout: "KP" 01 01 | key_id u32 BE | IV[12] | ciphertext | tag[16].
 * Authenticated beside it: "keypup/v1\0" | the first 8 bytes | context length u32 BE | context.
 */
#include "token/envelope.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#define HEADER_BYTES 8
#define IV_BYTES 12
#define TAG_BYTES 16

static const uint8_t magic[4] = {'K', 'P', 1, 1};

static void
write_u32(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t) (value >> 24);
	to[1] = (uint8_t) (value >> 16);
	to[2] = (uint8_t) (value >> 8);
	to[3] = (uint8_t) value;
}

/* Feeds what is authenticated beside the ciphertext. */
static bool
authenticate(EVP_CIPHER_CTX *cipher, const uint8_t *header, const char *context,
			 size_t context_length)
{
	static const uint8_t label[10] = "keypup/v1";
	uint8_t length[4];
	int n;

	if (context_length > INT32_MAX)
		return false;
	write_u32(length, (uint32_t) context_length);
	return EVP_CipherUpdate(cipher, NULL, &n, label, sizeof(label)) == 1 &&
		   EVP_CipherUpdate(cipher, NULL, &n, header, HEADER_BYTES) == 1 &&
		   EVP_CipherUpdate(cipher, NULL, &n, length, sizeof(length)) == 1 &&
		   (context_length == 0 || EVP_CipherUpdate(cipher, NULL, &n, (const uint8_t *) context,
													(int) context_length) == 1);
}

bool
seal_envelope(const uint8_t *key, uint32_t key_id, const char *context, size_t context_length,
			  const uint8_t *plaintext, size_t plaintext_length, uint8_t *envelope)
{
	uint8_t *iv = envelope + HEADER_BYTES;
	uint8_t *ciphertext = iv + IV_BYTES;
	EVP_CIPHER_CTX *cipher;
	bool sealed;
	int n;

	if (plaintext_length < 1 || plaintext_length > ENVELOPE_MAX_PLAINTEXT)
		return false;
	memcpy(envelope, magic, sizeof(magic));
	write_u32(envelope + sizeof(magic), key_id);
	if (RAND_bytes(iv, IV_BYTES) != 1)
		return false;
	cipher = EVP_CIPHER_CTX_new();
	if (cipher == NULL)
		return false;
	sealed = EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, iv, 1) == 1 &&
			 authenticate(cipher, envelope, context, context_length) &&
			 EVP_CipherUpdate(cipher, ciphertext, &n, plaintext, (int) plaintext_length) == 1 &&
			 EVP_CipherFinal_ex(cipher, ciphertext + plaintext_length, &n) == 1 &&
			 EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, TAG_BYTES,
								 ciphertext + plaintext_length) == 1;
	EVP_CIPHER_CTX_free(cipher);
	return sealed;
}

bool
open_envelope(const uint8_t *key, const char *context, size_t context_length,
			  const uint8_t *envelope, size_t length, uint8_t *plaintext)
{
	uint8_t tag[TAG_BYTES];
	EVP_CIPHER_CTX *cipher;
	uint32_t key_id;
	size_t plaintext_length;
	bool opened;
	int n;

	if (!read_envelope_key_id(envelope, length, &key_id))
		return false;
	plaintext_length = length - ENVELOPE_OVERHEAD;
	/* Always all 16 bytes: OpenSSL accepts a shorter tag, which is easier to forge. */
	memcpy(tag, envelope + length - TAG_BYTES, TAG_BYTES);
	cipher = EVP_CIPHER_CTX_new();
	if (cipher == NULL)
		return false;
	opened =
		EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, envelope + HEADER_BYTES, 0) == 1 &&
		authenticate(cipher, envelope, context, context_length) &&
		EVP_CipherUpdate(cipher, plaintext, &n, envelope + HEADER_BYTES + IV_BYTES,
						 (int) plaintext_length) == 1 &&
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
		EVP_CipherFinal_ex(cipher, plaintext + plaintext_length, &n) == 1;
	EVP_CIPHER_CTX_free(cipher);
	/* The plaintext stands there before the tag is checked. */
	if (!opened)
		OPENSSL_cleanse(plaintext, plaintext_length);
	return opened;
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
