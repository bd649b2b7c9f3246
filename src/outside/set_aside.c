/*
 * set_aside.c
 *		A customer's open transaction may hold what a step needs, for as long as the
 *		customer likes. A step gives up after a moment (settings.c); that the moment is
 *		not spent again for each job of the account, the account is left alone for a
 *		while, by this process.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "outside/set_aside.h"
#include "outside/slow.h"
#include "pinned_settings.h"
#include "right/current_user.h"

#define PLACES 256
#define FIRST_MILLISECONDS 1000
#define LAST_MILLISECONDS 32000
/* An account whose locks were free for so long begins anew. That one step had its locks tells nothing of the next. */
#define MEMORY_MILLISECONDS 60000
/* What is in flight for an account that is set aside still tries, but does not wait. */
#define NO_WAIT "10ms"

typedef struct SetAside
{
	pg_uuid_t account;
	int milliseconds; /* 0: the place is free */
	TimestampTz until;
} SetAside;

static SetAside places[PLACES];

static SetAside *
find_place(const pg_uuid_t *account)
{
	for (int i = 0; i < PLACES; i++)
	{
		if (places[i].milliseconds > 0 &&
			memcmp(&places[i].account, account, sizeof(*account)) == 0)
			return &places[i];
	}
	return NULL;
}

bool
is_set_aside(const pg_uuid_t *account)
{
	SetAside *place = find_place(account);

	return place != NULL && place->until > GetCurrentTimestamp();
}

static SetAside *
oldest_place(void)
{
	SetAside *oldest = &places[0];

	for (int i = 0; i < PLACES; i++)
	{
		if (places[i].until < oldest->until)
			oldest = &places[i];
	}
	return oldest;
}

static void
set_aside(const pg_uuid_t *account)
{
	TimestampTz now = GetCurrentTimestamp();
	SetAside *place = find_place(account);

	/* Others of its jobs were under way when it was set aside. */
	if (place != NULL && place->until > now)
		return;
	if (place == NULL)
	{
		place = oldest_place();
		place->milliseconds = 0;
	}
	else if (TimestampDifferenceExceeds(place->until, now, MEMORY_MILLISECONDS))
		place->milliseconds = 0;
	place->account = *account;
	place->milliseconds = place->milliseconds == 0
							  ? FIRST_MILLISECONDS
							  : Min(2 * place->milliseconds, LAST_MILLISECONDS);
	place->until = TimestampTzPlusMilliseconds(now, place->milliseconds);
}

void
begin_account_step(Steps *steps, const pg_uuid_t *account)
{
	begin_step(steps);
	if (is_set_aside(account))
		limit_lock_waits(NO_WAIT);
	set_job_account(account);
}

StepError *
try_for_account(const pg_uuid_t *account, void (*action)(void *), void *argument)
{
	StepError *error = try_action(action, argument);

	if (error != NULL && error->is_lock)
		set_aside(account);
	return error;
}

Datum
accounts_set_aside(bool slow_too)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum accounts[PLACES + SLOW_ACCOUNTS];
	int count = 0;

	for (int i = 0; i < PLACES; i++)
	{
		if (places[i].until > now)
			accounts[count++] = UUIDPGetDatum(&places[i].account);
	}
	if (slow_too)
		count += list_slow(accounts + count);
	return PointerGetDatum(
		construct_array(accounts, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}
