/*
 * job.c
 *		One job: claimed in a transaction, sent outside any, and its answer
 *		stored in another together with the job's end and with what follows.
 *
 * The same code runs in the background worker and in CALL keypup.sync. All
 * statements on our tables run as keypup_worker, for the account of the job.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "datum.h"
#include "http/client.h"
#include "http/pace.h"
#include "keypup.h"
#include "outside/reply.h"
#include "outside/set_aside.h"
#include "provider/provider.h"
#include "right/current_user.h"
#include "sync/job.h"
#include "sync/token_use.h"
#include "token/token.h"
#include "worker_list.h"

typedef struct SentJob
{
	SentRequest request;
	pg_uuid_t account;
	int64 job;
	int64 revision; /* of the token that it was sent with */
	char provider[NAMEDATALEN];
	PaceKey pace; /* of its token */
} SentJob;

typedef struct ClaimedJob
{
	SentJob *sent;
	pg_uuid_t connection;
	char *base_url;
	bytea *envelope; /* NULL when the connection has no token */
	HttpRequest wanted;
	Secret *authorization; /* ended by a NUL; NULL when it is not sent */
	StepError *error; /* why */
	TimestampTz blocked_until; /* or until when */
} ClaimedJob;

static void
scope_arguments(Runner *runner, Datum *values, char *nulls)
{
	values[0] = UUIDPGetDatum(&runner->scope.account);
	nulls[0] = runner->scope.has_account ? ' ' : 'n';
	values[1] = Int64GetDatum(runner->scope.project);
	nulls[1] = runner->scope.has_project ? ' ' : 'n';
}

/* --- how a job that was claimed gets back into the queue --- */

/* Claimed jobs that somebody had locked when they were to be given back. */
typedef struct KeptJob
{
	struct KeptJob *next;
	pg_uuid_t account;
	int64 job;
} KeptJob;

/* Whether the job is back, or gone. Waits for nobody. */
static bool
put_back(Runner *runner, const pg_uuid_t *account, int64 job)
{
	Oid types[] = {UUIDOID, INT8OID};
	Datum values[] = {UUIDPGetDatum(account), Int64GetDatum(job)};
	bool isnull;
	bool is_back;

	begin_account_step(&runner->steps, account);
	run_query("SELECT keypup.put_back_job($1, $2)", 2, types, values, NULL);
	is_back = DatumGetBool(read_field(0, 1, &isnull));
	end_step(&runner->steps);
	return is_back;
}

static void
put_back_job(Runner *runner, SentJob *job)
{
	KeptJob *kept;

	if (put_back(runner, &job->account, job->job))
		return;
	kept = MemoryContextAlloc(runner->steps.context, sizeof(KeptJob));
	kept->account = job->account;
	kept->job = job->job;
	kept->next = runner->kept_jobs;
	runner->kept_jobs = kept;
}

/* Once a second: what was kept is not there for others while our lease is live. */
static void
put_back_kept_jobs(Runner *runner)
{
	TimestampTz now = GetCurrentTimestamp();
	KeptJob **at = &runner->kept_jobs;

	if (*at == NULL || !TimestampDifferenceExceeds(runner->put_back_at, now, 1000))
		return;
	runner->put_back_at = now;
	while (*at != NULL)
	{
		KeptJob *kept = *at;

		if (put_back(runner, &kept->account, kept->job))
		{
			*at = kept->next;
			pfree(kept);
		}
		else
			at = &kept->next;
	}
}

/* Every role may listen, but not to everything: the name of the channel is known to who knows the account's id. */
static void
announce_page(const pg_uuid_t *account)
{
	char channel[NAMEDATALEN] = "keypup_";
	Size length = strlen(channel);

	length += hex_encode((const char *) account->data, UUID_LEN, channel + length);
	channel[length] = '\0';
	Async_Notify(channel, "page");
}

typedef struct FailedJob
{
	SentJob *job;
	const StepError *error;
	TimestampTz blocked_until;
} FailedJob;

/* An action. */
static void
fail_job(void *argument)
{
	FailedJob *failed = argument;
	const StepError *error = failed->error;
	Oid types[] = {UUIDOID, INT8OID, TEXTOID, TEXTOID};
	Datum values[] = {UUIDPGetDatum(&failed->job->account), Int64GetDatum(failed->job->job),
					  CStringGetTextDatum(error->message),
					  error->hint ? CStringGetTextDatum(error->hint) : (Datum) 0};

	run_query("SELECT keypup.job_failed($1, $2, $3, $4, NULL::pg_catalog.timestamptz, false)", 4,
			  types, values, error->hint ? "    " : "   n");
	announce_page(&failed->job->account);
}

