/*
 * worker.c
 *		The background worker of one database, and CALL keypup.sync, which does
 *		the same work in the caller's session.
 *
 * The worker lives as long as the extension is installed and keypup.workers asks
 * for it: it looks what is due, performs it, and sleeps. An error in one page is
 * that page's; any other ends the worker, which leaves the number of the error
 * behind, and the launcher starts a new one after a pause.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
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
#include "keypup.h"
#include "sync/database_list.h"
#include "sync/errand.h"
#include "sync/job.h"
#include "sync/launcher.h"
#include "sync/settings.h"
#include "sync/step.h"
#include "sync/upkeep.h"
#include "sync/worker_list.h"
#include "token/secret.h"

#define IDLE_MILLISECONDS 2000
#define LOOK_MILLISECONDS 1000
#define MERGE_MILLISECONDS 60000
#define PROGRESS_MILLISECONDS 1000
/* A worker that has lived so long does not fail at once. */
#define GOOD_RUN_MILLISECONDS 30000
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

/* --- how a worker ends --- */

static int last_sqlstate = 0;

/* Called for every message, before it is sent: also for those that nobody logs, and for FATAL ones. */
static void
remember_error(void *argument)
{
	int sqlstate = geterrcode();
	int category = ERRCODE_TO_CATEGORY(sqlstate);

	if (category != ERRCODE_TO_CATEGORY(ERRCODE_SUCCESSFUL_COMPLETION) &&
		category != ERRCODE_TO_CATEGORY(ERRCODE_WARNING) &&
		category != ERRCODE_TO_CATEGORY(ERRCODE_NO_DATA))
		last_sqlstate = sqlstate;
}

/* One that was told to end has not failed. */
static void
note_end(int code, Datum database)
{
	if (code != 0 && last_sqlstate != ERRCODE_ADMIN_SHUTDOWN)
		note_failure(DatumGetObjectId(database), last_sqlstate);
}

/* --- what a worker looks for --- */

/* Whether there is work for this worker; what it found is left for the launcher. */
static bool
find_work(Oid database, uint64 wakes)
{
	if (!is_installed())
		note_finding(database, wakes, FINDING_NO_EXTENSION, 0, false);
	else if (keypup_workers == 0)
		note_finding(database, wakes, FINDING_SWITCHED_OFF, 0, false);
	else
	{
		note_finding(database, wakes, FINDING_WORK, keypup_workers,
					 synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH);
		return read_worker_number() < keypup_workers;
	}
	return false;
}

/* Connects, if there is work for it, and otherwise ends the process. */
static void
start_worker_process(Oid database, uint64 *wakes)
{
	/* Before anything secret is in it. */
	protect_process_memory();
	overwrite_freed_memory();
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!enter_worker(database, read_worker_number()))
		proc_exit(0);
	on_shmem_exit(note_end, ObjectIdGetDatum(database));
	/* Whoever has held it after it was started found this worker in the list, or is found here. */
	if (look_up_database(database).holders > 0)
		proc_exit(0);
	*wakes = count_wakes(database);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pin_settings_of_worker();
	if (!find_work(database, *wakes))
		proc_exit(0);
	show_worker_state(WORKER_IDLE);
	wake_launcher_process();
}

/* --- its life --- */

typedef struct Worker
{
	Oid database;
	Runner *runner;
	Steps upkeep_steps;
	uint64 wakes; /* of which it knows */
	TimestampTz started_at; /* 0: it has run well */
	TimestampTz looked_at; /* 0: it looks at once */
	TimestampTz merged_at;
	bool rewraps; /* there may be data keys to wrap anew */
	bool reseals; /* there may be tokens to seal anew */
} Worker;

static bool
wants_to_look(Worker *worker)
{
	return worker->wakes != count_wakes(worker->database) ||
		   TimestampDifferenceExceeds(worker->looked_at, GetCurrentTimestamp(), LOOK_MILLISECONDS);
}

/* Returns false when there is no work for this worker any more. */
static bool
look_what_is_due(Worker *worker)
{
	show_worker_state(WORKER_LOOKING);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		worker->rewraps = true;
	}
	worker->wakes = count_wakes(worker->database);
	if (!find_work(worker->database, worker->wakes))
		return false;
	start_runs(worker->runner, false);
	ask_for_app_tokens(worker->runner);
	(void) do_upkeep(&worker->upkeep_steps, ANALYZE_TABLES);
	worker->reseals = true;
	worker->looked_at = GetCurrentTimestamp();
	if (TimestampDifferenceExceeds(worker->merged_at, worker->looked_at, MERGE_MILLISECONDS))
	{
		(void) do_upkeep(&worker->upkeep_steps, MERGE_PEOPLE);
		(void) do_upkeep(&worker->upkeep_steps, KEEP_ROLES);
		worker->merged_at = worker->looked_at;
	}
	if (worker->started_at != 0 &&
		TimestampDifferenceExceeds(worker->started_at, worker->looked_at, GOOD_RUN_MILLISECONDS))
	{
		note_good_run(worker->database);
		worker->started_at = 0;
	}
	return true;
}

/* Returns whether there may be more to do at once. */
static bool
work(Worker *worker)
{
	bool busy;

	show_worker_state(WORKER_SYNCING);
	busy = send_due_jobs(worker->runner) > 0;
	send_errands(worker->runner);
	busy = exchange(worker->runner, PROGRESS_MILLISECONDS) || busy;
	busy = store_refusals(&worker->upkeep_steps) || busy;
	worker->rewraps = worker->rewraps && do_upkeep(&worker->upkeep_steps, REWRAP_DATA_KEYS);
	worker->reseals = worker->reseals && do_upkeep(&worker->upkeep_steps, RESEAL_TOKENS);
	return busy || worker->rewraps || worker->reseals;
}

void
keypup_worker_main(Datum argument)
{
	JobScope everything = {0};
	ErrorContextCallback callback;
	/* The key file may have a new key since the last worker ended. */
	Worker worker = {.database = DatumGetObjectId(argument), .rewraps = true};

	callback.callback = remember_error;
	callback.arg = NULL;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	start_worker_process(worker.database, &worker.wakes);
	worker.started_at = GetCurrentTimestamp();
	worker.runner = open_runner(&everything, false);
	open_steps(&worker.upkeep_steps, false);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		/* Also while it is busy: a project that is tracked meanwhile waits for no other. */
		if (wants_to_look(&worker) && !look_what_is_due(&worker))
			break;
		if (!work(&worker))
		{
			rest_runner(worker.runner);
			show_worker_state(WORKER_IDLE);
			sleep_until_woken(choose_pause());
			worker.looked_at = 0;
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
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("this cannot run on a standby"),
				 errdetail("It changes rows, and a standby is only read."),
				 errhint("Call it on the primary server.")));

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	/* Settings are pinned before the first query of a transaction, and this one has had one. */
	SPI_commit();
	pin_settings_of_transaction();
	scope = read_scope(fcinfo);
	SPI_commit();
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
