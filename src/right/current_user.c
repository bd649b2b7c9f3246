/*
 * current_user.c
 *		Who is the current user? Called by row-level security policies and by the
 *		functions that customers' admins call.
 *
 * It is the person or API key of the session that the transaction uses
 * (session.c), or else PostgreSQL's current user. Only inside a function of our
 * own that runs as its owner is it the user outside (caller.c); and there is none
 * while a maintenance command runs somebody's expression, since the user outside
 * is then a superuser who never called us.
 *
 * What the current user may do is in the view keypup.rights. What is taken away is
 * gone with the next statement: an answer is kept only while it must be the same.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "audit/refusal.h"
#include "datum.h"
#include "kept_plan.h"
#include "right/current_user.h"
#include "right/caller.h"

PG_FUNCTION_INFO_V1(keypup_my_accounts);
PG_FUNCTION_INFO_V1(keypup_my_projects);
PG_FUNCTION_INFO_V1(keypup_sees_all_projects);
PG_FUNCTION_INFO_V1(keypup_has_permission);
PG_FUNCTION_INFO_V1(keypup_has_permission_now);
PG_FUNCTION_INFO_V1(keypup_current_user_name);
PG_FUNCTION_INFO_V1(keypup_current_user_info);
PG_FUNCTION_INFO_V1(keypup_whoami);
PG_FUNCTION_INFO_V1(keypup_job_account);

static pg_uuid_t job_account;
static bool job_account_is_set = false;

/*
 * The rights of a database role: those of each role that it has the use of, and
 * consents to support that name it, and not a role that it merely has.
 * $1: the permission; $2: the role.
 */
#define HELD                                                                                       \
	"WITH RECURSIVE held (oid) AS (SELECT $2 UNION SELECT g.roleid"                                \
	" FROM pg_catalog.pg_auth_members g JOIN held h ON g.member OPERATOR(pg_catalog.=) h.oid) "
#define RIGHTS_OF_ROLE                                                                             \
	" FROM keypup.rights x WHERE x.permission OPERATOR(pg_catalog.=) $1"                           \
	" AND x.holder OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT r.rolname::pg_catalog.text"            \
	" FROM held h JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) h.oid"                \
	" WHERE pg_catalog.pg_has_role($2, h.oid, 'USAGE'::pg_catalog.text)))"                         \
	" AND (x.kind OPERATOR(pg_catalog.=) 'database_role'"                                          \
	"  OR x.kind OPERATOR(pg_catalog.=) 'support' AND x.holder OPERATOR(pg_catalog.=) "            \
	"(SELECT r.rolname::pg_catalog.text FROM pg_catalog.pg_roles r"                                \
	" WHERE r.oid OPERATOR(pg_catalog.=) $2)"                                                      \
	" AND x.holder OPERATOR(pg_catalog.=) SESSION_USER::pg_catalog.text)"

/* Those of a session. $1: the permission; $2: the account; $3: the handle's digest. */
#define RIGHTS_OF_SESSION                                                                          \
	" FROM keypup.serving_sessions s"                                                              \
	" JOIN keypup.rights x ON x.account_id OPERATOR(pg_catalog.=) s.account_id"                    \
	" AND x.kind OPERATOR(pg_catalog.=) s.kind AND x.holder OPERATOR(pg_catalog.=) s.holder"       \
	" WHERE x.permission OPERATOR(pg_catalog.=) $1 AND s.account_id OPERATOR(pg_catalog.=) $2"     \
	" AND s.handle_digest OPERATOR(pg_catalog.=) $3"

#define ACCOUNTS                                                                                   \
	"SELECT x.account_id, pg_catalog.bool_and(x.all_projects),"                                    \
	" pg_catalog.bool_and(x.kind OPERATOR(pg_catalog.=) 'support')"
#define ACCOUNTS_END " GROUP BY x.account_id"
#define IN_PROJECT " EXISTS (SELECT FROM (SELECT x.account_id, x.all_projects, x.limit_id"
#define IN_PROJECT_END                                                                             \
	") y WHERE y.account_id OPERATOR(pg_catalog.=) p.account_id AND (y.all_projects"               \
	" OR EXISTS (SELECT FROM keypup.project_limits l WHERE l.account_id OPERATOR(pg_catalog.=) "   \
	"p.account_id AND l.limit_id OPERATOR(pg_catalog.=) y.limit_id"                                \
	" AND l.project_id OPERATOR(pg_catalog.=) p.project_id)))"

#define PROJECTS                                                                                   \
	"SELECT pg_catalog.array_agg(p.project_id ORDER BY p.project_id)"                              \
	" FROM keypup.projects p WHERE" IN_PROJECT

