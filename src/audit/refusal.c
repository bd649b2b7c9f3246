/*
 * refusal.c
 *		What is refused ends in an error, and the error rolls back what the
 *		refused transaction wrote. So a refusal is left in shared memory, and the
 *		worker of the database puts it into the audit log in a transaction of its
 *		own.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "audit/refusal.h"
#include "compat.h"
#include "shared_area.h"
#include "sync/worker_list.h"

PG_FUNCTION_INFO_V1(keypup_note_refusal);

#define PLACES 256
#define PATIENCE_MILLISECONDS 2000
#define PAUSE_MILLISECONDS 10

typedef struct SharedRefusals
{
	uint64 last_number;
	Refusal places[PLACES];
} SharedRefusals;

static SharedRefusals *shared = NULL;
static SharedArea area = {
	.name = "keypup refusals", .size = sizeof(SharedRefusals), .memory = (void **) &shared};

void
register_refusals(void)
{
	register_shared_area(&area);
}

/* Copies what fits, in whole characters. */
static void
clip(char *into, Size size, const char *text)
{
	int length = text == NULL ? 0 : (int) strlen(text);

	length = pg_mbcliplen(text == NULL ? "" : text, length, (int) size - 1);
	memcpy(into, text == NULL ? "" : text, (Size) length);
	into[length] = '\0';
}

/* NULL for a local socket. */
static const char *
find_client_address(void)
{
	LOCAL_FCINFO(call, 0);
	Datum address;

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(call);
	if (call->isnull)
		return NULL;
	return TextDatumGetCString(DirectFunctionCall1(network_host, address));
}

/* Returns false when there is no room. */
static bool
leave(const Refusal *refusal)
{
	bool left = false;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < PLACES && !left; i++)
	{
		if (shared->places[i].number != 0)
			continue;
		shared->places[i] = *refusal;
		shared->places[i].number = ++shared->last_number;
		left = true;
	}
	LWLockRelease(area.lock);
	return left;
}

void
note_refusal(const pg_uuid_t *account, const char *action, const char *actor, const char *detail)
{
	static uint32 event = 0;
	Refusal refusal = {.database = MyDatabaseId, .at = GetCurrentTimestamp()};
	bool left = false;
	int waited = 0;

	refusal.has_account = account != NULL;
	if (account != NULL)
		refusal.account = *account;
	clip(refusal.action, sizeof(refusal.action), action);
	clip(refusal.actor, sizeof(refusal.actor), actor);
	clip(refusal.detail, sizeof(refusal.detail), detail);
	clip(refusal.database_role, sizeof(refusal.database_role),
		 GetUserNameFromId(GetSessionUserId(), true));
	clip(refusal.client_address, sizeof(refusal.client_address), find_client_address());

	/* Whoever tries too much waits for the worker. Where there is none, nobody does. */
	while (shared != NULL && !(left = leave(&refusal)) && waited < PATIENCE_MILLISECONDS &&
		   wake_workers() > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 PAUSE_MILLISECONDS, keypup_wait_event(&event, "KeypupRefusal"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		waited += PAUSE_MILLISECONDS;
	}
	if (left)
		(void) wake_workers();
	else
		ereport(LOG, (errmsg("keypup refused \"%s\" to \"%s\": %s", refusal.action, refusal.actor,
							 refusal.detail),
					  errhidestmt(true), errhidecontext(true)));
}

static int
compare_refusals(const void *left, const void *right)
{
	const Refusal *a = left;
	const Refusal *b = right;

	return a->number < b->number ? -1 : a->number > b->number;
}

/* Whether another worker is at it. One that ended leaves it to whoever looks next. */
static bool
is_taken(const Refusal *refusal)
{
	return refusal->taker_pid != 0 && refusal->taker_pid != MyProcPid &&
		   BackendPidGetProc(refusal->taker_pid) != NULL;
}

int
take_refusals(Refusal *into, int limit)
{
	int count = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < PLACES && count < limit; i++)
	{
		Refusal *place = &shared->places[i];

		if (place->number == 0 || place->database != MyDatabaseId || is_taken(place))
			continue;
		place->taker_pid = MyProcPid;
		into[count++] = *place;
	}
	LWLockRelease(area.lock);
	qsort(into, (size_t) count, sizeof(Refusal), compare_refusals);
	return count;
}

void
forget_refusals(const Refusal *stored, int count)
{
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < PLACES; i++)
	{
		for (int j = 0; j < count; j++)
		{
			if (shared->places[i].number == stored[j].number)
				memset(&shared->places[i], 0, sizeof(Refusal));
		}
	}
	LWLockRelease(area.lock);
}

/* account uuid, action text, actor text, detail text: any but the action may be NULL. */
Datum
keypup_note_refusal(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(1))
		note_refusal(PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0),
					 text_to_cstring(PG_GETARG_TEXT_PP(1)),
					 PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)),
					 PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	PG_RETURN_VOID();
}
