/*
 * digest.c
 *		Digests of secrets that need not be read back. SHA-256 for those that we
 *		made ourselves, of 192 random bits; bcrypt for passwords, which people
 *		choose and which must be slow to guess.
 */
#include "postgres.h"

#include <crypt.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"
#include "datum.h"
#include "keypup.h"
#include "token/digest.h"
#include "token/secret.h"
#include "token/turn.h"

PG_FUNCTION_INFO_V1(keypup_new_api_key);
PG_FUNCTION_INFO_V1(keypup_digest_secret);
PG_FUNCTION_INFO_V1(keypup_secret_matches);
PG_FUNCTION_INFO_V1(keypup_hash_password);
PG_FUNCTION_INFO_V1(keypup_password_matches);

#define DIGEST_BYTES 32
#define API_KEY_MARK "keypup_"
#define PREFIX_BYTES 4
#define API_KEY_BYTES 24
/* bcrypt reads no further: two longer passwords with the same beginning would be one. */
#define MAX_PASSWORD_BYTES 72
#define SALT_BYTES 16
#define BCRYPT_PREFIX "$2b$"
#define MIN_BCRYPT_COST 4
#define MAX_BCRYPT_COST 16 /* that keypup.bcrypt_cost may be */

static void
fail_to_digest(void)
{
	ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a digest"),
					errhidestmt(true)));
}

static bytea *
digest_bytes(const void *bytes, Size length)
{
	bytea *digest = palloc(VARHDRSZ + DIGEST_BYTES);

	SET_VARSIZE(digest, VARHDRSZ + DIGEST_BYTES);
	if (EVP_Digest(bytes, length, (unsigned char *) VARDATA(digest), NULL, EVP_sha256(), NULL) != 1)
		fail_to_digest();
	return digest;
}

/* A row of api_key, prefix, digest. */
Datum
keypup_new_api_key(PG_FUNCTION_ARGS)
{
	Secret *random = allocate_secret(PREFIX_BYTES + API_KEY_BYTES);
	char key[sizeof(API_KEY_MARK) + 2 * (PREFIX_BYTES + API_KEY_BYTES) + 1];
	char *prefix_end;
	char *end;
	Datum values[3];

	if (RAND_bytes(random->bytes, (int) random->length) != 1)
		fail_to_digest();
	memcpy(key, API_KEY_MARK, sizeof(API_KEY_MARK) - 1);
	prefix_end = key + sizeof(API_KEY_MARK) - 1;
	prefix_end += hex_encode((char *) random->bytes, PREFIX_BYTES, prefix_end);
	*prefix_end = '_';
	end = prefix_end + 1;
	end += hex_encode((char *) random->bytes + PREFIX_BYTES, API_KEY_BYTES, end);
	wipe_secret(random);

	values[0] = PointerGetDatum(cstring_to_text_with_len(key, (int) (end - key)));
	values[1] = PointerGetDatum(cstring_to_text_with_len(key, (int) (prefix_end - key)));
	values[2] = PointerGetDatum(digest_bytes(key, (Size) (end - key)));
	OPENSSL_cleanse(key, sizeof(key));
	return return_row(fcinfo, 3, values, NULL);
}

Datum
keypup_digest_secret(PG_FUNCTION_ARGS)
{
	text *secret = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BYTEA_P(digest_bytes(VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret)));
}

Datum
keypup_secret_matches(PG_FUNCTION_ARGS)
{
	text *secret = PG_GETARG_TEXT_PP(0);
	bytea *expected = PG_GETARG_BYTEA_PP(1);
	bytea *digest = digest_bytes(VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret));

	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(expected) == DIGEST_BYTES &&
				   CRYPTO_memcmp(VARDATA(digest), VARDATA_ANY(expected), DIGEST_BYTES) == 0);
}

/* Whether bcrypt would read all of it. */
static bool
is_usable(const text *password)
{
	Size length = VARSIZE_ANY_EXHDR(password);

	return length >= 1 && length <= MAX_PASSWORD_BYTES &&
		   memchr(VARDATA_ANY(password), '\0', length) == NULL;
}

/* The password, ended by a NUL; an error for one that bcrypt would not read whole. */
static Secret *
read_password(const text *password)
{
	Size length = VARSIZE_ANY_EXHDR(password);
	Secret *copy;

	if (!is_usable(password))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a password has 1 to %d bytes", MAX_PASSWORD_BYTES),
				 errhint("A letter outside of ASCII has two or more bytes."), errhidestmt(true)));
	copy = allocate_secret(length + 1);
	memcpy(copy->bytes, VARDATA_ANY(password), length);
	return copy;
}

/* --- bcrypt --- */