/* What is asked, of a role and of a session. */
typedef struct Question
{
	KeptPlan of_role;
	KeptPlan of_session;
} Question;

#define QUESTION(start, end)                                                                       \
	{                                                                                              \
		KEPT_PLAN(HELD start RIGHTS_OF_ROLE end, 2, TEXTOID, OIDOID),                              \
			KEPT_PLAN(start RIGHTS_OF_SESSION end, 3, TEXTOID, UUIDOID, BYTEAOID)                  \
	}

static Question accounts_question = QUESTION(ACCOUNTS, ACCOUNTS_END);
static Question projects_question = QUESTION(PROJECTS, IN_PROJECT_END);

Oid
owner_of_extension_function(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * The session whose holder is the current user; NULL: the role is. In a function
 * that runs as its owner, and is none of ours, its owner is the current user,
 * whoever's session calls it.
 */
static const SessionIdentity *
session_of_user(Oid user)
{
	return user == GetOuterUserId() ? used_session() : NULL;
}

/*
 * Asks about the current user; the answer is in SPI_tuptable. False: there is no
 * answer, or no user. snapshot: as in run_kept_plan.
 */
static bool
ask(Oid owner, Question *question, Datum permission, Snapshot snapshot)
{
	Oid user = calling_role(owner);
	const SessionIdentity *session = session_of_user(user);
	Datum values[3] = {permission};

	if (!OidIsValid(user))
		return false;
	if (session == NULL)
	{
		values[1] = ObjectIdGetDatum(user);
		return run_kept_plan(&question->of_role, owner, values, snapshot, true);
	}
	values[1] = UUIDPGetDatum(&session->account);
	values[2] = make_bytea(session->handle_digest, HANDLE_DIGEST_BYTES);
	return run_kept_plan(&question->of_session, owner, values, snapshot, true);
}

/*
 * The accounts in which the current user has a permission. A query asks for each of its
 * tables, and a BI tool sends query after query: the answer is kept while it
 * must be the same. It is, as long as nothing was committed and nothing changed
 * or undone by ourselves, which seen_now tells; but consents and sessions end by
 * the clock, so it is not kept for long.
 */
#define KEPT_ANSWERS 4
#define KEPT_MICROSECONDS 100000
#define MAX_PERMISSION 31

/* What an answer depends on, beside the clock. Compared as bytes: there is no padding. */
typedef struct AskedWhen
{
	Oid user;
	SeenWhen seen;
	SessionIdentity session;
	char permission[MAX_PERMISSION]; /* empty: none */
	bool of_session;
} AskedWhen;

StaticAssertDecl(sizeof(AskedWhen) == offsetof(AskedWhen, of_session) + 1,
				 "AskedWhen is compared as bytes");

typedef struct Answer
{
	AskedWhen when;
	bool all_projects;
	int count;
	pg_uuid_t *accounts; /* in TopMemoryContext */
	TimestampTz since;
} Answer;

static Answer answers[KEPT_ANSWERS];

static uint32 undone_subtransactions = 0;

static void
count_undone(SubXactEvent event, SubTransactionId subtransaction, SubTransactionId parent,
			 void *argument)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		undone_subtransactions++;
}

SeenWhen
seen_now(void)
{
	static bool is_watching = false;
	Snapshot snapshot = GetActiveSnapshot();

	if (!is_watching)
		RegisterSubXactCallback(count_undone, NULL);
	is_watching = true;
	return (SeenWhen){snapshot->xmin,		 snapshot->xmax,   snapshot->xcnt,
					  snapshot->subxcnt,	 snapshot->curcid, GetTopTransactionIdIfAny(),
					  undone_subtransactions};
}

static void
describe_question(AskedWhen *when, const char *permission, Oid user)
{
	const SessionIdentity *session = session_of_user(user);

	memset(when, 0, sizeof(*when));
	strlcpy(when->permission, permission, MAX_PERMISSION);
	when->user = user;
	when->of_session = session != NULL;
	if (session != NULL)
		when->session = *session;
	when->seen = seen_now();
}

static void
fetch_answer(Oid owner, Answer *answer)
{
	pg_uuid_t *accounts = NULL;
	bool all_projects = true;
	int count = 0;

	SPI_connect();
	if (ask(owner, &accounts_question, CStringGetTextDatum(answer->when.permission),
			InvalidSnapshot))
	{
		accounts = MemoryContextAlloc(TopMemoryContext, SPI_processed * sizeof(pg_uuid_t));
		for (; count < (int) SPI_processed; count++)
		{
			bool isnull;

			accounts[count] = *DatumGetUUIDP(read_field(count, 1, &isnull));
			all_projects = all_projects && DatumGetBool(read_field(count, 2, &isnull));
			if (DatumGetBool(read_field(count, 3, &isnull)))
				note_support_reading(&accounts[count], GetUserNameFromId(answer->when.user, false));
		}
	}
	SPI_finish();
	answer->accounts = accounts;
	answer->count = count;
	answer->all_projects = all_projects;
	answer->since = GetCurrentTimestamp();
}

