/*
 * worker.c
 *		The background worker of one database, and CALL keypup.sync, which does
 *		the same work in the caller's session.
 *
 * The worker lives as long as the extension is installed: it looks what is
 * due, performs it, and sleeps. An error in one page is that page's; any other
 * ends the worker, and the launcher starts a new one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "access/asker.h"
#include "sync/app_token.h"
#include "compat.h"
#include "sync/errand.h"
#include "sync/job.h"
#include "sync/launcher.h"
#include "sync/step.h"
#include "sync/upkeep.h"
#include "sync/worker_list.h"
#include "token/secret.h"

#define IDLE_MILLISECONDS 2000
#define LOOK_MILLISECONDS 1000
#define MERGE_MILLISECONDS 60000
#define PROGRESS_MILLISECONDS 1000
/* CALL keypup.sync does not wait longer than this for a job that was put off. */
#define PATIENCE_MILLISECONDS 5000

PGDLLEXPORT void keypup_worker_main(Datum argument);

PG_FUNCTION_INFO_V1(keypup_sync);

static bool
is_installed(void)
{
	bool installed;

	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("keypup", true));
	CommitTransactionCommand();
	return installed;
}

static void
sleep_until_woken(long milliseconds)
{
	static uint32 event = 0;

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
					 keypup_wait_event(&event, "KeypupIdle"));
	ResetLatch(MyLatch);
}

/* Up to a fifth longer, so that the workers of many databases do not wake in step. */
static long
choose_pause(void)
{
	return (long) (IDLE_MILLISECONDS * (1.0 + 0.2 * pg_prng_double(&pg_global_prng_state)));
}

void
keypup_worker_main(Datum argument)
{
	JobScope everything = {0};
	Runner *runner;
	Steps upkeep_steps;
	uint64 wakes;
	bool rewraps = true; /* the key file may have a new key since the last worker ended */
	bool reseals = true;
	TimestampTz looked_at = 0;
	TimestampTz merged_at = 0;

	/* Before anything secret is in it. */
	protect_process_memory();
	overwrite_freed_memory();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	enter_worker(DatumGetObjectId(argument), read_worker_number());
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument), InvalidOid, 0);
	wakes = count_wakes();
	if (!is_installed())
	{
		report_no_extension(DatumGetObjectId(argument), wakes);
		proc_exit(0);
	}

	report_extension();
	runner = open_runner(&everything, false);
	open_steps(&upkeep_steps, false);
	for (;;)
	{
		bool busy;

		CHECK_FOR_INTERRUPTS();
		/* Also while it is busy: a project that is tracked meanwhile waits for no other. */
		if (wakes != count_wakes() ||
			TimestampDifferenceExceeds(looked_at, GetCurrentTimestamp(), LOOK_MILLISECONDS))
		{
			show_worker_state(WORKER_LOOKING);
			if (ConfigReloadPending)
			{
				ConfigReloadPending = false;
				ProcessConfigFile(PGC_SIGHUP);
				rewraps = true;
			}
			wakes = count_wakes();
			if (!is_installed())
			{
				report_no_extension(DatumGetObjectId(argument), wakes);
				break;
			}
			start_runs(runner, false);
			ask_for_app_tokens(runner);
			(void) do_upkeep(&upkeep_steps, ANALYZE_TABLES);
			reseals = true;
			looked_at = GetCurrentTimestamp();
			if (TimestampDifferenceExceeds(merged_at, looked_at, MERGE_MILLISECONDS))
			{
				(void) do_upkeep(&upkeep_steps, MERGE_PEOPLE);
				merged_at = looked_at;
			}
		}

		show_worker_state(WORKER_SYNCING);
		busy = send_due_jobs(runner) > 0;
		send_errands(runner);
		busy = exchange(runner, PROGRESS_MILLISECONDS) || busy;
		busy = store_refusals(&upkeep_steps) || busy;
		rewraps = rewraps && do_upkeep(&upkeep_steps, REWRAP_DATA_KEYS);
		reseals = reseals && do_upkeep(&upkeep_steps, RESEAL_TOKENS);
		if (!busy && !rewraps && !reseals)
		{
			rest_runner(runner);
			show_worker_state(WORKER_IDLE);
			sleep_until_woken(choose_pause());
			looked_at = 0;
		}
	}
	proc_exit(0);
}

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

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("an account is needed")));
	values[0] = PG_GETARG_DATUM(0);
	values[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';

	/* keypup.authorize, called as our functions call it: as their owner, about the user outside. */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner_of_extension_function(fcinfo->flinfo->fn_oid),
						   security | SECURITY_LOCAL_USERID_CHANGE);
	SPI_execute_with_args(
		"SELECT keypup.authorize($1, 'tokens.use'),"
		" (SELECT p.project_id FROM keypup.projects p"
		"   JOIN keypup.accounts a ON a.account_id OPERATOR(pg_catalog.=) p.account_id"
		"  WHERE a.name OPERATOR(pg_catalog.=) $1"
		"    AND pg_catalog.lower(p.name) OPERATOR(pg_catalog.=) pg_catalog.lower($2))",
		2, types, values, nulls, true, 1);
	SetUserIdAndSecContext(user, security);

	row = SPI_tuptable->vals[0];
	scope.account = *DatumGetUUIDP(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
	if (!PG_ARGISNULL(1))
	{
		Datum project = SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull);

		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("project \"%s\" is not tracked", text_to_cstring(PG_GETARG_TEXT_PP(1))),
					 errhint("Track it with keypup.track first.")));
		scope.has_project = true;
		scope.project = DatumGetInt64(project);
	}
	return scope;
}

