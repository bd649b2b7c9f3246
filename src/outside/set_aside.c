/*
 * set_aside.c
 *		Accounts that would hold others up, as this process remembers them.
 *
 * A customer's open transaction may hold what a step needs, for as long as the
 * customer likes. A step gives up after a moment (settings.c); that the moment is
 * not spent again for each job of the account, the account is left alone for a
 * while.
 *
 * A server that drips keeps each of its requests under way until that is given
 * up. Accounts of which that is so would have all requests that a worker may have
 * under way, few as they are; job.c leaves them half of those.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "outside/set_aside.h"
#include "pinned_settings.h"
#include "right/current_user.h"

#define PLACES 256
#define FIRST_MILLISECONDS 1000
#define LAST_MILLISECONDS 32000
#define SLOW_MILLISECONDS 6000
/* An account whose locks were free for so long begins anew. That one step had its locks tells nothing of the next. */
#define MEMORY_MILLISECONDS 60000
/* What is in flight for an account that is set aside still tries, but does not wait. */
#define NO_WAIT "10ms"

typedef struct Hindrance
{
	pg_uuid_t account;
	int milliseconds; /* for which it was set aside last; 0: it was not */
	TimestampTz aside_until;
	TimestampTz slow_until;
} Hindrance;

/* Of more accounts the one goes of which nothing has been true for longest. */
static Hindrance places[PLACES];

static TimestampTz
last_until(const Hindrance *place)
{
	return Max(place->aside_until, place->slow_until);
}

/* NULL: nothing is known of it. */
static Hindrance *
find_place(const pg_uuid_t *account)
{
	for (int i = 0; i < PLACES; i++)
	{
		if (last_until(&places[i]) > 0 &&
			memcmp(&places[i].account, account, sizeof(*account)) == 0)
			return &places[i];
	}
	return NULL;
}

static Hindrance *
make_place(const pg_uuid_t *account)
{
	Hindrance *place = find_place(account);

	if (place != NULL)
		return place;
	place = &places[0];
	for (int i = 1; i < PLACES; i++)
	{
		if (last_until(&places[i]) < last_until(place))
			place = &places[i];
	}
	*place = (Hindrance){.account = *account};
	return place;
}

/* --- somebody holds a lock --- */

bool
is_set_aside(const pg_uuid_t *account)
{
	Hindrance *place = find_place(account);

	return place != NULL && place->aside_until > GetCurrentTimestamp();
}

static void
set_aside(const pg_uuid_t *account)
{
	TimestampTz now = GetCurrentTimestamp();
	Hindrance *place = make_place(account);

	/* Others of its jobs were under way when it was set aside. */
	if (place->aside_until > now)
		return;
	if (TimestampDifferenceExceeds(place->aside_until, now, MEMORY_MILLISECONDS))
		place->milliseconds = 0;
	place->milliseconds = place->milliseconds == 0
							  ? FIRST_MILLISECONDS
							  : Min(2 * place->milliseconds, LAST_MILLISECONDS);
	place->aside_until = TimestampTzPlusMilliseconds(now, place->milliseconds);
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

/* --- its provider is slow --- */

void
note_wait(const pg_uuid_t *account, TimestampTz since)
{
	TimestampTz now = GetCurrentTimestamp();

	if (TimestampDifferenceExceeds(since, now, SLOW_MILLISECONDS))
		make_place(account)->slow_until = TimestampTzPlusMilliseconds(now, MEMORY_MILLISECONDS);
}

bool
is_slow(const pg_uuid_t *account)
{
	Hindrance *place = find_place(account);

	return place != NULL && place->slow_until > GetCurrentTimestamp();
}

/* --- both --- */

Datum
accounts_set_aside(bool slow_too)
{
	TimestampTz now = GetCurrentTimestamp();
	Datum accounts[PLACES];
	int count = 0;

	for (int i = 0; i < PLACES; i++)
	{
		if (places[i].aside_until > now || (slow_too && places[i].slow_until > now))
			accounts[count++] = UUIDPGetDatum(&places[i].account);
	}
	return PointerGetDatum(
		construct_array(accounts, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}
