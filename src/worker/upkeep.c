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
#include "datum.h"
#include "worker/upkeep.h"

typedef struct UpkeepBatch
{
	const char *statement;
	int64 handled;
} UpkeepBatch;

static const char *const statements[] = {
	[REWRAP_DATA_KEYS] = "SELECT keypup.rewrap_data_keys(500)",
	[RESEAL_TOKENS] = "SELECT keypup.reseal_tokens(100)",
	[ANALYZE_TABLES] = "SELECT keypup.analyze_grown_tables()",
	[MERGE_PEOPLE] = "SELECT keypup.merge_verified_people_of_accounts()",
	[KEEP_ROLES] = "SELECT keypup.keep_roles() OPERATOR(pg_catalog.+) keypup.note_key_uses()",
	[KEEP_AUDIT_DAYS] = "SELECT keypup.keep_audit_days()",
	[RECORD_AUDIT_GAPS] = "SELECT keypup.record_audit_gaps()",
	[SEAL_AUDIT_LOG] = "SELECT keypup.seal_audit_log()",
	[WRITE_AUDIT_CHECKPOINT] = "SELECT keypup.write_audit_checkpoint()"};

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

/* One argument of a statement; an empty text is NULL. */
static void
put_text(Datum *value, char *null, const char *text)
{
	*value = CStringGetTextDatum(text);
	*null = *text == '\0' ? 'n' : ' ';
}

static void
record_refusals(void *argument)
{
	RefusalBatch *batch = argument;
	Oid types[] = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTOID, TEXTOID,
				   TEXTOID, TEXTOID,		TEXTOID,		TEXTOID, TEXTOID, TEXTOID, BYTEAOID};

	for (int i = 0; i < batch->count; i++)
	{
		Refusal *refusal = &batch->refusals[i];
		Datum values[lengthof(types)] = {
			UUIDPGetDatum(&refusal->account), TimestampTzGetDatum(refusal->first_at),
			TimestampTzGetDatum(refusal->last_at), Int64GetDatum(refusal->times)};
		char nulls[lengthof(types) + 1] = "              ";

		nulls[0] = refusal->has_account ? ' ' : 'n';
		put_text(&values[4], &nulls[4], refusal->action);
		put_text(&values[5], &nulls[5], refusal->was_done ? "done" : "refused");
		put_text(&values[6], &nulls[6], refusal->actor_kind);
		put_text(&values[7], &nulls[7], refusal->actor);
		put_text(&values[8], &nulls[8], refusal->claimed);
		put_text(&values[9], &nulls[9], refusal->database_role);
		put_text(&values[10], &nulls[10], refusal->client_address);
		put_text(&values[11], &nulls[11], refusal->application_name);
		put_text(&values[12], &nulls[12], refusal->detail);
		values[13] = make_bytea(refusal->token_digest, TOKEN_DIGEST_BYTES);
		nulls[13] = refusal->has_token ? ' ' : 'n';
		run_query(
			"SELECT keypup.record_note($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
			lengthof(types), types, values, nulls);
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
