/*
 * upkeep.c
 *		Rotation, and what was refused, go on in small transactions between the
 *		pages of the sync: each holds few rows, and kill -9 loses at most the last.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/refusal.h"
#include "sync/upkeep.h"

typedef struct UpkeepBatch
{
	const char *statement;
	int64 handled;
} UpkeepBatch;

static const char *const statements[] = {[REWRAP_DATA_KEYS] = "SELECT keypup.rewrap_data_keys(500)",
										 [RESEAL_TOKENS] = "SELECT keypup.reseal_tokens(100)",
										 [ANALYZE_TABLES] = "SELECT keypup.analyze_grown_tables()",
										 [MERGE_PEOPLE] =
											 "SELECT keypup.merge_verified_people_of_accounts()",
										 [KEEP_ROLES] = "SELECT keypup.keep_roles()"};

static void
run_batch(void *argument)
{
	UpkeepBatch *batch = argument;
	bool isnull;

	run_query(batch->statement, 0, NULL, NULL, NULL);
	batch->handled = DatumGetInt64(read_field(0, 1, &isnull));
}

bool
do_upkeep(Steps *steps, Upkeep work)
{
	UpkeepBatch batch = {.statement = statements[work]};
	StepError *error;

	begin_step(steps);
	error = try_action(run_batch, &batch);
	if (error != NULL)
		ereport(LOG, (errmsg("keypup could not do its upkeep: %s", error->message),
					  error->hint != NULL ? errhint("%s", error->hint) : 0));
	end_step(steps);
	reset_step(steps);
	return error == NULL && batch.handled > 0;
}

#define REFUSALS_AT_ONCE 64

typedef struct RefusalBatch
{
	Refusal refusals[REFUSALS_AT_ONCE];
	int count;
} RefusalBatch;

static void
record_refusals(void *argument)
{
	RefusalBatch *batch = argument;
	Oid types[] = {UUIDOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};

	for (int i = 0; i < batch->count; i++)
	{
		Refusal *refusal = &batch->refusals[i];
		Datum values[] = {UUIDPGetDatum(&refusal->account),
						  TimestampTzGetDatum(refusal->at),
						  CStringGetTextDatum(refusal->action),
						  CStringGetTextDatum(refusal->actor),
						  CStringGetTextDatum(refusal->database_role),
						  CStringGetTextDatum(refusal->client_address),
						  CStringGetTextDatum(refusal->detail)};

		run_query("SELECT keypup.record_refusal($1, $2, $3, $4, $5, $6, $7)", 7, types, values,
				  refusal->has_account ? "       " : "n      ");
	}
}

bool
store_refusals(Steps *steps)
{
	static RefusalBatch batch;
	StepError *error;

	batch.count = take_refusals(batch.refusals, REFUSALS_AT_ONCE);
	if (batch.count == 0)
		return false;
	begin_step(steps);
	error = try_action(record_refusals, &batch);
	if (error != NULL)
		ereport(LOG, (errmsg("keypup could not record a refusal: %s", error->message)));
	/* A shutdown between the two would record them twice. */
	HOLD_INTERRUPTS();
	end_step(steps);
	if (error == NULL)
		forget_refusals(batch.refusals, batch.count);
	RESUME_INTERRUPTS();
	reset_step(steps);
	return error == NULL;
}
