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
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "utils/builtins.h"

#include "compat.h"
#include "datum.h"
#include "keypup.h"
#include "shared_area.h"
#include "token/digest.h"
#include "token/secret.h"

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

/* The password, ended by a NUL; an error for one that bcrypt would not read whole. */
static Secret *
read_password(const text *password)
{
	Size length = VARSIZE_ANY_EXHDR(password);
	Secret *copy;

	if (length < 1 || length > MAX_PASSWORD_BYTES ||
		memchr(VARDATA_ANY(password), '\0', length) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a password has 1 to %d bytes", MAX_PASSWORD_BYTES),
				 errhint("A letter outside of ASCII has two or more bytes."), errhidestmt(true)));
	copy = allocate_secret(length + 1);
	memcpy(copy->bytes, VARDATA_ANY(password), length);
	return copy;
}

/* --- bcrypt, a few at a time: who guesses passwords must not have all the processors --- */

typedef struct SharedDigests
{
	ConditionVariable changed;
	int running;
} SharedDigests;

static void
start_digests(void *memory)
{
	ConditionVariableInit(&((SharedDigests *) memory)->changed);
}

static SharedDigests *shared = NULL;
static SharedArea area = {.name = "keypup digests",
						  .size = sizeof(SharedDigests),
						  .start = start_digests,
						  .memory = (void **) &shared};

void
register_digests(void)
{
	register_shared_area(&area);
}

static bool
try_turn(void)
{
	bool mine;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	mine = shared->running < keypup_max_password_digests;
	if (mine)
		shared->running++;
	LWLockRelease(area.lock);
	return mine;
}

/* Where keypup is not preloaded nobody counts. No error is raised between the turn and its end. */
static void
wait_for_turn(void)
{
	static uint32 event = 0;

	if (shared == NULL)
		return;
	ConditionVariablePrepareToSleep(&shared->changed);
	while (!try_turn())
		ConditionVariableSleep(&shared->changed, keypup_wait_event(&event, "KeypupDigest"));
	ConditionVariableCancelSleep();
}

static void
end_turn(void)
{
	if (shared == NULL)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	shared->running--;
	LWLockRelease(area.lock);
	/* All of them: one that is cancelled just now would keep a signal that is meant for one to itself. */
	ConditionVariableBroadcast(&shared->changed);
}

/* bcrypt's answer in CurrentMemoryContext; NULL when setting is none of bcrypt's. */
static char *
compute_bcrypt(const Secret *password, const char *setting)
{
	Secret *work = allocate_secret(sizeof(struct crypt_data));
	char *answer;

	wait_for_turn();
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
