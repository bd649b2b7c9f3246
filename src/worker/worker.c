/*
 * worker.c
 *		The background worker of one database.
 *
 * The worker lives as long as the extension is installed and keypup.workers asks
 * for it: it looks what is due, performs it, and sleeps. An error in one page is
 * that page's; any other ends the worker, which leaves the number of the error
 * behind, and the launcher starts a new one after a pause.
 */
#include "postgres.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "access/xact.h"
#include "commands/extension.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "forward/forward.h"
#include "grant/app_token.h"
#include "keypup.h"
#include "outside/answer.h"
#include "outside/step.h"
#include "pinned_settings.h"
#include "sync/job.h"
#include "sync/token_use.h"
#include "token/secret.h"
#include "worker/database_list.h"
#include "worker/launcher.h"
#include "worker/upkeep.h"
#include "worker_list.h"

#define IDLE_MILLISECONDS 2000
#define LOOK_MILLISECONDS 1000
#define MERGE_MILLISECONDS 60000
#define EXCHANGE_MILLISECONDS 1000
#define LARGE_BLOCK_BYTES (256 * 1024)
/* A worker that has lived so long does not fail at once. */
#define GOOD_RUN_MILLISECONDS 30000

PGDLLEXPORT void keypup_worker_main(Datum argument);

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

/*
 * glibc takes what is as large as the largest block that was freed from the heap, not by mmap (mallopt(3),
 * M_MMAP_THRESHOLD): what one large reply has needed would stay, and lie between the pieces of the next.
 */
static void
give_large_blocks_back(void)
{
#ifdef __GLIBC__
	(void) mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES);
#endif
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
	long look_pause; /* milliseconds to the next look */
	TimestampTz merged_at;
	bool rewraps; /* there may be data keys to wrap anew */
	bool reseals; /* there may be tokens to seal anew */
} Worker;

static bool
wants_to_look(Worker *worker)
{
	return worker->wakes != count_wakes(worker->database) ||
		   TimestampDifferenceExceeds(worker->looked_at, GetCurrentTimestamp(), worker->look_pause);
}

/* Returns false when there is no work for this worker any more. */
static bool
look_what_is_due(Worker *worker)
{
	TimestampTz began = GetCurrentTimestamp();
	int64 started;

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
	started = start_runs(worker->runner, false);
	ask_for_app_tokens(worker->runner);
	(void) do_upkeep(&worker->upkeep_steps, ANALYZE_TABLES);
	while (do_upkeep(&worker->upkeep_steps, SEAL_AUDIT_LOG) &&
		   !TimestampDifferenceExceeds(began, GetCurrentTimestamp(), LOOK_MILLISECONDS / 4))
		CHECK_FOR_INTERRUPTS();
	worker->reseals = true;
	worker->looked_at = GetCurrentTimestamp();
	worker->look_pause = LOOK_MILLISECONDS;
	/* Of some account there may be more: soon, with most of the time for what others wait for. */
	if (started >= RUNS_AT_ONCE)
		worker->look_pause =
			Min(4 * TimestampDifferenceMilliseconds(began, worker->looked_at), LOOK_MILLISECONDS);
	if (TimestampDifferenceExceeds(worker->merged_at, worker->looked_at, MERGE_MILLISECONDS))
	{
		(void) do_upkeep(&worker->upkeep_steps, MERGE_PEOPLE);
		(void) do_upkeep(&worker->upkeep_steps, KEEP_ROLES);
		(void) do_upkeep(&worker->upkeep_steps, KEEP_AUDIT_DAYS);
		(void) do_upkeep(&worker->upkeep_steps, RECORD_AUDIT_GAPS);
		(void) do_upkeep(&worker->upkeep_steps, WRITE_AUDIT_CHECKPOINT);
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
	answer_questions(worker->runner);
	busy = exchange(worker->runner, EXCHANGE_MILLISECONDS) || busy;
	busy = store_refusals(&worker->upkeep_steps) || busy;
	busy = forward_audit_log(worker->runner) || busy;
	record_token_uses(&worker->upkeep_steps, false);
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
	give_large_blocks_back();
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
