/*
 * session.c
 *		Which session this transaction uses. On a pooled connection many people
 *		ask through one database role: each transaction names its session by a
 *		handle that only the person who signed in has.
 *
 * The identity is in this process's memory, in no setting, which anybody could
 * set; and it lasts for the transaction, since neither ROLLBACK nor DISCARD ALL
 * touches a variable of ours, and the next transaction is another person's.
 * What was used within a savepoint goes when that is rolled back.
 *
 * A cursor WITH HOLD keeps its rows for whoever has the connection next, and so a
 * transaction has either that or a session.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/refusal.h"
#include "compat.h"
#include "datum.h"
#include "kept_plan.h"
#include "right/current_user.h"

PG_FUNCTION_INFO_V1(keypup_new_handle);
PG_FUNCTION_INFO_V1(keypup_use_session);
PG_FUNCTION_INFO_V1(keypup_guard_snapshot);

/* A handle: the account's id, then 256 random bits, in hexadecimal. */
#define SECRET_BYTES 32
#define HANDLE_BYTES (UUID_LEN + SECRET_BYTES)
#define HANDLE_DIGITS (2 * HANDLE_BYTES)

typedef struct UsedSession
{
	SessionIdentity identity;
	SubTransactionId level; /* where it was named */
	struct UsedSession *outer; /* which holds again when that is rolled back */
} UsedSession;

/* In TopTransactionContext: gone with the transaction, whatever happens. */
static UsedSession *used = NULL;

static bool holds_cursor = false; /* whether the transaction has declared one WITH HOLD */

static ProcessUtility_hook_type previous_utility_hook = NULL;

const SessionIdentity *
used_session(void)
{
	return used == NULL ? NULL : &used->identity;
}

static void
end_transaction(XactEvent event, void *argument)
{
	if (event == XACT_EVENT_PRE_PREPARE && used != NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot prepare a transaction that uses a session of keypup")));
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PARALLEL_PRE_COMMIT &&
		event != XACT_EVENT_PRE_PREPARE)
	{
		used = NULL;
		holds_cursor = false;
	}
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent,
				   void *argument)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (used != NULL && used->level == own)
			used = used->outer;
	}
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (UsedSession *session = used; session != NULL && session->level == own;
			 session = session->outer)
			session->level = parent;
	}
}

static void
watch_transactions(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(end_transaction, NULL);
		RegisterSubXactCallback(end_subtransaction, NULL);
		registered = true;
	}
}

static void
refuse_held_cursor(void)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("a transaction that uses a session of keypup has no cursor WITH HOLD"),
					errdetail("The rows would stay for whoever uses the connection next."),
					errhint("Declare the cursor WITHOUT HOLD.")));
}

static void
see_command(PlannedStmt *statement, const char *text, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo parameters, QueryEnvironment *environment,
			DestReceiver *receiver, QueryCompletion *completion)
{
	if (IsA(statement->utilityStmt, DeclareCursorStmt) &&
		(((DeclareCursorStmt *) statement->utilityStmt)->options & CURSOR_OPT_HOLD) != 0)
	{
		if (used != NULL)
			refuse_held_cursor();
		watch_transactions();
		holds_cursor = true;
	}
	if (previous_utility_hook)
		previous_utility_hook(statement, text, read_only_tree, context, parameters, environment,
							  receiver, completion);
	else
		standard_ProcessUtility(statement, text, read_only_tree, context, parameters, environment,
								receiver, completion);
}

void
watch_cursors(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = see_command;
}

static void
use(const SessionIdentity *identity)
{
	UsedSession *session = MemoryContextAlloc(TopTransactionContext, sizeof(UsedSession));

	if (holds_cursor)
		refuse_held_cursor();
	watch_transactions();
	session->identity = *identity;
	session->level = GetCurrentSubTransactionId();
	session->outer = used;
	used = session;
}

static bool
digest_handle(const char *handle, uint8 *digest)
{
	return EVP_Digest(handle, HANDLE_DIGITS, digest, NULL, EVP_sha256(), NULL) == 1;
}

/* A row of handle, digest. */
Datum
keypup_new_handle(PG_FUNCTION_ARGS)
{
	uint8 bytes[HANDLE_BYTES];
	char handle[HANDLE_DIGITS];
	uint8 digest[HANDLE_DIGEST_BYTES];
	Datum values[2];

	memcpy(bytes, PG_GETARG_UUID_P(0)->data, UUID_LEN);
	if (RAND_bytes(bytes + UUID_LEN, SECRET_BYTES) != 1 ||
		hex_encode((char *) bytes, HANDLE_BYTES, handle) != HANDLE_DIGITS ||
		!digest_handle(handle, digest))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not make a handle")));
	values[0] = PointerGetDatum(cstring_to_text_with_len(handle, HANDLE_DIGITS));
	values[1] = make_bytea(digest, sizeof(digest));
	OPENSSL_cleanse(bytes, sizeof(bytes));
	OPENSSL_cleanse(handle, sizeof(handle));
	return return_row(fcinfo, 2, values, NULL);
}

