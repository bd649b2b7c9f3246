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
 * are therefore ten times what is set. To compile takes the longer, the larger
 * the plan is: a view of ours reads tables in a hundred places, of which each has
 * expressions of its own, and compiling them took ten times what they take.
 * What is set is for plans that read up to TABLES_ASSUMED tables.
 *
 * And where a look-up names the account itself, the planner multiplies both
 * conditions on it, as if they were independent, and takes every index that leads
 * with the account for one that finds a single row. Which of them is chosen
 * would be chance. For the cost of an index one condition counts.
 *
 * For the same reason, and as it knows no values, the planner takes most views for
 * one row, whatever they give. Of two views that are joined the second would
 * be computed again for each row of the first. A view is therefore
 * taken to give ROWS_EXPECTED at least: enough that it is computed once and hashed.
 * Not where a row of the query outside asks it by key (LATERAL, EXISTS).
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "jit/jit.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/planner.h"
#include "utils/index_selfuncs.h"
#include "utils/lsyscache.h"

#include "right/plan_cost.h"

#define ACCOUNTS_ASSUMED 10
#define TABLES_ASSUMED 10
#define ROWS_EXPECTED 1000

static planner_hook_type previous_planner = NULL;
static set_rel_pathlist_hook_type previous_paths_hook = NULL;

typedef struct Tables
{
	Oid schema;
	bool with_policy; /* only those that are read through a policy */
} Tables;

/* Does the query, or a part of it, read one of the tables? */
static bool
reads_tables(Node *node, Tables *tables)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		return entry->rtekind == RTE_RELATION &&
			   (entry->securityQuals != NIL || !tables->with_policy) &&
			   get_rel_namespace(entry->relid) == tables->schema;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reads_tables, tables, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, reads_tables, tables);
}

static PlannedStmt *
plan(Query *query, const char *text, int cursor_options, ParamListInfo parameters)
{
	return previous_planner ? previous_planner(query, text, cursor_options, parameters)
							: standard_planner(query, text, cursor_options, parameters);
}

/* Is the cost above the limit of a setting? Below 0 it is switched off. */
static bool
is_worth(Cost cost, double limit, double factor)
{
	return limit >= 0 && cost > limit * factor;
}

/* As standard_planner does it, but for the factor. */
static void
decide_to_compile(PlannedStmt *planned, double accounts)
{
	Cost cost = planned->planTree->total_cost;
	double places = list_length(planned->rtable) + list_length(planned->subplans);
	double factor = accounts * Max(1, places / TABLES_ASSUMED);

	if (!is_worth(cost, jit_above_cost, factor))
		planned->jitFlags = PGJIT_NONE;
	if (!is_worth(cost, jit_inline_above_cost, factor))
		planned->jitFlags &= ~PGJIT_INLINE;
	if (!is_worth(cost, jit_optimize_above_cost, factor))
		planned->jitFlags &= ~PGJIT_OPT3;
}

static PlannedStmt *
plan_query(Query *query, const char *text, int cursor_options, ParamListInfo parameters)
{
	double setup_cost = parallel_setup_cost;
	Tables tables = {get_namespace_oid("keypup", true), query->hasRowSecurity};
	double accounts;
	PlannedStmt *planned;

	if (!OidIsValid(tables.schema) || !reads_tables((Node *) query, &tables))
		return plan(query, text, cursor_options, parameters);
	/* Whoever bypasses the policies is planned for what they read. */
	accounts = query->hasRowSecurity ? ACCOUNTS_ASSUMED : 1;
	PG_TRY();
	{
		parallel_setup_cost *= accounts;
		planned = plan(query, text, cursor_options, parameters);
	}
	PG_FINALLY();
	{
		parallel_setup_cost = setup_cost;
	}
	PG_END_TRY();
	decide_to_compile(planned, accounts);
	return planned;
}

static bool
equals_account(const IndexClause *condition, const IndexOptInfo *index)
{
	const RestrictInfo *compared = linitial_node(RestrictInfo, condition->indexquals);

	return condition->indexcol == 0 && IsA(compared->clause, OpExpr) &&
		   get_op_opfamily_strategy(((const OpExpr *) compared->clause)->opno,
									index->opfamily[0]) == BTEqualStrategyNumber;
}

static bool
is_any_of_accounts(const IndexClause *condition)
{
	return condition->indexcol == 0 && IsA(condition->rinfo->clause, ScalarArrayOpExpr);
}

/* One condition that names the account, and what is asked of other columns. */
static List *
name_account_once(List *conditions, const IndexOptInfo *index)
{
	List *rest = NIL;
	bool is_named = false;
	ListCell *cell;

	foreach (cell, conditions)
	{
		IndexClause *condition = lfirst_node(IndexClause, cell);
		bool names_account = equals_account(condition, index);

		if (!(names_account && is_named) && !is_any_of_accounts(condition))
			rest = lappend(rest, condition);
		is_named = is_named || names_account;
	}
	return is_named ? rest : conditions;
}

static void
estimate_index_cost(PlannerInfo *root, IndexPath *path, double loops, Cost *startup, Cost *total,
					Selectivity *selectivity, double *correlation, double *pages)
{
	IndexPath asked = *path;

	asked.indexclauses = name_account_once(path->indexclauses, path->indexinfo);
	btcostestimate(root, &asked, loops, startup, total, selectivity, correlation, pages);
}

void
correct_index_cost(IndexOptInfo *index)
{
	if (index->relam == BTREE_AM_OID)
		index->amcostestimate = estimate_index_cost;
}

/* Is it planned for one row of a query around it? Then that query's columns are its parameters. */
static bool
is_asked_by_key(const PlannerInfo *root)
{
	for (const PlannerInfo *around = root->parent_root; around; around = around->parent_root)
	{
		if (around->plan_params != NIL)
			return true;
	}
	return false;
}

static void
expect_rows(List *paths)
{
	ListCell *cell;

	foreach (cell, paths)
	{
		Path *path = (Path *) lfirst(cell);

		path->rows = Max(path->rows, ROWS_EXPECTED);
	}
}

static void
expect_rows_of_view(PlannerInfo *root, RelOptInfo *relation, Index place, RangeTblEntry *entry)
{
	Tables tables = {InvalidOid, true};

	if (previous_paths_hook)
		previous_paths_hook(root, relation, place, entry);
	if (entry->rtekind != RTE_SUBQUERY || !entry->security_barrier || entry->lateral ||
		is_asked_by_key(root))
		return;
	tables.schema = get_namespace_oid("keypup", true);
	if (!OidIsValid(tables.schema) || !reads_tables((Node *) entry->subquery, &tables))
		return;
	relation->rows = Max(relation->rows, ROWS_EXPECTED);
	expect_rows(relation->pathlist);
	expect_rows(relation->partial_pathlist);
}

void
register_plan_cost(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_query;
	previous_paths_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = expect_rows_of_view;
}
