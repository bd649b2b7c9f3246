/*
 * aes_gcm.c
 *		The one cipher of the vault, on OpenSSL. There is no way in for a caller's
 *		IV when sealing: an IV that is used twice gives the key's secrets away.
 */
#include "token/aes_gcm.h"

#include <pthread.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

/* A draw from OpenSSL's generator costs the same for a few bytes as for many. */
#ifndef IVS_A_DRAW
#define IVS_A_DRAW 256
#endif

static uint8_t drawn[IVS_A_DRAW][AES_GCM_IV_BYTES];
static int drawn_left = 0;

static void
forget_drawn(void)
{
	drawn_left = 0;
}

/* Writes an IV that no other record of this process, or of one forked from it, has. */
static bool
take_iv(uint8_t *iv)
{
	static bool watches_forks = false;

	if (!watches_forks && pthread_atfork(NULL, NULL, forget_drawn) != 0)
		return false;
	watches_forks = true;
	if (drawn_left == 0)
	{
		if (RAND_bytes(drawn[0], sizeof(drawn)) != 1)
			return false;
		drawn_left = IVS_A_DRAW;
	}
	memcpy(iv, drawn[--drawn_left], AES_GCM_IV_BYTES);
	return true;
}

static EVP_CIPHER_CTX *
prepare_direction(const uint8_t *bytes, int encrypts)
{
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();

	if (cipher != NULL &&
		EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, bytes, NULL, encrypts) != 1)
	{
		EVP_CIPHER_CTX_free(cipher);
		cipher = NULL;
	}
	return cipher;
}

bool
prepare_aes_gcm_key(AesGcmKey *key, const uint8_t *bytes)
{
	key->sealing = prepare_direction(bytes, 1);
	key->opening = prepare_direction(bytes, 0);
	if (key->sealing != NULL && key->opening != NULL)
		return true;
	release_aes_gcm_key(key);
	return false;
}

void
release_aes_gcm_key(AesGcmKey *key)
{
	/* OpenSSL wipes the key's schedule as it frees it. */
	EVP_CIPHER_CTX_free(key->sealing);
	EVP_CIPHER_CTX_free(key->opening);
	memset(key, 0, sizeof(*key));
}

static bool
start_record(EVP_CIPHER_CTX *cipher, const uint8_t *iv, const ByteSpan *beside, int spans)
{
	int n;

	if (EVP_CipherInit_ex(cipher, NULL, NULL, NULL, iv, -1) != 1)
		return false;
	for (int i = 0; i < spans; i++)
	{
		if (beside[i].length > INT32_MAX)
			return false;
		if (beside[i].length > 0 &&
			EVP_CipherUpdate(cipher, NULL, &n, beside[i].bytes, (int) beside[i].length) != 1)
			return false;
	}
	return true;
}

bool
seal_aes_gcm(const AesGcmKey *key, const ByteSpan *beside, int spans, const ByteSpan *plaintext,
			 uint8_t *iv, uint8_t *ciphertext, uint8_t *tag)
{
	int n;

	return plaintext->length <= INT32_MAX && take_iv(iv) &&
		   start_record(key->sealing, iv, beside, spans) &&
		   EVP_CipherUpdate(key->sealing, ciphertext, &n, plaintext->bytes,
							(int) plaintext->length) == 1 &&
		   EVP_CipherFinal_ex(key->sealing, ciphertext + plaintext->length, &n) == 1 &&
		   EVP_CIPHER_CTX_ctrl(key->sealing, EVP_CTRL_GCM_GET_TAG, AES_GCM_TAG_BYTES, tag) == 1;
}

bool
open_aes_gcm(const AesGcmKey *key, const uint8_t *iv, const ByteSpan *beside, int spans,
			 const ByteSpan *ciphertext, const uint8_t *tag, uint8_t *plaintext)
{
	uint8_t expected[AES_GCM_TAG_BYTES];
	int n;

	if (ciphertext->length > INT32_MAX)
		return false;
	/* Always all 16 bytes: OpenSSL accepts a shorter tag, which is easier to forge. */
	memcpy(expected, tag, AES_GCM_TAG_BYTES);
	if (start_record(key->opening, iv, beside, spans) &&
		EVP_CipherUpdate(key->opening, plaintext, &n, ciphertext->bytes,
						 (int) ciphertext->length) == 1 &&
		EVP_CIPHER_CTX_ctrl(key->opening, EVP_CTRL_GCM_SET_TAG, AES_GCM_TAG_BYTES, expected) == 1 &&
		EVP_CipherFinal_ex(key->opening, plaintext + ciphertext->length, &n) == 1)
		return true;
	/* The plaintext stands there before the tag is checked. */
	OPENSSL_cleanse(plaintext, ciphertext->length);
	return false;
}
