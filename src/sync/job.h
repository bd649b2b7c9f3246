/*
 * job.h
 *		Performing due jobs, in a worker or in the session of CALL keypup.sync.
 */
#ifndef KEYPUP_JOB_H
#define KEYPUP_JOB_H

#include "datatype/timestamp.h"

#include "outside/runner.h"

/* So many runs of an account begin in one look at what is due: then others have a turn. */
#define RUNS_AT_ONCE 100

typedef struct JobsLeft
{
	int64 jobs;
	TimestampTz ready_at; /* of the first of those that waiting helps; 0 when there is none */
	char *waits_for; /* what for; NULL, or palloc'd */
	TimestampTz
		next_at; /* of the first of all, or when a refused token is tried again; 0 for none */
	int64 items_done;
	int64 items_total; /* 0 while unknown */
	char *last_error; /* NULL, or palloc'd */
} JobsLeft;

/*
 * start_runs
 *		Starts the runs that are due; with at_once, those of the scope that are not, too.
 *		Returns how many: of each account RUNS_AT_ONCE at most, unless at once.
 */
extern int64 start_runs(Runner *runner, bool at_once);

/*
 * send_due_jobs
 *		Claims as many due jobs as fit and sends their requests. Returns how many.
 */
extern int send_due_jobs(Runner *runner);

/*
 * count_jobs_left
 *		What is still to be done in the scope.
 *
 * left: zeroes, or what an earlier call has left there, which is freed.
 */
extern void count_jobs_left(Runner *runner, JobsLeft *left);

#endif
