/*
 * plan_cost.h
 *		What a query under row-level security is taken to cost.
 */
#ifndef KEYPUP_PLAN_COST_H
#define KEYPUP_PLAN_COST_H

#include "nodes/pathnodes.h"

/*
 * correct_index_cost
 *		The planner takes from now on a look-up in the index for what it is where the
 *		query names the account and the policy does.
 *
 * index: what the planner knows of it, of this one query; its first column is the
 * account.
 */
extern void correct_index_cost(IndexOptInfo *index);

/*
 * register_plan_cost
 *		From now on this backend plans its queries with it; at load.
 */
extern void register_plan_cost(void);

#endif
