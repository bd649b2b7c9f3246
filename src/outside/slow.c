/*
 * slow.c
 *		A server that drips keeps each of its requests under way until that is given
 *		up. Accounts of which that is so would have all requests that a worker may have
 *		under way, few as they are; job.c leaves them half of those.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "outside/slow.h"

#define SLOW_MILLISECONDS 6000
#define MEMORY_MILLISECONDS 60000

typedef struct SlowAccount
{
	pg_uuid_t account;
	TimestampTz until;
} SlowAccount;

/* Of more the one goes that was slow first. */
static SlowAccount places[SLOW_ACCOUNTS];

static SlowAccount *
find_slow(const pg_uuid_t *account, TimestampTz now)
{
	for (int i = 0; i < SLOW_ACCOUNTS; i++)
	{
		if (places[i].until > now && memcmp(&places[i].account, account, sizeof(*account)) == 0)
			return &places[i];
	}
	return NULL;
}

void
note_wait(const pg_uuid_t *account, TimestampTz since)
{
	TimestampTz now = GetCurrentTimestamp();
	SlowAccount *place;

	if (!TimestampDifferenceExceeds(since, now, SLOW_MILLISECONDS))
		return;
	place = find_slow(account, now);
	if (place == NULL)
	{
		place = &places[0];
		for (int i = 1; i < SLOW_ACCOUNTS; i++)
		{
			if (places[i].until < place->until)
				place = &places[i];
		}
		place->account = *account;
	}
	place->until = TimestampTzPlusMilliseconds(now, MEMORY_MILLISECONDS);
}

bool
is_slow(const pg_uuid_t *account)
{
	return find_slow(account, GetCurrentTimestamp()) != NULL;
}

int
list_slow(Datum *accounts)
{
	TimestampTz now = GetCurrentTimestamp();
	int count = 0;

	for (int i = 0; i < SLOW_ACCOUNTS; i++)
	{
		if (places[i].until > now)
			accounts[count++] = UUIDPGetDatum(&places[i].account);
	}
	return count;
}
