/*
 * policy_first.c
 *		Of a table under row-level security nothing is looked at before its policy.
 *
 * PostgreSQL lets comparisons that are leakproof go before a policy: they tell
 * nothing themselves. But they decide which rows are looked at, and whether the
 * policy is asked at all, and this shows: in EXPLAIN ANALYZE, in the counters
 * of pg_stat_xact_user_tables, and in the time that it takes. With an index on
 * names, a range of names counts the names that others have.
 *
 * So a query through a policy uses no index but those whose first column is the
 * account, which the policy limits: no entry of another account is read; nor does it
 * fetch rows by their place. And a filter begins with the policy, whatever else it
 * has, conditions of a join included. What is left to see is the size of a table
 * that is read as a whole.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "nodes/pathnodes.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "right/plan_cost.h"
#include "right/policy_first.h"

static get_relation_info_hook_type previous_info_hook = NULL;
static set_rel_pathlist_hook_type previous_paths_hook = NULL;
static create_upper_paths_hook_type previous_upper_hook = NULL;

static bool
has_policy(const RangeTblEntry *entry)
{
	return entry->rtekind == RTE_RELATION && entry->securityQuals != NIL &&
		   get_rel_namespace(entry->relid) == get_namespace_oid("keypup", true);
}

/* The worker asks nothing that a member has written. */
static bool
is_worker(void)
{
	return GetUserId() == get_role_oid("keypup_worker", true);
}

/* A partition has the conditions of the whole, at the same levels, and none of its own. */
static const RangeTblEntry *
find_whole(PlannerInfo *root, Index place)
{
	while (root->append_rel_array != NULL && root->append_rel_array[place] != NULL &&
		   OidIsValid(root->append_rel_array[place]->parent_reloid))
		place = root->append_rel_array[place]->parent_relid;
	return root->simple_rte_array[place];
}

bool
is_read_through_policy(PlannerInfo *root, Index place)
{
	return has_policy(find_whole(root, place)) && !is_worker();
}

/* The access method must search for each element of an array, as the policy's condition is one. */
static bool
begins_with_account(const IndexOptInfo *index, AttrNumber account)
{
	return account != InvalidAttrNumber && index->indexkeys[0] == account && index->amsearcharray;
}

/* Statistics of several columns together have values of all accounts, too. */
static void
limit_to_account(PlannerInfo *root, Oid relation, bool inherited, RelOptInfo *known)
{
	AttrNumber account;
	ListCell *cell;

	if (previous_info_hook)
		previous_info_hook(root, relation, inherited, known);
	if (!has_policy(find_whole(root, known->relid)))
		return;
	account = get_attnum(relation, "account_id");
	foreach (cell, known->indexlist)
	{
		IndexOptInfo *index = (IndexOptInfo *) lfirst(cell);

		if (begins_with_account(index, account))
			correct_index_cost(index);
		else if (!is_worker())
			known->indexlist = foreach_delete_current(known->indexlist, cell);
	}
	if (!is_worker())
		known->statlist = NIL;
}

/*
 * As a filter, what is leakproof waits for the policy, too. For what the paths are
 * made of already: it may have become a condition of an index, behind the account.
 */
static void
let_wait_for_policy(PlannerInfo *root, Index place, List *conditions)
{
	Index policies = (Index) list_length(find_whole(root, place)->securityQuals);
	ListCell *cell;

	foreach (cell, conditions)
	{
		RestrictInfo *condition = lfirst_node(RestrictInfo, cell);

		/* The policies have the levels from 0 on (process_security_barrier_quals). */
		if (condition->security_level >= policies)
			condition->leakproof = false;
	}
}

/* Whatever stands at a place would be fetched before the policy is asked. */
static void
read_by_no_place(PlannerInfo *root, RelOptInfo *relation)
{
	int before = list_length(relation->pathlist);
	ListCell *cell;

	foreach (cell, relation->pathlist)
	{
		if (IsA(lfirst(cell), TidPath) || IsA(lfirst(cell), TidRangePath))
			relation->pathlist = foreach_delete_current(relation->pathlist, cell);
	}
	/* It may have given way to one of those. */
	if (list_length(relation->pathlist) < before)
		add_path(relation, create_seqscan_path(root, relation, relation->lateral_relids, 0));
}

static void
read_policy_first(PlannerInfo *root, RelOptInfo *relation, Index place, RangeTblEntry *entry)
{
	if (previous_paths_hook)
		previous_paths_hook(root, relation, place, entry);
	if (!is_read_through_policy(root, place))
		return;
	read_by_no_place(root, relation);
	let_wait_for_policy(root, place, relation->baserestrictinfo);
}

/*
 * A table that is looked up for each row of another is filtered by what joins them
 * as well. All paths of the query are there: no join of it is made to an index
 * any more.
 */
static void
join_policy_first(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input, RelOptInfo *output,
				  void *extra)
{
	if (previous_upper_hook)
		previous_upper_hook(root, stage, input, output, extra);
	if (stage != UPPERREL_FINAL)
		return;
	for (Index i = 1; i < (Index) root->simple_rel_array_size; i++)
	{
		const RelOptInfo *relation = root->simple_rel_array[i];
		ListCell *cell;

		if (relation == NULL || relation->ppilist == NIL || !is_read_through_policy(root, i))
			continue;
		foreach (cell, relation->ppilist)
			let_wait_for_policy(root, i, ((ParamPathInfo *) lfirst(cell))->ppi_clauses);
	}
}

void
put_policies_first(void)
{
	previous_info_hook = get_relation_info_hook;
	get_relation_info_hook = limit_to_account;
	previous_paths_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = read_policy_first;
	previous_upper_hook = create_upper_paths_hook;
	create_upper_paths_hook = join_policy_first;
}
