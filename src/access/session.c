/*
 * session.c
 *		Who is asking? Called by row-level security policies and by the
 *		functions that customers' admins call (manage.sql).
 *
 * The asker is the current user, as everywhere in PostgreSQL. Only inside a
 * function of our own that runs as its owner is it the user outside; and there
 * nobody asks while a maintenance command runs somebody's expression, since the
 * user outside is then a superuser who never called us.
 *
 * No identity is held in a setting: a setting can be set by anyone.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

#include "access/asker.h"

PG_FUNCTION_INFO_V1(keypup_my_accounts);
PG_FUNCTION_INFO_V1(keypup_has_permission);
PG_FUNCTION_INFO_V1(keypup_asking_role);
PG_FUNCTION_INFO_V1(keypup_job_account);

static pg_uuid_t job_account;
static bool job_account_is_set = false;

/* Every object is named in full: the caller's search path is in force here. */
#define MEMBERSHIPS                                                                                \
	"SELECT DISTINCT m.account_id"                                                                 \
	"  FROM keypup.members m"                                                                      \
	"  JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=) m.member::pg_catalog.name"   \
	"  JOIN keypup.role_permissions p ON p.role OPERATOR(pg_catalog.=) m.role"                     \
	" WHERE p.permission OPERATOR(pg_catalog.=) $2"                                                \
	"   AND pg_catalog.pg_has_role($1, r.oid, 'USAGE'::pg_catalog.text)"

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

static Oid
asking_role(Oid owner)
{
	if (GetUserId() != owner)
		return GetUserId();
	if (InSecurityRestrictedOperation())
		return InvalidOid;
	return GetOuterUserId();
}

/* Runs a query on our own tables as their owner; the answer is in SPI_tuptable. */
static void
select_memberships(Oid owner, const char *query, int nargs, Oid *types, Datum *values)
{
	Oid user;
	int context;

	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_execute_with_args(query, nargs, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read memberships");
	SetUserIdAndSecContext(user, context);
}

Datum
keypup_my_accounts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid owner = owner_of_extension_function(fcinfo->flinfo->fn_oid);
	Oid asker = asking_role(owner);
	Oid types[] = {OIDOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(asker), PG_GETARG_DATUM(0)};

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (!OidIsValid(asker))
		return (Datum) 0;

	SPI_connect();
	select_memberships(owner, MEMBERSHIPS, 2, types, values);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool isnull;
		Datum account = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &isnull);

		tuplestore_putvalues(result->setResult, result->setDesc, &account, &isnull);
	}
	SPI_finish();
	return (Datum) 0;
}

Datum
keypup_has_permission(PG_FUNCTION_ARGS)
{
	Oid owner = owner_of_extension_function(fcinfo->flinfo->fn_oid);
	Oid asker = asking_role(owner);
	Oid types[] = {OIDOID, TEXTOID, UUIDOID};
	Datum values[] = {ObjectIdGetDatum(asker), PG_GETARG_DATUM(1), PG_GETARG_DATUM(0)};
	bool found;

	if (!OidIsValid(asker))
		PG_RETURN_BOOL(false);
	if (superuser_arg(asker))
		PG_RETURN_BOOL(true);

	SPI_connect();
	select_memberships(owner, MEMBERSHIPS " AND m.account_id OPERATOR(pg_catalog.=) $3", 3, types,
					   values);
	found = SPI_processed > 0;
	SPI_finish();
	PG_RETURN_BOOL(found);
}

Datum
keypup_asking_role(PG_FUNCTION_ARGS)
{
	Oid asker = asking_role(owner_of_extension_function(fcinfo->flinfo->fn_oid));
	Name name;

	if (!OidIsValid(asker))
		PG_RETURN_NULL();
	name = (Name) palloc0(NAMEDATALEN);
	namestrcpy(name, GetUserNameFromId(asker, false));
	PG_RETURN_NAME(name);
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
