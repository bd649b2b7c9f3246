/*
 * plan_cost.c
 *		What a query of our tables is taken to cost.
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
 * expressions of its own, and compiling them took ten times what they take; nor is
 * the cost of a plan of many joins to be believed, since errors multiply.
 * What is set is for plans that read up to TABLES_ASSUMED tables, and counts for
 * eight times as much where a plan reads four times as many.
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
 * Not where a row of the query outside asks it by key (LATERAL, EXISTS). The same
 * goes for a WITH query, which the planner takes for as small. And since
 * what was joined of several still passes for one row, nothing but a table is
 * computed again for each row of what it is joined with: it is kept (Material).
 */
#include "postgres.h"

#include <math.h>

#include "access/stratnum.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "jit/jit.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planner.h"
#include "utils/index_selfuncs.h"
#include "utils/lsyscache.h"

#include "right/plan_cost.h"

#define ACCOUNTS_ASSUMED 10
#define TABLES_ASSUMED 10
#define ROWS_EXPECTED 1000
#define WITH_ROWS_EXPECTED 100

static planner_hook_type previous_planner = NULL;
static set_rel_pathlist_hook_type previous_paths_hook = NULL;
static set_join_pathlist_hook_type previous_join_hook = NULL;
static bool reads_own_tables = false; /* the query that is being planned */

/* What a query, or a part of it, reads of ours. */
typedef struct Reads
{
	Oid schema;
	bool tables;
	bool policies; /* tables through a policy */
	bool views; /* whosesoever, of any tables */
} Reads;

static bool
note_reads(Node *node, Reads *reads)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		if (entry->rtekind == RTE_SUBQUERY)
			reads->views = reads->views || entry->security_barrier;
		else if (entry->rtekind == RTE_RELATION && get_rel_namespace(entry->relid) == reads->schema)
		{
			reads->tables = true;
			reads->policies = reads->policies || entry->securityQuals != NIL;
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, note_reads, reads, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, note_reads, reads);
}

static Reads
find_reads(Query *query)
{
	Reads reads = {.schema = get_namespace_oid("keypup", true)};

	if (OidIsValid(reads.schema))
		note_reads((Node *) query, &reads);
	return reads;
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
	double times = Max(1, places / TABLES_ASSUMED);
	double factor = accounts * times * sqrt(times);

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
	bool outer_reads = reads_own_tables;
	Reads reads = find_reads(query);
	/* Whoever bypasses the policies, for whom hasRowSecurity is set too, is planned for what they read. */
	double accounts = reads.policies ? ACCOUNTS_ASSUMED : 1;
	bool is_ours;
	PlannedStmt *planned;

	/* The views are as hard to estimate without policies; what reads tables alone is not. */
	reads_own_tables = reads.policies || (reads.tables && reads.views);
	PG_TRY();
	{
		parallel_setup_cost *= accounts;
		planned = plan(query, text, cursor_options, parameters);
	}
	PG_FINALLY();
	{
		parallel_setup_cost = setup_cost;
		is_ours = reads_own_tables;
		reads_own_tables = outer_reads;
	}
	PG_END_TRY();
	if (is_ours)
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
expect_rows(List *paths, double rows)
{
	ListCell *cell;

	foreach (cell, paths)
	{
		Path *path = (Path *) lfirst(cell);

		path->rows = Max(path->rows, rows);
	}
}

/* What a WITH query is, that a query or one around it has. */
static Query *
find_with_query(const PlannerInfo *root, const RangeTblEntry *entry)
{
	ListCell *cell;

	for (Index level = 0; level < entry->ctelevelsup && root; level++)
		root = root->parent_root;
	if (root == NULL || entry->self_reference)
		return NULL;
	foreach (cell, root->parse->cteList)
	{
		const CommonTableExpr *with = lfirst_node(CommonTableExpr, cell);

		if (strcmp(with->ctename, entry->ctename) == 0)
			return castNode(Query, with->ctequery);
	}
	return NULL;
}

static void
expect_rows_of_view(PlannerInfo *root, RelOptInfo *relation, Index place, RangeTblEntry *entry)
{
	Query *query = NULL;
	double rows = ROWS_EXPECTED;

	if (previous_paths_hook)
		previous_paths_hook(root, relation, place, entry);
	if (!reads_own_tables || entry->lateral || is_asked_by_key(root))
		return;
	if (entry->rtekind == RTE_SUBQUERY && entry->security_barrier)
		query = entry->subquery;
	else if (entry->rtekind == RTE_CTE)
	{
		query = find_with_query(root, entry);
		rows = WITH_ROWS_EXPECTED;
	}
	if (query == NULL || !find_reads(query).tables)
		return;
	relation->rows = Max(relation->rows, rows);
	expect_rows(relation->pathlist, rows);
	expect_rows(relation->partial_pathlist, rows);
}

/* Is it computed anew for each row of what it is joined with, though each time it is the same? */
static bool
is_computed_again(const Path *path)
{
	return PATH_REQ_OUTER(path) == NULL &&
		   (IsA(path, SubqueryScanPath) || IsA(path, NestPath) || IsA(path, HashPath) ||
			IsA(path, MergePath) || IsA(path, AppendPath));
}

static void
keep_what_is_joined(PlannerInfo *root, RelOptInfo *joined, RelOptInfo *outer, RelOptInfo *inner,
					JoinType type, JoinPathExtraData *extra)
{
	ListCell *cell;

	if (previous_join_hook)
		previous_join_hook(root, joined, outer, inner, type, extra);
	if (!reads_own_tables)
		return;
	foreach (cell, joined->pathlist)
	{
		if (IsA(lfirst(cell), NestPath))
		{
			JoinPath *join = (JoinPath *) lfirst(cell);

			if (is_computed_again(join->innerjoinpath))
				join->innerjoinpath =
					(Path *) create_material_path(join->innerjoinpath->parent, join->innerjoinpath);
		}
	}
}

void
register_plan_cost(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_query;
	previous_paths_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = expect_rows_of_view;
	previous_join_hook = set_join_pathlist_hook;
	set_join_pathlist_hook = keep_what_is_joined;
}
