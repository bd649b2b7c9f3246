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

#include "audit/opening.h"
#include "compat.h"
#include "right/current_user.h"
#include "token/envelope.h"
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

static int
lower_hexadecimal_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The account that a context names, if it is of the form account:UUID/… */
static bool
read_account(const char *context, Size length, pg_uuid_t *account)
{
	static const char form[] = "account:xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx/";
	int digits = 0;

	if (length <= sizeof(form) - 1)
		return false;
	for (int i = 0; form[i] != '\0'; i++)
	{
		int digit = form[i] == 'x' ? lower_hexadecimal_digit(context[i]) : 0;

		if (form[i] == 'x' ? digit < 0 : context[i] != form[i])
			return false;
		if (form[i] != 'x')
			continue;
		if (digits % 2 == 0)
			account->data[digits / 2] = (unsigned char) (digit << 4);
		else
			account->data[digits / 2] |= (unsigned char) digit;
		digits++;
	}
	return true;
}

static bytea *
seal_bytes(const uint8 *token, Size token_length, const char *context_text, Size context_length)
{
	bytea *envelope = palloc(VARHDRSZ + token_length + ENVELOPE_OVERHEAD);
	const DataKey *key;
	pg_uuid_t account;

	key = active_data_key(read_account(context_text, context_length, &account) ? &account : NULL);
	SET_VARSIZE(envelope, VARHDRSZ + token_length + ENVELOPE_OVERHEAD);
	if (!seal_envelope(&key->cipher, key->key_id, context_text, context_length, token, token_length,
					   (uint8 *) VARDATA(envelope)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("cannot seal token"), errhidestmt(true)));
	return envelope;
}

static bytea *
seal_token(const uint8 *token, Size token_length, const text *context)
{
	return seal_bytes(token, token_length, VARDATA_ANY(context), VARSIZE_ANY_EXHDR(context));
}

bytea *
seal_secret(const Secret *secret, const char *context)
{
	if (secret->length < 1 || secret->length > ENVELOPE_MAX_PLAINTEXT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a token has 1 to %d bytes", ENVELOPE_MAX_PLAINTEXT), errhidestmt(true)));
	return seal_bytes(secret->bytes, secret->length, context, strlen(context));
}

/* Opens into plaintext, which has room; false for every failure but a missing wrapping key. */
static bool
open_into(const bytea *envelope, const char *context, Size context_length, uint8 *plaintext)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(envelope);
	Size length = VARSIZE_ANY_EXHDR(envelope);
	const DataKey *key;
	uint32 key_id;

	if (!read_envelope_key_id(bytes, length, &key_id))
		return false;
	key = find_data_key(key_id);
	return key != NULL &&
		   open_envelope(&key->cipher, context, context_length, bytes, length, plaintext);
}

Secret *
try_open_token(bytea *envelope, const char *context)
{
	Size length = VARSIZE_ANY_EXHDR(envelope);
	Secret *token;

	if (length < ENVELOPE_MIN_BYTES || length > ENVELOPE_MAX_BYTES)
		return NULL;
	token = allocate_secret(length - ENVELOPE_OVERHEAD);
	if (open_into(envelope, context, strlen(context), token->bytes))
		return token;
	wipe_secret(token);
	return NULL;
}

Secret *
open_token(bytea *envelope, const char *context)
{
	Secret *token = try_open_token(envelope, context);
	pg_uuid_t account;

	if (token == NULL)
	{
		note_unopened(read_account(context, strlen(context), &account) ? &account : NULL, context);
		fail_to_open();
	}
	return token;
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
	text *token;

	if (size < 1 || size > ENVELOPE_MAX_PLAINTEXT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a token has 1 to %d bytes", ENVELOPE_MAX_PLAINTEXT), errhidestmt(true)));
	protect_process_memory();
	token = PG_GETARG_TEXT_PP(0);
	PG_RETURN_BYTEA_P(
		seal_token((uint8 *) VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), PG_GETARG_TEXT_PP(1)));
}

Datum
keypup_decrypt_token(PG_FUNCTION_ARGS)
{
	bytea *envelope = envelope_argument(PG_GETARG_DATUM(0));
	text *context = PG_GETARG_TEXT_PP(1);
	Size length = VARSIZE_ANY_EXHDR(envelope) - ENVELOPE_OVERHEAD;
	text *token = palloc(VARHDRSZ + length);
	char *whose = text_to_cstring(context);
	pg_uuid_t account;
	/* Another context may be anything, also a token in the wrong place: it is not recorded. */
	bool has_account = read_account(whose, strlen(whose), &account);

	protect_process_memory();
	SET_VARSIZE(token, VARHDRSZ + length);
	if (!open_into(envelope, VARDATA_ANY(context), VARSIZE_ANY_EXHDR(context),
				   (uint8 *) VARDATA(token)))
	{
		note_unopened(has_account ? &account : NULL, has_account ? whose : NULL);
		fail_to_open();
	}
	/* Sealed elsewhere it may be anything; text must be valid. */
	if (!pg_verifymbstr(VARDATA(token), (int) length, true))
	{
		OPENSSL_cleanse(VARDATA(token), length);
		fail_to_open();
	}
	note_opened(owner_of_extension_function(fcinfo->flinfo->fn_oid), has_account ? &account : NULL,
				has_account ? whose : NULL);
	PG_RETURN_TEXT_P(token);
}

/* reencrypt_token(envelope, context), and with a third argument for a new context. */
Datum
keypup_reencrypt_token(PG_FUNCTION_ARGS)
{
	bytea *envelope = envelope_argument(PG_GETARG_DATUM(0));
	text *context = PG_GETARG_TEXT_PP(1);
	text *new_context = PG_NARGS() > 2 ? PG_GETARG_TEXT_PP(2) : context;
	Secret *token = allocate_secret(VARSIZE_ANY_EXHDR(envelope) - ENVELOPE_OVERHEAD);
	bytea *result;

	if (!open_into(envelope, VARDATA_ANY(context), VARSIZE_ANY_EXHDR(context), token->bytes))
		fail_to_open();
	result = seal_token(token->bytes, token->length, new_context);
	wipe_secret(token);
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
		text *token = PG_GETARG_TEXT_PP(0);

		for (Size i = 0; valid && i < size; i++)
			valid = memchr(allowed, VARDATA_ANY(token)[i], sizeof(allowed) - 1) != NULL;
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
