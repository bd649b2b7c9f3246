/*
 * token.c
 *		The SQL functions that seal and open. Arguments are never echoed in an
 *		error, and statements that hold them are kept out of the log.
 */
#include "postgres.h"

#include <openssl/crypto.h>

#include "access/detoast.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "compat.h"
#include "token/keyring.h"
#include "token/token.h"

PG_FUNCTION_INFO_V1(keypup_encrypt_token);
PG_FUNCTION_INFO_V1(keypup_decrypt_token);
PG_FUNCTION_INFO_V1(keypup_reencrypt_token);
PG_FUNCTION_INFO_V1(keypup_token_key_id);
PG_FUNCTION_INFO_V1(keypup_check_token);

#define MIN_TOKEN_BYTES 8
#define MAX_TOKEN_BYTES 4096

static void
fail_to_open(void)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("cannot open token"),
					errhint("The envelope is damaged, or was sealed for another context."),
					errhidestmt(true)));
}

/* The account that a context names, if it is of the form account:UUID/… */
static bool
read_account(const char *context, Size length, pg_uuid_t *account)
{
	static const char prefix[] = "account:";
	char text[37];
	Size skip = sizeof(prefix) - 1;

	if (length < skip + 37 || memcmp(context, prefix, skip) != 0 || context[skip + 36] != '/')
		return false;
	memcpy(text, context + skip, 36);
	text[36] = '\0';
	if (strspn(text, "0123456789abcdef-") != 36)
		return false;
	*account = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
	return true;
}

static bytea *
seal_token(const char *token, Size token_length, const char *context, Size context_length)
{
	bytea *envelope = palloc(VARHDRSZ + token_length + ENVELOPE_OVERHEAD);
	pg_uuid_t account;
	DataKey key;
	bool sealed;

	active_data_key(read_account(context, context_length, &account) ? &account : NULL, &key);
	SET_VARSIZE(envelope, VARHDRSZ + token_length + ENVELOPE_OVERHEAD);
	sealed = seal_envelope(key.bytes, key.key_id, context, context_length, (const uint8 *) token,
						   token_length, (uint8 *) VARDATA(envelope));
	OPENSSL_cleanse(&key, sizeof(key));
	if (!sealed)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("cannot seal token"), errhidestmt(true)));
	return envelope;
}

static char *
open_with_context(const uint8 *envelope, Size length, const char *context, Size context_length,
				  Size *plaintext_length)
{
	char *plaintext;
	uint32 key_id;
	DataKey key;
	bool opened;

	if (!read_envelope_key_id(envelope, length, &key_id) || !find_data_key(key_id, &key))
		fail_to_open();
	plaintext = palloc0(length - ENVELOPE_OVERHEAD + 1);
	opened =
		open_envelope(key.bytes, context, context_length, envelope, length, (uint8 *) plaintext);
	OPENSSL_cleanse(&key, sizeof(key));
	if (!opened)
		fail_to_open();
	*plaintext_length = length - ENVELOPE_OVERHEAD;
	return plaintext;
}

char *
open_token(bytea *envelope, const char *context, Size *length)
{
	return open_with_context((uint8 *) VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(envelope), context,
							 strlen(context), length);
}

/* An envelope argument; a value of another size is refused before it is detoasted. */
static bytea *
envelope_argument(Datum datum)
{
	Size size = toast_raw_datum_size(datum) - VARHDRSZ;

	if (size < ENVELOPE_MIN_BYTES || size > ENVELOPE_MAX_BYTES)
		fail_to_open();
	return DatumGetByteaPP(datum);
}

Datum
keypup_encrypt_token(PG_FUNCTION_ARGS)
{
	Size size = toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ;
	text *context = PG_GETARG_TEXT_PP(1);
	text *token;

	if (size < 1 || size > ENVELOPE_MAX_PLAINTEXT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a token has 1 to %d bytes", ENVELOPE_MAX_PLAINTEXT), errhidestmt(true)));
	token = PG_GETARG_TEXT_PP(0);
	PG_RETURN_BYTEA_P(seal_token(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), VARDATA_ANY(context),
								 VARSIZE_ANY_EXHDR(context)));
}

Datum
keypup_decrypt_token(PG_FUNCTION_ARGS)
{
	bytea *envelope = envelope_argument(PG_GETARG_DATUM(0));
	text *context = PG_GETARG_TEXT_PP(1);
	Size length;
	char *token = open_with_context((uint8 *) VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(envelope),
									VARDATA_ANY(context), VARSIZE_ANY_EXHDR(context), &length);
	text *result;

	/* Sealed elsewhere it may be anything; text must be valid. */
	if (!pg_verifymbstr(token, (int) length, true))
		fail_to_open();
	result = cstring_to_text_with_len(token, (int) length);
	OPENSSL_cleanse(token, length);
	PG_RETURN_TEXT_P(result);
}

Datum
keypup_reencrypt_token(PG_FUNCTION_ARGS)
{
	bytea *envelope = envelope_argument(PG_GETARG_DATUM(0));
	text *context = PG_GETARG_TEXT_PP(1);
	Size length;
	char *token = open_with_context((uint8 *) VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(envelope),
									VARDATA_ANY(context), VARSIZE_ANY_EXHDR(context), &length);
	bytea *result = seal_token(token, length, VARDATA_ANY(context), VARSIZE_ANY_EXHDR(context));

	OPENSSL_cleanse(token, length);
	PG_RETURN_BYTEA_P(result);
}

Datum
keypup_token_key_id(PG_FUNCTION_ARGS)
{
	bytea *envelope = envelope_argument(PG_GETARG_DATUM(0));
	uint32 key_id;

	if (!read_envelope_key_id((uint8 *) VARDATA_ANY(envelope), VARSIZE_ANY_EXHDR(envelope),
							  &key_id) ||
		key_id > PG_INT32_MAX)
		fail_to_open();
	PG_RETURN_INT32((int32) key_id);
}

Datum
keypup_check_token(PG_FUNCTION_ARGS)
{
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~+/=:-";
	Size size = toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ;
	bool valid = size >= MIN_TOKEN_BYTES && size <= MAX_TOKEN_BYTES;

	if (valid)
	{
		char *token = text_to_cstring(PG_GETARG_TEXT_PP(0));

		valid = strspn(token, allowed) == size;
		OPENSSL_cleanse(token, size);
	}
	/* A control character could end the header that the token travels in. */
	if (!valid)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("token is malformed"),
			 errhint(
				 "A token has %d to %d letters, digits and signs of \"._~+/=:-\"; check for spaces and line ends.",
				 MIN_TOKEN_BYTES, MAX_TOKEN_BYTES),
			 errhidestmt(true)));
	PG_RETURN_VOID();
}