/* Valid until it is asked for again. */
static const Answer *
find_answer(FunctionCallInfo fcinfo, Datum permission)
{
	static int next = 0;
	Oid owner = owner_of_extension_function(fcinfo->flinfo->fn_oid);
	Oid user = calling_role(owner);
	char *name = TextDatumGetCString(permission);
	Answer *place = &answers[next];
	Answer fresh;

	if (strlen(name) >= MAX_PERMISSION)
		name = "";
	describe_question(&fresh.when, name, user);
	for (int i = 0; i < KEPT_ANSWERS; i++)
	{
		Answer *kept = &answers[i];
		TimestampTz age;

		if (memcmp(&kept->when, &fresh.when, sizeof(AskedWhen)) != 0)
			continue;
		age = GetCurrentTimestamp() - kept->since;
		if (age >= 0 && age < KEPT_MICROSECONDS)
			return kept;
	}
	fetch_answer(owner, &fresh);
	if (place->accounts != NULL)
		pfree(place->accounts);
	*place = fresh;
	next = (next + 1) % KEPT_ANSWERS;
	return place;
}

Datum
keypup_my_accounts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const Answer *answer;
	bool isnull = false;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	answer = find_answer(fcinfo, PG_GETARG_DATUM(0));
	for (int i = 0; i < answer->count; i++)
	{
		Datum account = UUIDPGetDatum(&answer->accounts[i]);

		tuplestore_putvalues(result->setResult, result->setDesc, &account, &isnull);
	}
	return (Datum) 0;
}

ArrayType *
projects_of_current_user(Oid owner, Datum permission)
{
	MemoryContext context = CurrentMemoryContext;
	ArrayType *projects = NULL;
	bool isnull;

	SPI_connect();
	if (ask(owner, &projects_question, permission, InvalidSnapshot))
	{
		Datum found = read_field(0, 1, &isnull);

		MemoryContextSwitchTo(context);
		if (!isnull)
			projects = DatumGetArrayTypePCopy(found);
	}
	SPI_finish();
	return projects;
}

Datum
keypup_my_projects(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ArrayType *projects = projects_of_current_user(
		owner_of_extension_function(fcinfo->flinfo->fn_oid), PG_GETARG_DATUM(0));
	Datum *project_ids = NULL;
	bool isnull = false;
	int count = 0;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (projects != NULL)
		deconstruct_array(projects, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
						  &project_ids, NULL, &count);
	for (int i = 0; i < count; i++)
		tuplestore_putvalues(result->setResult, result->setDesc, &project_ids[i], &isnull);
	return (Datum) 0;
}

Datum
keypup_sees_all_projects(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(find_answer(fcinfo, PG_GETARG_DATUM(0))->all_projects);
}

