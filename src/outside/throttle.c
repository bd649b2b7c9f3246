/*
 * throttle.c
 *		Whoever signs in with a token of a provider, or asks what could be tracked,
 *		has the worker ask outside. So many questions a minute are answered
 *		(keypup.questions_per_minute) for an account, each kind by itself: who floods
 *		its sign-in does not hold up its discovery. Of these a source, which is a
 *		database role at an address, has two thirds, so that none can have them all.
 *
 * Each is a token bucket, kept as the time at which it is full again. Those of
 * accounts and those of sources stand in tables of their own: whoever comes from
 * many places pushes out no account's. Outside of transactions, so that a rollback
 * gives nothing back. A restart forgets; numbers only are kept.
 */
#include "postgres.h"

#include <sys/socket.h>

#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inet.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "keypup.h"
#include "outside/throttle.h"
#include "shared_area.h"

PG_FUNCTION_INFO_V1(keypup_admit_question);

#define PLACES 2048
/* A bucket may stand at any of so many places; the one that is full first gives way. */
#define WAYS 8
#define MINUTE (60 * USECS_PER_SEC)

typedef struct Bucket
{
	uint64 key; /* hash; 0: free */
	TimestampTz full_at; /* past: it is full, and may be forgotten */
} Bucket;

typedef struct SharedBuckets
{
	uint64 seed; /* draw_seed's: the hash is nobody's to foresee */
	Bucket accounts[PLACES];
	Bucket sources[PLACES];
} SharedBuckets;

static SharedBuckets *shared = NULL;
static SharedArea area = {.name = "keypup throttle",
						  .size = sizeof(SharedBuckets),
						  .start = draw_seed,
						  .memory = (void **) &shared};

void
register_throttle(void)
{
	register_shared_area(&area);
}

/* --- what is hashed --- */

static uint64
mix(uint64 hash, const void *bytes, Size length)
{
	return hash_bytes_extended(bytes, (int) length, hash);
}

static uint64
hash_account(const char *kind, const pg_uuid_t *account)
{
	uint64 hash = mix(shared->seed, &MyDatabaseId, sizeof(MyDatabaseId));

	hash = mix(hash, kind, strlen(kind));
	hash = mix(hash, account, sizeof(*account));
	return hash == 0 ? 1 : hash;
}

/* The current session's, within what is hashed already. Raises out of memory only. */
static uint64
hash_source(uint64 hash)
{
	LOCAL_FCINFO(call, 0);
	Oid role = GetSessionUserId();
	Datum address;

	hash = mix(hash, &role, sizeof(role));
	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(call);
	if (!call->isnull)
	{
		inet *client = DatumGetInetPP(address);

		/* Of IPv6, whoever has one address has a network of them. */
		hash = mix(hash, ip_addr(client), ip_family(client) == PGSQL_AF_INET6 ? 8 : 4);
	}
	return hash == 0 ? 1 : hash;
}

/* --- buckets: the lock is held --- */

static Bucket *
find_bucket(Bucket *buckets, uint64 key)
{
	Bucket *first = NULL;

	for (int i = 0; i < WAYS; i++)
	{
		Bucket *bucket = &buckets[(key + (uint64) i * 0x9E3779B97F4A7C15) % PLACES];

		if (bucket->key == key)
			return bucket;
		if (first == NULL || bucket->full_at < first->full_at)
			first = bucket;
	}
	first->key = key;
	first->full_at = 0;
	return first;
}

/* When the bucket would be full again with one question less. */
static TimestampTz
next_full_at(Bucket *bucket, TimestampTz now, int a_minute)
{
	/* A clock that was set back empties none. */
	TimestampTz full_at = Min(Max(bucket->full_at, now), now + MINUTE);

	return full_at + MINUTE / a_minute;
}

static int
rate_of_source(void)
{
	return Max(1, keypup_questions_per_minute * 2 / 3);
}

int
admit_question(const char *kind, const pg_uuid_t *account, bool of_session)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz latest = now + MINUTE;
	TimestampTz of_account_at;
	TimestampTz of_source_at = 0;
	Bucket *of_account;
	Bucket *of_source = NULL;
	uint64 key;
	uint64 source;
	TimestampTz full_at;

	require_shared_area(&area);
	key = hash_account(kind, account);
	source = of_session ? hash_source(key) : 0;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	of_account = find_bucket(shared->accounts, key);
	of_account_at = next_full_at(of_account, now, keypup_questions_per_minute);
	if (of_session)
	{
		of_source = find_bucket(shared->sources, source);
		of_source_at = next_full_at(of_source, now, rate_of_source());
	}
	full_at = Max(of_account_at, of_source_at);
	if (full_at <= latest)
	{
		of_account->full_at = of_account_at;
		if (of_source != NULL)
			of_source->full_at = of_source_at;
	}
	LWLockRelease(area.lock);
	return full_at <= latest ? 0 : (int) ((full_at - latest) / USECS_PER_SEC) + 1;
}

void
take_back_question(const char *kind, const pg_uuid_t *account)
{
	uint64 key = hash_account(kind, account);
	uint64 source = hash_source(key);

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	find_bucket(shared->accounts, key)->full_at -= MINUTE / keypup_questions_per_minute;
	find_bucket(shared->sources, source)->full_at -= MINUTE / rate_of_source();
	LWLockRelease(area.lock);
}

/* kind text, account uuid -> whether a worker may ask one more now. Without preload there is nothing to share. */
Datum
keypup_admit_question(PG_FUNCTION_ARGS)
{
	char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_BOOL(shared == NULL || admit_question(kind, PG_GETARG_UUID_P(1), false) == 0);
}
