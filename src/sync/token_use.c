/*
 * token_use.c
 *		Each request shows a token, and a record for each would be more than what
 *		was read. So they are counted in the process that sends them, and the first is
 *		recorded before it is sent: whoever calls keypup.sync may end the CALL. What was
 *		counted in the last minute may be lost by that, or by kill -9.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "sync/token_use.h"

#define PAUSE_MILLISECONDS 60000
/* A connection whose token was not used for so long is forgotten: it may be gone. */
#define MEMORY_MILLISECONDS 3600000

typedef struct TokenOfConnection
{
	pg_uuid_t account;
	pg_uuid_t connection;
} TokenOfConnection;

typedef struct TokenUse
{
	TokenOfConnection token; /* the key */
	int64 times; /* that are not recorded yet */
	TimestampTz first_at;
	TimestampTz last_at;
	TimestampTz recorded_at; /* 0: never */
	struct TokenUse *next;
} TokenUse;

static HTAB *uses = NULL;
/* All of them: a scan of the table does not outlive a transaction. */
static TokenUse *newest = NULL;
static int64 unrecorded = 0;

void
count_token_use(const pg_uuid_t *account, const pg_uuid_t *connection)
{
	TokenOfConnection token = {*account, *connection};
	bool found;
	TokenUse *use;

	if (uses == NULL)
	{
		HASHCTL control = {.keysize = sizeof(TokenOfConnection),
						   .entrysize = sizeof(TokenUse),
						   .hcxt = TopMemoryContext};

		uses =
			hash_create("keypup token uses", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	use = hash_search(uses, &token, HASH_ENTER, &found);
	if (!found)
	{
		use->times = use->recorded_at = 0;
		use->next = newest;
		newest = use;
	}
	use->last_at = GetCurrentTimestamp();
	if (use->times++ == 0)
		use->first_at = use->last_at;
	unrecorded++;
}

/* An action. */
static void
record_token_use(void *argument)
{
	TokenUse *use = argument;
	Oid types[] = {UUIDOID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	Datum values[] = {UUIDPGetDatum(&use->token.account), UUIDPGetDatum(&use->token.connection),
					  TimestampTzGetDatum(use->first_at), TimestampTzGetDatum(use->last_at),
					  Int64GetDatum(use->times)};

	run_query("SELECT keypup.record_token_use($1, $2, $3, $4, $5, 'done'::pg_catalog.text)",
			  lengthof(types), types, values, NULL);
}

/* Whether it is to be recorded now. */
static bool
is_due(const TokenUse *use, TimestampTz now)
{
	return use->times > 0 && TimestampDifferenceExceeds(use->recorded_at, now, PAUSE_MILLISECONDS);
}

/* In a step. What another holds is left for another time. */
static void
record_use(TokenUse *use, TimestampTz now)
{
	StepError *error = try_action(record_token_use, use);

	if (error != NULL && !error->is_lock)
		ereport(LOG, (errmsg("keypup could not record the use of a token: %s", error->message)));
	if (error == NULL)
	{
		unrecorded -= use->times;
		use->times = 0;
	}
	use->recorded_at = now;
}

void
record_due_token_uses(void)
{
	TimestampTz now = GetCurrentTimestamp();

	for (TokenUse *use = newest; use != NULL; use = use->next)
	{
		if (is_due(use, now))
			record_use(use, now);
	}
}

static void
forget_old_uses(TimestampTz now)
{
	TokenUse **place = &newest;

	while (*place != NULL)
	{
		TokenUse *use = *place;

		if (use->times > 0 || !TimestampDifferenceExceeds(use->last_at, now, MEMORY_MILLISECONDS))
		{
			place = &use->next;
			continue;
		}
		*place = use->next;
		(void) hash_search(uses, &use->token, HASH_REMOVE, NULL);
	}
}

void
record_token_uses(Steps *steps, bool all)
{
	TimestampTz now;

	if (unrecorded == 0)
		return;
	now = GetCurrentTimestamp();
	forget_old_uses(now);
	for (TokenUse *use = newest; use != NULL; use = use->next)
	{
		if (use->times == 0 || (!all && !is_due(use, now)))
			continue;
		begin_step(steps);
		record_use(use, now);
		end_step(steps);
		reset_step(steps);
	}
}
