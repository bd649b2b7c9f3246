/*
 * worker_list.c
 *		The list of the launcher and the workers, in shared memory, and how they are
 *		woken and ended. What is known of their databases stands in database_list.c.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

#include "shared_area.h"
#include "worker_list.h"

/* Numbers only: whoever reads them may belong to another life of the server. */
typedef struct SharedWorkers
{
	WorkerEntry entries[MAX_WORKERS]; /* the first place is the launcher's */
} SharedWorkers;

/* As pg_stat_activity tells them: what a worker does, never what it sends. */
static const char *const activities[] = {[WORKER_STARTING] = NULL,
										 [WORKER_IDLE] = NULL,
										 [WORKER_LOOKING] = "looking what is due",
										 [WORKER_SYNCING] = "syncing",
										 [WORKER_WAITING] = "waiting for replies",
										 [WORKER_STORING] = "storing a reply",
										 [LAUNCHER_LOOKING] = "looking for databases"};

static SharedWorkers *shared = NULL;
static SharedArea area = {
	.name = "keypup", .size = sizeof(SharedWorkers), .memory = (void **) &shared};
static WorkerEntry *own = NULL; /* this process's */

void
register_worker_list(void)
{
	register_shared_area(&area);
}

bool
has_shared_lists(void)
{
	return shared != NULL;
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

/* The lock is held. */
static void
take_place(WorkerEntry *place)
{
	own = place;
	own->pid = MyProcPid;
	own->started_at = GetCurrentTimestamp();
}

/* The lock is held. NULL: it is neither there nor awaited. */
static WorkerEntry *
find_place(Oid database, int number)
{
	for (int i = 1; i < MAX_WORKERS; i++)
	{
		if (shared->entries[i].database == database && shared->entries[i].number == number)
			return &shared->entries[i];
	}
	return NULL;
}

void
enter_launcher(void)
{
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 1; i < MAX_WORKERS; i++)
	{
		if (shared->entries[i].pid == 0)
			memset(&shared->entries[i], 0, sizeof(WorkerEntry));
	}
	take_place(&shared->entries[0]);
	LWLockRelease(area.lock);
	on_shmem_exit(leave_at_exit, (Datum) 0);
}

bool
enter_worker(Oid database, int number)
{
	WorkerEntry *place;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	place = find_place(database, number);
	if (place != NULL && place->pid == 0)
		take_place(place);
	LWLockRelease(area.lock);
	/* Entered before it connects, a worker leaves after it: nobody counts its connection any more then. */
	if (own != NULL)
		on_shmem_exit(leave_at_exit, (Datum) 0);
	return own != NULL;
}

bool
await_worker(Oid database, int number)
{
	WorkerEntry *place;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	place = find_place(InvalidOid, 0);
	if (place != NULL)
	{
		place->database = database;
		place->number = number;
	}
	LWLockRelease(area.lock);
	return place != NULL;
}

void
give_worker_up(Oid database, int number)
{
	WorkerEntry *place;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	place = find_place(database, number);
	if (place != NULL && place->pid == 0)
		memset(place, 0, sizeof(WorkerEntry));
	LWLockRelease(area.lock);
}

bool
find_worker(Oid database, int number, WorkerEntry *into)
{
	WorkerEntry *place;

	LWLockAcquire(area.lock, LW_SHARED);
	place = find_place(database, number);
	if (place != NULL)
		*into = *place;
	LWLockRelease(area.lock);
	return place != NULL;
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
		if (shared->entries[i].pid != 0)
			into[count++] = shared->entries[i];
	}
	LWLockRelease(area.lock);
	return count;
}

/* --- waking and ending --- */

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
		if (shared->entries[i].pid == 0 || shared->entries[i].database != MyDatabaseId)
			continue;
		set_latch_of(shared->entries[i].pid);
		count++;
	}
	LWLockRelease(area.lock);
	return count;
}

void
wake_launcher_process(void)
{
	LWLockAcquire(area.lock, LW_SHARED);
	set_latch_of(shared->entries[0].pid);
	LWLockRelease(area.lock);
}

/* A process is in the list for as long as it is there: while the lock is held its id is no other's. */
int
end_workers(Oid database)
{
	int count = 0;

	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 1; i < MAX_WORKERS; i++)
	{
		WorkerEntry *entry = &shared->entries[i];

		if (entry->pid == 0 || (OidIsValid(database) && entry->database != database))
			continue;
		kill(entry->pid, SIGTERM);
		count++;
	}
	LWLockRelease(area.lock);
	return count;
}
