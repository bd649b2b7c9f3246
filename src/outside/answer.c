/*
 * answer.c
 *		Requests beside the sync: for sign-ins, and for what could be tracked. A session
 *		asks through outside/question.h and waits; the worker asks outside, under the same
 *		policy as every request of it.
 *
 * An identity provider's key set takes two requests: where it is, and itself.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "datum.h"
#include "outside/answer.h"
#include "outside/question.h"
#include "outside/reply.h"
#include "outside/set_aside.h"
#include "provider/provider.h"
#include "right/current_user.h"
#include "token/token.h"

#define KEY_SETS_MILLISECONDS 2000
/* Key sets that are fetched at once: of all, and when an account waits for one of its own. */
#define MAX_KEY_SETS 32
#define MAX_KEY_SETS_OF_ACCOUNT 4
/* Requests that are under way at once: more questions than that wait for others' answers. */
#define MAX_OUTSIDE_REQUESTS 128

typedef struct OutsideRequest
{
	SentRequest request;
	pg_uuid_t account;
	uint64 ticket; /* of the question that it answers; 0: of none */
	char *issuer; /* of a key set, or NULL */
	bool is_discovery; /* it was asked where the key set is */
	pg_uuid_t connection; /* whose provider is asked */
	char provider[NAMEDATALEN]; /* which that is */
	const char *answers; /* its function that takes the answer */
} OutsideRequest;

static OutsideRequest *
make_outside_request(Runner *runner, const pg_uuid_t *account, uint64 ticket,
					 void (*take_reply)(Runner *, SentRequest *, HttpReply *))
{
	OutsideRequest *outside = MemoryContextAllocZero(runner->steps.context, sizeof(OutsideRequest));

	outside->request.take_reply = take_reply;
	outside->request.purpose = BESIDE_SYNC;
	outside->account = *account;
	outside->ticket = ticket;
	return outside;
}

/* An action that asks SQL for one text, of two or three arguments and of what a reply is; the third is the last. */
typedef struct ReplyQuery
{
	const char *statement;
	Oid types[3];
	Datum values[3];
	HttpReply *reply;
	char *answer; /* NULL for NULL */
} ReplyQuery;

static void
run_reply_query(void *argument)
{
	ReplyQuery *query = argument;
	Oid types[] = {query->types[0], query->types[1], INT4OID,		 TEXTOID,
				   JSONBOID,		TEXTOID,		 query->types[2]};
	Datum values[7] = {query->values[0], query->values[1]};
	char nulls[8] = "       ";
	bool isnull;
	Datum value;

	reply_arguments(query->reply, values + 2, nulls + 2);
	values[6] = query->values[2];
	run_query(query->statement, OidIsValid(query->types[2]) ? 7 : 6, types, values, nulls);
	value = SPI_processed == 0 ? (Datum) 0 : read_field(0, 1, &isnull);
	query->answer = SPI_processed == 0 || isnull ? NULL : TextDatumGetCString(value);
}

static void
log_failure(const StepError *error)
{
	/* Somebody holds what it needs: it is done another time. */
	if (error->is_lock)
		return;
	ereport(LOG, (errmsg("keypup could not answer a question of a session: %s", error->message),
				  error->hint != NULL ? errhint("%s", error->hint) : 0));
}

/* --- key sets --- */

static void take_key_set(Runner *runner, SentRequest *sent, HttpReply *reply);

static void
fetch_key_set(Runner *runner, const pg_uuid_t *account, uint64 ticket, const char *issuer,
			  const char *url, bool is_discovery)
{
	OutsideRequest *outside = make_outside_request(runner, account, ticket, take_key_set);
	HttpRequest wanted = {.url = url};

	outside->issuer = MemoryContextStrdup(runner->steps.context, issuer);
	outside->is_discovery = is_discovery;
	dispatch_request(runner, account, &wanted, &outside->request);
}

static void
take_key_set(Runner *runner, SentRequest *sent, HttpReply *reply)
{
	OutsideRequest *outside = (OutsideRequest *) sent;
	ReplyQuery query = {.statement = "SELECT keypup.take_key_set($7, $1, $2, $3, $5, $6)",
						.types = {TEXTOID, BOOLOID, UUIDOID},
						.reply = reply};
	StepError *error;

	begin_account_step(&runner->steps, &outside->account);
	query.values[0] = CStringGetTextDatum(outside->issuer);
	query.values[1] = BoolGetDatum(outside->is_discovery);
	query.values[2] = UUIDPGetDatum(&outside->account);
	error = try_for_account(&outside->account, run_reply_query, &query);
	if (error != NULL)
		log_failure(error);
	end_step(&runner->steps);
	/* Where the key set is, it is asked for next; and nothing after that, whatever is answered. */
	if (query.answer != NULL && outside->is_discovery)
		fetch_key_set(runner, &outside->account, outside->ticket, outside->issuer, query.answer,
					  false);
	else if (outside->ticket != 0)
		answer_question(outside->ticket, NULL);
	reset_step(&runner->steps);
	pfree(outside->issuer);
}

