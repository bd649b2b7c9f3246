/*
 * jws.c
 *		Signed tokens, without PostgreSQL. What a header or a key may say is
 *		checked in id_token.c; here are bytes, numbers and signatures.
 */
#include "token/jws.h"

#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#define MIN_RSA_BITS 2048
#define MAX_RSA_BITS 8192
#define MIN_RSA_EXPONENT 65537
#define P256_BYTES 32
#define MAX_SIGNATURE_BYTES (MAX_RSA_BITS / 8)
#define MAX_SIGNATURE_TEXT ((MAX_SIGNATURE_BYTES * 4 + 2) / 3)
/* An ES256 signature in DER: two integers of at most 33 bytes, and their heads. */
#define MAX_DER_BYTES 80

bool
split_jws(const char *token, size_t length, Jws *jws)
{
	const char *first = memchr(token, '.', length);
	const char *end = token + length;
	const char *second;

	if (length > JWS_MAX_BYTES || first == NULL)
		return false;
	second = memchr(first + 1, '.', (size_t) (end - first - 1));
	if (second == NULL || memchr(second + 1, '.', (size_t) (end - second - 1)) != NULL)
		return false;
	jws->header = (JwsPart){token, (size_t) (first - token)};
	jws->payload = (JwsPart){first + 1, (size_t) (second - first - 1)};
	jws->signature = (JwsPart){second + 1, (size_t) (end - second - 1)};
	return true;
}

static int
base64url_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

int
decode_base64url(const char *text, size_t length, uint8_t *bytes)
{
	uint32_t bits = 0;
	int held = 0;
	int count = 0;

	if (length % 4 == 1 || length > JWS_MAX_BYTES)
		return -1;
	for (size_t i = 0; i < length; i++)
	{
		int digit = base64url_digit(text[i]);

		if (digit < 0)
			return -1;
		bits = bits << 6 | (uint32_t) digit;
		held += 6;
		if (held >= 8)
		{
			held -= 8;
			bytes[count++] = (uint8_t) (bits >> held);
			bits &= (1U << held) - 1;
		}
	}
	return bits == 0 ? count : -1;
}

/*
 * Keys of a certain chip are a power of 65537 modulo each of the first primes,
 * which no other key is but by a chance of one in millions.
 */
static bool
is_factorable(const BIGNUM *modulus)
{
	static const unsigned short primes[] = {
		3,	5,	7,	11, 13, 17,	 19,  23,  29,	31,	 37,  41,  43,	47,	 53,  59,  61,	67,	 71,
		73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167};

	for (size_t i = 0; i < sizeof(primes) / sizeof(primes[0]); i++)
	{
		unsigned long rest = BN_mod_word(modulus, primes[i]);
		unsigned long power = 1;
		bool found = false;

		do
		{
			found = found || power == rest;
			power = power * MIN_RSA_EXPONENT % primes[i];
		} while (power != 1 && power != 0);
		if (!found)
			return false;
	}
	return true;
}

static EVP_PKEY *
make_key(const char *type, OSSL_PARAM *parameters)
{
	EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (maker == NULL || parameters == NULL || EVP_PKEY_fromdata_init(maker) != 1 ||
		EVP_PKEY_fromdata(maker, &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(maker);
	return key;
}

bool
check_public_key(EVP_PKEY *key)
{
	EVP_PKEY_CTX *checker = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	bool sound = checker != NULL && EVP_PKEY_public_check(checker) == 1;

	EVP_PKEY_CTX_free(checker);
	return sound;
}

EVP_PKEY *
make_rsa_key(const uint8_t *modulus, size_t modulus_length, const uint8_t *exponent,
			 size_t exponent_length)
{
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	OSSL_PARAM *parameters = NULL;
	EVP_PKEY *key = NULL;
	BIGNUM *n = NULL;
	BIGNUM *e = NULL;

	if (modulus_length <= MAX_SIGNATURE_BYTES && exponent_length <= 8)
	{
		n = BN_bin2bn(modulus, (int) modulus_length, NULL);
		e = BN_bin2bn(exponent, (int) exponent_length, NULL);
	}
	if (builder != NULL && n != NULL && e != NULL && BN_num_bits(n) >= MIN_RSA_BITS &&
		BN_is_odd(n) && BN_is_odd(e) && BN_get_word(e) >= MIN_RSA_EXPONENT && !is_factorable(n) &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
		OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1)
	{
		parameters = OSSL_PARAM_BLD_to_param(builder);
		key = make_key("RSA", parameters);
	}
	OSSL_PARAM_free(parameters);
	OSSL_PARAM_BLD_free(builder);
	BN_free(n);
	BN_free(e);
	return key;
}

EVP_PKEY *
make_p256_key(const uint8_t *x, size_t x_length, const uint8_t *y, size_t y_length)
{
	uint8_t point[1 + 2 * P256_BYTES] = {4};
	OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
	OSSL_PARAM *parameters = NULL;
	EVP_PKEY *key = NULL;

	if (x_length == P256_BYTES && y_length == P256_BYTES && builder != NULL)
	{
		memcpy(point + 1, x, P256_BYTES);
		memcpy(point + 1 + P256_BYTES, y, P256_BYTES);
		if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
				1 &&
			OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
											 sizeof(point)) == 1)
		{
			parameters = OSSL_PARAM_BLD_to_param(builder);
			key = make_key("EC", parameters);
		}
	}
	OSSL_PARAM_free(parameters);
	OSSL_PARAM_BLD_free(builder);
	return key;
}

