/*
 * secret.c
 *		Keys and tokens stand in clear here only, for as long as a function needs
 *		them, in the process that needs them: never in the postmaster, in shared
 *		memory or in a memory context that an error leaves to be reused unwiped.
 */
#include "postgres.h"

#include <malloc.h>
#include <sys/prctl.h>

#include <openssl/crypto.h>

#include "miscadmin.h"

#include "token/secret.h"

/* A power of two. Room for the tokens of all requests that a worker may prepare at once. */
#define SECURE_HEAP_BYTES (1024 * 1024)
#define SMALLEST_SECRET_BYTES 32

/* glibc's defaults: glibc.malloc.tcache_count and tcache_max. */
#define PIECES_AT_HAND 7
#define LARGEST_AT_HAND 1032

void
protect_process_memory(void)
{
	static bool is_protected = false;

	if (is_protected)
		return;
	Assert(IsUnderPostmaster || !IsPostmasterEnvironment);
	/* A plaintext passes through the executor's and libcurl's memory, too: none of it is dumped. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		ereport(ERROR, (errcode(ERRCODE_SYSTEM_ERROR),
						errmsg("could not exclude the process from core dumps: %m")));
	/* Where memory may not be locked (RLIMIT_MEMLOCK) it is still not dumped. */
	if (!CRYPTO_secure_malloc_initialized() &&
		CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SMALLEST_SECRET_BYTES) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not set memory for keys apart")));
	is_protected = true;
}

/*
 * glibc overwrites what is freed when M_PERTURB is set, except for a few small
 * pieces of each size that it keeps at hand for the next malloc: those are taken
 * and overwritten here.
 */
void
overwrite_freed_memory(void)
{
#ifdef M_PERTURB
	void *pieces[PIECES_AT_HAND];

	(void) mallopt(M_PERTURB, 0x55);
	for (size_t size = 24; size <= LARGEST_AT_HAND; size += 16)
	{
		for (int i = 0; i < PIECES_AT_HAND; i++)
		{
			pieces[i] = malloc(size);
			if (pieces[i] != NULL)
				/* All of the piece, which may be more than was asked for: explicit_bzero takes that for an overflow. */
				OPENSSL_cleanse(pieces[i], malloc_usable_size(pieces[i]));
		}
		for (int i = 0; i < PIECES_AT_HAND; i++)
			free(pieces[i]);
	}
#endif
}

static void
wipe(void *argument)
{
	Secret *secret = argument;

	if (secret->bytes != NULL)
		OPENSSL_secure_clear_free(secret->bytes, secret->length);
	secret->bytes = NULL;
}

Secret *
allocate_secret(Size length)
{
	Secret *secret = palloc0(sizeof(Secret));

	protect_process_memory();
	secret->length = length;
	secret->bytes = OPENSSL_secure_zalloc(length);
	if (secret->bytes == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("No room for a secret of %zu bytes in locked memory.", length)));
	secret->callback.func = wipe;
	secret->callback.arg = secret;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &secret->callback);
	return secret;
}

void
wipe_secret(Secret *secret)
{
	if (secret != NULL)
		wipe(secret);
}