/* An action. Another that uses the token was told to wait: so do we. */
static void
wait_for_budget(void *argument)
{
	FailedJob *failed = argument;
	Oid types[] = {UUIDOID, INT8OID, TIMESTAMPTZOID};
	Datum values[] = {UUIDPGetDatum(&failed->job->account), Int64GetDatum(failed->job->job),
					  TimestampTzGetDatum(failed->blocked_until)};

	run_query("SELECT keypup.wait_for_budget($1, $2, $3)", 3, types, values, NULL);
}

/* Puts off a job by itself, or gives it back where somebody holds what that needs. */
static void
put_off_job(Runner *runner, SentJob *job, const StepError *error, TimestampTz blocked_until)
{
	FailedJob failed = {.job = job, .error = error, .blocked_until = blocked_until};
	StepError *hindrance = NULL;

	if (error == NULL || !error->is_lock)
	{
		begin_account_step(&runner->steps, &job->account);
		hindrance =
			try_for_account(&job->account, error == NULL ? wait_for_budget : fail_job, &failed);
		end_step(&runner->steps);
		if (hindrance == NULL)
			return;
		if (!hindrance->is_lock)
			ereport(ERROR, (errmsg_internal("%s", hindrance->message)));
	}
	put_back_job(runner, job);
}

/* --- what was answered --- */

typedef struct StoreArguments
{
	SentJob *job;
	HttpReply *reply;
	Datum values[11]; /* made of it once */
	char nulls[12];
	bool holds_projects;
	PaceReport report;
	bool is_refusal; /* the provider answered, but did not give what was asked for */
} StoreArguments;

/* A bigint or a timestamptz; otherwise for NULL. */
static int64
field_or(uint64 row, int column, int64 otherwise)
{
	bool isnull;
	Datum value = read_field(row, column, &isnull);

	return isnull ? otherwise : DatumGetInt64(value);
}

static void
make_arguments(StoreArguments *store)
{
	SentJob *job = store->job;
	HttpReply *reply = store->reply;
	Datum *values = store->values;

	memset(store->nulls, ' ', lengthof(store->nulls) - 1);
	values[0] = UUIDPGetDatum(&job->account);
	values[1] = Int64GetDatum(job->job);
	values[2] = Int32GetDatum(keypup_sync_interval);
	reply_arguments(reply, values + 3, store->nulls + 3);
	values[7] = reply->failure_hint == NULL ? (Datum) 0 : CStringGetTextDatum(reply->failure_hint);
	store->nulls[7] = reply->failure_hint == NULL ? 'n' : ' ';
	values[8] = Int32GetDatum(reply->milliseconds);
	values[9] = Int64GetDatum(job->revision);
}

/* An action. */
static void
store_reply(void *argument)
{
	StoreArguments *store = argument;
	Oid types[] = {UUIDOID, INT8OID, INT4OID, INT4OID, TEXTOID, JSONBOID,
				   TEXTOID, TEXTOID, INT4OID, INT8OID, BOOLOID};
	bool isnull;
	Datum is_refusal;

	if (!store->holds_projects)
		make_arguments(store);
	store->values[10] = BoolGetDatum(store->holds_projects);
	run_query(
		"SELECT * FROM keypup.take_answer($1, $2, $3, $4, $5::pg_catalog.jsonb, $6, $7, $8, $9, $10, $11)",
		11, types, store->values, store->nulls);
	store->report.limit = field_or(0, 1, -1);
	store->report.remaining = field_or(0, 2, -1);
	store->report.reset_at = field_or(0, 3, 0);
	store->report.blocked_until = field_or(0, 4, 0);
	is_refusal = read_field(0, 5, &isnull);
	store->is_refusal = !isnull && DatumGetBool(is_refusal);
}

static StepError *
try_to_store(Runner *runner, StoreArguments *store)
{
	const pg_uuid_t *account = &store->job->account;
	StepError *error;

	begin_account_step(&runner->steps, account);
	error = try_for_account(account, store_reply, store);
	if (error == NULL)
		announce_page(account);
	end_step(&runner->steps);
	return error;
}

