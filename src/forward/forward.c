/*
 * forward.c
 *		Forwarding the audit log: what is claimed in a transaction is sent outside
 *		any, and how far the sink is now is kept in another. What to send, and what an
 *		answer means, is for SQL to say (batch.sql, answer.sql).
 *
 * Whoever is killed in between sends the same records again: a sink gets each at
 * least once.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "datum.h"
#include "forward/forward.h"
#include "grant/app_key.h"
#include "http/secret_member.h"
#include "outside/reply.h"
#include "outside/set_aside.h"
#include "provider/provider.h"
#include "right/current_user.h"
#include "token/token.h"

#define LOOK_MILLISECONDS 1000
/* RFC 7523, 2.1 */
#define GRANT "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="
/* Of the answer, the member that is the token. */
#define TOKEN_MEMBER "access_token"

typedef struct SentBatch
{
	SentRequest request;
	pg_uuid_t account; /* whose sink it is */
	int64 sink;
	int32 records;
	char *progress; /* JSON; NULL: an access token is asked for */
} SentBatch;

typedef struct ClaimedBatch
{
	SentBatch *sent;
	char *kind;
	bytea *envelope; /* NULL: the sink is shown nothing */
	char *context;
	HttpRequest wanted;
	Secret *authorization; /* or NULL; ended by a NUL, as the next */
	Secret *assertion;
	StepError *error; /* why it is not sent */
} ClaimedBatch;

/* When sinks were looked for last; 0: at once. */
static TimestampTz looked_at = 0;

/* --- what cannot be sent --- */

typedef struct FailedBatch
{
	SentBatch *sent;
	const char *reason;
	const char *hint; /* or NULL */
} FailedBatch;

/* An action. */
static void
fail_batch(void *argument)
{
	FailedBatch *failed = argument;
	Oid types[] = {UUIDOID, INT8OID, TEXTOID, TEXTOID};
	Datum values[] = {UUIDPGetDatum(&failed->sent->account), Int64GetDatum(failed->sent->sink),
					  CStringGetTextDatum(failed->reason),
					  failed->hint ? CStringGetTextDatum(failed->hint) : (Datum) 0};

	run_query("SELECT keypup.audit_sink_failed($1, $2, $3, $4, NULL::pg_catalog.interval)",
			  lengthof(types), types, values, failed->hint ? "    " : "   n");
}

/* Where somebody holds the sink, its claim runs out by itself. */
static void
put_off_batch(Runner *runner, SentBatch *sent, const StepError *error)
{
	FailedBatch failed = {sent, error->message, error->hint};
	StepError *hindrance;

	if (error->is_lock)
		return;
	begin_account_step(&runner->steps, &sent->account);
	hindrance = try_for_account(&sent->account, fail_batch, &failed);
	end_step(&runner->steps);
	if (hindrance != NULL && !hindrance->is_lock)
		ereport(LOG, (errmsg("keypup could not note that a sink failed: %s", hindrance->message)));
}

/* --- what is answered --- */

typedef struct BatchAnswer
{
	SentBatch *sent;
	HttpReply *reply;
	Secret *token; /* NULL when there is none in the reply */
} BatchAnswer;

/* An action. */
static void
store_answer(void *argument)
{
	BatchAnswer *answer = argument;
	SentBatch *sent = answer->sent;
	HttpReply *reply = answer->reply;
	Oid types[] = {UUIDOID,	 INT8OID, INT4OID, TEXTOID, INT4OID, TEXTOID,
				   JSONBOID, TEXTOID, TEXTOID, BOOLOID, INT4OID};
	Datum values[lengthof(types)];
	char nulls[lengthof(types) + 1] = "           ";

	values[0] = UUIDPGetDatum(&sent->account);
	values[1] = Int64GetDatum(sent->sink);
	values[2] = Int32GetDatum(sent->records);
	values[3] = CStringGetTextDatum(sent->progress);
	values[9] = BoolGetDatum(reply->body_length == 0);
	reply_arguments(reply, values + 4, nulls + 4);
	values[8] = reply->failure_hint == NULL ? (Datum) 0 : CStringGetTextDatum(reply->failure_hint);
	nulls[8] = reply->failure_hint == NULL ? 'n' : ' ';
	values[10] = Int32GetDatum(reply->milliseconds);
	run_query(
		"SELECT keypup.take_audit_answer($1, $2, $3, $4::pg_catalog.jsonb, $5, $6, $7, $8, $9, $10, $11)",
		lengthof(types), types, values, nulls);
}

