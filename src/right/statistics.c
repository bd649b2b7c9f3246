/*
 * statistics.c
 *		What the planner knows of the values in tables under row-level security.
 *
 * ANALYZE keeps the most common values of a column, and bounds of the others, of
 * all accounts together. The planner compares what a query asks for with them, by
 * whatever operator is leakproof, and EXPLAIN shows how many rows it expects: who
 * asks for one text after the other reads what others have written. So queries
 * through a policy are planned with numbers only: how many values there are, how
 * many NULLs, how wide they are and how well the table is sorted by them. Without
 * bounds the planner does not look up the ends of an index either
 * (get_actual_variable_range in selfuncs.c).
 *
 * A hash join that is too large for its memory looks up the most common values of
 * the other side itself, and keeps rows of these in memory: that shows in how much
 * it takes (ExecHashBuildSkewHash in nodeHash.c). It is told of no such table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_statistic.h"
#include "miscadmin.h"
#include "nodes/pathnodes.h"
#include "nodes/plannodes.h"
#include "optimizer/planner.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"

#include "right/policy_first.h"
#include "right/statistics.h"

static get_relation_stats_hook_type previous_relation_hook = NULL;
static get_index_stats_hook_type previous_index_hook = NULL;
static planner_hook_type previous_planner = NULL;

/* A copy that has no values any more: nobody looks into a slot of no kind. */
static HeapTuple
without_values(HeapTuple statistics)
{
	HeapTuple copy = heap_copytuple(statistics);
	Form_pg_statistic form = (Form_pg_statistic) GETSTRUCT(copy);
	int16 *kinds[STATISTIC_NUM_SLOTS] = {&form->stakind1, &form->stakind2, &form->stakind3,
										 &form->stakind4, &form->stakind5};

	for (int i = 0; i < STATISTIC_NUM_SLOTS; i++)
	{
		if (*kinds[i] != STATISTIC_KIND_CORRELATION)
			*kinds[i] = 0;
	}
	return copy;
}

/* Answers a hook; is_found: another extension has answered before. */
static bool
answer(bool is_found, Oid relation, AttrNumber column, bool inherited, VariableStatData *asked)
{
	HeapTuple statistics;

	if (!is_found)
	{
		statistics = SearchSysCache3(STATRELATTINH, ObjectIdGetDatum(relation),
									 Int16GetDatum(column), BoolGetDatum(inherited));
		asked->statsTuple = statistics;
		asked->freefunc = ReleaseSysCache;
	}
	if (HeapTupleIsValid(asked->statsTuple))
	{
		statistics = without_values(asked->statsTuple);
		asked->freefunc(asked->statsTuple);
		asked->statsTuple = statistics;
		asked->freefunc = heap_freetuple;
	}
	return true;
}

static bool
give_statistics(PlannerInfo *root, RangeTblEntry *entry, AttrNumber column, VariableStatData *asked)
{
	bool is_found = previous_relation_hook && previous_relation_hook(root, entry, column, asked);

	for (Index i = 1; i < (Index) root->simple_rel_array_size; i++)
	{
		if (root->simple_rte_array[i] == entry && is_read_through_policy(root, i))
			return answer(is_found, entry->relid, column, entry->inh, asked);
	}
	return is_found;
}

/* Which table of the query it is does not matter: a policy limits all of one name alike. */
static bool
is_index_read_through_policy(PlannerInfo *root, Oid index)
{
	Oid relation = IndexGetRelation(index, true);

	for (Index i = 1; i < (Index) root->simple_rel_array_size; i++)
	{
		const RangeTblEntry *entry = root->simple_rte_array[i];

		if (entry != NULL && entry->rtekind == RTE_RELATION && entry->relid == relation &&
			is_read_through_policy(root, i))
			return true;
	}
	return false;
}

static bool
give_index_statistics(PlannerInfo *root, Oid index, AttrNumber column, VariableStatData *asked)
{
	bool is_found = previous_index_hook && previous_index_hook(root, index, column, asked);

	if (!is_index_read_through_policy(root, index))
		return is_found;
	return answer(is_found, index, column, false, asked);
}

static void forget_common_values(Plan *plan, Oid schema);

static void
forget_common_values_in(List *plans, Oid schema)
{
	ListCell *cell;

	foreach (cell, plans)
		forget_common_values((Plan *) lfirst(cell), schema);
}

static void
forget_common_values(Plan *plan, Oid schema)
{
	if (plan == NULL)
		return;
	check_stack_depth();
	if (IsA(plan, Hash) && get_rel_namespace(((Hash *) plan)->skewTable) == schema)
		((Hash *) plan)->skewTable = InvalidOid;
	else if (IsA(plan, Append))
		forget_common_values_in(((Append *) plan)->appendplans, schema);
	else if (IsA(plan, MergeAppend))
		forget_common_values_in(((MergeAppend *) plan)->mergeplans, schema);
	else if (IsA(plan, SubqueryScan))
		forget_common_values(((SubqueryScan *) plan)->subplan, schema);
	else if (IsA(plan, CustomScan))
		forget_common_values_in(((CustomScan *) plan)->custom_plans, schema);
	forget_common_values(plan->lefttree, schema);
	forget_common_values(plan->righttree, schema);
}

static PlannedStmt *
plan_without_common_values(Query *query, const char *text, int cursor_options,
						   ParamListInfo parameters)
{
	bool through_policies = query->hasRowSecurity;
	PlannedStmt *planned = previous_planner
							   ? previous_planner(query, text, cursor_options, parameters)
							   : standard_planner(query, text, cursor_options, parameters);
	Oid schema = get_namespace_oid("keypup", true);

	if (through_policies && OidIsValid(schema))
	{
		forget_common_values(planned->planTree, schema);
		forget_common_values_in(planned->subplans, schema);
	}
	return planned;
}

void
hide_statistics(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_without_common_values;
	previous_relation_hook = get_relation_stats_hook;
	get_relation_stats_hook = give_statistics;
	previous_index_hook = get_index_stats_hook;
	get_index_stats_hook = give_index_statistics;
}
