/*
 * question.c
 *		A few places in shared memory, each for one question and its answer
 *		(keypup.max_questions). An account has a quarter of them.
 *
 * A session never connects to the outside: the worker does, under its policy of
 * requests. The one who asked frees the place, however its wait ends.
 */
#include "postgres.h"

#include <openssl/crypto.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "keypup.h"
#include "outside/question.h"
#include "outside/throttle.h"
#include "shared_area.h"
#include "worker_list.h"

PG_FUNCTION_INFO_V1(keypup_ask_worker);

#define SHARE_OF_ACCOUNT (keypup_max_questions / 4)
/* Two requests of the worker may take 30 seconds each. */
#define PATIENCE_MILLISECONDS 65000

typedef enum PlaceState
{
	PLACE_FREE,
	PLACE_ASKED,
	PLACE_TAKEN,
	PLACE_ANSWERED
} PlaceState;

typedef struct Place
{
	PlaceState state;
	Oid database;
	int backend_pid;
	Question question;
	int answer_length; /* 0: none could be had */
	char answer[ANSWER_BYTES];
} Place;

typedef struct SharedQuestions
{
	uint64 last_ticket;
	Place places[FLEXIBLE_ARRAY_MEMBER];
} SharedQuestions;

static SharedQuestions *shared = NULL;
static SharedArea area = {.name = "keypup questions", .memory = (void **) &shared};

/* Of this session; 0: none. */
static uint64 asked_ticket = 0;

void
register_questions(void)
{
	area.size = offsetof(SharedQuestions, places) + (Size) keypup_max_questions * sizeof(Place);
	register_shared_area(&area);
}

/* The place of a ticket, or NULL. The lock is held. */
static Place *
find_place(uint64 ticket)
{
	for (int i = 0; i < keypup_max_questions; i++)
	{
		if (shared->places[i].state != PLACE_FREE && shared->places[i].question.ticket == ticket)
			return &shared->places[i];
	}
	return NULL;
}

static void
withdraw(void)
{
	Place *place;

	if (asked_ticket == 0)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	place = find_place(asked_ticket);
	if (place != NULL)
		OPENSSL_cleanse(place, sizeof(Place));
	LWLockRelease(area.lock);
	asked_ticket = 0;
}

static void
withdraw_at_exit(int code, Datum argument)
{
	withdraw();
}

typedef enum AskResult
{
	ASK_DONE,
	ASK_NO_PLACE,
	ASK_NO_SHARE
} AskResult;

/* The account has a place; the lock is held. */
static bool
holds_place(const Place *place, const pg_uuid_t *account)
{
	return place->state != PLACE_FREE && place->database == MyDatabaseId &&
		   memcmp(&place->question.account, account, sizeof(*account)) == 0;
}

static AskResult
ask(const char *kind, const pg_uuid_t *account, const bytea *question)
{
	Place *place = NULL;
	int of_account = 0;
	AskResult result;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < keypup_max_questions; i++)
	{
		of_account += holds_place(&shared->places[i], account);
		if (place == NULL && shared->places[i].state == PLACE_FREE)
			place = &shared->places[i];
	}
	result = of_account >= SHARE_OF_ACCOUNT ? ASK_NO_SHARE
			 : place == NULL				? ASK_NO_PLACE
											: ASK_DONE;
	if (result == ASK_DONE)
	{
		place->state = PLACE_ASKED;
		place->database = MyDatabaseId;
		place->backend_pid = MyProcPid;
		place->question.ticket = asked_ticket = ++shared->last_ticket;
		strlcpy(place->question.kind, kind, QUESTION_KIND_BYTES);
		place->question.account = *account;
		place->question.length = (int) VARSIZE_ANY_EXHDR(question);
		memcpy(place->question.bytes, VARDATA_ANY(question), VARSIZE_ANY_EXHDR(question));
	}
	LWLockRelease(area.lock);
	return result;
}

