/*
 * runner.h
 *		Sends requests and takes their replies, in a worker or in the session of
 *		CALL keypup.sync.
 */
#ifndef KEYPUP_RUNNER_H
#define KEYPUP_RUNNER_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "http/client.h"
#include "outside/step.h"

/* Which jobs: all of the database, of an account, or of one of its projects. */
typedef struct JobScope
{
	bool has_account;
	pg_uuid_t account;
	bool has_project;
	int64 project;
} JobScope;

typedef struct Runner
{
	JobScope scope;
	Steps steps;
	int32 lease; /* shows whose the jobs are that it has claimed */
	Oid lease_table;
	HttpClient *client;
	pg_uuid_t after_account; /* where its last turn ended; it goes on behind */
	struct SentRequest *under_way;
	struct KeptJob *kept_jobs; /* that are to be given back: job.c */
	TimestampTz put_back_at; /* when that was last tried */
} Runner;

/* What a request is for. Those of one purpose take no place of another's. */
typedef enum RequestPurpose
{
	FOR_SYNC,
	BESIDE_SYNC, /* sessions wait for it, or the sync will */
	FOR_FORWARDING /* of the audit log */
} RequestPurpose;

/* A request that is under way. The first member of its sender's own struct. */
typedef struct SentRequest
{
	void (*take_reply)(Runner *runner, struct SentRequest *sent, HttpReply *reply);
	pg_uuid_t account; /* filled in when it is sent */
	TimestampTz sent_at; /* likewise */
	RequestPurpose purpose;
	struct SentRequest *next; /* of those that are under way */
} SentRequest;

/*
 * open_runner
 *		Takes a lease and an HTTP client.
 *
 * in_procedure: whether the caller is a procedure that may commit; otherwise
 * the caller is outside any transaction.
 */
extern Runner *open_runner(const JobScope *scope, bool in_procedure);

/*
 * close_runner
 *		Gives the lease and the connections back; also after an error.
 */
extern void close_runner(Runner *runner);

/*
 * dispatch_request
 *		Sends a request for an account: with the user and password of the proxy where it
 *		goes through that. Called outside steps.
 *
 * wanted: as send_request's; proxy_credentials is filled in here. sent: takes the reply, whatever
 * it is.
 */
extern void dispatch_request(Runner *runner, const pg_uuid_t *account, const HttpRequest *wanted,
							 SentRequest *sent);

/*
 * count_under_way
 *		How many requests of a purpose are under way; of an account, where one is given.
 */
extern int count_under_way(Runner *runner, RequestPurpose purpose, const pg_uuid_t *account);

/*
 * count_slow_under_way
 *		How many requests of the sync are under way for accounts that are slow.
 */
extern int count_slow_under_way(Runner *runner);

/*
 * accounts_under_way
 *		Their accounts, as an array of uuid: one for each request of the sync.
 */
extern Datum accounts_under_way(Runner *runner);

/*
 * exchange
 *		Waits up to timeout milliseconds for something to happen to the requests in
 *		flight, and has each reply taken by who sent the request.
 *
 * Returns false, at once, when nothing is in flight. No transaction is open
 * while it waits (in a procedure: none with a snapshot).
 */
extern bool exchange(Runner *runner, long timeout);

/*
 * rest_runner
 *		Nothing is in flight and nothing to be sent: connections close, and what was
 *		secret in them is overwritten.
 */
extern void rest_runner(Runner *runner);

#endif
