/*
 * kept_plan.h
 *		Statements that C asks often: planned once in a session.
 */
#ifndef KEYPUP_KEPT_PLAN_H
#define KEYPUP_KEPT_PLAN_H

#include "executor/spi.h"
#include "utils/snapshot.h"

#define KEPT_PLAN_ARGUMENTS 4

typedef struct KeptPlan
{
	const char *text; /* every object and operator named in full: any search path may be in force */
	int nargs;
	Oid types[KEPT_PLAN_ARGUMENTS];
	SPIPlanPtr plan; /* NULL before the first use */
} KeptPlan;

/* An initializer: the text, and the types of its arguments. */
#define KEPT_PLAN(text, nargs, ...)                                                                \
	{                                                                                              \
		(text), (nargs), {__VA_ARGS__}, NULL                                                       \
	}

/*
 * run_kept_plan
 *		Runs the statement as the given role; the rows are in SPI_tuptable.
 *
 * snapshot: what it sees; InvalidSnapshot for the usual one. Called between
 * SPI_connect and SPI_finish. Returns whether there is a row.
 */
extern bool
run_kept_plan(KeptPlan *kept, Oid role, Datum *values, Snapshot snapshot, bool read_only);

#endif