static void
take_reply(Runner *runner, SentRequest *sent, HttpReply *reply)
{
	SentJob *job = (SentJob *) sent;
	StoreArguments store = {.job = job, .reply = reply, .report = {.limit = -1, .remaining = -1}};
	StepError *error = try_to_store(runner, &store);

	if (error != NULL && error->is_in_use)
	{
		store.holds_projects = true;
		error = try_to_store(runner, &store);
	}
	if (error != NULL)
	{
		error->is_lock = error->is_lock || error->is_in_use;
		if (!error->is_lock)
			note_reply(TROUBLE_NOT_STORED);
		put_off_job(runner, job, error, 0);
	}
	else if (store.is_refusal)
		note_reply(TROUBLE_NOT_GIVEN);
	if (error == NULL && reply->status == 200)
		note_page();
	note_pace(job->pace, &store.report);
	reset_step(&runner->steps);
}

/* --- what is asked --- */

/* Makes the request of a claimed job, and the header that signs it in. */
static void
prepare_request(void *argument)
{
	ClaimedJob *claimed = argument;
	SentJob *job = claimed->sent;
	Oid types[] = {UUIDOID, INT8OID};
	Datum values[] = {UUIDPGetDatum(&job->account), Int64GetDatum(job->job)};
	char *context;
	Provider *provider;
	Secret *token;

	if (claimed->envelope == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the connection has no token"),
						errhint("Give it one with keypup.replace_token.")));

	provider = read_provider(job->provider);
	run_query(provider_query(job->provider, "request", "$1, $2"), 2, types, values, NULL);
	read_outgoing(provider, claimed->base_url, &claimed->wanted);

	context = psprintf(
		"account:%s/connection:%s/rev:" INT64_FORMAT "/access_token",
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&job->account))),
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&claimed->connection))),
		job->revision);
	token = open_token(claimed->envelope, context);
	job->pace = pace_key(token);
	if (pace_admits(job->pace, &claimed->blocked_until))
		claimed->authorization = make_authorization(provider, token);
	else
		wipe_secret(token);
}

static ClaimedJob *
read_claimed_job(Runner *runner, uint64 row)
{
	ClaimedJob *claimed = palloc0(sizeof(ClaimedJob));
	bool isnull;
	Datum value;

	claimed->sent = MemoryContextAllocZero(runner->steps.context, sizeof(SentJob));
	claimed->sent->request.take_reply = take_reply;
	claimed->sent->account = *DatumGetUUIDP(read_field(row, 1, &isnull));
	claimed->sent->job = DatumGetInt64(read_field(row, 2, &isnull));
	claimed->connection = *DatumGetUUIDP(read_field(row, 4, &isnull));
	strlcpy(claimed->sent->provider, TextDatumGetCString(read_field(row, 5, &isnull)),
			sizeof(claimed->sent->provider));
	claimed->base_url = TextDatumGetCString(read_field(row, 6, &isnull));
	value = read_field(row, 7, &isnull);
	claimed->sent->revision = isnull ? 0 : DatumGetInt64(value);
	value = read_field(row, 8, &isnull);
	claimed->envelope = isnull ? NULL : DatumGetByteaPCopy(value);
	return claimed;
}

typedef struct ClaimArguments
{
	Runner *runner;
	int room;
	bool leaves_slow_out;
	int count;
	ClaimedJob **claimed;
} ClaimArguments;

/* An action: locks what is free, and waits for nothing. */
static void
claim_jobs(void *argument)
{
	ClaimArguments *claim = argument;
	Runner *runner = claim->runner;
	Oid types[] = {INT4OID, INT4OID, UUIDOID, INT8OID, UUIDOID, UUIDARRAYOID, UUIDARRAYOID};
	Datum values[7];
	char nulls[8] = "       ";

	values[0] = Int32GetDatum(runner->lease);
	values[1] = Int32GetDatum(claim->room);
	scope_arguments(runner, values + 2, nulls + 2);
	values[4] = UUIDPGetDatum(&runner->after_account);
	values[5] = accounts_set_aside(claim->leaves_slow_out);
	values[6] = accounts_under_way(runner);
	run_query("SELECT * FROM keypup.claim_jobs($1, $2, $3, $4, $5, $6, $7)", 7, types, values,
			  nulls);
	claim->count = (int) SPI_processed;
	claim->claimed = palloc0(sizeof(ClaimedJob *) * Max(claim->count, 1));
	for (int i = 0; i < claim->count; i++)
		claim->claimed[i] = read_claimed_job(runner, i);
}

