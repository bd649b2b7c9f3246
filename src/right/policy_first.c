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
 * account, which the policy limits: no entry of another account is read. And a
 * filter begins with the policy, whatever else it has. What is left to see is the
 * size of a table that is read as a whole.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "nodes/pathnodes.h"
#include "optimizer/paths.h"
#include "optimizer/plancat.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "right/plan_cost.h"
#include "right/policy_first.h"

static get_relation_info_hook_type previous_info_hook = NULL;
static set_rel_pathlist_hook_type previous_paths_hook = NULL;

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

bool
is_read_through_policy(const RangeTblEntry *entry)
{
	return has_policy(entry) && !is_worker();
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
	if (!has_policy(root->simple_rte_array[known->relid]))
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
 * The paths are made: what is leakproof may have become a condition of an index,
 * behind the account. As a filter it waits for the policy.
 */
static void
filter_by_policy_first(PlannerInfo *root, RelOptInfo *relation, Index place, RangeTblEntry *entry)
{
	ListCell *cell;

	if (previous_paths_hook)
		previous_paths_hook(root, relation, place, entry);
	if (!is_read_through_policy(entry))
		return;
	foreach (cell, relation->baserestrictinfo)
	{
		RestrictInfo *condition = (RestrictInfo *) lfirst(cell);

		/* The policies have the levels from 0 on (process_security_barrier_quals). */
		if (condition->security_level >= (Index) list_length(entry->securityQuals))
			condition->leakproof = false;
	}
}

void
put_policies_first(void)
{
	previous_info_hook = get_relation_info_hook;
	get_relation_info_hook = limit_to_account;
	previous_paths_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = filter_by_policy_first;
}
