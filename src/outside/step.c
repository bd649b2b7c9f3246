/*
 * step.c
 *		Transactions of the sync. The same code serves the background worker,
 *		which begins and commits by itself, and a procedure in a caller's session,
 *		which is inside a transaction already and commits through SPI.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "outside/step.h"
#include "pinned_settings.h"
#include "right/current_user.h"

void
open_steps(Steps *steps, bool in_procedure)
{
	steps->in_procedure = in_procedure;
	steps->context = AllocSetContextCreate(in_procedure ? PortalContext : TopMemoryContext,
										   "keypup steps", ALLOCSET_DEFAULT_SIZES);
	steps->step_context =
		AllocSetContextCreate(steps->context, "keypup step", ALLOCSET_DEFAULT_SIZES);
}

void
begin_step(Steps *steps)
{
	if (!steps->in_procedure)
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	else
	{
		/* A level of SPI keeps what it has read until it ends, and a CALL may go on for hours. */
		SPI_connect_ext(SPI_OPT_NONATOMIC);
		pin_settings_of_transaction();
	}
	GetUserIdAndSecContext(&steps->user_before, &steps->security_before);
	SetUserIdAndSecContext(role_of_worker(),
						   steps->security_before | SECURITY_RESTRICTED_OPERATION);
	MemoryContextSwitchTo(steps->step_context);
}

void
end_step(Steps *steps)
{
	set_job_account(NULL);
	SetUserIdAndSecContext(steps->user_before, steps->security_before);
	if (steps->in_procedure)
	{
		SPI_commit();
		SPI_finish();
	}
	else
	{
		SPI_finish();
		PopActiveSnapshot();
		CommitTransactionCommand();
		pgstat_report_stat(true);
	}
	MemoryContextSwitchTo(steps->context);
}

void
reset_step(Steps *steps)
{
	MemoryContextReset(steps->step_context);
}

/* A statement that was planned once in this session; a plan that has become stale is made anew by PostgreSQL. */
typedef struct PlannedQuery
{
	const char *text;
	SPIPlanPtr plan;
	struct PlannedQuery *next;
} PlannedQuery;

static PlannedQuery *planned = NULL;

/* What we ask are calls of functions, whose plans do not depend on their arguments. */
static SPIPlanPtr
plan_query(const char *text, int nargs, Oid *types)
{
	PlannedQuery *query;
	SPIPlanPtr plan;

	for (query = planned; query != NULL; query = query->next)
	{
		if (strcmp(query->text, text) == 0)
			return query->plan;
	}
	plan = SPI_prepare_cursor(text, nargs, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
	query = MemoryContextAlloc(TopMemoryContext, sizeof(PlannedQuery));
	*query = (PlannedQuery){MemoryContextStrdup(TopMemoryContext, text), plan, planned};
	planned = query;
	return plan;
}

/* SPI_execute leaves its own context current, which does not outlive the step; ours does. */
void
run_query(const char *text, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	int result = SPI_execute_plan(plan_query(text, nargs, types), values, nulls, false, 0);

	MemoryContextSwitchTo(context);

	if (result < 0)
		elog(ERROR, "statement failed: %s", SPI_result_code_string(result));
}

StepError *
try_action(void (*action)(void *), void *argument)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	StepError *volatile error = NULL;
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		action(argument);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *data;

		MemoryContextSwitchTo(context);
		data = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		if (data->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			data->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(data);
		error = palloc0(sizeof(StepError));
		error->message = data->message ? data->message : pstrdup("unknown error");
		error->hint = data->hint;
		error->sqlstate = data->sqlerrcode;
		error->is_in_use = data->sqlerrcode == ERRCODE_OBJECT_IN_USE;
		error->is_lock = data->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
						 data->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	SetUserIdAndSecContext(user, security);
	return error;
}

bool
try_for_locks(void (*action)(void *), void *argument)
{
	StepError *error = try_action(action, argument);

	if (error != NULL && !error->is_lock)
		ereport(ERROR, (errcode(error->sqlstate), errmsg_internal("%s", error->message),
						error->hint != NULL ? errhint("%s", error->hint) : 0));
	return error == NULL;
}
