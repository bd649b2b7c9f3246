/*
 * policy_first.h
 *		Of a table under row-level security nothing is looked at before its policy.
 */
#ifndef KEYPUP_POLICY_FIRST_H
#define KEYPUP_POLICY_FIRST_H

#include "nodes/pathnodes.h"

/*
 * is_read_through_policy
 *		Whether at this place of the query is a table of schema keypup, or a partition
 *		of one, that a policy limits for the user that the query is planned for, and
 *		that user is not the worker.
 */
extern bool is_read_through_policy(PlannerInfo *root, Index place);

/*
 * put_policies_first
 *		From now on this backend plans its queries so; at load.
 */
extern void put_policies_first(void);

#endif
