/*
 * database_list.h
 *		What is known of each database, in shared memory: whether workers have
 *		something to do there, how many are wanted, and what keeps them from it.
 *
 * None of the functions raises anything. What is said of a database for which
 * there is no place any more is lost.
 */
#ifndef KEYPUP_DATABASE_LIST_H
#define KEYPUP_DATABASE_LIST_H

#include "datatype/timestamp.h"

#define MAX_DATABASES 2048

/* What a worker has found in its database. */
typedef enum DatabaseFinding
{
	FINDING_NONE, /* none has looked since something changed */
	FINDING_NO_EXTENSION,
	FINDING_SWITCHED_OFF, /* keypup.workers is 0 there */
	FINDING_WORK
} DatabaseFinding;

/* Numbers only: whoever reads them may belong to another life of the server. */
typedef struct DatabaseEntry
{
	Oid database; /* InvalidOid: the place is free */
	uint64 wakes; /* how often somebody has said that something changed */
	int holders; /* sessions that need the database to themselves: no worker is started */
	DatabaseFinding finding;
	int workers_wanted; /* keypup.workers as it applies there, where there is work */
	bool waits_for_standby; /* so does synchronous_commit */
	TimestampTz retry_at; /* no worker is started before then */
	TimestampTz no_slot_since; /* max_worker_processes did not suffice; 0: it did */
	int failures; /* that count for the pause before the next start */
	TimestampTz failing_since; /* 0: the last worker ran well */
	TimestampTz failed_at;
	int sqlstate; /* of the error that ended the last worker; 0: it ended before it began */
} DatabaseEntry;

/*
 * register_database_list
 *		Called once, from _PG_init in the postmaster.
 */
extern void register_database_list(void);

/*
 * enter_database
 *		Gives it a place, if it has none. Returns false when there is none left.
 */
extern bool enter_database(Oid database);

/*
 * look_up_database
 *		A copy of what is known; zeros when nothing is.
 */
extern DatabaseEntry look_up_database(Oid database);

/*
 * list_databases, forget_database
 *		The databases that have a place: MAX_DATABASES at most. One that is held keeps its.
 */
extern int list_databases(Oid *into);
extern void forget_database(Oid database);

/*
 * count_wakes
 *		For a worker that is about to look: what it finds holds only if nobody has
 *		woken the database since.
 */
extern uint64 count_wakes(Oid database);

/*
 * note_finding
 *		What a worker has found, having looked after so many wakes. Where there is no
 *		work the next worker looks after some minutes, or when the database is woken.
 */
extern void note_finding(Oid database, uint64 wakes, DatabaseFinding finding, int workers_wanted,
						 bool waits_for_standby);

/*
 * note_failure, note_good_run
 *		An error has ended a worker: the next starts after a pause, which doubles from
 *		failure to failure until one has run well.
 */
extern void note_failure(Oid database, int sqlstate);
extern void note_good_run(Oid database);

/*
 * note_slot
 *		Whether the launcher could start the workers that are wanted.
 */
extern void note_slot(Oid database, bool found);

/*
 * wake_database, wake_all_databases
 *		Something has changed: no pause goes on. What was changed for all databases
 *		gives none of them the extension.
 */
extern void wake_database(Oid database);
extern void wake_all_databases(void);

/*
 * hold_database, release_database
 *		The caller needs it for itself until it releases it; others may as well.
 */
extern void hold_database(Oid database);
extern void release_database(Oid database);

#endif
