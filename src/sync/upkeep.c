/*
 * upkeep.c
 *		Rotation goes on in small transactions between the pages of the sync:
 *		each holds few rows, and kill -9 loses at most the last of them.
 */
#include "postgres.h"

#include "executor/spi.h"

#include "sync/upkeep.h"

typedef struct KeyBatch
{
	const char *statement;
	int64 handled;
} KeyBatch;

static const char *const statements[] = {[REWRAP_DATA_KEYS] = "SELECT keypup.rewrap_data_keys(500)",
										 [RESEAL_TOKENS] = "SELECT keypup.reseal_tokens(100)"};

static void
run_batch(void *argument)
{
	KeyBatch *batch = argument;
	bool isnull;

	run_query(batch->statement, 0, NULL, NULL, NULL);
	batch->handled = DatumGetInt64(read_field(0, 1, &isnull));
}

bool
do_key_work(Steps *steps, KeyWork work)
{
	KeyBatch batch = {.statement = statements[work]};
	StepError *error;

	begin_step(steps);
	error = try_action(run_batch, &batch);
	if (error != NULL)
		ereport(LOG, (errmsg("keypup could not tend its keys: %s", error->message),
					  error->hint != NULL ? errhint("%s", error->hint) : 0));
	end_step(steps);
	reset_step(steps);
	return error == NULL && batch.handled > 0;
}
