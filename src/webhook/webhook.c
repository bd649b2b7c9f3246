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

#define DIGEST_BYTES 32
#define MIN_SECRET_BYTES 16
#define MAX_SECRET_BYTES 255

static const char prefix[] = "sha256=";

static int
hexadecimal_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "sha256=" and 64 hexadecimal digits; false for anything else. */
static bool
read_signature(const text *signature, uint8 *digest)
{
	const char *at = VARDATA_ANY(signature);
	Size prefix_length = sizeof(prefix) - 1;

	if (VARSIZE_ANY_EXHDR(signature) != prefix_length + 2 * DIGEST_BYTES ||
		memcmp(at, prefix, prefix_length) != 0)
		return false;
	at += prefix_length;
	for (int i = 0; i < DIGEST_BYTES; i++)
	{
		int high = hexadecimal_digit(at[2 * i]);
		int low = hexadecimal_digit(at[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		digest[i] = (uint8) (high << 4 | low);
	}
	return true;
}

/*
 * signature text, body bytea, envelope bytea, context text: any may be NULL. The
 * digest is computed whether there is a secret or not: how long it takes does not
 * tell.
 */
Datum
keypup_webhook_is_signed(PG_FUNCTION_ARGS)
{
	static const uint8 no_secret[MIN_SECRET_BYTES] = {0};
	bytea *body = PG_ARGISNULL(1) ? NULL : PG_GETARG_BYTEA_PP(1);
	bool has_secret = !PG_ARGISNULL(2) && !PG_ARGISNULL(3);
	Secret *secret = NULL;
	uint8 given[DIGEST_BYTES] = {0};
	uint8 right[EVP_MAX_MD_SIZE] = {0};
	unsigned int length = 0;
	bool is_well_formed;
	bool computed;
	bool equal;

	is_well_formed = !PG_ARGISNULL(0) && read_signature(PG_GETARG_TEXT_PP(0), given);
	if (has_secret)
		secret = open_token(PG_GETARG_BYTEA_PP(2), text_to_cstring(PG_GETARG_TEXT_PP(3)));
	computed = HMAC(EVP_sha256(), has_secret ? secret->bytes : no_secret,
					has_secret ? (int) secret->length : (int) sizeof(no_secret),
					body == NULL ? (const uint8 *) "" : (const uint8 *) VARDATA_ANY(body),
					body == NULL ? 0 : VARSIZE_ANY_EXHDR(body), right, &length) != NULL;
	wipe_secret(secret);
	equal = CRYPTO_memcmp(given, right, DIGEST_BYTES) == 0;
	OPENSSL_cleanse(right, sizeof(right));
	PG_RETURN_BOOL(computed && length == DIGEST_BYTES && has_secret && body != NULL &&
				   is_well_formed && equal);
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
