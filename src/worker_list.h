/*
 * worker_list.h
 *		The launcher and the workers that there are, and what each is at, in shared
 *		memory; how they are woken and ended.
 */
#ifndef KEYPUP_WORKER_LIST_H
#define KEYPUP_WORKER_LIST_H

#include "datatype/timestamp.h"

#define MAX_WORKERS 1024 /* in the server, the launcher among them */
#define MAX_WORKERS_OF_DATABASE 8

typedef enum WorkerState
{
	WORKER_STARTING, /* whether there is work is not known yet */
	WORKER_IDLE,
	WORKER_LOOKING,
	WORKER_SYNCING,
	WORKER_WAITING,
	WORKER_STORING,
	LAUNCHER_LOOKING
} WorkerState;

/* What the last reply was. No text of a provider's is kept. */
typedef enum WorkerTrouble
{
	TROUBLE_NONE,
	TROUBLE_NO_ANSWER,
	TROUBLE_TOKEN_REFUSED,
	TROUBLE_LIMITED,
	TROUBLE_PROVIDER_FAILED,
	TROUBLE_UNEXPECTED,
	TROUBLE_NOT_GIVEN,
	TROUBLE_NOT_STORED
} WorkerTrouble;

/* Numbers only: whoever reads them may belong to another life of the server. */
typedef struct WorkerEntry
{
	int pid; /* 0: the place is free, or the worker is still to come */
	Oid database; /* InvalidOid for the launcher, and where the place is free */
	int number; /* 0 for the first worker of a database */
	TimestampTz started_at;
	WorkerState state;
	int in_flight;
	int64 requests;
	int64 pages;
	TimestampTz last_reply_at; /* 0 before the first */
	WorkerTrouble trouble;
} WorkerEntry;

/*
 * register_worker_list
 *		Called once, from _PG_init in the postmaster.
 */
extern void register_worker_list(void);

/*
 * enter_launcher
 *		The caller is the launcher, until it exits. What another before it had
 *		ordered, and has not come, is not awaited any more.
 */
extern void enter_launcher(void);

/*
 * enter_worker
 *		The caller is this worker of the database, until it exits, however that comes.
 *		Returns false when the launcher does not await it.
 *
 * From then on it may be ended at any moment: it handles SIGTERM already.
 */
extern bool enter_worker(Oid database, int number);

/*
 * show_worker_state, note_requests, note_reply, note_page
 *		What the caller is at: for pg_stat_activity and worker_status. Without effect
 *		in a process that is not in the list. Raise nothing.
 */
extern void show_worker_state(WorkerState state);
extern void note_requests(int in_flight, int64 sent);
extern void note_reply(WorkerTrouble trouble);
extern void note_page(void);

/*
 * has_shared_lists
 *		Whether keypup was preloaded. Otherwise copy_workers and wake_workers find
 *		none, and nothing else of this file may be called.
 */
extern bool has_shared_lists(void);

/*
 * copy_workers
 *		Copies the entries of the processes that are there; returns how many. into:
 *		MAX_WORKERS of them.
 */
extern int copy_workers(WorkerEntry *into);

/*
 * wake_workers
 *		Has the workers of this database look at once what there is to do.
 *		Returns how many there are; raises nothing.
 */
extern int wake_workers(void);

/*
 * wake_launcher_process
 *		Has the launcher look at once. Raises nothing.
 */
extern void wake_launcher_process(void);

/*
 * end_workers
 *		Ends the workers of a database; InvalidOid: of all. Returns how many there are
 *		still: it does not wait. Raises nothing.
 */
extern int end_workers(Oid database);

/* For the launcher: */

/*
 * await_worker, give_worker_up
 *		Keeps a place for a worker that is about to be started; false when all are
 *		taken. It is given up for one that will not come.
 */
extern bool await_worker(Oid database, int number);
extern void give_worker_up(Oid database, int number);

/*
 * find_worker
 *		Whether this worker is there, or awaited; then its entry is copied.
 */
extern bool find_worker(Oid database, int number, WorkerEntry *into);

#endif
