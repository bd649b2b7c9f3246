/*
 * launcher.c
 *		Finds the databases and starts the workers that are wanted in each.
 *
 * Whether a database has the extension, and what keypup.workers is there, can
 * only be seen from inside it. So the launcher starts a first worker in every
 * database, which says what it found (note_finding): others follow where more
 * are wanted; where there is no work it has left, and another looks after some
 * minutes, or as soon as the database is woken (command.c). On a standby the
 * launcher does not start before promotion.
 *
 * It keeps nothing that another launcher, after it, could not do without.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "worker/command.h"
#include "worker/database_list.h"
#include "worker/launcher.h"
#include "worker_list.h"

#define LOOK_MILLISECONDS 5000
#define RESTART_SECONDS 5
#define COMPLAIN_MILLISECONDS (5 * 60 * 1000)
/* datconnlimit of one whose DROP DATABASE was interrupted: nobody can connect. */
#define INVALID_DATABASE (-2)

typedef struct Database
{
	Oid oid;
	bool present; /* in pg_database */
	bool admits; /* it may have workers */
	bool lacks_slot; /* one that is wanted could not be started */
	BackgroundWorkerHandle *handles[MAX_WORKERS_OF_DATABASE]; /* NULL before the first start */
} Database;

PGDLLEXPORT void keypup_launcher_main(Datum argument);

static bool refused = false;

/* PostgreSQL refuses a worker for which there is no room with a line in the log only. */
static bool
is_registered(const BackgroundWorker *worker)
{
	const RegisteredBgWorker *newest = keypup_newest_background_worker();

	return newest != NULL && strcmp(newest->rw_worker.bgw_name, worker->bgw_name) == 0;
}

void
register_launcher(void)
{
	BackgroundWorker worker = {0};

	register_worker_list();
	register_database_list();
	register_commands();

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, "keypup", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "keypup_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "keypup launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "keypup launcher", sizeof(worker.bgw_type));
	/* pg_upgrade wants nobody else in the server while it fills it. */
	if (IsBinaryUpgrade)
		return;
	RegisterBackgroundWorker(&worker);
	refused = IsPostmasterEnvironment && !is_registered(&worker);
}

bool
launcher_was_refused(void)
{
	return refused;
}

/* --- which databases there are --- */

static Database *
find_database(List **databases, Oid oid)
{
	MemoryContext context;
	Database *database;
	ListCell *cell;

	foreach (cell, *databases)
	{
		database = lfirst(cell);
		if (database->oid == oid)
			return database;
	}
	context = MemoryContextSwitchTo(TopMemoryContext);
	database = palloc0(sizeof(Database));
	database->oid = oid;
	*databases = lappend(*databases, database);
	MemoryContextSwitchTo(context);
	return database;
}

/* Those that are gone leave both lists. Any that has a place in the shared one was there before we looked. */
static void
forget_absent_databases(List **databases, const Oid *known, int count)
{
	ListCell *cell;

	for (int i = 0; i < count; i++)
	{
		if (!find_database(databases, known[i])->present)
			forget_database(known[i]);
	}
	foreach (cell, *databases)
	{
		Database *database = lfirst(cell);

		if (database->present)
			continue;
		for (int i = 0; i < MAX_WORKERS_OF_DATABASE; i++)
		{
			if (database->handles[i] != NULL)
				pfree(database->handles[i]);
		}
		pfree(database);
		*databases = foreach_delete_current(*databases, cell);
	}
}

/* Brings the list up to date with pg_database. */
static void
read_databases(List **databases)
{
	static Oid known[MAX_DATABASES];
	int known_count = list_databases(known);
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
		Database *database = find_database(databases, row->oid);

		database->present = true;
		database->admits =
			row->datallowconn && !row->datistemplate && row->datconnlimit != INVALID_DATABASE;
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	forget_absent_databases(databases, known, known_count);
}

/* --- starting workers --- */

/* One that was awaited and will not come is a failure of its database: it is not started at once. */
static bool
is_missing(Database *database, int number)
{
	BackgroundWorkerHandle *handle = database->handles[number];
	pid_t pid;
	BgwHandleStatus status = handle == NULL ? BGWH_STOPPED : GetBackgroundWorkerPid(handle, &pid);
	WorkerEntry entry;

	if (!find_worker(database->oid, number, &entry))
		return true;
	if (entry.pid == 0 && status == BGWH_STOPPED)
	{
		give_worker_up(database->oid, number);
		note_failure(database->oid, 0);
	}
	return false;
}

