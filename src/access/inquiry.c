/*
 * inquiry.c
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

#include "access/inquiry.h"
#include "access/throttle.h"
#include "compat.h"
#include "keypup.h"
#include "shared_area.h"
#include "sync/worker_list.h"

PG_FUNCTION_INFO_V1(keypup_ask_worker);

#define SHARE_OF_ACCOUNT (keypup_max_questions / 4)
/* Two requests of the worker may take 30 seconds each. */
#define PATIENCE_MILLISECONDS 65000

typedef enum InquiryState
{
	INQUIRY_FREE,
	INQUIRY_ASKED,
	INQUIRY_TAKEN,
	INQUIRY_ANSWERED
} InquiryState;

typedef struct Inquiry
{
	InquiryState state;
	Oid database;
	int asker_pid;
	InquiryQuestion question;
	int answer_length; /* 0: none could be had */
	char answer[INQUIRY_ANSWER_BYTES];
} Inquiry;

typedef struct SharedInquiries
{
	uint64 last_ticket;
	Inquiry places[FLEXIBLE_ARRAY_MEMBER];
} SharedInquiries;

static SharedInquiries *shared = NULL;
static SharedArea area = {
	.name = "keypup inquiries", .memory = (void **) &shared};

/* Of this session; 0: none. */
static uint64 asked_ticket = 0;

void
register_inquiries(void)
{
	area.size = offsetof(SharedInquiries, places) + (Size) keypup_max_questions * sizeof(Inquiry);
	register_shared_area(&area);
}

/* The place of a ticket, or NULL. The lock is held. */
static Inquiry *
find_inquiry(uint64 ticket)
{
	for (int i = 0; i < keypup_max_questions; i++)
	{
		if (shared->places[i].state != INQUIRY_FREE && shared->places[i].question.ticket == ticket)
			return &shared->places[i];
	}
	return NULL;
}

static void
withdraw(void)
{
	Inquiry *inquiry;

	if (asked_ticket == 0)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	inquiry = find_inquiry(asked_ticket);
	if (inquiry != NULL)
		OPENSSL_cleanse(inquiry, sizeof(Inquiry));
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
holds_place(const Inquiry *place, const pg_uuid_t *account)
{
	return place->state != INQUIRY_FREE && place->database == MyDatabaseId &&
		   memcmp(&place->question.account, account, sizeof(*account)) == 0;
}

static AskResult
ask(const char *kind, const pg_uuid_t *account, const bytea *question)
{
	Inquiry *place = NULL;
	int of_account = 0;
	AskResult result;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < keypup_max_questions; i++)
	{
		of_account += holds_place(&shared->places[i], account);
		if (place == NULL && shared->places[i].state == INQUIRY_FREE)
			place = &shared->places[i];
	}
	result = of_account >= SHARE_OF_ACCOUNT ? ASK_NO_SHARE : place == NULL ? ASK_NO_PLACE : ASK_DONE;
	if (result == ASK_DONE)
	{
		place->state = INQUIRY_ASKED;
		place->database = MyDatabaseId;
		place->asker_pid = MyProcPid;
		place->question.ticket = asked_ticket = ++shared->last_ticket;
		strlcpy(place->question.kind, kind, INQUIRY_KIND_BYTES);
		place->question.account = *account;
		place->question.length = (int) VARSIZE_ANY_EXHDR(question);
		memcpy(place->question.bytes, VARDATA_ANY(question), VARSIZE_ANY_EXHDR(question));
	}
	LWLockRelease(area.lock);
	return result;
}

/* Counts the question, and finds a place for it. */
static void
begin_inquiry(const char *kind, const pg_uuid_t *account, const bytea *question)
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
	Inquiry *inquiry;
	bool answered;

	answer[0] = '\0';
	LWLockAcquire(area.lock, LW_SHARED);
	inquiry = find_inquiry(asked_ticket);
	answered = inquiry == NULL || inquiry->state == INQUIRY_ANSWERED;
	if (answered && inquiry != NULL)
	{
		memcpy(answer, inquiry->answer, (Size) inquiry->answer_length);
		answer[inquiry->answer_length] = '\0';
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
	if (VARSIZE_ANY_EXHDR(question) > INQUIRY_QUESTION_BYTES)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the question to the worker is too long"), errhidestmt(true)));
	if (!registered)
		before_shmem_exit(withdraw_at_exit, (Datum) 0);
	registered = true;
	/* Before the place is taken: an error while its lock is held would have withdraw wait for that lock. */
	answer = palloc(INQUIRY_ANSWER_BYTES);
	begin_inquiry(kind, PG_GETARG_UUID_P(1), question);
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
	if (strcmp(answer, INQUIRY_LATER) == 0)
		take_back_question(kind, PG_GETARG_UUID_P(1));
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(answer)));
}

/* --- the worker's side --- */

/* The question that was asked first. The lock is held. */
static Inquiry *
find_question(void)
{
	Inquiry *first = NULL;

	for (int i = 0; i < keypup_max_questions; i++)
	{
		Inquiry *place = &shared->places[i];

		if (place->state == INQUIRY_ASKED && place->database == MyDatabaseId &&
			(first == NULL || place->question.ticket < first->question.ticket))
			first = place;
	}
	return first;
}

bool
take_question(InquiryQuestion *into)
{
	Inquiry *place;

	if (shared == NULL)
		return false;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	place = find_question();
	if (place != NULL)
	{
		place->state = INQUIRY_TAKEN;
		*into = place->question;
		/* It is in one process only from now on. */
		OPENSSL_cleanse(place->question.bytes, INQUIRY_QUESTION_BYTES);
	}
	LWLockRelease(area.lock);
	return place != NULL;
}

void
answer_question(uint64 ticket, const char *json)
{
	Size length = json == NULL ? 0 : strlen(json);
	Inquiry *inquiry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	inquiry = find_inquiry(ticket);
	if (inquiry != NULL)
	{
		PGPROC *asker = BackendPidGetProc(inquiry->asker_pid);

		inquiry->answer_length = length < INQUIRY_ANSWER_BYTES ? (int) length : 0;
		if (inquiry->answer_length > 0)
			memcpy(inquiry->answer, json, length);
		inquiry->state = INQUIRY_ANSWERED;
		if (asker != NULL)
			SetLatch(&asker->procLatch);
	}
	LWLockRelease(area.lock);
}