static void
send_claimed_job(Runner *runner, ClaimedJob *claimed)
{
	SentJob *sent = claimed->sent;

	if (claimed->authorization == NULL)
	{
		put_off_job(runner, sent, claimed->error, claimed->blocked_until);
		pfree(sent);
		return;
	}
	claimed->wanted.authorization = (char *) claimed->authorization->bytes;
	dispatch_request(runner, &sent->account, &claimed->wanted, &sent->request);
	wipe_secret(claimed->authorization);
}

int
send_due_jobs(Runner *runner)
{
	ClaimArguments claim = {.runner = runner};
	int slow = count_slow_under_way(runner);

	put_back_kept_jobs(runner);
	/*
	 * Twice what one account may have: see claim_jobs. Accounts that are slow get
	 * more while they have less than half together, and what they have counts as no
	 * more than that: for others half is left, also where they had all before they
	 * were known to be slow.
	 */
	claim.leaves_slow_out = slow >= keypup_max_requests;
	claim.room = 2 * keypup_max_requests - Min(slow, keypup_max_requests) -
				 (count_under_way(runner, FOR_SYNC, NULL) - slow);
	if (claim.room <= 0)
		return 0;

	begin_step(&runner->steps);
	if (!try_for_locks(claim_jobs, &claim))
		claim.count = 0;
	if (claim.count > 0)
		runner->after_account = claim.claimed[claim.count - 1]->sent->account;
	for (int i = 0; i < claim.count; i++)
	{
		ClaimedJob *claimed = claim.claimed[i];

		set_job_account(&claimed->sent->account);
		claimed->error = try_action(prepare_request, claimed);
		if (claimed->authorization != NULL)
			count_token_use(&claimed->sent->account, &claimed->connection);
	}
	record_due_token_uses();
	end_step(&runner->steps);

	for (int i = 0; i < claim.count; i++)
		send_claimed_job(runner, claim.claimed[i]);
	reset_step(&runner->steps);
	return claim.count;
}

typedef struct StartArguments
{
	Runner *runner;
	bool at_once;
	int64 started;
} StartArguments;

static void
start_due_runs(void *argument)
{
	StartArguments *start = argument;
	Oid types[] = {UUIDOID, INT8OID, BOOLOID, INT4OID};
	Datum values[4];
	char nulls[5] = "    ";

	scope_arguments(start->runner, values, nulls);
	values[2] = BoolGetDatum(start->at_once);
	values[3] = Int32GetDatum(RUNS_AT_ONCE);
	run_query("SELECT keypup.start_due_runs($1, $2, $3, $4)", 4, types, values, nulls);
	start->started = field_or(0, 1, 0);
}

int64
start_runs(Runner *runner, bool at_once)
{
	StartArguments start = {.runner = runner, .at_once = at_once};

	begin_step(&runner->steps);
	(void) try_for_locks(start_due_runs, &start);
	end_step(&runner->steps);
	reset_step(&runner->steps);
	return start.started;
}

/* A text that outlives the step; NULL for NULL. */
static char *
keep_text(Runner *runner, int column)
{
	bool isnull;
	Datum value = read_field(0, column, &isnull);

	if (isnull)
		return NULL;
	return MemoryContextStrdup(runner->steps.context, TextDatumGetCString(value));
}

void
count_jobs_left(Runner *runner, JobsLeft *left)
{
	Oid types[] = {UUIDOID, INT8OID};
	Datum values[2];
	char nulls[3] = "  ";

	if (left->waits_for != NULL)
		pfree(left->waits_for);
	if (left->last_error != NULL)
		pfree(left->last_error);
	begin_step(&runner->steps);
	scope_arguments(runner, values, nulls);
	run_query("SELECT * FROM keypup.jobs_left($1, $2)", 2, types, values, nulls);
	left->jobs = field_or(0, 1, 0);
	left->ready_at = field_or(0, 2, 0);
	left->waits_for = keep_text(runner, 3);
	left->next_at = field_or(0, 4, 0);
	left->items_done = field_or(0, 5, 0);
	left->items_total = field_or(0, 6, 0);
	left->last_error = keep_text(runner, 7);
	end_step(&runner->steps);
	reset_step(&runner->steps);
}
