/*
 * runner.c
 *		Requests out, replies in. What is asked, and what an answer means, is for
 *		job.c and answer.c to say.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "datum.h"
#include "http/proxy.h"
#include "outside/runner.h"
#include "outside/set_aside.h"
#include "right/current_user.h"
#include "token/token.h"
#include "worker_list.h"

/* After so long of storing what one account was answered, others are asked for. */
#define STORE_MILLISECONDS 250

/*
 * A lease is live while its lock is held: it ends with its session, however that
 * ends, and not with a transaction, as the locks of pg_advisory_lock. Unlike
 * theirs its tag is an object's, which no statement can lock: nobody else holds
 * a lease. claim_jobs looks for it in pg_locks.
 */
static void
set_lease_tag(LOCKTAG *tag, Oid table, int32 lease)
{
	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, table, (uint32) lease, 0);
	tag->locktag_lockmethodid = USER_LOCKMETHOD;
}

static void
take_lease(Runner *runner)
{
	bool isnull;
	LOCKTAG tag;
	Oid table;

	begin_step(&runner->steps);
	run_query(
		"SELECT pg_catalog.nextval('keypup.sync_leases'::pg_catalog.regclass)::pg_catalog.int4,"
		" 'keypup.sync_jobs'::pg_catalog.regclass::pg_catalog.oid",
		0, NULL, NULL, NULL);
	runner->lease = DatumGetInt32(read_field(0, 1, &isnull));
	table = DatumGetObjectId(read_field(0, 2, &isnull));
	set_lease_tag(&tag, table, runner->lease);
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
	runner->lease_table = table;
	end_step(&runner->steps);
}

Runner *
open_runner(const JobScope *scope, bool in_procedure)
{
	Runner *runner;
	Steps steps;

	open_steps(&steps, in_procedure);
	runner = MemoryContextAllocZero(steps.context, sizeof(Runner));
	runner->scope = *scope;
	runner->steps = steps;
	take_lease(runner);
	runner->client = open_http_client(runner->steps.context);
	return runner;
}

void
close_runner(Runner *runner)
{
	LOCKTAG tag;

	if (runner->client != NULL)
		close_http_client(runner->client);
	runner->client = NULL;
	set_job_account(NULL);
	set_lease_tag(&tag, runner->lease_table, runner->lease);
	(void) LockRelease(&tag, ExclusiveLock, true);
}

/* An action: the proxy's user and password, or NULL when it has none. */
static void
open_proxy_credentials(void *argument)
{
	Secret **credentials = argument;
	bool isnull;
	char *context;

	run_query("SELECT * FROM keypup.sealed_proxy_credentials()", 0, NULL, NULL, NULL);
	if (SPI_processed == 0)
		return;
	context = TextDatumGetCString(read_field(0, 2, &isnull));
	*credentials = open_token(DatumGetByteaPCopy(read_field(0, 1, &isnull)), context);
}

void
dispatch_request(Runner *runner, const pg_uuid_t *account, const HttpRequest *wanted,
				 SentRequest *sent)
{
	HttpRequest request = *wanted;
	Secret *credentials = NULL;

	if (url_is_proxied(request.url))
	{
		StepError *error;

		begin_step(&runner->steps);
		error = try_action(open_proxy_credentials, &credentials);
		if (error != NULL)
		{
			ereport(LOG, (errmsg("keypup could not open the user and password of the proxy: %s",
								 error->message),
						  error->hint != NULL ? errhint("%s", error->hint) : 0));
			/* Without them the proxy would be asked in vain. */
			request.refused = "the user and password of the proxy cannot be opened";
			request.refused_hint = "A superuser finds the reason in the server's log.";
		}
		end_step(&runner->steps);
	}
	request.proxy_credentials = credentials;
	sent->account = *account;
	sent->sent_at = GetCurrentTimestamp();
	sent->next = runner->under_way;
	runner->under_way = sent;
	send_request(runner->client, account, &request, sent);
	wipe_secret(credentials);
}

int
count_under_way(Runner *runner, RequestPurpose purpose, const pg_uuid_t *account)
{
	int count = 0;

	for (SentRequest *sent = runner->under_way; sent != NULL; sent = sent->next)
	{
		if (sent->purpose == purpose &&
			(account == NULL || memcmp(&sent->account, account, sizeof(*account)) == 0))
			count++;
	}
	return count;
}

int
count_slow_under_way(Runner *runner)
{
	int count = 0;

	for (SentRequest *sent = runner->under_way; sent != NULL; sent = sent->next)
	{
		if (sent->purpose == FOR_SYNC)
			note_wait(&sent->account, sent->sent_at);
	}
	for (SentRequest *sent = runner->under_way; sent != NULL; sent = sent->next)
	{
		if (sent->purpose == FOR_SYNC && is_slow(&sent->account))
			count++;
	}
	return count;
}

Datum
accounts_under_way(Runner *runner)
{
	Datum *accounts = palloc(sizeof(Datum) * Max(count_under_way(runner, FOR_SYNC, NULL), 1));
	int count = 0;

	for (SentRequest *sent = runner->under_way; sent != NULL; sent = sent->next)
	{
		if (sent->purpose == FOR_SYNC)
			accounts[count++] = UUIDPGetDatum(&sent->account);
	}
	return PointerGetDatum(
		construct_array(accounts, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

static void
end_request(Runner *runner, SentRequest *sent)
{
	SentRequest **at = &runner->under_way;

	while (*at != sent)
		at = &(*at)->next;
	*at = sent->next;
}

static WorkerTrouble
judge_reply(HttpReply *reply)
{
	if (reply->failure != NULL)
		return TROUBLE_NO_ANSWER;
	if (reply->status == 401)
		return TROUBLE_TOKEN_REFUSED;
	if (reply->status == 403 || reply->status == 429)
		return TROUBLE_LIMITED;
	if (reply->status >= 500)
		return TROUBLE_PROVIDER_FAILED;
	return reply->status == 200 ? TROUBLE_NONE : TROUBLE_UNEXPECTED;
}

static void
tell_requests(Runner *runner)
{
	note_requests(requests_in_flight(runner->client), requests_sent(runner->client));
}

bool
exchange(Runner *runner, long timeout)
{
	HttpReply *reply;
	TimestampTz began;

	if (requests_in_flight(runner->client) == 0)
		return false;
	tell_requests(runner);
	show_worker_state(WORKER_WAITING);
	wait_for_replies(runner->client, timeout);
	CHECK_FOR_INTERRUPTS();
	began = GetCurrentTimestamp();
	while (!TimestampDifferenceExceeds(began, GetCurrentTimestamp(), STORE_MILLISECONDS) &&
		   (reply = next_reply(runner->client)) != NULL)
	{
		SentRequest *sent = reply->caller;

		show_worker_state(WORKER_STORING);
		/* A sink says nothing of the sync. */
		if (sent->purpose != FOR_FORWARDING)
			note_reply(judge_reply(reply));
		end_request(runner, sent);
		sent->take_reply(runner, sent, reply);
		pfree(sent);
		free_reply(reply);
		CHECK_FOR_INTERRUPTS();
	}
	tell_requests(runner);
	show_worker_state(WORKER_SYNCING);
	return true;
}

void
rest_runner(Runner *runner)
{
	rest_http_client(runner->client);
	overwrite_freed_memory();
}
