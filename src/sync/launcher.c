/*
 * launcher.c
 *		Finds the databases and starts a worker in each.
 *
 * Whether a database has the extension can only be seen from inside it. So
 * the launcher starts a worker in every database: one that finds no extension
 * ends at once and is tried again after some minutes, or as soon as a CREATE
 * EXTENSION commits (wake_launcher). On a standby the launcher does not start
 * before promotion.
 *
 * A worker holds a connection, which would make DROP DATABASE fail. So before
 * one, its worker is ended.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shared_area.h"
#include "sync/launcher.h"

#define MAX_WORKERS 128
#define TRY_AGAIN_MILLISECONDS (5 * 60 * 1000)
#define RESTART_MILLISECONDS 5000
#define STOP_PATIENCE_MILLISECONDS 10000

/* Numbers only: whoever reads them may belong to another life of the server. */
typedef struct SharedState
{
	int launcher_pid;
	uint64 wakes;
	Oid held_database; /* no worker is started in it ... */
	TimestampTz held_until; /* ... before then */
	Oid without_extension[MAX_WORKERS]; /* a ring of databases that were looked into in vain */
	int without_extension_count; /* counts on; the next place is this modulo MAX_WORKERS */
	struct
	{
		Oid database;
		int pid;
	} workers[MAX_WORKERS];
} SharedState;

typedef struct Database
{
	Oid oid;
	BackgroundWorkerHandle *handle; /* NULL before the first start */
	TimestampTz started_at;
	bool present;
} Database;

PGDLLEXPORT void keypup_launcher_main(Datum argument);

PG_FUNCTION_INFO_V1(keypup_wake_launcher);

static SharedState *shared = NULL;
static SharedArea area = {
	.name = "keypup", .size = sizeof(SharedState), .memory = (void **) &shared};
static ProcessUtility_hook_type previous_utility_hook = NULL;
static bool wake_at_commit = false;

static void
set_latch_of(int pid)
{
	PGPROC *process = pid == 0 ? NULL : BackendPidGetProc(pid);

	if (process != NULL)
		SetLatch(&process->procLatch);
}

int
wake_workers(void)
{
	int count = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (shared->workers[i].pid == 0 || shared->workers[i].database != MyDatabaseId)
			continue;
		set_latch_of(shared->workers[i].pid);
		count++;
	}
	LWLockRelease(area.lock);
	return count;
}

/* Wakes the launcher and the workers of this database, once what they shall see is committed. */
static void
wake_after_commit(XactEvent event, void *argument)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (wake_at_commit && event == XACT_EVENT_COMMIT)
	{
		LWLockAcquire(area.lock, LW_EXCLUSIVE);
		shared->wakes++;
		memset(shared->without_extension, 0, sizeof(shared->without_extension));
		set_latch_of(shared->launcher_pid);
		LWLockRelease(area.lock);
		(void) wake_workers();
	}
	wake_at_commit = false;
}

Datum
keypup_wake_launcher(PG_FUNCTION_ARGS)
{
	static bool registered = false;

	if (shared == NULL)
		PG_RETURN_VOID(); /* not preloaded: there is no launcher */
	if (!registered)
		RegisterXactCallback(wake_after_commit, NULL);
	registered = true;
	wake_at_commit = true;
	PG_RETURN_VOID();
}

void
enter_worker(Oid database)
{
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (shared->workers[i].pid == 0)
		{
			shared->workers[i].database = database;
			shared->workers[i].pid = MyProcPid;
			break;
		}
	}
	LWLockRelease(area.lock);
}

void
leave_worker(void)
{
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (shared->workers[i].pid == MyProcPid)
		{
			shared->workers[i].pid = 0;
			shared->workers[i].database = InvalidOid;
		}
	}
	LWLockRelease(area.lock);
}

uint64
count_wakes(void)
{
	uint64 wakes;

	LWLockAcquire(area.lock, LW_SHARED);
	wakes = shared->wakes;
	LWLockRelease(area.lock);
	return wakes;
}

void
report_no_extension(Oid database, uint64 wakes)
{
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	/* Otherwise it may have been created since the worker looked. */
	if (shared->wakes == wakes)
		shared->without_extension[shared->without_extension_count++ % MAX_WORKERS] = database;
	LWLockRelease(area.lock);
}

static bool
has_no_extension(Oid database)
{
	bool found = false;

	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 0; i < MAX_WORKERS; i++)
		found = found || shared->without_extension[i] == database;
	LWLockRelease(area.lock);
	return found;
}

/* Ends the workers of a database. Returns whether none is left. */
static bool
signal_workers(Oid database)
{
	bool none = true;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	shared->held_database = database;
	shared->held_until =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STOP_PATIENCE_MILLISECONDS);
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (shared->workers[i].pid != 0 && shared->workers[i].database == database)
		{
			none = false;
			kill(shared->workers[i].pid, SIGTERM);
		}
	}
	LWLockRelease(area.lock);
	return none;
}

