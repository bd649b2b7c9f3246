/*
 * undone.c
 *		What must be known of also if the transaction is rolled back: somebody
 *		signed in, or had the worker use a token. The record is made in the
 *		transaction, like any other (record_action); should that be undone, or its
 *		savepoint, the worker makes it, as for what is refused (refusal.c).
 *
 * A transaction that is aborting can look nothing up and must not fail: the
 * record is written beforehand, and then left.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "audit/refusal.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(keypup_note_if_undone);
PG_FUNCTION_INFO_V1(keypup_token_is_left);

typedef struct Undoable
{
	Refusal record;
	SubTransactionId level; /* that it is undone with */
	struct Undoable *next;
} Undoable;

/* In TopTransactionContext, the newest first. */
static Undoable *undoables = NULL;

static void
end_transaction(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_PRE_PREPARE && undoables != NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot prepare a transaction that has signed in or used a token "
							   "of keypup")));
	if (event == XACT_EVENT_ABORT)
	{
		for (Undoable *undoable = undoables; undoable != NULL; undoable = undoable->next)
			leave_refusal(&undoable->record);
	}
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT)
		undoables = NULL;
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent,
				   void *argument)
{
	/* What began in it is newer than all else. */
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		for (; undoables != NULL && undoables->level == own; undoables = undoables->next)
			leave_refusal(&undoables->record);
	}
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (Undoable *undoable = undoables; undoable != NULL && undoable->level == own;
			 undoable = undoable->next)
			undoable->level = parent;
	}
}

/* Somebody who does it over and over in one transaction is one record. */
static bool
is_noted(const Refusal *record)
{
	for (Undoable *undoable = undoables; undoable != NULL; undoable = undoable->next)
	{
		if (undoable->level == GetCurrentSubTransactionId() &&
			is_same_refusal(&undoable->record, record))
			return true;
	}
	return false;
}

/* account uuid, action text, actor_kind text, actor text, detail text, was_done boolean, token_digest bytea, which may be NULL. */
Datum
keypup_note_if_undone(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	Undoable *undoable = MemoryContextAllocZero(TopTransactionContext, sizeof(Undoable));

	for (int i = 0; i < 6; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("a record has an account, an action, an actor and a detail")));
	}
	if (!registered)
	{
		RegisterXactCallback(end_transaction, NULL);
		RegisterSubXactCallback(end_subtransaction, NULL);
		registered = true;
	}
	describe_refusal(&undoable->record, PG_GETARG_UUID_P(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
					 text_to_cstring(PG_GETARG_TEXT_PP(2)), text_to_cstring(PG_GETARG_TEXT_PP(3)),
					 NULL, text_to_cstring(PG_GETARG_TEXT_PP(4)));
	undoable->record.was_done = PG_GETARG_BOOL(5);
	if (!PG_ARGISNULL(6))
	{
		bytea *digest = PG_GETARG_BYTEA_PP(6);

		undoable->record.has_token = VARSIZE_ANY_EXHDR(digest) == TOKEN_DIGEST_BYTES;
		if (undoable->record.has_token)
			memcpy(undoable->record.token_digest, VARDATA_ANY(digest), TOKEN_DIGEST_BYTES);
	}
	/* A crash must not do what a rollback cannot. */
	ForceSyncCommit();
	if (is_noted(&undoable->record))
		pfree(undoable);
	else
	{
		undoable->level = GetCurrentSubTransactionId();
		undoable->next = undoables;
		undoables = undoable;
	}
	PG_RETURN_VOID();
}

Datum
keypup_token_is_left(PG_FUNCTION_ARGS)
{
	bytea *digest = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(digest) == TOKEN_DIGEST_BYTES &&
				   token_is_left((const uint8 *) VARDATA_ANY(digest)));
}
