/*
 * jws.h
 *		Signed tokens (RFC 7515, compact form) and the public keys that check
 *		them (RFC 7517). RS256 and ES256, and nothing else. Raises no error.
 */
#ifndef KEYPUP_JWS_H
#define KEYPUP_JWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/types.h>

#define JWS_MAX_BYTES 16384

typedef enum JwsAlgorithm
{
	JWS_UNKNOWN,
	JWS_RS256,
	JWS_ES256
} JwsAlgorithm;

/* A part of a compact token: still in base64url. */
typedef struct JwsPart
{
	const char *text;
	size_t length;
} JwsPart;

typedef struct Jws
{
	JwsPart header;
	JwsPart payload;
	JwsPart signature;
} Jws;

/*
 * split_jws
 *		Finds the three parts. False for what has not exactly three, or is longer than 16 KiB.
 */
extern bool split_jws(const char *token, size_t length, Jws *jws);

/*
 * decode_base64url
 *		Decodes into bytes, which has room for 3/4 of the length.
 *
 * Returns how many, or -1: padding, other characters and bits left over are refused
 * (RFC 4648, 3.5 and 5), so that each value has one form only.
 */
extern int decode_base64url(const char *text, size_t length, uint8_t *bytes);

/*
 * make_rsa_key
 *		A public key of modulus and exponent, big-endian.
 *
 * Returns NULL for one that is shorter than 2048 bits, has an exponent below
 * 65537, or is of the factorable kind (CVE-2017-15361, "ROCA").
 */
extern EVP_PKEY *make_rsa_key(const uint8_t *modulus, size_t modulus_length,
							  const uint8_t *exponent, size_t exponent_length);

/*
 * make_p256_key
 *		A public key of the coordinates of a point on P-256, 32 bytes each; NULL for any other.
 */
extern EVP_PKEY *
make_p256_key(const uint8_t *x, size_t x_length, const uint8_t *y, size_t y_length);

/*
 * check_public_key
 *		Whether OpenSSL finds nothing wrong with it: some milliseconds for RSA, once for each key.
 */
extern bool check_public_key(EVP_PKEY *key);

/*
 * verify_jws
 *		Whether the key signed header and payload by that algorithm (RFC 7518, 3.3 and 3.4).
 */
extern bool verify_jws(const Jws *jws, JwsAlgorithm algorithm, EVP_PKEY *key);

/*
 * rs256_jws_size
 *		Room for a token that sign_rs256_jws makes of so many bytes of claims.
 */
extern size_t rs256_jws_size(size_t claims_length, EVP_PKEY *key);

/*
 * sign_rs256_jws
 *		The token in compact form, of claims that are JSON, with an RSA key.
 *
 * token: room for rs256_jws_size bytes. Returns its length, or 0 when OpenSSL fails.
 */
extern size_t sign_rs256_jws(const char *claims, size_t length, EVP_PKEY *key, char *token);

#endif
