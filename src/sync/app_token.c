/*
 * app_token.c
 *		Asking for the token of an app's installation: a web token is signed with
 *		the app's key and sent, and what comes back is sealed before anything else
 *		is done with the reply.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "access/asker.h"
#include "http/secret_member.h"
#include "provider/provider.h"
#include "sync/app_token.h"
#include "sync/reply.h"
#include "token/app_key.h"
#include "token/token.h"

typedef struct TokenRequest
{
	SentRequest request;
	pg_uuid_t account;
	pg_uuid_t connection;
	const Provider *provider;
} TokenRequest;

typedef struct ClaimedToken
{
	TokenRequest *sent;
	bytea *envelope; /* of the app's key */
	char *context;
	char *url;
	char *body;
	Secret *authorization; /* ended by a NUL; NULL when it could not be made */
} ClaimedToken;

static void
put_off_token(TokenRequest *sent, const StepError *error)
{
	Oid types[] = {UUIDOID, UUIDOID, TEXTOID, TEXTOID};
	Datum values[] = {UUIDPGetDatum(&sent->account), UUIDPGetDatum(&sent->connection),
					  CStringGetTextDatum(error->message),
					  error->hint ? CStringGetTextDatum(error->hint) : (Datum) 0};

	run_query("SELECT keypup.app_token_failed($1, $2, $3, $4, NULL::pg_catalog.timestamptz, false)",
			  4, types, values, error->hint ? "    " : "   n");
}

/* --- the answer --- */

typedef struct TokenAnswer
{
	TokenRequest *sent;
	HttpReply *reply;
	Secret *token; /* NULL when there is none in the reply */
} TokenAnswer;

static void
store_token(void *argument)
{
	TokenAnswer *answer = argument;
	TokenRequest *sent = answer->sent;
	Oid types[] = {UUIDOID, UUIDOID, INT4OID, TEXTOID, JSONBOID, TEXTOID, INT8OID, BYTEAOID};
	Datum values[8];
	char nulls[9] = "      nn";
	bool isnull;

	if (answer->reply->failure == NULL)
		answer->token = take_secret_member(answer->reply->body, answer->reply->body_length,
										   sent->provider->app_token_member);
	values[0] = UUIDPGetDatum(&sent->account);
	values[1] = UUIDPGetDatum(&sent->connection);
	reply_arguments(answer->reply, values + 2, nulls + 2);
	values[6] = values[7] = (Datum) 0;
	if (answer->token != NULL)
	{
		run_query("SELECT * FROM keypup.next_app_token($1, $2)", 2, types, values, NULL);
		values[6] = read_field(0, 1, &isnull);
		values[7] = PointerGetDatum(
			seal_secret(answer->token, TextDatumGetCString(read_field(0, 2, &isnull))));
		nulls[6] = nulls[7] = ' ';
	}
	run_query(sent->provider->app_answer_query, 8, types, values, nulls);
}

static void
take_token(Runner *runner, SentRequest *request, HttpReply *reply)
{
	TokenRequest *sent = (TokenRequest *) request;
	TokenAnswer answer = {sent, reply, NULL};
	StepError *error;

	begin_step(&runner->steps);
	set_job_account(&sent->account);
	error = try_action(store_token, &answer);
	wipe_secret(answer.token);
	if (error != NULL)
		put_off_token(sent, error);
	end_step(&runner->steps);
	reset_step(&runner->steps);
}

/* --- the request --- */

static void
prepare_token_request(void *argument)
{
	ClaimedToken *claimed = argument;
	TokenRequest *sent = claimed->sent;
	Oid types[] = {UUIDOID, UUIDOID};
	Datum values[] = {UUIDPGetDatum(&sent->account), UUIDPGetDatum(&sent->connection)};
	bool isnull;
	char *claims;

	run_query(sent->provider->app_request_query, 2, types, values, NULL);
	claimed->url = TextDatumGetCString(read_field(0, 1, &isnull));
	claims = TextDatumGetCString(read_field(0, 2, &isnull));
	claimed->body = TextDatumGetCString(read_field(0, 3, &isnull));
	claimed->authorization = make_authorization(
		sent->provider, sign_with_app_key(claimed->envelope, claimed->context, claims));
}

static ClaimedToken *
read_claimed_token(Runner *runner, uint64 row)
{
	ClaimedToken *claimed = palloc0(sizeof(ClaimedToken));
	TokenRequest *sent = MemoryContextAllocZero(runner->steps.context, sizeof(TokenRequest));
	bool isnull;

	sent->request.take_reply = take_token;
	sent->account = *DatumGetUUIDP(read_field(row, 1, &isnull));
	sent->connection = *DatumGetUUIDP(read_field(row, 2, &isnull));
	sent->provider = find_provider(TextDatumGetCString(read_field(row, 3, &isnull)));
	claimed->sent = sent;
	claimed->context = TextDatumGetCString(read_field(row, 4, &isnull));
	claimed->envelope = DatumGetByteaPCopy(read_field(row, 5, &isnull));
	return claimed;
}

void
ask_for_app_tokens(Runner *runner)
{
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(&runner->scope.account)};
	char nulls[] = {runner->scope.has_account ? ' ' : 'n', '\0'};
	ClaimedToken **claimed;
	int count;

	begin_step(&runner->steps);
	run_query("SELECT * FROM keypup.claim_app_tokens($1)", 1, types, values, nulls);
	count = (int) SPI_processed;
	claimed = palloc0(sizeof(ClaimedToken *) * Max(count, 1));
	for (int i = 0; i < count; i++)
		claimed[i] = read_claimed_token(runner, i);
	for (int i = 0; i < count; i++)
	{
		StepError *error;

		set_job_account(&claimed[i]->sent->account);
		error = try_action(prepare_token_request, claimed[i]);
		if (error != NULL)
			put_off_token(claimed[i]->sent, error);
	}
	end_step(&runner->steps);

	for (int i = 0; i < count; i++)
	{
		HttpRequest wanted;

		if (claimed[i]->authorization == NULL)
		{
			pfree(claimed[i]->sent);
			continue;
		}
		wanted = (HttpRequest){.url = claimed[i]->url,
							   .authorization = (char *) claimed[i]->authorization->bytes,
							   .body = claimed[i]->body,
							   .headers = claimed[i]->sent->provider->app_headers};
		dispatch_request(runner, &claimed[i]->sent->account, &wanted, &claimed[i]->sent->request);
		wipe_secret(claimed[i]->authorization);
	}
	reset_step(&runner->steps);
}
