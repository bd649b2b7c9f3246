/*
 * plan_cost.h
 *		What a query under row-level security is taken to cost.
 */
#ifndef KEYPUP_PLAN_COST_H
#define KEYPUP_PLAN_COST_H

/*
 * register_plan_cost
 *		From now on this backend plans its queries with it; at load.
 */
extern void register_plan_cost(void);

#endif
