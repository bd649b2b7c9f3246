/*
 * call.c
 *		CALL keypup.sync, which does the work of the background worker in the
 *		caller's session, for an account or one of its projects.
 *
 * It ends when nothing is left to do; or when what is left needs a person, or
 * must wait for longer than the caller has patience.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "grant/app_token.h"
#include "outside/set_aside.h"
#include "pinned_settings.h"
#include "right/current_user.h"
#include "sync/job.h"
#include "sync/token_use.h"
#include "worker/upkeep.h"

#define PROGRESS_MILLISECONDS 1000
/* How often it looks whether another worker has done what it is at. */
#define LOOK_MILLISECONDS 100
#define HELD "an open transaction of another session holds rows of the account"

PG_FUNCTION_INFO_V1(keypup_sync);

/* The scope of a CALL, for a caller who may use the account's tokens. */
static JobScope
read_scope(FunctionCallInfo fcinfo)
{
	JobScope scope = {.has_account = true};
	Oid types[] = {TEXTOID, TEXTOID};
	Datum values[2];
	char nulls[3] = "  ";
	Oid user;
	int security;
	bool isnull;
	HeapTuple row;
	Datum project;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("an account is needed")));
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';

	/* Called as our functions call each other: as their owner, about the user outside. */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner_of_extension_function(fcinfo->flinfo->fn_oid),
						   security | SECURITY_LOCAL_USERID_CHANGE);
	SPI_execute_with_args("SELECT * FROM keypup.find_scope($1, $2)", 2, types, values, nulls, true,
						  1);
	SetUserIdAndSecContext(user, security);

	row = SPI_tuptable->vals[0];
	scope.account = *DatumGetUUIDP(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
	project = SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull);
	scope.has_project = !isnull;
	if (!isnull)
		scope.project = DatumGetInt64(project);
	return scope;
}

/* A CALL of keypup.sync. */
typedef struct Call
{
	Runner *runner;
	Interval patience;
	JobsLeft left;
	JobsLeft told; /* what the caller was told last; what is as it was is not told again */
	char *told_wait; /* likewise; or NULL */
	TimestampTz progressed_at; /* when what is left was last seen to change */
} Call;

static bool
has_changed(const JobsLeft *left, const JobsLeft *before)
{
	return left->items_done != before->items_done || left->items_total != before->items_total ||
		   left->jobs != before->jobs;
}

static void
report_progress(const JobsLeft *left, JobsLeft *told)
{
	if (left->items_total == 0 || !has_changed(left, told))
		return;
	ereport(NOTICE, (errmsg("synced " INT64_FORMAT " of " INT64_FORMAT
							" issues and pull requests, " INT64_FORMAT " requests to go",
							left->items_done, left->items_total, left->jobs)));
	*told = *left;
}

/* In whole seconds, by which the time has come. */
static const char *
show_time(TimestampTz time)
{
	if (!TIMESTAMP_NOT_FINITE(time))
		time = (time + USECS_PER_SEC - 1) / USECS_PER_SEC * USECS_PER_SEC;
	return timestamptz_to_str(time);
}

static TimestampTz
end_of_patience(Call *call)
{
	Datum end =
		DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(call->progressed_at),
							IntervalPGetDatum(&call->patience));

	return DatumGetTimestampTz(end);
}

static void
look_what_is_left(Call *call)
{
	JobsLeft before = call->left;

	count_jobs_left(call->runner, &call->left);
	if (has_changed(&call->left, &before))
		call->progressed_at = GetCurrentTimestamp();
}

static void
report_wait(Call *call)
{
	MemoryContext context = MemoryContextSwitchTo(call->runner->steps.context);
	char *wait;

	if (is_set_aside(&call->runner->scope.account))
		wait = pstrdup("waiting: " HELD);
	else
		wait = psprintf("waiting until %s: %s", show_time(call->left.ready_at),
						call->left.waits_for != NULL ? call->left.waits_for
													 : "the provider is asked again then");
	MemoryContextSwitchTo(context);
	if (call->told_wait == NULL || strcmp(wait, call->told_wait) != 0)
		ereport(NOTICE, (errmsg("%s", wait)));
	if (call->told_wait != NULL)
		pfree(call->told_wait);
	call->told_wait = wait;
}

/*
 * Waits a little for what is put off, or what another worker is at. Returns false,
 * at once, when waiting helps nothing, or not within the caller's patience.
 */