/* The accounts that have their share of requests under way, some of them several times: a uuid[]. */
static Datum
busy_accounts(Runner *runner)
{
	ArrayBuildState *busy = initArrayResult(UUIDOID, CurrentMemoryContext, false);

	for (SentRequest *sent = runner->under_way; sent != NULL; sent = sent->next)
	{
		if (count_under_way(runner, BESIDE_SYNC, &sent->account) >= MAX_KEY_SETS_OF_ACCOUNT)
			busy = accumArrayResult(busy, UUIDPGetDatum(&sent->account), false, UUIDOID,
									CurrentMemoryContext);
	}
	return makeArrayResult(busy, CurrentMemoryContext);
}

/* Fetches the key sets that are due; with a question, that of its account and issuer, unless it was fetched just now. */
static void
fetch_key_sets(Runner *runner, const Question *question)
{
	uint64 ticket = question == NULL ? 0 : question->ticket;
	Oid types[] = {UUIDOID, TEXTOID, INT4OID, UUIDARRAYOID, UUIDARRAYOID};
	Datum values[5] = {0};
	const char *nulls = question == NULL ? "nn   " : "     ";
	uint64 count;
	pg_uuid_t *accounts;
	char **issuers;
	char **urls;

	begin_step(&runner->steps);
	if (question != NULL)
	{
		values[0] = UUIDPGetDatum(&question->account);
		values[1] = PointerGetDatum(
			cstring_to_text_with_len((const char *) question->bytes, question->length));
	}
	values[2] = Int32GetDatum(MAX_KEY_SETS - count_under_way(runner, BESIDE_SYNC, NULL));
	if (question != NULL || DatumGetInt32(values[2]) < 1)
		values[2] = Int32GetDatum(question != NULL);
	values[3] = busy_accounts(runner);
	values[4] = accounts_set_aside(false);
	run_query("SELECT * FROM keypup.claim_key_sets($1, $2, $3, $4 OPERATOR(pg_catalog.||) $5)",
			  lengthof(types), types, values, nulls);
	count = SPI_processed;
	accounts = palloc(sizeof(pg_uuid_t) * (count + 1));
	issuers = palloc(sizeof(char *) * (count + 1));
	urls = palloc(sizeof(char *) * (count + 1));
	for (uint64 i = 0; i < count; i++)
	{
		bool isnull;

		accounts[i] = *DatumGetUUIDP(read_field(i, 1, &isnull));
		issuers[i] = TextDatumGetCString(read_field(i, 2, &isnull));
		urls[i] = TextDatumGetCString(read_field(i, 3, &isnull));
	}
	end_step(&runner->steps);
	for (uint64 i = 0; i < count; i++)
		fetch_key_set(runner, &accounts[i], ticket, issuers[i], urls[i], true);
	if (count == 0 && ticket != 0)
		answer_question(ticket, NULL);
	reset_step(&runner->steps);
}

/* --- what a provider is asked for a session --- */

static void
take_answer(Runner *runner, SentRequest *sent, HttpReply *reply)
{
	OutsideRequest *outside = (OutsideRequest *) sent;
	ReplyQuery query = {
		.types = {UUIDOID, UUIDOID},
		.values = {UUIDPGetDatum(&outside->account), UUIDPGetDatum(&outside->connection)},
		.reply = reply};
	StepError *error;

	begin_account_step(&runner->steps, &outside->account);
	query.statement = psprintf("SELECT a.answer::pg_catalog.text FROM (%s) AS a (answer)",
							   provider_query(outside->provider, outside->answers,
											  "$1, $2, $3, $4::pg_catalog.jsonb, $5, $6"));
	error = try_for_account(&outside->account, run_reply_query, &query);
	if (error != NULL)
		log_failure(error);
	end_step(&runner->steps);
	answer_question(outside->ticket, query.answer);
	reset_step(&runner->steps);
}

typedef struct ProviderRequest
{
	Question *question; /* the connection's id, and what belongs to the kind */
	OutsideRequest *outside;
	HttpRequest wanted;
	Secret *authorization; /* NULL: there is none yet, an app's token is asked for first */
} ProviderRequest;

/*
 * The request that a function of the provider makes, shown with the token. The row of SPI_tuptable begins
 * with the provider, its base URL, and what the envelope was sealed for.
 */
static void
prepare_outgoing(ProviderRequest *request, bytea *envelope, const char *function,
				 const char *arguments, int nargs, Oid *types, Datum *values)
{
	OutsideRequest *outside = request->outside;
	bool isnull;
	char *base_url = TextDatumGetCString(read_field(0, 2, &isnull));
	char *context = TextDatumGetCString(read_field(0, 3, &isnull));
	Provider *provider;

	strlcpy(outside->provider, TextDatumGetCString(read_field(0, 1, &isnull)),
			sizeof(outside->provider));
	provider = read_provider(outside->provider);
	run_query(provider_query(outside->provider, function, arguments), nargs, types, values, NULL);
	read_outgoing(provider, base_url, &request->wanted);
	request->authorization = make_authorization(provider, open_token(envelope, context));
}