/* An action: the token is sealed before anything else is done with the reply. */
static void
store_token(void *argument)
{
	BatchAnswer *answer = argument;
	SentBatch *sent = answer->sent;
	HttpReply *reply = answer->reply;
	Oid types[] = {UUIDOID, INT8OID, INT4OID, TEXTOID, JSONBOID,
				   TEXTOID, TEXTOID, INT8OID, BYTEAOID};
	Datum values[lengthof(types)] = {UUIDPGetDatum(&sent->account), Int64GetDatum(sent->sink)};
	char nulls[lengthof(types) + 1] = "       nn";
	bool isnull;

	if (reply->failure == NULL)
		answer->token = take_secret_member(reply->body, reply->body_length, TOKEN_MEMBER);
	reply_arguments(reply, values + 2, nulls + 2);
	values[6] = reply->failure_hint == NULL ? (Datum) 0 : CStringGetTextDatum(reply->failure_hint);
	nulls[6] = reply->failure_hint == NULL ? 'n' : ' ';
	if (answer->token != NULL)
	{
		run_query("SELECT * FROM keypup.next_sink_token($1, $2)", 2, types, values, NULL);
		values[7] = read_field(0, 1, &isnull);
		values[8] = PointerGetDatum(
			seal_secret(answer->token, TextDatumGetCString(read_field(0, 2, &isnull))));
		nulls[7] = nulls[8] = ' ';
	}
	run_query("SELECT keypup.take_sink_token($1, $2, $3, $4, $5, $6, $7, $8, $9)", lengthof(types),
			  types, values, nulls);
}

static void
take_answer(Runner *runner, SentRequest *request, HttpReply *reply)
{
	SentBatch *sent = (SentBatch *) request;
	BatchAnswer answer = {sent, reply, NULL};
	StepError *error;

	begin_account_step(&runner->steps, &sent->account);
	error = try_for_account(&sent->account, sent->progress == NULL ? store_token : store_answer,
							&answer);
	wipe_secret(answer.token);
	end_step(&runner->steps);
	if (error != NULL)
		put_off_batch(runner, sent, error);
	reset_step(&runner->steps);
	if (sent->progress != NULL)
		pfree(sent->progress);
	/* There may be more for it. */
	looked_at = 0;
}

/* --- the server's own log --- */

/* An action: a line a record. What is not committed then is written again. */
static void
write_to_log(void *argument)
{
	ClaimedBatch *claimed = argument;
	SentBatch *sent = claimed->sent;
	char *line = (char *) claimed->wanted.body;
	Oid types[] = {UUIDOID, INT8OID, INT4OID, TEXTOID};
	Datum values[] = {UUIDPGetDatum(&sent->account), Int64GetDatum(sent->sink),
					  Int32GetDatum(sent->records), CStringGetTextDatum(sent->progress)};

	if (!message_level_is_interesting(LOG))
	{
		FailedBatch failed = {sent, "log_min_messages keeps them out of the server's log",
							  "Set log_min_messages to log, or to what is written beside it."};

		fail_batch(&failed);
		return;
	}
	while (line != NULL)
	{
		char *end = strchr(line, '\n');

		if (end != NULL)
			*end = '\0';
		ereport(LOG, (errmsg_internal("keypup audit %s", line), errhidestmt(true),
					  errhidecontext(true)));
		line = end == NULL ? NULL : end + 1;
	}
	run_query(
		"SELECT keypup.take_audit_answer($1, $2, $3, $4::pg_catalog.jsonb, 200, '{}'::pg_catalog.text,"
		" '{}'::pg_catalog.jsonb, NULL::pg_catalog.text, NULL::pg_catalog.text, false, 0)",
		lengthof(types), types, values, NULL);
}

/* --- what is sent --- */

/* An action: opens what the sink is shown. */
static void
prepare_batch(void *argument)
{
	ClaimedBatch *claimed = argument;
	static const char *const form[] = {"Content-Type: application/x-www-form-urlencoded", NULL};
	Secret *secret;

	if (claimed->envelope == NULL)
	{
		if (strcmp(claimed->kind, "otlp") != 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the sink has no key"),
							errhint("Set it again with its key, by keypup.set_audit_sink.")));
		return;
	}
	if (strcmp(claimed->kind, "token") == 0)
	{
		secret =
			sign_with_app_key(claimed->envelope, claimed->context, (char *) claimed->wanted.body);
		claimed->assertion = allocate_secret(strlen(GRANT) + secret->length + 1);
		memcpy(claimed->assertion->bytes, GRANT, strlen(GRANT));
		memcpy(claimed->assertion->bytes + strlen(GRANT), secret->bytes, secret->length);
		claimed->wanted.body = (char *) claimed->assertion->bytes;
		claimed->wanted.headers = form;
	}
	else if (strcmp(claimed->kind, "google") == 0)
	{
		claimed->authorization =
			make_bearer_authorization(open_token(claimed->envelope, claimed->context));
		return;
	}
	else
	{
		secret = open_token(claimed->envelope, claimed->context);
		claimed->authorization = allocate_secret(secret->length + 1);
		memcpy(claimed->authorization->bytes, secret->bytes, secret->length);
	}
	wipe_secret(secret);
}