/* The DER form of r and s, as OpenSSL takes it; returns its length, or 0. */
static size_t
encode_es256(const uint8_t *raw, uint8_t *der)
{
	ECDSA_SIG *signature = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(raw, P256_BYTES, NULL);
	BIGNUM *s = BN_bin2bn(raw + P256_BYTES, P256_BYTES, NULL);
	int length = 0;

	if (signature != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(signature, r, s) == 1)
	{
		/* They are the signature's now. */
		r = NULL;
		s = NULL;
		length = i2d_ECDSA_SIG(signature, NULL);
		length = length > 0 && length <= MAX_DER_BYTES ? i2d_ECDSA_SIG(signature, &der) : 0;
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(signature);
	return length > 0 ? (size_t) length : 0;
}

bool
verify_jws(const Jws *jws, JwsAlgorithm algorithm, EVP_PKEY *key)
{
	uint8_t raw[MAX_SIGNATURE_BYTES];
	uint8_t der[MAX_DER_BYTES];
	const uint8_t *signature = raw;
	size_t length;
	EVP_MD_CTX *verifier;
	bool verified;
	int decoded;

	if (jws->signature.length > MAX_SIGNATURE_TEXT ||
		(decoded = decode_base64url(jws->signature.text, jws->signature.length, raw)) <= 0)
		return false;
	length = (size_t) decoded;
	if (algorithm == JWS_ES256)
	{
		if (length != 2 * P256_BYTES || !EVP_PKEY_is_a(key, "EC"))
			return false;
		length = encode_es256(raw, der);
		signature = der;
	}
	else if (algorithm != JWS_RS256 || !EVP_PKEY_is_a(key, "RSA") ||
			 length != (size_t) EVP_PKEY_get_size(key))
		return false;

	verifier = EVP_MD_CTX_new();
	/* What is signed is the text of both parts and the dot between them. */
	verified = length > 0 && verifier != NULL &&
			   EVP_DigestVerifyInit(verifier, NULL, EVP_sha256(), NULL, key) == 1 &&
			   EVP_DigestVerify(
				   verifier, signature, length, (const unsigned char *) jws->header.text,
				   (size_t) (jws->payload.text + jws->payload.length - jws->header.text)) == 1;
	EVP_MD_CTX_free(verifier);
	return verified;
}

static size_t
encode_base64url(const uint8_t *bytes, size_t length, char *text)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t count = 0;

	for (size_t i = 0; i < length; i += 3)
	{
		size_t left = length - i;
		uint32_t bits = (uint32_t) bytes[i] << 16 | (left > 1 ? (uint32_t) bytes[i + 1] << 8 : 0) |
						(left > 2 ? bytes[i + 2] : 0);

		text[count++] = digits[bits >> 18];
		text[count++] = digits[bits >> 12 & 63];
		if (left > 1)
			text[count++] = digits[bits >> 6 & 63];
		if (left > 2)
			text[count++] = digits[bits & 63];
	}
	return count;
}

/* {"alg":"RS256","typ":"JWT"}, and the dot. */
static const char rs256_header[] = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.";

size_t
rs256_jws_size(size_t claims_length, EVP_PKEY *key)
{
	return sizeof(rs256_header) + (claims_length + 2) / 3 * 4 +
		   ((size_t) EVP_PKEY_get_size(key) + 2) / 3 * 4;
}

size_t
sign_rs256_jws(const char *claims, size_t length, EVP_PKEY *key, char *token)
{
	uint8_t signature[MAX_SIGNATURE_BYTES];
	size_t signature_length = sizeof(signature);
	size_t used = sizeof(rs256_header) - 1;
	EVP_MD_CTX *signer = EVP_MD_CTX_new();
	bool is_signed;

	memcpy(token, rs256_header, used);
	used += encode_base64url((const uint8_t *) claims, length, token + used);
	is_signed =
		signer != NULL && EVP_PKEY_is_a(key, "RSA") &&
		(size_t) EVP_PKEY_get_size(key) <= sizeof(signature) &&
		EVP_DigestSignInit(signer, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(signer, signature, &signature_length, (const uint8_t *) token, used) == 1;
	EVP_MD_CTX_free(signer);
	if (!is_signed)
		return 0;
	token[used++] = '.';
	used += encode_base64url(signature, signature_length, token + used);
	return used;
}
