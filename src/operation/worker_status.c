/*
 * worker_status.c
 *		The list of workers as rows, for keypup.worker_status.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "worker_list.h"

#define COLUMNS 10

PG_FUNCTION_INFO_V1(keypup_list_workers);

static const char *const states[] = {[WORKER_STARTING] = "starting",
									 [WORKER_IDLE] = "idle",
									 [WORKER_LOOKING] = "looking what is due",
									 [WORKER_SYNCING] = "syncing",
									 [WORKER_WAITING] = "waiting for replies",
									 [WORKER_STORING] = "storing a reply",
									 [LAUNCHER_LOOKING] = "looking for databases"};

/* Ours alone: a text of a provider's could say anything. */
static const char *const troubles[] = {
	[TROUBLE_NONE] = NULL,
	[TROUBLE_NO_ANSWER] = "no answer, or none that could be read",
	[TROUBLE_TOKEN_REFUSED] = "the token was refused",
	[TROUBLE_LIMITED] = "the provider asked for a pause, or forbade it",
	[TROUBLE_PROVIDER_FAILED] = "the provider failed",
	[TROUBLE_UNEXPECTED] = "the provider answered with another status than 200",
	[TROUBLE_NOT_GIVEN] = "the provider did not give what was asked for",
	[TROUBLE_NOT_STORED] = "the reply could not be stored"};

Datum
keypup_list_workers(PG_FUNCTION_ARGS)
{
	WorkerEntry *workers = palloc(sizeof(WorkerEntry) * MAX_WORKERS);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int count = copy_workers(workers);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		WorkerEntry *worker = &workers[i];
		const char *trouble = troubles[worker->trouble];
		Datum values[COLUMNS] = {Int32GetDatum(worker->pid),
								 ObjectIdGetDatum(worker->database),
								 Int32GetDatum(worker->number),
								 TimestampTzGetDatum(worker->started_at),
								 CStringGetTextDatum(states[worker->state]),
								 Int32GetDatum(worker->in_flight),
								 Int64GetDatum(worker->requests),
								 Int64GetDatum(worker->pages),
								 TimestampTzGetDatum(worker->last_reply_at),
								 trouble == NULL ? (Datum) 0 : CStringGetTextDatum(trouble)};
		bool nulls[COLUMNS] = {false};

		nulls[1] = nulls[2] = !OidIsValid(worker->database);
		nulls[8] = worker->last_reply_at == 0;
		nulls[9] = trouble == NULL;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
