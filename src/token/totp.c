/*
 * totp.c
 *		One-time codes by time, as authenticator apps make them: RFC 6238 with
 *		HMAC-SHA-1, 6 digits and steps of 30 seconds, over HOTP, RFC 4226. The seed
 *		that both sides have is shown once, as the app's URI, and then sealed.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "datum.h"
#include "token/secret.h"
#include "token/token.h"

PG_FUNCTION_INFO_V1(keypup_new_totp_seed);
PG_FUNCTION_INFO_V1(keypup_find_totp_step);
PG_FUNCTION_INFO_V1(keypup_new_recovery_code);

/* RFC 4226, 4, requirement 6: 160 bits. */
#define SEED_BYTES 20
#define SEED_LETTERS 32
#define STEP_SECONDS 30
#define DIGITS 6
#define MODULUS 1000000
/* How many steps the person's clock may be off, either way: RFC 6238, 5.2 and 6. */
#define SKEW 1
#define RECOVERY_BYTES 10
#define RECOVERY_LETTERS 16
#define LETTERS_OF_GROUP 4

static const char base32_upper[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static const char base32_lower[] = "abcdefghijklmnopqrstuvwxyz234567";

static void
fail(void)
{
	ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a one-time code"),
					errhidestmt(true)));
}

/* RFC 4648, 6, of whole groups of five bytes. */
static void
write_base32(const uint8 *bytes, Size length, const char *alphabet, char *letters)
{
	Assert(length % 5 == 0);
	for (Size i = 0; i < length; i += 5)
	{
		uint64 group = 0;

		for (int j = 0; j < 5; j++)
			group = group << 8 | bytes[i + j];
		for (int j = 7; j >= 0; j--)
			*letters++ = alphabet[group >> (5 * j) & 31];
	}
}

static void
append_percent_encoded(StringInfo into, const text *part)
{
	const char *bytes = VARDATA_ANY(part);

	for (Size i = 0; i < VARSIZE_ANY_EXHDR(part); i++)
	{
		char c = bytes[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '.' || c == '_' || c == '~')
			appendStringInfoChar(into, c);
		else
			appendStringInfo(into, "%%%02X", (uint8) c);
	}
}

/* context, account, person: a row of the seed's envelope, and the URI that an app reads (otpauth). */
Datum
keypup_new_totp_seed(PG_FUNCTION_ARGS)
{
	Secret *seed = allocate_secret(SEED_BYTES);
	StringInfoData uri;
	int secret_at;
	Datum values[2];

	if (RAND_bytes(seed->bytes, SEED_BYTES) != 1)
		fail();
	values[0] = PointerGetDatum(seal_secret(seed, text_to_cstring(PG_GETARG_TEXT_PP(0))));
	initStringInfo(&uri);
	appendStringInfoString(&uri, "otpauth://totp/");
	append_percent_encoded(&uri, PG_GETARG_TEXT_PP(1));
	appendStringInfoChar(&uri, ':');
	append_percent_encoded(&uri, PG_GETARG_TEXT_PP(2));
	appendStringInfoString(&uri, "?issuer=");
	append_percent_encoded(&uri, PG_GETARG_TEXT_PP(1));
	appendStringInfo(&uri, "&algorithm=SHA1&digits=%d&period=%d&secret=", DIGITS, STEP_SECONDS);
	/* Room first, so that no copy of the seed is left behind. */
	enlargeStringInfo(&uri, SEED_LETTERS);
	secret_at = uri.len;
	write_base32(seed->bytes, SEED_BYTES, base32_upper, uri.data + secret_at);
	uri.len += SEED_LETTERS;
	wipe_secret(seed);
	values[1] = PointerGetDatum(cstring_to_text_with_len(uri.data, uri.len));
	OPENSSL_cleanse(uri.data + secret_at, SEED_LETTERS);
	return return_row(fcinfo, 2, values, NULL);
}

/* RFC 4226, 5.3. */
static void
write_code(const Secret *seed, int64 step, char *code)
{
	uint64 counter = pg_hton64((uint64) step);
	uint8 mac[EVP_MAX_MD_SIZE];
	unsigned int length = 0;
	uint32 number;
	int offset;

	if (HMAC(EVP_sha1(), seed->bytes, (int) seed->length, (uint8 *) &counter, sizeof(counter), mac,
			 &length) == NULL ||
		length != 20)
		fail();
	offset = mac[length - 1] & 0x0f;
	number = (uint32) (mac[offset] & 0x7f) << 24 | (uint32) mac[offset + 1] << 16 |
			 (uint32) mac[offset + 2] << 8 | mac[offset + 3];
	snprintf(code, DIGITS + 1, "%0*u", DIGITS, number % MODULUS);
	OPENSSL_cleanse(mac, sizeof(mac));
}

/*
 * envelope, context: the sealed seed. code: what is shown. at: when. The number of the step whose code it is, of the
 * present one and those beside it; NULL for none, also when the seed opens no more. All are computed in any case.
 */
Datum
keypup_find_totp_step(PG_FUNCTION_ARGS)
{
	const text *shown = PG_GETARG_TEXT_PP(2);
	int64 second = timestamptz_to_time_t(PG_GETARG_TIMESTAMPTZ(3));
	Secret *seed = try_open_token(PG_GETARG_BYTEA_PP(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	char digits[DIGITS + 1] = "";
	int64 found = -1;

	if (seed == NULL)
		PG_RETURN_NULL();
	if (VARSIZE_ANY_EXHDR(shown) == DIGITS)
		memcpy(digits, VARDATA_ANY(shown), DIGITS);
	for (int64 step = Max(second / STEP_SECONDS - SKEW, 0); step <= second / STEP_SECONDS + SKEW;
		 step++)
	{
		char code[DIGITS + 1];

		write_code(seed, step, code);
		if (CRYPTO_memcmp(code, digits, DIGITS) == 0)
			found = step;
		OPENSSL_cleanse(code, sizeof(code));
	}
	wipe_secret(seed);
	OPENSSL_cleanse(digits, sizeof(digits));
	if (found < 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(found);
}

/* 80 random bits, in groups of letters and digits that are told apart. */
Datum
keypup_new_recovery_code(PG_FUNCTION_ARGS)
{
	uint8 bytes[RECOVERY_BYTES];
	char letters[RECOVERY_LETTERS];
	char code[RECOVERY_LETTERS + RECOVERY_LETTERS / LETTERS_OF_GROUP];
	int length = 0;
	text *result;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		fail();
	write_base32(bytes, sizeof(bytes), base32_lower, letters);
	for (int i = 0; i < RECOVERY_LETTERS; i++)
	{
		if (i > 0 && i % LETTERS_OF_GROUP == 0)
			code[length++] = '-';
		code[length++] = letters[i];
	}
	result = cstring_to_text_with_len(code, length);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	OPENSSL_cleanse(letters, sizeof(letters));
	OPENSSL_cleanse(code, sizeof(code));
	PG_RETURN_TEXT_P(result);
}
