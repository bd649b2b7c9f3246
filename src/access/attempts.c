/*
 * attempts.c
 *		Counts failed sign-ins of each name, whether there is such a person or not.
 *
 * The count is outside of transactions, since the sign-in that fails rolls its
 * own back. An attempt counts when it begins: twenty guesses at once are
 * twenty. After FREE_FAILURES each further one doubles the pause. A restart of
 * the server forgets; numbers only are kept, and no name.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/timestamp.h"

#include "access/attempts.h"
#include "compat.h"
#include "shared_area.h"

PG_FUNCTION_INFO_V1(keypup_begin_attempt);
PG_FUNCTION_INFO_V1(keypup_end_attempts);

#define PLACES 4096
/* A name may stand at any of so many places, so that names do not push each other out at will. */
#define WAYS 8
#define FREE_FAILURES 5
#define FIRST_PAUSE_SECONDS 30
#define LONGEST_PAUSE_SECONDS 3600

typedef struct Attempts
{
	uint64 name; /* hash; 0: free */
	int32 count;
	TimestampTz last;
} Attempts;

typedef struct SharedAttempts
{
	uint64 seed; /* draw_seed's: the hash is nobody's to foresee */
	Attempts places[PLACES];
} SharedAttempts;

static SharedAttempts *shared = NULL;
static SharedArea area = {.name = "keypup attempts",
						  .size = sizeof(SharedAttempts),
						  .start = draw_seed,
						  .memory = (void **) &shared};

void
register_attempts(void)
{
	register_shared_area(&area);
}

static uint64
hash_name(const text *name)
{
	uint64 hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(name),
									  (int) VARSIZE_ANY_EXHDR(name), shared->seed);

	return hash == 0 ? 1 : hash;
}

/* The place of a name, or else the one that was used longest ago. The lock is held. */
static Attempts *
find_place(uint64 name)
{
	Attempts *oldest = NULL;

	for (int i = 0; i < WAYS; i++)
	{
		Attempts *place = &shared->places[(name + (uint64) i * 0x9E3779B97F4A7C15) % PLACES];

		if (place->name == name)
			return place;
		if (oldest == NULL || place->name == 0 || (oldest->name != 0 && place->last < oldest->last))
			oldest = place;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->name = name;
	return oldest;
}

static int
pause_seconds(int32 count)
{
	int doublings = Min(count - FREE_FAILURES, 16);

	if (doublings < 0)
		return 0;
	return (int) Min((int64) FIRST_PAUSE_SECONDS << doublings, LONGEST_PAUSE_SECONDS);
}

/* Counts an attempt; NULL when it may go on, or how many seconds are left to wait. */
Datum
keypup_begin_attempt(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	Attempts *attempts;
	uint64 name;
	int wait = 0;

	require_shared_area(&area);
	name = hash_name(PG_GETARG_TEXT_PP(0));
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	attempts = find_place(name);
	if (attempts->count >= FREE_FAILURES)
	{
		TimestampTz until = TimestampTzPlusMilliseconds(
			attempts->last, INT64CONST(1000) * pause_seconds(attempts->count));

		/* A clock that was set back locks nobody out for longer. */
		if (attempts->last <= now && until > now)
			wait = (int) ((until - now) / USECS_PER_SEC) + 1;
	}
	if (wait == 0)
	{
		attempts->count++;
		attempts->last = now;
	}
	LWLockRelease(area.lock);
	if (wait == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(wait);
}

Datum
keypup_end_attempts(PG_FUNCTION_ARGS)
{
	Attempts *attempts;
	uint64 name;

	require_shared_area(&area);
	name = hash_name(PG_GETARG_TEXT_PP(0));
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	attempts = find_place(name);
	memset(attempts, 0, sizeof(*attempts));
	LWLockRelease(area.lock);
	PG_RETURN_VOID();
}