static ClaimedBatch *
read_claimed_batch(Runner *runner, uint64 row)
{
	ClaimedBatch *claimed = palloc0(sizeof(ClaimedBatch));
	SentBatch *sent = MemoryContextAllocZero(runner->steps.context, sizeof(SentBatch));
	bool isnull;
	Datum value;

	claimed->sent = sent;
	sent->request.take_reply = take_answer;
	sent->request.purpose = FOR_FORWARDING;
	sent->account = *DatumGetUUIDP(read_field(row, 1, &isnull));
	sent->sink = DatumGetInt64(read_field(row, 2, &isnull));
	claimed->kind = TextDatumGetCString(read_field(row, 3, &isnull));
	value = read_field(row, 4, &isnull);
	claimed->wanted.url = isnull ? NULL : TextDatumGetCString(value);
	claimed->wanted.body = TextDatumGetCString(read_field(row, 5, &isnull));
	sent->records = DatumGetInt32(read_field(row, 6, &isnull));
	if (strcmp(claimed->kind, "token") != 0)
		sent->progress = MemoryContextStrdup(runner->steps.context,
											 TextDatumGetCString(read_field(row, 7, &isnull)));
	value = read_field(row, 8, &isnull);
	claimed->envelope = isnull ? NULL : DatumGetByteaPCopy(value);
	value = read_field(row, 9, &isnull);
	claimed->context = isnull ? NULL : TextDatumGetCString(value);
	return claimed;
}

typedef struct ClaimArguments
{
	Runner *runner;
	int count;
	ClaimedBatch **claimed;
} ClaimArguments;

/* An action: locks what is free, and waits for nothing. */
static void
claim_batches(void *argument)
{
	ClaimArguments *claim = argument;
	Oid types[] = {INT8OID, UUIDARRAYOID};
	Datum values[] = {Int64GetDatum(claim->runner->lease), accounts_set_aside(false)};

	run_query("SELECT c.account_id, c.sink_id, c.kind, c.url, c.body, c.records,"
			  " c.progress::pg_catalog.text, c.envelope, c.context"
			  " FROM keypup.claim_audit_batches($1, $2) c",
			  lengthof(types), types, values, NULL);
	claim->count = (int) SPI_processed;
	claim->claimed = palloc0(sizeof(ClaimedBatch *) * Max(claim->count, 1));
	for (int i = 0; i < claim->count; i++)
		claim->claimed[i] = read_claimed_batch(claim->runner, i);
}

static void
send_batch(Runner *runner, ClaimedBatch *claimed)
{
	SentBatch *sent = claimed->sent;

	if (claimed->error != NULL)
		put_off_batch(runner, sent, claimed->error);
	if (claimed->error != NULL || claimed->wanted.url == NULL)
	{
		if (sent->progress != NULL)
			pfree(sent->progress);
		pfree(sent);
		return;
	}
	if (claimed->authorization != NULL)
		claimed->wanted.authorization = (char *) claimed->authorization->bytes;
	dispatch_request(runner, &sent->account, &claimed->wanted, &sent->request);
	wipe_secret(claimed->authorization);
	wipe_secret(claimed->assertion);
}

bool
forward_audit_log(Runner *runner)
{
	ClaimArguments claim = {.runner = runner};
	TimestampTz now = GetCurrentTimestamp();
	StepError *error;

	if (looked_at <= now && !TimestampDifferenceExceeds(looked_at, now, LOOK_MILLISECONDS))
		return false;
	looked_at = now;
	begin_step(&runner->steps);
	error = try_action(claim_batches, &claim);
	if (error != NULL)
	{
		claim.count = 0;
		if (!error->is_lock)
			ereport(LOG, (errmsg("keypup could not forward the audit log: %s", error->message)));
	}
	for (int i = 0; i < claim.count; i++)
	{
		ClaimedBatch *claimed = claim.claimed[i];

		set_job_account(&claimed->sent->account);
		claimed->error =
			try_action(strcmp(claimed->kind, "log") == 0 ? write_to_log : prepare_batch, claimed);
	}
	end_step(&runner->steps);

	for (int i = 0; i < claim.count; i++)
		send_batch(runner, claim.claimed[i]);
	/* What was written to the log has its next lines at once. */
	if (claim.count > 0 && count_under_way(runner, FOR_FORWARDING, NULL) == 0)
		looked_at = 0;
	reset_step(&runner->steps);
	return claim.count > 0;
}