static void
stop_workers_of(const char *name)
{
	Oid database = get_database_oid(name, true);
	TimestampTz give_up =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STOP_PATIENCE_MILLISECONDS);

	/* Who may not drop the database may not stop its worker either. */
	if (!OidIsValid(database) || !keypup_owns_database(database, GetUserId()))
		return;
	while (!signal_workers(database) && GetCurrentTimestamp() < give_up)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static void
before_utility(PlannedStmt *statement, const char *text, bool read_only_tree,
			   ProcessUtilityContext context, ParamListInfo parameters,
			   QueryEnvironment *environment, DestReceiver *destination,
			   QueryCompletion *completion)
{
	if (shared != NULL && IsA(statement->utilityStmt, DropdbStmt))
		stop_workers_of(((DropdbStmt *) statement->utilityStmt)->dbname);
	if (previous_utility_hook)
		previous_utility_hook(statement, text, read_only_tree, context, parameters, environment,
							  destination, completion);
	else
		standard_ProcessUtility(statement, text, read_only_tree, context, parameters, environment,
								destination, completion);
}

void
register_launcher(void)
{
	BackgroundWorker worker = {0};

	register_shared_area(&area);
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = before_utility;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_MILLISECONDS / 1000;
	strlcpy(worker.bgw_library_name, "keypup", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "keypup_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "keypup launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "keypup launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

static Database *
find_database(List **databases, Oid oid)
{
	Database *database;
	ListCell *cell;

	foreach (cell, *databases)
	{
		database = lfirst(cell);
		if (database->oid == oid)
			return database;
	}
	database = MemoryContextAllocZero(TopMemoryContext, sizeof(Database));
	database->oid = oid;
	*databases = lappend(*databases, database);
	return database;
}

/* Brings the list up to date with pg_database. */
static void
read_databases(List **databases)
{
	Relation relation;
	TableScanDesc scan;
	HeapTuple tuple;
	ListCell *cell;

	foreach (cell, *databases)
		((Database *) lfirst(cell))->present = false;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database row = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);

		if (row->datallowconn && !row->datistemplate)
			find_database(databases, row->oid)->present = true;
		MemoryContextSwitchTo(context);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
}

static bool
is_running(Database *database)
{
	pid_t pid;
	BgwHandleStatus status;

	if (database->handle == NULL)
		return false;
	status = GetBackgroundWorkerPid(database->handle, &pid);
	return status == BGWH_STARTED || status == BGWH_NOT_YET_STARTED;
}

static bool
is_held(Oid database)
{
	bool held;

	LWLockAcquire(area.lock, LW_SHARED);
	held = shared->held_database == database && GetCurrentTimestamp() < shared->held_until;
	LWLockRelease(area.lock);
	return held;
}

static void
start_worker(Database *database)
{
	BackgroundWorker worker = {0};
	MemoryContext context;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database->oid);
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "keypup", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "keypup_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "keypup worker %u", database->oid);
	strlcpy(worker.bgw_type, "keypup worker", sizeof(worker.bgw_type));

	if (database->handle != NULL)
		pfree(database->handle);
	database->handle = NULL;
	context = MemoryContextSwitchTo(TopMemoryContext);
	if (!RegisterDynamicBackgroundWorker(&worker, &database->handle))
		ereport(LOG, (errmsg("keypup could not start a worker"),
					  errhint("Raise max_worker_processes.")));
	MemoryContextSwitchTo(context);
	database->started_at = GetCurrentTimestamp();
}

/*
 * A worker that ended is started again soon, except where it found no extension: there it is tried
 * again when an extension was created, or after some minutes.
 */
static void
start_missing_workers(List *databases, bool woken)
{
	ListCell *cell;

	foreach (cell, databases)
	{
		Database *database = lfirst(cell);
		int pause = has_no_extension(database->oid) ? TRY_AGAIN_MILLISECONDS : RESTART_MILLISECONDS;

		if (!database->present || is_running(database) || is_held(database->oid))
			continue;
		if (database->started_at == 0 || woken ||
			GetCurrentTimestamp() >= TimestampTzPlusMilliseconds(database->started_at, pause))
			start_worker(database);
	}
}

void
keypup_launcher_main(Datum argument)
{
	List *databases = NIL;
	uint64 wakes_seen = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	shared->launcher_pid = MyProcPid;
	LWLockRelease(area.lock);

	while (!ShutdownRequestPending)
	{
		uint64 wakes = count_wakes();

		read_databases(&databases);
		start_missing_workers(databases, wakes != wakes_seen);
		wakes_seen = wakes;

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 RESTART_MILLISECONDS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	proc_exit(0);
}
