/*
 * app_key.c
 *		The private key of an app: taken as PEM, kept sealed as PKCS#8 in DER, and
 *		used to sign. Errors never say what was given.
 */
#include "postgres.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "access/detoast.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"
#include "grant/app_key.h"
#include "token/jws.h"
#include "token/token.h"

PG_FUNCTION_INFO_V1(keypup_seal_app_key);

#define MIN_KEY_BITS 2048
#define MAX_KEY_BITS 8192
#define MAX_PEM_BYTES 16384

/* A key under a passphrase is refused: there is nobody to ask for it. */
static int
refuse_passphrase(char *passphrase, size_t size, size_t *length, const OSSL_PARAM parameters[],
				  void *argument)
{
	return 0;
}

/* The RSA key that stands in the bytes; NULL when there is none, or one of another kind or size. */
static EVP_PKEY *
read_key(const uint8 *bytes, Size length, const char *format)
{
	EVP_PKEY *key = NULL;
	OSSL_DECODER_CTX *decoder = OSSL_DECODER_CTX_new_for_pkey(&key, format, NULL, "RSA",
															  OSSL_KEYMGMT_SELECT_ALL, NULL, NULL);
	bool done = decoder != NULL &&
				OSSL_DECODER_CTX_set_passphrase_cb(decoder, refuse_passphrase, NULL) == 1 &&
				OSSL_DECODER_from_data(decoder, &bytes, &length) == 1;

	OSSL_DECODER_CTX_free(decoder);
	if (!done || !EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_get_bits(key) < MIN_KEY_BITS ||
		EVP_PKEY_get_bits(key) > MAX_KEY_BITS)
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	/* What OpenSSL noted about it is for nobody. */
	ERR_clear_error();
	return key;
}

/* Whether it is a private key whose numbers belong together. */
static bool
is_sound(EVP_PKEY *key)
{
	EVP_PKEY_CTX *checker = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	bool sound = checker != NULL && EVP_PKEY_check(checker) == 1;

	EVP_PKEY_CTX_free(checker);
	ERR_clear_error();
	return sound;
}

/* The key as PKCS#8, or NULL when memory is out. OpenSSL's own copy is wiped. */
static Secret *
write_key(EVP_PKEY *key)
{
	PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
	unsigned char *der = NULL;
	int length = info == NULL ? 0 : i2d_PKCS8_PRIV_KEY_INFO(info, &der);
	Secret *secret = NULL;

	PKCS8_PRIV_KEY_INFO_free(info);
	if (length <= 0)
		return NULL;
	PG_TRY();
	{
		secret = allocate_secret((Size) length);
		memcpy(secret->bytes, der, secret->length);
	}
	PG_FINALLY();
	{
		OPENSSL_clear_free(der, (size_t) length);
	}
	PG_END_TRY();
	return secret;
}

/* seal_app_key(private_key, context): the key in an envelope. */
Datum
keypup_seal_app_key(PG_FUNCTION_ARGS)
{
	Size size = toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ;
	char *context = text_to_cstring(PG_GETARG_TEXT_PP(1));
	EVP_PKEY *key = NULL;
	Secret *volatile der = NULL;
	bytea *envelope = NULL;

	protect_process_memory();
	if (size <= MAX_PEM_BYTES)
	{
		text *pem = PG_GETARG_TEXT_PP(0);

		key = read_key((uint8 *) VARDATA_ANY(pem), size, "PEM");
	}
	PG_TRY();
	{
		if (key != NULL && is_sound(key))
			der = write_key(key);
	}
	PG_FINALLY();
	{
		EVP_PKEY_free(key);
	}
	PG_END_TRY();
	if (der != NULL)
		envelope = seal_secret(der, context);
	wipe_secret(der);
	if (envelope == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("private key cannot be used"),
			 errhint(
				 "It must be the whole .pem file of the app: an RSA key of %d to %d bits, without a passphrase.",
				 MIN_KEY_BITS, MAX_KEY_BITS),
			 errhidestmt(true)));
	PG_RETURN_BYTEA_P(envelope);
}

Secret *
sign_with_app_key(bytea *envelope, const char *context, const char *claims)
{
	Secret *der = open_token(envelope, context);
	EVP_PKEY *key = read_key(der->bytes, der->length, "DER");
	Secret *volatile token = NULL;

	wipe_secret(der);
	PG_TRY();
	{
		if (key != NULL)
		{
			token = allocate_secret(rs256_jws_size(strlen(claims), key));
			token->length = sign_rs256_jws(claims, strlen(claims), key, (char *) token->bytes);
		}
	}
	PG_FINALLY();
	{
		EVP_PKEY_free(key);
	}
	PG_END_TRY();
	if (token == NULL || token->length == 0)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("cannot sign with the app's key"),
						errhint("Give the connection its key with keypup.replace_app_key.")));
	return token;
}
