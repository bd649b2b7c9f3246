/*
 * worker_list.c
 *		The list of the launcher and the workers, in shared memory, and how they are
 *		woken and ended.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "shared_area.h"
#include "sync/worker_list.h"

/* Numbers only: whoever reads them may belong to another life of the server. */
typedef struct SharedState
{
	uint64 wakes;
	Oid held_database; /* no worker is started in it ... */
	TimestampTz held_until; /* ... before then */
	Oid without_extension[MAX_WORKERS]; /* a ring of databases that were looked into in vain */
	int without_extension_count; /* counts on; the next place is this modulo MAX_WORKERS */
	WorkerEntry workers[MAX_WORKERS]; /* the first place is the launcher's */
} SharedState;

PG_FUNCTION_INFO_V1(keypup_wake_launcher);

/* As pg_stat_activity tells them: what a worker does, never what it sends. */
static const char *const activities[] = {[WORKER_STARTING] = NULL,
										 [WORKER_IDLE] = NULL,
										 [WORKER_LOOKING] = "looking what is due",
										 [WORKER_SYNCING] = "syncing",
										 [WORKER_WAITING] = "waiting for replies",
										 [WORKER_STORING] = "storing a reply",
										 [LAUNCHER_LOOKING] = "looking for databases"};

static SharedState *shared = NULL;
static SharedArea area = {
	.name = "keypup", .size = sizeof(SharedState), .memory = (void **) &shared};
static WorkerEntry *own = NULL; /* this process's */
static bool wake_at_commit = false;

void
register_worker_list(void)
{
	register_shared_area(&area);
}

/* --- entries --- */

static void
leave_at_exit(int code, Datum argument)
{
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	memset(own, 0, sizeof(WorkerEntry));
	LWLockRelease(area.lock);
	own = NULL;
}

void
enter_worker(Oid database, int number)
{
	int first = OidIsValid(database) ? 1 : 0;
	int last = OidIsValid(database) ? MAX_WORKERS - 1 : 0;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = first; i <= last && own == NULL; i++)
	{
		if (shared->workers[i].pid == 0)
			own = &shared->workers[i];
	}
	if (own != NULL)
	{
		own->pid = MyProcPid;
		own->database = database;
		own->number = number;
		own->started_at = GetCurrentTimestamp();
	}
	LWLockRelease(area.lock);
	if (own != NULL)
		before_shmem_exit(leave_at_exit, (Datum) 0);
}

void
show_worker_state(WorkerState state)
{
	if (own == NULL)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	own->state = state;
	LWLockRelease(area.lock);
	pgstat_report_activity(activities[state] == NULL ? STATE_IDLE : STATE_RUNNING,
						   activities[state]);
}

void
note_requests(int in_flight, int64 sent)
{
	if (own == NULL)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	own->in_flight = in_flight;
	own->requests = sent;
	LWLockRelease(area.lock);
}

void
note_reply(WorkerTrouble trouble)
{
	if (own == NULL)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	own->last_reply_at = GetCurrentTimestamp();
	own->trouble = trouble;
	LWLockRelease(area.lock);
}

void
note_page(void)
{
	if (own == NULL)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	own->pages++;
	LWLockRelease(area.lock);
}

int
copy_workers(WorkerEntry *into)
{
	int count = 0;

	if (shared == NULL)
		return 0;
	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 0; i < MAX_WORKERS; i++)
	{
		if (shared->workers[i].pid != 0)
			into[count++] = shared->workers[i];
	}
	LWLockRelease(area.lock);
	return count;
}

bool
is_entered(Oid database, int number)
{
	bool entered = false;

	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 1; i < MAX_WORKERS && !entered; i++)
		entered = shared->workers[i].pid != 0 && shared->workers[i].database == database &&
				  shared->workers[i].number == number;
	LWLockRelease(area.lock);
	return entered;
}

/* --- wakes --- */

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
	for (int i = 1; i < MAX_WORKERS; i++)
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
		set_latch_of(shared->workers[0].pid);
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

uint64
count_wakes(void)
{
	uint64 wakes;

	LWLockAcquire(area.lock, LW_SHARED);
	wakes = shared->wakes;
	LWLockRelease(area.lock);
	return wakes;
}

/* --- what is known of databases --- */

void
report_no_extension(Oid database, uint64 wakes)
{
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	/* Otherwise it may have been created since the worker looked. */
	if (shared->wakes == wakes)
		shared->without_extension[shared->without_extension_count++ % MAX_WORKERS] = database;
	LWLockRelease(area.lock);
}

bool
lacks_extension(Oid database)
{
	bool found = false;

	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 0; i < MAX_WORKERS; i++)
		found = found || shared->without_extension[i] == database;
	LWLockRelease(area.lock);
	return found;
}

void
report_extension(void)
{
	show_worker_state(WORKER_IDLE);
	LWLockAcquire(area.lock, LW_SHARED);
	set_latch_of(shared->workers[0].pid);
	LWLockRelease(area.lock);
}

bool
has_extension(Oid database)
{
	bool found = false;

	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 1; i < MAX_WORKERS && !found; i++)
		found = shared->workers[i].pid != 0 && shared->workers[i].database == database &&
				shared->workers[i].state != WORKER_STARTING;
	LWLockRelease(area.lock);
	return found;
}

/* --- ending workers --- */

void
end_surplus_workers(int limit)
{
	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 1; i < MAX_WORKERS; i++)
	{
		if (shared->workers[i].pid != 0 && shared->workers[i].number >= limit)
			kill(shared->workers[i].pid, SIGTERM);
	}
	LWLockRelease(area.lock);
}

bool
hold_database(Oid database, int milliseconds)
{
	bool none = true;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	shared->held_database = database;
	shared->held_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
	for (int i = 1; i < MAX_WORKERS; i++)
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

bool
is_held(Oid database)
{
	bool held;

	LWLockAcquire(area.lock, LW_SHARED);
	held = shared->held_database == database && GetCurrentTimestamp() < shared->held_until;
	LWLockRelease(area.lock);
	return held;
}
