/*
 * launcher.c
 *		Finds the databases and starts keypup.workers workers in each.
 *
 * Whether a database has the extension can only be seen from inside it. So
 * the launcher starts a worker in every database: one that finds no extension
 * ends at once and is tried again after some minutes, or as soon as a CREATE
 * EXTENSION commits (wake_launcher). On a standby the launcher does not start
 * before promotion.
 *
 * A worker holds a connection, which would make DROP DATABASE fail. So before
 * one, its workers are ended.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "keypup.h"
#include "sync/launcher.h"
#include "sync/worker_list.h"

#define TRY_AGAIN_MILLISECONDS (5 * 60 * 1000)
#define RESTART_MILLISECONDS 5000
#define STOP_PATIENCE_MILLISECONDS 10000
#define DROP_EXTENSION_MILLISECONDS 3000

typedef struct Worker
{
	BackgroundWorkerHandle *handle; /* NULL before the first start */
	TimestampTz started_at;
} Worker;

typedef struct Database
{
	Oid oid;
	bool present;
	Worker workers[MAX_WORKERS_OF_DATABASE];
} Database;

PGDLLEXPORT void keypup_launcher_main(Datum argument);

static ProcessUtility_hook_type previous_utility_hook = NULL;
static bool preloaded = false;

static void
stop_workers_of(Oid database, int hold_milliseconds)
{
	static uint32 drop_event = 0;
	TimestampTz give_up =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STOP_PATIENCE_MILLISECONDS);

	while (!hold_database(database, hold_milliseconds) && GetCurrentTimestamp() < give_up)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 keypup_wait_event(&drop_event, "KeypupDrop"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* A worker holds a connection, which would make it fail. Who may not drop it may not stop its workers either. */
static void
before_drop_database(const char *name)
{
	Oid database = get_database_oid(name, true);

	if (OidIsValid(database) && keypup_owns_database(database, GetUserId()))
		stop_workers_of(database, STOP_PATIENCE_MILLISECONDS);
}

/* A worker locks the tables in another order than the drop does. */
static void
before_drop_extension(List *names)
{
	Oid extension = get_extension_oid("keypup", true);
	ListCell *cell;

	foreach (cell, names)
	{
		if (strcmp(strVal(lfirst(cell)), "keypup") == 0 && OidIsValid(extension) &&
			keypup_owns_extension(extension, GetUserId()))
			stop_workers_of(MyDatabaseId, DROP_EXTENSION_MILLISECONDS);
	}
}

static void
before_utility(PlannedStmt *statement, const char *text, bool read_only_tree,
			   ProcessUtilityContext context, ParamListInfo parameters,
			   QueryEnvironment *environment, DestReceiver *destination,
			   QueryCompletion *completion)
{
	Node *node = statement->utilityStmt;

	if (preloaded && IsA(node, DropdbStmt))
		before_drop_database(((DropdbStmt *) node)->dbname);
	if (preloaded && IsA(node, DropStmt) && ((DropStmt *) node)->removeType == OBJECT_EXTENSION)
		before_drop_extension(((DropStmt *) node)->objects);
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

	register_worker_list();
	preloaded = true;
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

/* A launcher that was started anew has no handles of the workers that it finds. */
static bool
is_running(Database *database, int number)
{
	Worker *worker = &database->workers[number];
	pid_t pid;
	BgwHandleStatus status =
		worker->handle == NULL ? BGWH_STOPPED : GetBackgroundWorkerPid(worker->handle, &pid);

	return status == BGWH_STARTED || status == BGWH_NOT_YET_STARTED ||
		   is_entered(database->oid, number);
}

static void
start_worker(Database *database, int number)
{
	BackgroundWorker worker = {0};
	Worker *started = &database->workers[number];
	MemoryContext context;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(database->oid);
	memcpy(worker.bgw_extra, &number, sizeof(number));
	worker.bgw_notify_pid = MyProcPid;
	strlcpy(worker.bgw_library_name, "keypup", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "keypup_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "keypup worker %u/%d", database->oid,
			 number);
	strlcpy(worker.bgw_type, "keypup worker", sizeof(worker.bgw_type));

	if (started->handle != NULL)
		pfree(started->handle);
	started->handle = NULL;
	context = MemoryContextSwitchTo(TopMemoryContext);
	if (!RegisterDynamicBackgroundWorker(&worker, &started->handle))
		ereport(LOG, (errmsg("keypup could not start a worker"),
					  errhint("Raise max_worker_processes.")));
	MemoryContextSwitchTo(context);
	started->started_at = GetCurrentTimestamp();
}

int
read_worker_number(void)
{
	int number;

	memcpy(&number, MyBgworkerEntry->bgw_extra, sizeof(number));
	return number;
}

/*
 * A worker that ended is started again soon, except where it found no extension: there the first is
 * tried again when an extension was created, or after some minutes. The others wait until the
 * extension was found.
 */
static void
start_missing_workers(Database *database, bool woken)
{
	bool lacking = lacks_extension(database->oid);
	int pause = lacking ? TRY_AGAIN_MILLISECONDS : RESTART_MILLISECONDS;

	for (int i = 0; i < keypup_workers; i++)
	{
		TimestampTz started_at = database->workers[i].started_at;

		if (is_running(database, i) || (i > 0 && (lacking || !has_extension(database->oid))))
			continue;
		if (started_at == 0 || woken ||
			GetCurrentTimestamp() >= TimestampTzPlusMilliseconds(started_at, pause))
			start_worker(database, i);
	}
}

static void
look_for_databases(List **databases, bool woken)
{
	ListCell *cell;

	read_databases(databases);
	foreach (cell, *databases)
	{
		Database *database = lfirst(cell);

		if (database->present && !is_held(database->oid))
			start_missing_workers(database, woken);
	}
	end_surplus_workers(keypup_workers);
}

void
keypup_launcher_main(Datum argument)
{
	List *databases = NIL;
	uint64 wakes_seen = 0;
	uint32 event = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	enter_worker(InvalidOid, 0);

	while (!ShutdownRequestPending)
	{
		uint64 wakes = count_wakes();

		show_worker_state(LAUNCHER_LOOKING);
		look_for_databases(&databases, wakes != wakes_seen);
		wakes_seen = wakes;
		show_worker_state(WORKER_IDLE);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 RESTART_MILLISECONDS, keypup_wait_event(&event, "KeypupLauncher"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
	/* With 0 it would not be started again, should anybody but the postmaster have ended it. */
	proc_exit(1);
}
