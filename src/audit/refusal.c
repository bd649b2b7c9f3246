/*
 * refusal.c
 *		What is refused ends in an error, and the error rolls back what the
 *		refused transaction wrote. So a refusal is left in shared memory, and the
 *		worker of the database puts it into the audit log in a transaction of its
 *		own.
 *
 * The room is shared out. The same again is counted. Of one case, which is an
 * action by somebody from somewhere in an account, a few are told apart by their
 * words, and no more; an account has a share of the places, and so has a source:
 * one for what is refused, which anybody may be, and one for what happened.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "audit/gap.h"
#include "audit/refusal.h"
#include "compat.h"
#include "right/current_user.h"
#include "shared_area.h"
#include "worker_list.h"

PG_FUNCTION_INFO_V1(keypup_note_refusal);
PG_FUNCTION_INFO_V1(keypup_note_refused_claim);

#define PLACES 1024
/* All others are for what happened: nobody keeps that out of the log by being refused very often. */
#define PLACES_OF_REFUSALS 896
#define PLACES_OF_CASE 8
#define PLACES_OF_ACCOUNT 64
#define PLACES_OF_SOURCE 512
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

const char *
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

/* --- sharing the room out --- */

static bool
is_of_account(const Refusal *a, const Refusal *b)
{
	return a->database == b->database && a->has_account == b->has_account &&
		   memcmp(&a->account, &b->account, sizeof(a->account)) == 0;
}

static bool
is_of_source(const Refusal *a, const Refusal *b)
{
	return strcmp(a->database_role, b->database_role) == 0 &&
		   strcmp(a->client_address, b->client_address) == 0;
}

static bool
is_of_case(const Refusal *a, const Refusal *b)
{
	/* Each token that was shown has a place of its own, which says that it is used. */
	return !a->has_token && !b->has_token && is_of_account(a, b) && is_of_source(a, b) &&
		   a->was_done == b->was_done && strcmp(a->action, b->action) == 0 &&
		   strcmp(a->actor_kind, b->actor_kind) == 0 && strcmp(a->actor, b->actor) == 0;
}

static bool
has_same_words(const Refusal *a, const Refusal *b)
{
	return strcmp(a->claimed, b->claimed) == 0 && strcmp(a->detail, b->detail) == 0;
}

bool
is_same_refusal(const Refusal *a, const Refusal *b)
{
	return is_of_case(a, b) && has_same_words(a, b);
}

/* Something was done, or a token shown, which stays used: it takes more than to be refused. */
static bool
has_happened(const Refusal *refusal)
{
	return refusal->was_done || refusal->has_token;
}

/* The place that counts a refusal, or a free one; NULL when there is no room. The lock is held. */
static Refusal *
find_place(const Refusal *refusal)
{
	Refusal *unused = NULL;
	Refusal *alike = NULL;
	int of_case = 0;
	int of_account = 0;
	int of_source = 0;
	int refused = 0;

	for (int i = 0; i < PLACES; i++)
	{
		Refusal *place = &shared->places[i];

		if (place->number == 0)
		{
			unused = unused == NULL ? place : unused;
			continue;
		}
		refused += !has_happened(place);
		if (has_happened(place) != has_happened(refusal))
			continue;
		of_account += is_of_account(place, refusal);
		of_source += is_of_source(place, refusal);
		/* What is being recorded is not counted on. */
		if (!is_of_case(place, refusal) || place->taker_pid != 0)
			continue;
		if (has_same_words(place, refusal))
			return place;
		alike = place;
		of_case++;
	}
	if (of_case < PLACES_OF_CASE && of_account < PLACES_OF_ACCOUNT &&
		of_source < PLACES_OF_SOURCE && unused != NULL &&
		(has_happened(refusal) || refused < PLACES_OF_REFUSALS))
		return unused;
	return alike;
}

typedef enum Room
{
	NO_ROOM,
	ROOM,
	ROOM_AND_LOG
} Room;

/* Whether there is room for it, and whether the server's log is to have it, too: its time has come on a standby. */
static Room
leave(const Refusal *refusal, bool on_standby)
{
	Refusal *place;
	Room room = NO_ROOM;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	place = find_place(refusal);
	if (place != NULL && place->number == 0)
	{
		*place = *refusal;
		place->number = ++shared->last_number;
	}
	else if (place != NULL)
	{
		place->times += refusal->times;
		place->last_at = Max(place->last_at, refusal->last_at);
	}
	if (place != NULL)
		room = ROOM;
	if (place != NULL && on_standby &&
		(place->logged_at == 0 || refusal->last_at - place->logged_at >= USECS_PER_HOUR))
	{
		place->logged_at = refusal->last_at;
		room = ROOM_AND_LOG;
	}
	LWLockRelease(area.lock);
	return room;
}

/* --- noting --- */

