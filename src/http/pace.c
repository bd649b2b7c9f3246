/*
 * pace.c
 *		Budgets by token, in shared memory: a token that two databases use has one
 *		budget. Numbers and times only; no token can be read from them.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/timestamp.h"

#include "http/pace.h"
#include "keypup.h"
#include "shared_area.h"

PG_FUNCTION_INFO_V1(keypup_forget_paces);

#define PLACES 1024
/* A token may stand at any of so many places; the one that was used longest ago gives way. */
#define WAYS 8

typedef struct Pace
{
	PaceKey key; /* 0: free */
	TimestampTz used_at;
	PaceReport report;
} Pace;

typedef struct SharedPaces
{
	uint64 seed; /* draw_seed's */
	Pace places[PLACES];
} SharedPaces;

static SharedPaces *shared = NULL;
static SharedArea area = {.name = "keypup paces",
						  .size = sizeof(SharedPaces),
						  .start = draw_seed,
						  .memory = (void **) &shared};

void
register_paces(void)
{
	register_shared_area(&area);
}

PaceKey
pace_key(const Secret *token)
{
	PaceKey key;

	if (shared == NULL)
		return 0;
	key = hash_bytes_extended(token->bytes, (int) token->length, shared->seed);
	return key == 0 ? 1 : key;
}

/* The lock is held. */
static Pace *
find_pace(PaceKey key)
{
	Pace *oldest = NULL;

	for (int i = 0; i < WAYS; i++)
	{
		Pace *place = &shared->places[(key + (uint64) i * 0x9E3779B97F4A7C15) % PLACES];

		if (place->key == key)
			return place;
		if (oldest == NULL || place->used_at < oldest->used_at)
			oldest = place;
	}
	memset(oldest, 0, sizeof(*oldest));
	oldest->key = key;
	oldest->report.limit = oldest->report.remaining = -1;
	return oldest;
}

bool
pace_admits(PaceKey key, TimestampTz *until)
{
	TimestampTz now = GetCurrentTimestamp();
	bool admitted = true;
	Pace *pace;

	if (shared == NULL)
		return true;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	pace = find_pace(key);
	pace->used_at = now;
	if (pace->report.blocked_until > now)
	{
		*until = pace->report.blocked_until;
		admitted = false;
	}
	else if (pace->report.reset_at > now && pace->report.remaining >= 0 &&
			 pace->report.remaining * 100 <= pace->report.limit * keypup_rate_reserve)
	{
		*until = pace->report.reset_at;
		admitted = false;
	}
	else if (pace->report.remaining > 0)
		pace->report.remaining--;
	LWLockRelease(area.lock);
	return admitted;
}

void
note_pace(PaceKey key, const PaceReport *report)
{
	Pace *pace;

	if (shared == NULL)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	pace = find_pace(key);
	pace->used_at = GetCurrentTimestamp();
	if (report->remaining >= 0)
	{
		/* Answers overtake each other: of one hour the least that was left is true. */
		if (report->reset_at != pace->report.reset_at || pace->report.remaining < 0 ||
			report->remaining < pace->report.remaining)
			pace->report.remaining = report->remaining;
		pace->report.limit = report->limit;
		pace->report.reset_at = report->reset_at;
	}
	if (report->blocked_until > pace->report.blocked_until)
		pace->report.blocked_until = report->blocked_until;
	LWLockRelease(area.lock);
}

/* What providers told of budgets and pauses is forgotten: their next answers tell anew. */
Datum
keypup_forget_paces(PG_FUNCTION_ARGS)
{
	if (shared != NULL)
	{
		LWLockAcquire(area.lock, LW_EXCLUSIVE);
		memset(shared->places, 0, sizeof(shared->places));
		LWLockRelease(area.lock);
	}
	PG_RETURN_VOID();
}
