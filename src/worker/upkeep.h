/*
 * upkeep.h
 *		What the worker does beside the sync, in small transactions.
 */
#ifndef KEYPUP_UPKEEP_H
#define KEYPUP_UPKEEP_H

#include "outside/step.h"

typedef enum Upkeep
{
	REWRAP_DATA_KEYS, /* with the newest key of the key file */
	RESEAL_TOKENS, /* that are under a key which is active no more */
	ANALYZE_TABLES, /* that have grown */
	MERGE_PEOPLE, /* whose logins are one person by rule */
	KEEP_ROLES, /* what they were granted, and their oids */
	KEEP_AUDIT_DAYS, /* partitions of the audit log: those that are needed, and no others */
	RECORD_AUDIT_GAPS, /* what was lost on its way into it */
	SEAL_AUDIT_LOG, /* what was committed since */
	WRITE_AUDIT_CHECKPOINT /* of what was sealed since */
} Upkeep;

/*
 * do_upkeep
 *		One small transaction of it.
 *
 * Returns whether there may be more to do. A failure is logged, and is none of
 * the worker's: the sync goes on.
 */
extern bool do_upkeep(Steps *steps, Upkeep work);

/*
 * store_refusals
 *		Puts refusals that sessions have noted into the audit log.
 *
 * Returns whether there were any. On failure they are kept, and tried again.
 */
extern bool store_refusals(Steps *steps);

#endif