/* Returns false when max_worker_processes, or our own list, has no place for it. */
static bool
start_worker(Database *database, int number)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle **handle = &database->handles[number];
	MemoryContext context;
	bool started;

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

	if (!await_worker(database->oid, number))
		return false;
	if (*handle != NULL)
		pfree(*handle);
	*handle = NULL;
	context = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, handle);
	MemoryContextSwitchTo(context);
	if (!started)
		give_worker_up(database->oid, number);
	return started;
}

/* Not while it is held, nor before a pause is over. */
static bool
may_start_workers(Database *database)
{
	DatabaseEntry known;

	if (!database->admits || !enter_database(database->oid))
		return false;
	known = look_up_database(database->oid);
	return known.holders == 0 && GetCurrentTimestamp() >= known.retry_at;
}

int
read_worker_number(void)
{
	int number;

	memcpy(&number, MyBgworkerEntry->bgw_extra, sizeof(number));
	return number;
}

static void
start_missing_workers(Database *database, int from, int to)
{
	for (int i = from; i < to && !database->lacks_slot; i++)
		database->lacks_slot = is_missing(database, i) && !start_worker(database, i);
}

/* Every database has its first worker before any has another. */
static void
start_workers(List *databases)
{
	ListCell *cell;

	foreach (cell, databases)
	{
		Database *database = lfirst(cell);

		database->lacks_slot = false;
		if (may_start_workers(database))
			start_missing_workers(database, 0, 1);
	}
	foreach (cell, databases)
	{
		Database *database = lfirst(cell);
		DatabaseEntry known = look_up_database(database->oid);

		if (known.finding == FINDING_WORK && may_start_workers(database))
			start_missing_workers(database, 1, known.workers_wanted);
	}
}

/* --- max_worker_processes --- */

/* A first worker that has not said yet what it finds may leave at once, and so make room. */
static bool
awaits_findings(List *databases)
{
	ListCell *cell;

	foreach (cell, databases)
	{
		WorkerEntry entry;

		if (find_worker(((Database *) lfirst(cell))->oid, 0, &entry) &&
			entry.state == WORKER_STARTING)
			return true;
	}
	return false;
}

/* At once, then now and again while it lasts, and when it is over. */
static void
log_lacking_slots(int lacking)
{
	static TimestampTz logged_at = 0;
	static bool lasts = false;

	if (lacking > 0 &&
		TimestampDifferenceExceeds(logged_at, GetCurrentTimestamp(), COMPLAIN_MILLISECONDS))
	{
		ereport(
			LOG,
			(errmsg_plural("keypup could not start all workers of %d database",
						   "keypup could not start all workers of %d databases", lacking, lacking),
			 errdetail("All of max_worker_processes (%d) are in use.", max_worker_processes),
			 errhint("Raise max_worker_processes, and restart the server.")));
		logged_at = GetCurrentTimestamp();
		lasts = true;
	}
	if (lacking == 0 && lasts)
	{
		ereport(LOG, (errmsg("keypup has started the workers that it could not start before")));
		lasts = false;
	}
}

static void
note_slots(List *databases)
{
	int lacking = 0;
	ListCell *cell;

	foreach (cell, databases)
		lacking += ((Database *) lfirst(cell))->lacks_slot;
	if (lacking > 0 && awaits_findings(databases))
		return;
	foreach (cell, databases)
		note_slot(((Database *) lfirst(cell))->oid, !((Database *) lfirst(cell))->lacks_slot);
	log_lacking_slots(lacking);
}

static void
look_for_databases(List **databases)
{
	ListCell *cell;

	read_databases(databases);
	foreach (cell, *databases)
	{
		if (!((Database *) lfirst(cell))->admits)
			(void) end_workers(((Database *) lfirst(cell))->oid);
	}
	start_workers(*databases);
	note_slots(*databases);
}

void
keypup_launcher_main(Datum argument)
{
	List *databases = NIL;
	uint32 event = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	enter_launcher();

	while (!ShutdownRequestPending)
	{
		show_worker_state(LAUNCHER_LOOKING);
		look_for_databases(&databases);
		show_worker_state(WORKER_IDLE);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LOOK_MILLISECONDS, keypup_wait_event(&event, "KeypupLauncher"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			wake_all_databases();
		}
	}
	/* With 0 it would not be started again, should anybody but the postmaster have ended it. */
	proc_exit(1);
}
