/*
 * visible_login.c
 *		The logins that a member sees who is limited to some projects: those that stand
 *		in rows of these.
 *
 * Policies ask for them once for each table that names people, and a view reads
 * many such tables, one behind the other; to find them takes reading all rows of
 * the projects. So they are kept while they must be the same: for the same
 * projects, as long as nothing was committed and nothing changed or undone by
 * ourselves. Which projects is asked each time: it ends by the clock, and is
 * quickly told.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"

#include "kept_plan.h"
#include "right/current_user.h"

PG_FUNCTION_INFO_V1(keypup_my_logins);

/* A login is somebody at one connection: elsewhere it may be somebody else. */
static KeptPlan logins_plan =
	KEPT_PLAN("SELECT DISTINCT p.account_id, p.connection_id, g.login FROM keypup.projects p"
			  " JOIN keypup.project_logins g ON g.account_id OPERATOR(pg_catalog.=) p.account_id"
			  " AND g.project_id OPERATOR(pg_catalog.=) p.project_id"
			  " WHERE g.login IS NOT NULL AND p.project_id OPERATOR(pg_catalog.=) ANY ($1)",
			  1, INT8ARRAYOID);

/* The last answer. */
static struct
{
	MemoryContext context; /* below TopMemoryContext, of all that follows; NULL: no answer */
	SeenWhen seen;
	ArrayType *projects;
	uint64 count;
	HeapTuple *rows;
} kept;

static bool
is_kept(const ArrayType *projects)
{
	SeenWhen seen = seen_now();

	return kept.context != NULL && memcmp(&kept.seen, &seen, sizeof(seen)) == 0 &&
		   VARSIZE(kept.projects) == VARSIZE(projects) &&
		   memcmp(kept.projects, projects, VARSIZE(projects)) == 0;
}

/* An error on the way leaves no answer. */
static void
keep_logins(Oid owner, ArrayType *projects)
{
	Datum argument = PointerGetDatum(projects);
	SeenWhen seen = seen_now();
	MemoryContext context;
	MemoryContext previous;

	if (kept.context != NULL)
		MemoryContextDelete(kept.context);
	kept.context = NULL;
	context = AllocSetContextCreate(CurrentMemoryContext, "keypup logins", ALLOCSET_SMALL_SIZES);
	SPI_connect();
	(void) run_kept_plan(&logins_plan, owner, &argument, InvalidSnapshot, true);
	previous = MemoryContextSwitchTo(context);
	kept.projects = DatumGetArrayTypePCopy(argument);
	kept.count = SPI_processed;
	kept.rows = MemoryContextAllocHuge(context, Max(kept.count, 1) * sizeof(HeapTuple));
	for (uint64 i = 0; i < kept.count; i++)
		kept.rows[i] = heap_copytuple(SPI_tuptable->vals[i]);
	MemoryContextSwitchTo(previous);
	SPI_finish();
	MemoryContextSetParent(context, TopMemoryContext);
	kept.seen = seen;
	kept.context = context;
}

Datum
keypup_my_logins(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid owner = owner_of_extension_function(fcinfo->flinfo->fn_oid);
	ArrayType *projects = projects_of_current_user(owner, PG_GETARG_DATUM(0));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (projects == NULL)
		return (Datum) 0;
	if (!is_kept(projects))
		keep_logins(owner, projects);
	for (uint64 i = 0; i < kept.count; i++)
		tuplestore_puttuple(result->setResult, kept.rows[i]);
	return (Datum) 0;
}