/* The account and the digest of a handle; false for what is none. */
static bool
read_handle(const text *handle, SessionIdentity *identity)
{
	const char *digits = VARDATA_ANY(handle);

	if (VARSIZE_ANY_EXHDR(handle) != HANDLE_DIGITS)
		return false;
	for (int i = 0; i < HANDLE_DIGITS; i++)
	{
		if (!((digits[i] >= '0' && digits[i] <= '9') || (digits[i] >= 'a' && digits[i] <= 'f')))
			return false;
	}
	hex_decode(digits, 2 * UUID_LEN, (char *) identity->account.data);
	return digest_handle(digits, identity->handle_digest);
}

text *
find_session_holder(const SessionIdentity *session, text **kind, Snapshot snapshot)
{
	static KeptPlan holder =
		KEPT_PLAN("SELECT s.holder, s.kind, s.started_by FROM keypup.serving_sessions s"
				  " WHERE s.account_id OPERATOR(pg_catalog.=) $1"
				  " AND s.handle_digest OPERATOR(pg_catalog.=) $2",
				  2, UUIDOID, BYTEAOID);
	Datum values[] = {UUIDPGetDatum(&session->account),
					  make_bytea(session->handle_digest, HANDLE_DIGEST_BYTES)};
	MemoryContext context = CurrentMemoryContext;
	text *name = NULL;

	SPI_connect();
	if (run_kept_plan(&holder, BOOTSTRAP_SUPERUSERID, values, snapshot, true))
	{
		bool isnull;
		Datum found = read_field(0, 1, &isnull);
		Datum found_kind = read_field(0, 2, &isnull);
		Datum started_by = read_field(0, 3, &isnull);

		MemoryContextSwitchTo(context);
		/* The transaction that signs in may still be rolled back: until then nobody is anybody by it. */
		if (!TransactionIdIsCurrentTransactionId((TransactionId) DatumGetInt64(started_by)))
			name = DatumGetTextPCopy(found);
		if (name != NULL && kind != NULL)
			*kind = DatumGetTextPCopy(found_kind);
	}
	SPI_finish();
	return name;
}

/* When members or roles of an account last changed, as the snapshot has it; 0: no such account. */
static TimestampTz
find_last_change(Datum account, Snapshot snapshot)
{
	static KeptPlan change = KEPT_PLAN("SELECT a.members_changed_at FROM keypup.accounts a"
									   " WHERE a.account_id OPERATOR(pg_catalog.=) $1",
									   1, UUIDOID);
	TimestampTz at = 0;

	SPI_connect();
	if (run_kept_plan(&change, BOOTSTRAP_SUPERUSERID, &account, snapshot, true))
	{
		bool isnull;

		at = DatumGetTimestampTz(read_field(0, 1, &isnull));
	}
	SPI_finish();
	return at;
}

Datum
keypup_use_session(PG_FUNCTION_ARGS)
{
	SessionIdentity identity;
	bool is_handle = read_handle(PG_GETARG_TEXT_PP(0), &identity);
	text *holder = NULL;
	bool of_account = false;

	if (is_handle)
	{
		/* A transaction that repeats its reads may still see one that has ended. */
		Snapshot now = RegisterSnapshot(GetLatestSnapshot());

		holder = find_session_holder(&identity, NULL, now);
		/* Whoever makes handles up has no log of an account that they have made up, too. */
		of_account = holder == NULL && find_last_change(UUIDPGetDatum(&identity.account), now) != 0;
		UnregisterSnapshot(now);
	}
	if (holder == NULL)
	{
		note_refusal(of_account ? &identity.account : NULL, "session.use", NULL,
					 "a handle of no session");
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("session is not valid"),
				 errhint("It begins when the transaction that signs in is committed, and may have "
						 "ended; sign in again for another."),
				 errhidestmt(true)));
	}
	use(&identity);
	PG_RETURN_VOID();
}

/* A lock would wait for whoever is changing them; nobody waits for them to sign in. */
Datum
keypup_guard_snapshot(PG_FUNCTION_ARGS)
{
	Datum account = PG_GETARG_DATUM(0);
	Snapshot now;
	TimestampTz seen;
	TimestampTz newest;

	if (!IsolationUsesXactSnapshot())
		PG_RETURN_VOID();
	now = RegisterSnapshot(GetLatestSnapshot());
	newest = find_last_change(account, now);
	UnregisterSnapshot(now);
	seen = find_last_change(account, InvalidSnapshot);
	if (seen != newest)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access: members of the account have changed"),
						errhint("The transaction might succeed if retried.")));
	PG_RETURN_VOID();
}
