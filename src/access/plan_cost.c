/*
 * plan_cost.c
 *		What a query under row-level security is taken to cost.
 *
 * A policy compares with an array of the member's accounts that is known only
 * when the query runs, and the planner takes such an array for ten elements
 * (scalararraysel and estimate_array_length in selfuncs.c). A member of one
 * account reads a tenth of that. The choice between plans is sound, since
 * all of them are too dear by the same factor; but two choices weigh the cost
 * against a fixed one: whether to compile, and whether to start workers. Both
 * take longer than most queries here do. For these queries the fixed costs
 * are therefore ten times what is set.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "jit/jit.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "utils/lsyscache.h"

#include "access/plan_cost.h"

#define ACCOUNTS_ASSUMED 10

static planner_hook_type previous_planner = NULL;

/* Does the query, or a part of it, read a table of ours through a policy? */
static bool
reads_through_policy(Node *node, Oid *schema)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		return entry->rtekind == RTE_RELATION && entry->securityQuals != NIL &&
			   get_rel_namespace(entry->relid) == *schema;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reads_through_policy, schema,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, reads_through_policy, schema);
}

static PlannedStmt *
plan(Query *query, const char *text, int cursor_options, ParamListInfo parameters)
{
	return previous_planner ? previous_planner(query, text, cursor_options, parameters)
							: standard_planner(query, text, cursor_options, parameters);
}

static PlannedStmt *
plan_query(Query *query, const char *text, int cursor_options, ParamListInfo parameters)
{
	double setup_cost = parallel_setup_cost;
	double compile_cost = jit_above_cost;
	double inline_cost = jit_inline_above_cost;
	double optimize_cost = jit_optimize_above_cost;
	Oid schema = query->hasRowSecurity ? get_namespace_oid("keypup", true) : InvalidOid;
	PlannedStmt *planned;

	if (!OidIsValid(schema) || !reads_through_policy((Node *) query, &schema))
		return plan(query, text, cursor_options, parameters);
	PG_TRY();
	{
		/* What is negative, and so switched off, stays so. */
		parallel_setup_cost *= ACCOUNTS_ASSUMED;
		jit_above_cost *= ACCOUNTS_ASSUMED;
		jit_inline_above_cost *= ACCOUNTS_ASSUMED;
		jit_optimize_above_cost *= ACCOUNTS_ASSUMED;
		planned = plan(query, text, cursor_options, parameters);
	}
	PG_FINALLY();
	{
		parallel_setup_cost = setup_cost;
		jit_above_cost = compile_cost;
		jit_inline_above_cost = inline_cost;
		jit_optimize_above_cost = optimize_cost;
	}
	PG_END_TRY();
	return planned;
}

void
register_plan_cost(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_query;
}