void
describe_refusal(Refusal *refusal, const pg_uuid_t *account, const char *action,
				 const char *actor_kind, const char *actor, const char *claimed, const char *detail)
{
	memset(refusal, 0, sizeof(*refusal));
	refusal->database = MyDatabaseId;
	refusal->first_at = refusal->last_at = GetCurrentTimestamp();
	refusal->times = 1;
	refusal->has_account = account != NULL;
	if (account != NULL)
		refusal->account = *account;
	clip(refusal->action, sizeof(refusal->action), action);
	clip(refusal->actor_kind, sizeof(refusal->actor_kind), actor == NULL ? NULL : actor_kind);
	clip(refusal->actor, sizeof(refusal->actor), actor);
	clip(refusal->claimed, sizeof(refusal->claimed), claimed);
	clip(refusal->detail, sizeof(refusal->detail), detail);
	clip(refusal->database_role, sizeof(refusal->database_role),
		 GetUserNameFromId(GetSessionUserId(), true));
	clip(refusal->client_address, sizeof(refusal->client_address), find_client_address());
	clip(refusal->application_name, sizeof(refusal->application_name), application_name);
}

static void
write_to_log(const Refusal *refusal, const char *why)
{
	char account[UUID_LEN * 2 + 1] = "none";

	if (refusal->has_account)
		account[hex_encode((const char *) refusal->account.data, UUID_LEN, account)] = '\0';
	ereport(LOG, (errmsg("keypup %s that \"%s\" was %s: actor \"%s\", claimed \"%s\"", why,
						 refusal->action, refusal->was_done ? "done" : "refused", refusal->actor,
						 refusal->claimed),
				  errdetail_log("Account %s. %s", account, refusal->detail), errhidestmt(true),
				  errhidecontext(true)));
}

/* patience: how many milliseconds whoever tries too much waits for the worker. Where there is none, nobody does. */
static void
note(const Refusal *refusal, int patience)
{
	static uint32 event = 0;
	bool on_standby = RecoveryInProgress();
	Room room = NO_ROOM;
	int waited = 0;

	while (shared != NULL && (room = leave(refusal, on_standby)) == NO_ROOM && waited < patience &&
		   wake_workers() > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 PAUSE_MILLISECONDS, keypup_wait_event(&event, "KeypupRefusal"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		waited += PAUSE_MILLISECONDS;
	}
	if (room == NO_ROOM)
	{
		write_to_log(refusal, "could not note for the audit log");
		count_lost_note();
	}
	else if (room == ROOM_AND_LOG)
		write_to_log(refusal, "on a standby notes");
	else
		(void) wake_workers();
}

void
leave_refusal(const Refusal *refusal)
{
	note(refusal, 0);
}

bool
token_is_left(const uint8 *digest)
{
	bool found = false;

	if (shared == NULL)
		return false;
	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 0; i < PLACES && !found; i++)
		found = shared->places[i].number != 0 && shared->places[i].has_token &&
				memcmp(shared->places[i].token_digest, digest, TOKEN_DIGEST_BYTES) == 0;
	LWLockRelease(area.lock);
	return found;
}

void
note_refusal(const pg_uuid_t *account, const char *action, const char *claimed, const char *detail)
{
	Refusal refusal;

	describe_refusal(&refusal, account, action, NULL, NULL, claimed, detail);
	note(&refusal, PATIENCE_MILLISECONDS);
}

void
note_refusal_to_current_user(Oid owner, const pg_uuid_t *account, const char *action,
							 const char *detail)
{
	Refusal refusal;
	text *kind = NULL;
	text *actor = name_current_user(owner, &kind);

	describe_refusal(&refusal, account, action, actor == NULL ? NULL : text_to_cstring(kind),
					 actor == NULL ? NULL : text_to_cstring(actor), NULL, detail);
	note(&refusal, PATIENCE_MILLISECONDS);
}

void
note_support_reading(const pg_uuid_t *account, const char *role)
{
	Refusal reading;
	char session[48];

	/* The session as log_line_prefix's %c has it. */
	snprintf(session, sizeof(session), "session %lx.%x", (long) MyStartTime, MyProcPid);
	describe_refusal(&reading, account, "support.read", "database_role", role, NULL, session);
	reading.was_done = true;
	note(&reading, 0);
}

/* --- recording --- */

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

static char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/* account uuid, action text, detail text: any but the action may be NULL. */
Datum
keypup_note_refusal(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(1))
		note_refusal_to_current_user(owner_of_extension_function(fcinfo->flinfo->fn_oid),
									 PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0),
									 text_argument(fcinfo, 1), text_argument(fcinfo, 2));
	PG_RETURN_VOID();
}

/* account uuid, action text, claimed text, detail text: any but the action may be NULL. */
Datum
keypup_note_refused_claim(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(1))
		note_refusal(PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0), text_argument(fcinfo, 1),
					 text_argument(fcinfo, 2), text_argument(fcinfo, 3));
	PG_RETURN_VOID();
}