/* bcrypt's answer in CurrentMemoryContext; NULL when setting is none of bcrypt's. */
static char *
compute_bcrypt(const Secret *password, const char *setting)
{
	Secret *work = allocate_secret(sizeof(struct crypt_data));
	char *answer;

	take_turn(0);
	answer = crypt_rn((char *) password->bytes, setting, work->bytes, (int) work->length);
	end_turn();
	answer = answer == NULL ? NULL : pstrdup(answer);
	wipe_secret(work);
	return answer;
}

Datum
keypup_hash_password(PG_FUNCTION_ARGS)
{
	Secret *password = read_password(PG_GETARG_TEXT_PP(0));
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	char salt[SALT_BYTES];
	char *hash = NULL;

	if (RAND_bytes((unsigned char *) salt, sizeof(salt)) == 1 &&
		crypt_gensalt_rn(BCRYPT_PREFIX, (unsigned long) keypup_bcrypt_cost, salt, sizeof(salt),
						 setting, sizeof(setting)) != NULL)
		hash = compute_bcrypt(password, setting);
	wipe_secret(password);
	if (hash == NULL)
		fail_to_digest();
	PG_RETURN_TEXT_P(cstring_to_text(hash));
}

Datum
keypup_password_matches(PG_FUNCTION_ARGS)
{
	Secret *password = read_password(PG_GETARG_TEXT_PP(0));
	char *expected = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Size length = strlen(expected);
	char *hash;

	/* libcrypt knows weaker ways; a digest of theirs is none of ours. */
	if (strncmp(expected, BCRYPT_PREFIX, sizeof(BCRYPT_PREFIX) - 1) != 0 ||
		(hash = compute_bcrypt(password, expected)) == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("the digest is not one of bcrypt"),
						errhint("keypup.hash_password makes one."), errhidestmt(true)));
	wipe_secret(password);
	PG_RETURN_BOOL(strlen(hash) == length && CRYPTO_memcmp(hash, expected, length) == 0);
}

/* --- a password that is shown, at the same price whatever the answer --- */

struct PasswordCheck
{
	Secret *password; /* ended by a NUL */
	Secret *work;
	const char *hash;
	int hash_cost;
	int cost;
	bool can_match;
};

/* Any digest of that cost; the salt is nobody's. */
static void
write_setting(char *setting, Size size, int cost)
{
	snprintf(setting, size, BCRYPT_PREFIX "%02d$CCCCCCCCCCCCCCCCCCCCC.", cost);
}

/* 0 for what is no digest of bcrypt: libcrypt knows weaker ways. */
static int
read_cost(const char *hash)
{
	const Size prefix = sizeof(BCRYPT_PREFIX) - 1;

	if (strncmp(hash, BCRYPT_PREFIX, prefix) != 0 || strspn(hash + prefix, "0123456789") != 2)
		return 0;
	return atoi(hash + prefix);
}

PasswordCheck *
prepare_password_check(const text *password, const text *hash, int cost)
{
	PasswordCheck *check = palloc(sizeof(PasswordCheck));
	char *known = hash == NULL ? NULL : text_to_cstring(hash);

	check->cost = Min(Max(cost, MIN_BCRYPT_COST), MAX_BCRYPT_COST);
	check->hash_cost = known == NULL ? 0 : read_cost(known);
	check->can_match = password != NULL && is_usable(password) && check->hash_cost > 0;
	if (check->hash_cost == 0)
	{
		known = palloc(CRYPT_OUTPUT_SIZE);
		check->hash_cost = check->cost;
		write_setting(known, CRYPT_OUTPUT_SIZE, check->cost);
	}
	check->hash = known;
	check->password = allocate_secret(MAX_PASSWORD_BYTES + 1);
	if (password != NULL && is_usable(password))
		memcpy(check->password->bytes, VARDATA_ANY(password), VARSIZE_ANY_EXHDR(password));
	check->work = allocate_secret(sizeof(struct crypt_data));
	return check;
}

bool
run_password_check(PasswordCheck *check)
{
	Size length = strlen(check->hash);
	char setting[CRYPT_OUTPUT_SIZE];
	const char *answer;
	bool is_right;

	answer = crypt_rn((char *) check->password->bytes, check->hash, check->work->bytes,
					  (int) check->work->length);
	is_right = answer != NULL && strlen(answer) == length &&
			   CRYPTO_memcmp(answer, check->hash, length) == 0 && check->can_match;
	/* A digest that was made when less was asked for: 2^c and 2^c + ... + 2^(cost - 1) are 2^cost. */
	for (int cost = check->hash_cost; cost < check->cost; cost++)
	{
		write_setting(setting, sizeof(setting), cost);
		(void) crypt_rn((char *) check->password->bytes, setting, check->work->bytes,
						(int) check->work->length);
	}
	OPENSSL_cleanse(check->work->bytes, check->work->length);
	OPENSSL_cleanse(check->password->bytes, check->password->length);
	return is_right;
}