Datum
keypup_has_permission(PG_FUNCTION_ARGS)
{
	Oid user = calling_role(owner_of_extension_function(fcinfo->flinfo->fn_oid));
	pg_uuid_t *account = PG_GETARG_UUID_P(0);
	const Answer *answer;

	if (OidIsValid(user) && session_of_user(user) == NULL && superuser_arg(user))
		PG_RETURN_BOOL(true);
	answer = find_answer(fcinfo, PG_GETARG_DATUM(1));
	for (int i = 0; i < answer->count; i++)
	{
		if (memcmp(&answer->accounts[i], account, sizeof(*account)) == 0)
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}

/* --- what is permitted at this moment --- */

/* What a call of one of our functions has been permitted, and is asked again when it ends. */
typedef struct Permit
{
	int call;
	CommandId began;
	Oid owner;
	pg_uuid_t account;
	char permission[NAMEDATALEN];
} Permit;

static Permit *permits = NULL; /* in TopMemoryContext; those of the innermost call are the last */
static int permit_count = 0;
static int permit_room = 0;

/*
 * A transaction that repeats its reads still sees what its user might do when it
 * began. Whoever changes something by it must have the right at this moment. What
 * the call itself has changed does not count: people may give up their own rights.
 */
static bool
is_permitted_now(const Permit *permit)
{
	Snapshot now = RegisterSnapshot(GetLatestSnapshot());
	bool found = false;

	if (permit->call >= 0)
		now->curcid = permit->began;
	SPI_connect();
	if (ask(permit->owner, &accounts_question, CStringGetTextDatum(permit->permission), now))
	{
		for (uint64 row = 0; row < SPI_processed && !found; row++)
		{
			bool isnull;

			found = memcmp(DatumGetUUIDP(read_field(row, 1, &isnull)), &permit->account,
						   sizeof(permit->account)) == 0;
		}
	}
	SPI_finish();
	UnregisterSnapshot(now);
	return found;
}

static void
keep_permit(const Permit *permit)
{
	for (int i = permit_count - 1; i >= 0 && permits[i].call == permit->call; i--)
	{
		if (memcmp(&permits[i].account, &permit->account, sizeof(permit->account)) == 0 &&
			strcmp(permits[i].permission, permit->permission) == 0)
			return;
	}
	if (permit_count == permit_room)
	{
		int wanted = permit_room == 0 ? 16 : 2 * permit_room;

		if (permits == NULL)
			permits = MemoryContextAlloc(TopMemoryContext, (Size) wanted * sizeof(Permit));
		else
			permits = repalloc(permits, (Size) wanted * sizeof(Permit));
		permit_room = wanted;
	}
	permits[permit_count++] = *permit;
}

Datum
keypup_has_permission_now(PG_FUNCTION_ARGS)
{
	Oid owner = owner_of_extension_function(fcinfo->flinfo->fn_oid);
	Oid user = calling_role(owner);
	Permit permit = {.owner = owner, .account = *PG_GETARG_UUID_P(0)};

	if (OidIsValid(user) && session_of_user(user) == NULL && superuser_arg(user))
		PG_RETURN_BOOL(true);
	strlcpy(permit.permission, text_to_cstring(PG_GETARG_TEXT_PP(1)), NAMEDATALEN);
	permit.call = find_call(owner, &permit.began);
	if (!is_permitted_now(&permit))
		PG_RETURN_BOOL(false);
	if (permit.call >= 0)
		keep_permit(&permit);
	PG_RETURN_BOOL(true);
}

/* A call may have waited for somebody who has taken away what it was permitted. */
void
end_of_call(int call, bool done)
{
	int last = permit_count;

	while (permit_count > 0 && permits[permit_count - 1].call >= call)
		permit_count--;
	for (int i = permit_count; done && i < last; i++)
	{
		Permit permit = permits[i];

		if (is_permitted_now(&permit))
			continue;
		note_refusal_to_current_user(permit.owner, &permit.account, permit.permission,
									 "the permission was taken away meanwhile");
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("you may not do this any more"),
				 errdetail("The permission \"%s\" was taken away meanwhile.", permit.permission)));
	}
}

text *
name_current_user(Oid owner, text **kind)
{
	Oid user = calling_role(owner);
	const SessionIdentity *session = session_of_user(user);

	if (!OidIsValid(user))
		return NULL;
	if (session != NULL)
		return find_session_holder(session, kind, InvalidSnapshot);
	if (kind != NULL)
		*kind = cstring_to_text("database_role");
	return cstring_to_text(GetUserNameFromId(user, false));
}

Datum
keypup_current_user_name(PG_FUNCTION_ARGS)
{
	text *name = name_current_user(owner_of_extension_function(fcinfo->flinfo->fn_oid), NULL);

	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(name);
}

/* A row of kind, role: both NULL when there is no user, the kind when the session has ended. */
Datum
keypup_current_user_info(PG_FUNCTION_ARGS)
{
	Oid user = calling_role(owner_of_extension_function(fcinfo->flinfo->fn_oid));
	const SessionIdentity *session = session_of_user(user);
	text *kind = cstring_to_text("database_role");
	Datum values[2];
	bool nulls[2];

	if (session != NULL && find_session_holder(session, &kind, InvalidSnapshot) == NULL)
		kind = NULL;
	nulls[0] = kind == NULL || !OidIsValid(user);
	nulls[1] = !OidIsValid(user);
	values[0] = PointerGetDatum(kind);
	values[1] = ObjectIdGetDatum(user);
	return return_row(fcinfo, 2, values, nulls);
}

Datum
keypup_whoami(PG_FUNCTION_ARGS)
{
	if (find_answer(fcinfo, CStringGetTextDatum("data.read"))->count == 0)
		PG_RETURN_NULL();
	return keypup_current_user_name(fcinfo);
}

Datum
keypup_job_account(PG_FUNCTION_ARGS)
{
	pg_uuid_t *account;

	if (!job_account_is_set)
		PG_RETURN_NULL();
	account = (pg_uuid_t *) palloc(sizeof(pg_uuid_t));
	*account = job_account;
	PG_RETURN_UUID_P(account);
}

void
set_job_account(const pg_uuid_t *account)
{
	job_account_is_set = account != NULL;
	if (account != NULL)
		job_account = *account;
}

Oid
role_of_worker(void)
{
	return get_role_oid("keypup_worker", false);
}