static bool
wait_for_jobs(Call *call)
{
	static uint32 event = 0;
	TimestampTz now = GetCurrentTimestamp();
	long milliseconds;
	TimestampTz ready_at = call->left.ready_at;

	if (call->left.jobs == 0 || ready_at == 0 || Max(ready_at, now) > end_of_patience(call))
		return false;
	if (TimestampDifferenceExceeds(now, ready_at, PROGRESS_MILLISECONDS) ||
		is_set_aside(&call->runner->scope.account))
		report_wait(call);
	rest_runner(call->runner);
	/* Not all of it: meanwhile somebody may end the pause. */
	milliseconds = TimestampDifferenceMilliseconds(now, ready_at);
	milliseconds = Min(PROGRESS_MILLISECONDS, Max(LOOK_MILLISECONDS, milliseconds));
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
					 keypup_wait_event(&event, "KeypupCall"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

static void
warn_of_rest(const Call *call)
{
	const JobsLeft *left = &call->left;
	const char *reason =
		left->last_error != NULL ? left->last_error : "the provider did not answer";

	if (is_set_aside(&call->runner->scope.account))
		reason = HELD;
	else if (left->jobs == 0 && left->last_error == NULL)
		return;
	ereport(
		WARNING,
		(errmsg("the sync is not complete: %s", reason),
		 errdetail(INT64_FORMAT " of " INT64_FORMAT
								" issues and pull requests are stored, " INT64_FORMAT
								" requests are left%s%s.",
				   left->items_done, left->items_total, left->jobs,
				   left->next_at > GetCurrentTimestamp() ? ", the next one not before " : "",
				   left->next_at > GetCurrentTimestamp() ? show_time(left->next_at) : ""),
		 errhint(
			 "SELECT * FROM keypup.sync_status says more. What was read is stored; the rest is tried again.")));
}

static void
sync_until_done(Call *call)
{
	Runner *runner = call->runner;
	TimestampTz reported = GetCurrentTimestamp();

	call->progressed_at = reported;
	(void) start_runs(runner, true);
	for (;;)
	{
		bool busy;

		ask_for_app_tokens(runner);
		busy = send_due_jobs(runner) > 0;
		busy = exchange(runner, PROGRESS_MILLISECONDS) || busy;
		CHECK_FOR_INTERRUPTS();
		if (busy &&
			!TimestampDifferenceExceeds(reported, GetCurrentTimestamp(), PROGRESS_MILLISECONDS))
			continue;
		look_what_is_left(call);
		if (TimestampDifferenceExceeds(reported, GetCurrentTimestamp(), PROGRESS_MILLISECONDS))
		{
			report_progress(&call->left, &call->told);
			(void) do_upkeep(&runner->steps, ANALYZE_TABLES);
			record_token_uses(&runner->steps, false);
			reported = GetCurrentTimestamp();
		}
		if (!busy && !wait_for_jobs(call))
			break;
	}
	report_progress(&call->left, &call->told);
	record_token_uses(&runner->steps, true);
	warn_of_rest(call);
}

/* How long a CALL waits while nothing goes on. */
static Interval
read_patience(FunctionCallInfo fcinfo)
{
	Interval none = {0};

	if (PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a patience is needed"),
						errhint("Leave it out for ten minutes.")));
	if (DatumGetBool(
			DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(2), IntervalPGetDatum(&none))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("patience must not be negative")));
	return *PG_GETARG_INTERVAL_P(2);
}

Datum
keypup_sync(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	Call call = {0};
	JobScope scope;

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("keypup.sync cannot run inside a transaction block"),
						errdetail("It commits each page as it is stored."),
						errhint("CALL it by itself.")));
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("this cannot run on a standby"),
				 errdetail("It changes rows, and a standby is only read."),
				 errhint("Call it on the primary server.")));

	call.patience = read_patience(fcinfo);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	/* Settings are pinned before the first query of a transaction, and this one has had one. */
	SPI_commit();
	pin_settings_of_transaction();
	scope = read_scope(fcinfo);
	SPI_commit();
	SPI_finish();
	call.runner = open_runner(&scope, true);
	PG_TRY();
	{
		sync_until_done(&call);
	}
	PG_FINALLY();
	{
		close_runner(call.runner);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	PG_RETURN_VOID();
}