/* Counts the question, and finds a place for it. */
static void
begin_question(const char *kind, const pg_uuid_t *account, const bytea *question)
{
	int wait = admit_question(kind, account, true);
	AskResult result;

	if (wait > 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("too many questions to the provider within a minute"),
						errhint("Try again in %d s. keypup.questions_per_minute is %d for each "
								"account.",
								wait, keypup_questions_per_minute),
						errhidestmt(true)));
	result = ask(kind, account, question);
	if (result == ASK_NO_SHARE)
		ereport(ERROR, (errcode(ERRCODE_TOO_MANY_CONNECTIONS),
						errmsg("too many sessions of the account wait for their provider"),
						errhint("Try again in a moment. An account may have %d, a quarter of "
								"keypup.max_questions.",
								SHARE_OF_ACCOUNT),
						errhidestmt(true)));
	if (result == ASK_NO_PLACE)
		ereport(ERROR, (errcode(ERRCODE_TOO_MANY_CONNECTIONS),
						errmsg("too many sessions wait for their provider"),
						errhint("Try again in a moment, or have the server's administrator raise "
								"keypup.max_questions."),
						errhidestmt(true)));
}

/* Whether the answer is there; then it is copied, ended by a NUL: an empty text when none could be had. */
static bool
fetch_answer(char *answer)
{
	Place *place;
	bool answered;

	answer[0] = '\0';
	LWLockAcquire(area.lock, LW_SHARED);
	place = find_place(asked_ticket);
	answered = place == NULL || place->state == PLACE_ANSWERED;
	if (answered && place != NULL)
	{
		memcpy(answer, place->answer, (Size) place->answer_length);
		answer[place->answer_length] = '\0';
	}
	LWLockRelease(area.lock);
	return answered;
}

static void
wait_for_answer(char *answer)
{
	TimestampTz give_up = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PATIENCE_MILLISECONDS);
	static uint32 event = 0;

	while (!fetch_answer(answer) && GetCurrentTimestamp() < give_up)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1000,
						 keypup_wait_event(&event, "KeypupAnswer"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* kind text, account uuid, question bytea -> the answer; NULL when none could be had. */
Datum
keypup_ask_worker(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bytea *question = PG_GETARG_BYTEA_PP(2);
	char *answer;

	require_shared_area(&area);
	if (VARSIZE_ANY_EXHDR(question) > QUESTION_BYTES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the question to the worker is too long"), errhidestmt(true)));
	if (!registered)
		before_shmem_exit(withdraw_at_exit, (Datum) 0);
	registered = true;
	/* Before the place is taken: an error while its lock is held would have withdraw wait for that lock. */
	answer = palloc(ANSWER_BYTES);
	begin_question(kind, PG_GETARG_UUID_P(1), question);
	PG_TRY();
	{
		if (wake_workers() == 0)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("no worker of keypup is running in this database"),
							errhint("SELECT * FROM keypup.diagnose_workers() says why."),
							errhidestmt(true)));
		wait_for_answer(answer);
	}
	PG_FINALLY();
	{
		withdraw();
	}
	PG_END_TRY();
	if (answer[0] == '\0')
		PG_RETURN_NULL();
	if (strcmp(answer, ANSWER_LATER) == 0)
		take_back_question(kind, PG_GETARG_UUID_P(1));
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(answer)));
}

/* --- the worker's side --- */

/* The question that was asked first. The lock is held. */
static Place *
find_question(void)
{
	Place *first = NULL;

	for (int i = 0; i < keypup_max_questions; i++)
	{
		Place *place = &shared->places[i];

		if (place->state == PLACE_ASKED && place->database == MyDatabaseId &&
			(first == NULL || place->question.ticket < first->question.ticket))
			first = place;
	}
	return first;
}

bool
take_question(Question *into)
{
	Place *place;

	if (shared == NULL)
		return false;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	place = find_question();
	if (place != NULL)
	{
		place->state = PLACE_TAKEN;
		*into = place->question;
		/* It is in one process only from now on. */
		OPENSSL_cleanse(place->question.bytes, QUESTION_BYTES);
	}
	LWLockRelease(area.lock);
	return place != NULL;
}

void
answer_question(uint64 ticket, const char *json)
{
	Size length = json == NULL ? 0 : strlen(json);
	Place *place;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	place = find_place(ticket);
	if (place != NULL)
	{
		PGPROC *backend = BackendPidGetProc(place->backend_pid);

		place->answer_length = length < ANSWER_BYTES ? (int) length : 0;
		if (place->answer_length > 0)
			memcpy(place->answer, json, length);
		place->state = PLACE_ANSWERED;
		if (backend != NULL)
			SetLatch(&backend->procLatch);
	}
	LWLockRelease(area.lock);
}
