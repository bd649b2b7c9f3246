/*
 * change_timeout.c
 *		How long a customer's transaction that changes something may stay open.
 *
 * What it has changed is locked until it ends, and others of the account wait for
 * it: so does an admin who takes away the rights of whoever left it open. The
 * time-outs of PostgreSQL are each session's own to switch off. This one is the
 * operator's: the session ends.
 *
 * A statement that is still at work is left alone for longer, since what it does may
 * be much, such as to drop an account. Operators are trusted to end theirs.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/backend_status.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "keypup.h"

#define STATEMENT_MILLISECONDS (15 * 60 * 1000)
#define LOOK_MILLISECONDS 1000

PG_FUNCTION_INFO_V1(keypup_bound_transaction);

static TimestampTz begun_at = 0; /* 0: nothing is bound */
static TimestampTz statement; /* in which it was bound */
static TimeoutId timer;
static volatile sig_atomic_t is_over = false;

/* Called by a signal: reads what is this process's own, and raises nothing. */
static bool
is_at_work(void)
{
	return MyBEEntry != NULL && MyBEEntry->st_state == STATE_RUNNING &&
		   GetCurrentStatementStartTimestamp() == statement;
}

static void
look(void)
{
	int allowed = is_at_work() ? STATEMENT_MILLISECONDS : keypup_change_timeout * 1000;

	if (begun_at == 0 || keypup_change_timeout == 0 || is_over ||
		!TimestampDifferenceExceeds(begun_at, GetCurrentTimestamp(), allowed))
		return;
	is_over = true;
	kill(MyProcPid, SIGTERM);
}

static void
start_timer(void)
{
	enable_timeout_every(timer,
						 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_MILLISECONDS),
						 LOOK_MILLISECONDS);
}

static void
end_transaction(XactEvent event, void *argument)
{
	if (begun_at == 0)
		return;
	if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot prepare a transaction that has changed something of keypup"),
				 errdetail("What it has changed would stay locked until somebody ends it.")));
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
	{
		begun_at = 0;
		disable_timeout(timer, false);
	}
}

/* An error ends all timers, and not always the transaction. */
static void
end_subtransaction(SubXactEvent event, SubTransactionId own, SubTransactionId parent,
				   void *argument)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && begun_at != 0)
		start_timer();
}

/* The client is told that an administrator ended it; why, the log says. */
static void
tell(int code, Datum argument)
{
	if (is_over)
		ereport(LOG,
				(errmsg("keypup ended a session whose transaction had changed something and was "
						"left open"),
				 errhint("keypup.change_timeout says how long it may be.")));
}

/*
 * keypup_bound_transaction
 *		From now on, and until it ends, this transaction is bound. Nothing for
 *		superusers and background workers.
 */
Datum
keypup_bound_transaction(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	if (MyBackendType != B_BACKEND || superuser_arg(GetSessionUserId()) || begun_at != 0)
		PG_RETURN_VOID();
	if (!registered)
	{
		timer = RegisterTimeout(USER_TIMEOUT, look);
		RegisterXactCallback(end_transaction, NULL);
		RegisterSubXactCallback(end_subtransaction, NULL);
		before_shmem_exit(tell, 0);
		registered = true;
	}
	begun_at = GetCurrentTimestamp();
	statement = GetCurrentStatementStartTimestamp();
	start_timer();
	PG_RETURN_VOID();
}
