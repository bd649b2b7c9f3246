/*
 * job.h
 *		Performing due jobs, in a worker or in the session of CALL keypup.sync.
 */
#ifndef KEYPUP_JOB_H
#define KEYPUP_JOB_H

#include "utils/uuid.h"

typedef struct JobRunner JobRunner;

/* Which jobs: all of the database, of an account, or of one of its projects. */
typedef struct JobScope
{
	bool has_account;
	pg_uuid_t account;
	bool has_project;
	int64 project;
} JobScope;

typedef struct JobsLeft
{
	int64 jobs;
	int64 ready_in; /* milliseconds; meaningless without jobs */
	int64 items_done;
	int64 items_total; /* 0 while unknown */
	char *last_error; /* NULL, or palloc'd */
} JobsLeft;

/*
 * open_job_runner
 *		Takes a lease and an HTTP client.
 *
 * in_procedure: whether the caller is a procedure that may commit; otherwise
 * the caller is outside any transaction.
 */
extern JobRunner *open_job_runner(const JobScope *scope, bool in_procedure);

/*
 * close_job_runner
 *		Gives the lease and the connections back; also after an error.
 */
extern void close_job_runner(JobRunner *runner);

/*
 * start_runs
 *		Starts the runs that are due; with at_once, those of the scope that are not, too.
 */
extern void start_runs(JobRunner *runner, bool at_once);

/*
 * perform_jobs
 *		Sends what is due and fits, waits up to timeout milliseconds for something
 *		to happen, and stores what has arrived.
 *
 * Returns false when nothing is in flight and nothing could be sent. No
 * transaction is open while it waits (in a procedure: none with a snapshot).
 */
extern bool perform_jobs(JobRunner *runner, long timeout);

/*
 * count_jobs_left
 *		What is still to be done in the scope.
 */
extern JobsLeft count_jobs_left(JobRunner *runner);

#endif
