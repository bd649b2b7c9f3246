/*
 * step.h
 *		A step is one transaction of the sync, run as keypup_worker.
 */
#ifndef KEYPUP_STEP_H
#define KEYPUP_STEP_H

#include "utils/palloc.h"

/* The series of steps of one session. */
typedef struct Steps
{
	bool in_procedure; /* of a procedure that may commit; otherwise of a background worker */
	MemoryContext context; /* lives as long as the series */
	MemoryContext step_context; /* current within a step */
	Oid user_before;
	int security_before;
} Steps;

/* A failure inside a step, copied out of its subtransaction. */
typedef struct StepError
{
	char *message;
	char *hint; /* or NULL */
	int sqlstate;
	bool is_lock; /* somebody holds a lock: nothing failed */
	bool is_in_use; /* it needs locks that come before its own: once more, with these first */
} StepError;

/*
 * open_steps
 *		Starts a series; its memory goes with the procedure or the process.
 */
extern void open_steps(Steps *steps, bool in_procedure);

/*
 * begin_step, end_step
 *		Begin a transaction with SPI as keypup_worker, and commit it. In a procedure
 *		the transaction has begun, and has run no query. Each step has a level of SPI
 *		to itself: what was read is gone with it.
 *
 * step_context is current within, and keeps what is in it until reset_step.
 */
extern void begin_step(Steps *steps);
extern void end_step(Steps *steps);
extern void reset_step(Steps *steps);

/*
 * run_query
 *		Runs one statement; the rows are in SPI_tuptable. CurrentMemoryContext stays.
 */
extern void run_query(const char *text, int nargs, Oid *types, Datum *values, const char *nulls);

/*
 * try_action
 *		Runs action(argument) in a subtransaction.
 *
 * Returns NULL, or what went wrong; then all that the action did is undone and
 * the transaction goes on. A cancel or a shutdown is raised on.
 */
extern StepError *try_action(void (*action)(void *), void *argument);

/*
 * try_for_locks
 *		Runs action(argument) in a subtransaction. Returns false when somebody holds a
 *		lock that it needs; any other failure is raised, with its SQLSTATE.
 */
extern bool try_for_locks(void (*action)(void *), void *argument);

#endif
