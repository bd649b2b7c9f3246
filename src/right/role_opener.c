/*
 * role_opener.c
 *		Grants to a database role what it needs to ask, in a transaction of its own.
 *
 * A grant holds what all accounts share: the schema's row, and from PostgreSQL 16
 * on the group role, until its transaction ends. In the transaction of a customer,
 * who may leave it open, all others would wait. So a background worker makes it,
 * for that moment; should the customer's transaction be rolled back, keep_roles
 * takes it back.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "pinned_settings.h"

PG_FUNCTION_INFO_V1(keypup_open_schema_aside);

extern PGDLLEXPORT void keypup_role_opener_main(Datum argument);

/* What the worker is to do; fits bgw_extra. */
typedef struct Opening
{
	Oid database;
	Oid role;
	uint64 asked_by; /* the transaction */
} Opening;

StaticAssertDecl(sizeof(Opening) <= BGW_EXTRALEN, "an opening must fit what a worker is given");

/*
 * keypup_role_opener_main
 *		The worker: one call of open_schema_to. Errors go to the server's log.
 */
void
keypup_role_opener_main(Datum argument)
{
	Opening opening;
	Oid types[] = {OIDOID, XID8OID};
	Datum values[2];

	memcpy(&opening, MyBgworkerEntry->bgw_extra, sizeof(opening));
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(opening.database, InvalidOid, 0);
	pin_settings_of_worker();
	SetConfigOption("lock_timeout", "1s", PGC_SUSET, PGC_S_OVERRIDE);

	values[0] = ObjectIdGetDatum(opening.role);
	values[1] = UInt64GetDatum(opening.asked_by);
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_execute_with_args("SELECT keypup.open_schema_to(r.rolname, $2)"
						  " FROM pg_catalog.pg_roles r"
						  " WHERE r.oid OPERATOR(pg_catalog.=) $1",
						  2, types, values, NULL, false, 0);
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	proc_exit(0);
}

static void
run_opener(Oid role)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	Opening opening = {.database = MyDatabaseId, .role = role};

	opening.asked_by = U64FromFullTransactionId(GetTopFullTransactionId());
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &opening, sizeof(opening));
	strlcpy(worker.bgw_library_name, "keypup", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "keypup_role_opener_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "keypup role opener %u", role);
	strlcpy(worker.bgw_type, "keypup role opener", sizeof(worker.bgw_type));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("no background worker is free to grant the role what it needs"),
						errhint("Try again; the operator may raise max_worker_processes.")));
	(void) WaitForBackgroundWorkerShutdown(handle);
}

/*
 * keypup_open_schema_aside
 *		role_id oid. Raises that there is no worker, or that it did not succeed.
 */
Datum
keypup_open_schema_aside(PG_FUNCTION_ARGS)
{
	Oid role = PG_GETARG_OID(0);

	run_opener(role);
	AcceptInvalidationMessages();
	if (!is_member_of_role_nosuper(role, get_role_oid("keypup_member", false)))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("role \"%s\" could not be granted what a member needs",
						GetUserNameFromId(role, false)),
				 errdetail("Its CREATE ROLE may not be committed, or an operator is granting or "
						   "revoking; the server's log says which."),
				 errhint("Try again in a moment.")));
	PG_RETURN_VOID();
}