/* told: what the caller was told last; what is as it was is not told again. */
static void
report_progress(const JobsLeft *left, JobsLeft *told)
{
	if (left->items_total == 0 ||
		(left->items_done == told->items_done && left->items_total == told->items_total &&
		 left->jobs == told->jobs))
		return;
	ereport(NOTICE, (errmsg("synced " INT64_FORMAT " of " INT64_FORMAT
							" issues and pull requests, " INT64_FORMAT " requests to go",
							left->items_done, left->items_total, left->jobs)));
	*told = *left;
}

static void
sync_until_done(Runner *runner)
{
	TimestampTz reported = GetCurrentTimestamp();
	JobsLeft told = {0};
	JobsLeft left;

	start_runs(runner, true);
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
		left = count_jobs_left(runner);
		if (!busy && (left.jobs == 0 || left.ready_in > PATIENCE_MILLISECONDS))
			break;
		if (TimestampDifferenceExceeds(reported, GetCurrentTimestamp(), PROGRESS_MILLISECONDS))
		{
			report_progress(&left, &told);
			(void) do_upkeep(&runner->steps, ANALYZE_TABLES);
			reported = GetCurrentTimestamp();
		}
		if (!busy)
		{
			rest_runner(runner);
			/* What is left is put off for a moment, or another worker is at it. */
			sleep_until_woken(100);
			CHECK_FOR_INTERRUPTS();
		}
	}
	report_progress(&left, &told);
	if (left.last_error != NULL)
		ereport(
			WARNING,
			(errmsg("the sync is not complete: %s", left.last_error),
			 errhint(
				 "SELECT * FROM keypup.sync_status says more. What was read is stored; the rest is tried again.")));
}

Datum
keypup_sync(PG_FUNCTION_ARGS)
{
	JobScope scope;
	Runner *runner;

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("keypup.sync cannot run inside a transaction block"),
						errdetail("It commits each page as it is stored."),
						errhint("CALL it by itself.")));

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	scope = read_scope(fcinfo);
	runner = open_runner(&scope, true);
	PG_TRY();
	{
		sync_until_done(runner);
	}
	PG_FINALLY();
	{
		close_runner(runner);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}
