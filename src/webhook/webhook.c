/*
 * webhook.c
 *		Whether a webhook is signed with a connection's secret. A webhook carries
 *		source code, and anybody may send one: nothing of its body is in an error,
 *		and statements that hold it are kept out of the log.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "access/detoast.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "audit/refusal.h"
#include "compat.h"
#include "token/token.h"

PG_FUNCTION_INFO_V1(keypup_webhook_is_signed);
PG_FUNCTION_INFO_V1(keypup_refuse_webhook);
PG_FUNCTION_INFO_V1(keypup_check_webhook_secret);

#define MIN_SECRET_BYTES 16
#define MAX_SECRET_BYTES 255

/* The ways of keypup.providers.webhook_signature. */
typedef struct Scheme
{
	const char *name;
	const EVP_MD *(*digest)(void);
	unsigned int bytes;
	bool (*read)(const char *text, Size length, uint8 *digest, unsigned int bytes);
} Scheme;

static int
hexadecimal_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Two hexadecimal digits a byte, and nothing else. */
static bool
read_hexadecimal(const char *text, Size length, uint8 *digest, unsigned int bytes)
{
	if (length != 2 * (Size) bytes)
		return false;
	for (unsigned int i = 0; i < bytes; i++)
	{
		int high = hexadecimal_digit(text[2 * i]);
		int low = hexadecimal_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		digest[i] = (uint8) (high << 4 | low);
	}
	return true;
}

/* Base64 with its padding (RFC 4648, 4), and nothing else. */
static bool
read_base64(const char *text, Size length, uint8 *digest, unsigned int bytes)
{
	uint8 decoded[EVP_MAX_MD_SIZE + 3];

	if (length != 4 * (((Size) bytes + 2) / 3) ||
		strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") <
			length ||
		EVP_DecodeBlock(decoded, (const uint8 *) text, (int) length) < (int) bytes)
		return false;
	memcpy(digest, decoded, bytes);
	return true;
}

/* The secret itself was sent: two texts are equal when their digests are. */
static bool
read_secret(const char *text, Size length, uint8 *digest, unsigned int bytes)
{
	return EVP_Digest(text, length, digest, NULL, EVP_sha256(), NULL) == 1;
}

static const Scheme schemes[] = {
	{"hmac-sha256-hex", EVP_sha256, 32, read_hexadecimal},
	{"hmac-sha256-base64", EVP_sha256, 32, read_base64},
	{"hmac-sha1-base64", EVP_sha1, 20, read_base64},
	{"secret", EVP_sha256, 32, read_secret},
};

/* What the provider would have sent: the HMAC of the body (RFC 2104), or, where the secret itself is sent, its digest. */
static bool
make_right_digest(const Scheme *scheme, const uint8 *secret, int secret_length, const bytea *body,
				  uint8 *right)
{
	unsigned int length = 0;

	if (scheme->read == read_secret)
		return EVP_Digest(secret, (size_t) secret_length, right, &length, scheme->digest(), NULL) ==
				   1 &&
			   length == scheme->bytes;
	return HMAC(scheme->digest(), secret, secret_length,
				body == NULL ? (const uint8 *) "" : (const uint8 *) VARDATA_ANY(body),
				body == NULL ? 0 : VARSIZE_ANY_EXHDR(body), right, &length) != NULL &&
		   length == scheme->bytes;
}

static const Scheme *
find_scheme(const char *name)
{
	for (int i = 0; i < (int) lengthof(schemes); i++)
	{
		if (strcmp(schemes[i].name, name) == 0)
			return &schemes[i];
	}
	return NULL;
}

/*
 * scheme text, one of providers.webhook_signature; signature text, body bytea,
 * envelope bytea, context text: any may be NULL. The digest is computed whether
 * there is a secret or not: how long it takes does not tell.
 */
Datum
keypup_webhook_is_signed(PG_FUNCTION_ARGS)
{
	static const uint8 no_secret[MIN_SECRET_BYTES] = {0};
	const Scheme *scheme =
		PG_ARGISNULL(0) ? NULL : find_scheme(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	char *signature = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	bytea *body = PG_ARGISNULL(2) ? NULL : PG_GETARG_BYTEA_PP(2);
	bool has_secret = !PG_ARGISNULL(3) && !PG_ARGISNULL(4);
	bool can_be_right = scheme != NULL && signature != NULL && body != NULL && has_secret;
	Secret *secret = NULL;
	uint8 given[EVP_MAX_MD_SIZE] = {0};
	uint8 right[EVP_MAX_MD_SIZE] = {0};
	bool is_well_formed;
	bool computed;
	bool equal;

	if (scheme == NULL)
		scheme = &schemes[0];
	is_well_formed =
		signature != NULL && scheme->read(signature, strlen(signature), given, scheme->bytes);
	if (has_secret)
		secret = open_token(PG_GETARG_BYTEA_PP(3), text_to_cstring(PG_GETARG_TEXT_PP(4)));
	computed =
		make_right_digest(scheme, has_secret ? secret->bytes : no_secret,
						  has_secret ? (int) secret->length : (int) sizeof(no_secret), body, right);
	wipe_secret(secret);
	equal = CRYPTO_memcmp(given, right, scheme->bytes) == 0;
	OPENSSL_cleanse(right, sizeof(right));
	PG_RETURN_BOOL(computed && can_be_right && is_well_formed && equal);
}

/* account uuid, why text; the account may be NULL. */
Datum
keypup_refuse_webhook(PG_FUNCTION_ARGS)
{
	note_refusal(PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0), "webhook.receive", NULL,
				 PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)));
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION), errmsg("webhook is refused"),
		 errhint(
			 "It takes the id of a connection, a secret that is set (set_webhook_secret) and the same at the provider, and the body byte for byte as it was sent."),
		 errhidestmt(true)));
}

Datum
keypup_check_webhook_secret(PG_FUNCTION_ARGS)
{
	Size size = toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ;
	bool valid = size >= MIN_SECRET_BYTES && size <= MAX_SECRET_BYTES;

	if (valid)
	{
		text *secret = PG_GETARG_TEXT_PP(0);

		/* Beyond ASCII, the bytes would depend on the database's encoding. */
		for (Size i = 0; valid && i < size; i++)
			valid = VARDATA_ANY(secret)[i] >= ' ' && VARDATA_ANY(secret)[i] <= '~';
	}
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("webhook secret is malformed"),
				 errhint("A secret has %d to %d printable ASCII characters; draw one with "
						 "openssl rand -hex 32.",
						 MIN_SECRET_BYTES, MAX_SECRET_BYTES),
				 errhidestmt(true)));
	PG_RETURN_VOID();
}
