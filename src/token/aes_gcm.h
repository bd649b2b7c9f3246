/*
 * aes_gcm.h
 *		AES-256-GCM with 96-bit IVs and 128-bit tags; it can express no other.
 *		Needs no backend and raises no error.
 */
#ifndef KEYPUP_AES_GCM_H
#define KEYPUP_AES_GCM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#define AES_GCM_KEY_BYTES 32
#define AES_GCM_IV_BYTES 12
#define AES_GCM_TAG_BYTES 16

/* A key made ready: its schedule is computed once and used for many records. */
typedef struct AesGcmKey
{
	EVP_CIPHER_CTX *sealing;
	EVP_CIPHER_CTX *opening;
} AesGcmKey;

typedef struct ByteSpan
{
	const uint8_t *bytes;
	size_t length;
} ByteSpan;

/*
 * prepare_aes_gcm_key
 *		Makes a key ready from its 32 bytes, which may be wiped then.
 *
 * Returns false, with nothing to release, when OpenSSL fails.
 */
extern bool prepare_aes_gcm_key(AesGcmKey *key, const uint8_t *bytes);

/*
 * release_aes_gcm_key
 *		Wipes and frees a key; one that is all zero, too.
 */
extern void release_aes_gcm_key(AesGcmKey *key);

/*
 * seal_aes_gcm
 *		Encrypts plaintext into ciphertext, of the same length, under an IV of its own making.
 *
 * beside: what is authenticated with it. iv: receives 12 random bytes, tag 16.
 * Lengths are below 2^31. Returns false when OpenSSL fails.
 * NIST SP 800-38D; a random 96-bit IV is used as it stands (8.2.2).
 */
extern bool seal_aes_gcm(const AesGcmKey *key, const ByteSpan *beside, int spans,
						 const ByteSpan *plaintext, uint8_t *iv, uint8_t *ciphertext, uint8_t *tag);

/*
 * open_aes_gcm
 *		Decrypts ciphertext into plaintext, of the same length.
 *
 * Returns false, with plaintext wiped, when the tag does not fit or OpenSSL fails.
 */
extern bool open_aes_gcm(const AesGcmKey *key, const uint8_t *iv, const ByteSpan *beside, int spans,
						 const ByteSpan *ciphertext, const uint8_t *tag, uint8_t *plaintext);

#endif
