/*
 * kept_plan.c
 *		Statements that C asks often: planned once in a session. A plan that has
 *		become stale is made anew by PostgreSQL.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "kept_plan.h"

bool
run_kept_plan(KeptPlan *kept, Oid role, Datum *values, Snapshot snapshot, bool read_only)
{
	Oid user;
	int security;
	int result;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(role, security | SECURITY_LOCAL_USERID_CHANGE);
	if (kept->plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(kept->text, kept->nargs, kept->types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
		kept->plan = plan;
	}
	result = SPI_execute_snapshot(kept->plan, values, NULL, snapshot, InvalidSnapshot, read_only,
								  true, 0);
	SetUserIdAndSecContext(user, security);
	if (result < 0)
		elog(ERROR, "could not run: %s", SPI_result_code_string(result));
	return SPI_processed > 0;
}
