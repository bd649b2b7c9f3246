/*
 * worker_list.h
 *		Which workers there are, what each is at, and what the launcher must know of
 *		the databases: all of it in shared memory.
 */
#ifndef KEYPUP_WORKER_LIST_H
#define KEYPUP_WORKER_LIST_H

#include "datatype/timestamp.h"

#define MAX_WORKERS 256 /* in the server, the launcher among them */
#define MAX_WORKERS_OF_DATABASE 8

typedef enum WorkerState
{
	WORKER_STARTING, /* whether the extension is there is not known yet */
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
	int pid; /* 0: the place is free */
	Oid database; /* InvalidOid for the launcher */
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
 * enter_worker
 *		The caller is a worker of this database, InvalidOid for the launcher; it
 *		leaves the list when it exits, however that comes.
 */
extern void enter_worker(Oid database, int number);

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
 * copy_workers
 *		Copies the entries that are taken; returns how many. into: MAX_WORKERS of them.
 */
extern int copy_workers(WorkerEntry *into);

/*
 * count_wakes, report_no_extension
 *		A worker found no extension, having looked after so many wakes; raises nothing.
 */
extern uint64 count_wakes(void);
extern void report_no_extension(Oid database, uint64 wakes);

/*
 * wake_workers
 *		Has the workers of this database look at once what there is to do.
 *		Returns how many there are; raises nothing.
 */
extern int wake_workers(void);

/*
 * report_extension
 *		The first worker has found it: the launcher may start others.
 */
extern void report_extension(void);

/* What the launcher asks and does: */

/*
 * lacks_extension, has_extension
 *		What workers said of a database. Neither holds before one has looked.
 */
extern bool lacks_extension(Oid database);
extern bool has_extension(Oid database);

/*
 * is_entered
 *		Whether this worker of the database is in the list.
 */
extern bool is_entered(Oid database, int number);

/*
 * end_surplus_workers
 *		Ends those whose number is limit or more.
 */
extern void end_surplus_workers(int limit);

/*
 * hold_database, is_held
 *		No worker is to be started in it for so long; its workers are ended. Returns
 *		whether none is left. Only the last one is held.
 */
extern bool hold_database(Oid database, int milliseconds);
extern bool is_held(Oid database);

#endif