/* The rest of the question: the sealed token of a person, and whose it is, is asked. */
static void
prepare_viewer(void *argument)
{
	ProviderRequest *request = argument;
	OutsideRequest *outside = request->outside;
	Size length = (Size) request->question->length - UUID_LEN;
	bytea *envelope = palloc(VARHDRSZ + length);
	Oid types[] = {UUIDOID, UUIDOID};
	Datum values[] = {UUIDPGetDatum(&outside->account), UUIDPGetDatum(&outside->connection)};

	SET_VARSIZE(envelope, VARHDRSZ + length);
	memcpy(VARDATA(envelope), request->question->bytes + UUID_LEN, length);
	run_query(
		"SELECT c.provider, c.base_url,"
		" keypup.token_context(c.account_id, c.connection_id, 0::pg_catalog.int8, 'user_token')"
		" FROM keypup.connections c WHERE c.account_id OPERATOR(pg_catalog.=) $1"
		" AND c.connection_id OPERATOR(pg_catalog.=) $2",
		2, types, values, NULL);
	if (SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the connection is gone")));
	outside->answers = "viewer_answer";
	prepare_outgoing(request, envelope, "viewer_request", "$1, $2", 2, types, values);
}

/* The rest of the question: where the list goes on; asked with the connection's own token. */
static void
prepare_projects(void *argument)
{
	ProviderRequest *request = argument;
	OutsideRequest *outside = request->outside;
	char *after = pnstrdup((char *) request->question->bytes + UUID_LEN,
						   (Size) request->question->length - UUID_LEN);
	Oid types[] = {UUIDOID, UUIDOID, TEXTOID};
	Datum values[] = {UUIDPGetDatum(&outside->account), UUIDPGetDatum(&outside->connection),
					  CStringGetTextDatum(after)};
	bool isnull;

	run_query(
		"SELECT c.provider, c.base_url,"
		" keypup.token_context(c.account_id, c.connection_id, t.revision, t.purpose), t.envelope"
		" FROM keypup.connections c JOIN keypup.connection_tokens t"
		" ON t.account_id OPERATOR(pg_catalog.=) c.account_id"
		" AND t.connection_id OPERATOR(pg_catalog.=) c.connection_id"
		" WHERE c.account_id OPERATOR(pg_catalog.=) $1 AND c.connection_id OPERATOR(pg_catalog.=) $2"
		" AND t.purpose OPERATOR(pg_catalog.=) 'access_token'"
		" AND COALESCE(t.expires_at OPERATOR(pg_catalog.>) pg_catalog.now(), true)",
		2, types, values, NULL);
	if (SPI_processed != 1)
	{
		run_query("SELECT keypup.want_app_token($1, $2)", 2, types, values, NULL);
		(void) read_field(0, 1, &isnull);
		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the connection has no token")));
		return;
	}
	outside->answers = "projects_answer";
	prepare_outgoing(request, DatumGetByteaPCopy(read_field(0, 4, &isnull)), "projects_request",
					 "$1, $2, $3", 3, types, values);
}

static void
ask_provider(Runner *runner, Question *question, void (*prepare)(void *))
{
	ProviderRequest request = {
		.question = question,
		.outside = make_outside_request(runner, &question->account, question->ticket, take_answer)};
	StepError *error;

	memcpy(request.outside->connection.data, question->bytes, UUID_LEN);
	begin_account_step(&runner->steps, &question->account);
	error = try_for_account(&question->account, prepare, &request);
	if (error != NULL)
		log_failure(error);
	end_step(&runner->steps);
	if (request.authorization == NULL)
	{
		answer_question(question->ticket, error != NULL ? NULL : ANSWER_LATER);
		pfree(request.outside);
	}
	else
	{
		request.wanted.authorization = (char *) request.authorization->bytes;
		dispatch_request(runner, &question->account, &request.wanted, &request.outside->request);
		wipe_secret(request.authorization);
	}
	reset_step(&runner->steps);
}

void
answer_questions(Runner *runner)
{
	static TimestampTz looked_at = 0;
	TimestampTz now = GetCurrentTimestamp();
	Question question;

	while (count_under_way(runner, BESIDE_SYNC, NULL) < MAX_OUTSIDE_REQUESTS &&
		   take_question(&question))
	{
		if (strcmp(question.kind, "key_set") == 0)
			fetch_key_sets(runner, &question);
		else if (strcmp(question.kind, "user_token") == 0 && question.length > UUID_LEN)
			ask_provider(runner, &question, prepare_viewer);
		else if (strcmp(question.kind, "projects") == 0 && question.length >= UUID_LEN)
			ask_provider(runner, &question, prepare_projects);
		else
			answer_question(question.ticket, NULL);
	}
	if (TimestampDifferenceExceeds(looked_at, now, KEY_SETS_MILLISECONDS) || looked_at > now)
	{
		looked_at = now;
		fetch_key_sets(runner, NULL);
	}
}
