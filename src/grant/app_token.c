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

#include "datum.h"
#include "grant/app_key.h"
#include "grant/app_token.h"
#include "http/secret_member.h"
#include "outside/reply.h"
#include "outside/set_aside.h"
#include "provider/provider.h"
#include "right/current_user.h"
#include "token/token.h"

/* Of the answer, the member that is the token. */
#define APP_TOKEN_MEMBER "token"

typedef struct TokenRequest
{
	SentRequest request;
	pg_uuid_t account;
	pg_uuid_t connection;
	char provider[NAMEDATALEN];
} TokenRequest;

typedef struct ClaimedToken
{
	TokenRequest *sent;
	bytea *envelope; /* of the app's key */
	char *context;
	char *base_url;
	HttpRequest wanted;
	Secret *authorization; /* ended by a NUL; NULL when it could not be made */
	StepError *error; /* why */
} ClaimedToken;

typedef struct FailedToken
{
	TokenRequest *sent;
	const StepError *error;
} FailedToken;

/* An action. */
static void
fail_token(void *argument)
{
	FailedToken *failed = argument;
	const StepError *error = failed->error;
	Oid types[] = {UUIDOID, UUIDOID, TEXTOID, TEXTOID};
	Datum values[] = {UUIDPGetDatum(&failed->sent->account),
					  UUIDPGetDatum(&failed->sent->connection), CStringGetTextDatum(error->message),
					  error->hint ? CStringGetTextDatum(error->hint) : (Datum) 0};

	run_query("SELECT keypup.app_token_failed($1, $2, $3, $4, NULL::pg_catalog.timestamptz, false)",
			  4, types, values, error->hint ? "    " : "   n");
}

/* What somebody holds is no failure: the token is asked for again when its claim has run out. */
static void
put_off_token(Runner *runner, TokenRequest *sent, const StepError *error)
{
	FailedToken failed = {sent, error};
	StepError *hindrance;

	if (error->is_lock)
		return;
	begin_account_step(&runner->steps, &sent->account);
	hindrance = try_for_account(&sent->account, fail_token, &failed);
	end_step(&runner->steps);
	if (hindrance != NULL && !hindrance->is_lock)
		ereport(ERROR, (errmsg_internal("%s", hindrance->message)));
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
		answer->token =
			take_secret_member(answer->reply->body, answer->reply->body_length, APP_TOKEN_MEMBER);
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
	run_query(provider_query(sent->provider, "app_answer",
							 "$1, $2, $3, $4::pg_catalog.jsonb, $5, $6, $7, $8"),
			  8, types, values, nulls);
}

static void
take_token(Runner *runner, SentRequest *request, HttpReply *reply)
{
	TokenRequest *sent = (TokenRequest *) request;
	TokenAnswer answer = {sent, reply, NULL};
	StepError *error;

	begin_account_step(&runner->steps, &sent->account);
	error = try_for_account(&sent->account, store_token, &answer);
	wipe_secret(answer.token);
	end_step(&runner->steps);
	if (error != NULL)
		put_off_token(runner, sent, error);
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
	Datum written;
	char *claims;
	Provider *provider = read_provider(sent->provider);

	run_query(provider_query(sent->provider, "app_request", "$1, $2"), 2, types, values, NULL);
	read_outgoing(provider, claimed->base_url, &claimed->wanted);
	written = read_field(0, 5, &isnull);
	if (isnull)
		refuse_outgoing(provider, "it has no claims to sign");
	claims = TextDatumGetCString(written);
	claimed->authorization =
		make_bearer_authorization(sign_with_app_key(claimed->envelope, claimed->context, claims));
}

static ClaimedToken *
read_claimed_token(Runner *runner, uint64 row)
{
	ClaimedToken *claimed = palloc0(sizeof(ClaimedToken));
	TokenRequest *sent = MemoryContextAllocZero(runner->steps.context, sizeof(TokenRequest));
	bool isnull;

	sent->request.take_reply = take_token;
	sent->request.purpose = BESIDE_SYNC;
	sent->account = *DatumGetUUIDP(read_field(row, 1, &isnull));
	sent->connection = *DatumGetUUIDP(read_field(row, 2, &isnull));
	strlcpy(sent->provider, TextDatumGetCString(read_field(row, 3, &isnull)),
			sizeof(sent->provider));
	claimed->sent = sent;
	claimed->base_url = TextDatumGetCString(read_field(row, 4, &isnull));
	claimed->context = TextDatumGetCString(read_field(row, 5, &isnull));
	claimed->envelope = DatumGetByteaPCopy(read_field(row, 6, &isnull));
	return claimed;
}

typedef struct ClaimArguments
{
	Runner *runner;
	int count;
	ClaimedToken **claimed;
} ClaimArguments;

/* An action: locks what is free, and waits for nothing. */
static void
claim_tokens(void *argument)
{
	ClaimArguments *claim = argument;
	Runner *runner = claim->runner;
	Oid types[] = {UUIDOID, UUIDARRAYOID};
	Datum values[] = {UUIDPGetDatum(&runner->scope.account), accounts_set_aside(false)};
	char nulls[] = {runner->scope.has_account ? ' ' : 'n', ' ', '\0'};

	run_query("SELECT * FROM keypup.claim_app_tokens($1, $2)", 2, types, values, nulls);
	claim->count = (int) SPI_processed;
	claim->claimed = palloc0(sizeof(ClaimedToken *) * Max(claim->count, 1));
	for (int i = 0; i < claim->count; i++)
		claim->claimed[i] = read_claimed_token(runner, i);
}

void
ask_for_app_tokens(Runner *runner)
{
	ClaimArguments claim = {.runner = runner};

	begin_step(&runner->steps);
	if (!try_for_locks(claim_tokens, &claim))
		claim.count = 0;
	for (int i = 0; i < claim.count; i++)
	{
		ClaimedToken *claimed = claim.claimed[i];

		set_job_account(&claimed->sent->account);
		claimed->error = try_action(prepare_token_request, claimed);
	}
	end_step(&runner->steps);

	for (int i = 0; i < claim.count; i++)
	{
		ClaimedToken *claimed = claim.claimed[i];

		if (claimed->authorization == NULL)
		{
			put_off_token(runner, claimed->sent, claimed->error);
			pfree(claimed->sent);
			continue;
		}
		claimed->wanted.authorization = (char *) claimed->authorization->bytes;
		dispatch_request(runner, &claimed->sent->account, &claimed->wanted,
						 &claimed->sent->request);
		wipe_secret(claimed->authorization);
	}
	reset_step(&runner->steps);
}
