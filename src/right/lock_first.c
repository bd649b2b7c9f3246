/*
 * lock_first.c
 *		Nobody waits for a lock on a table of ours that they may not have.
 *
 * Of nearly all commands PostgreSQL asks whether the user may do them before it locks
 * what they name. A few lock first: CREATE RULE, CREATE TRIGGER, foreign keys,
 * PARTITION OF, ATTACH and DETACH PARTITION, ALTER ... DEPENDS ON EXTENSION. Who may not
 * do them waits all the same while somebody reads or writes, which they can do
 * themselves in another session for as long as they like; and whoever comes after waits
 * behind them: all other accounts, and the worker. So the question is asked here, before.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "right/lock_first.h"

static ProcessUtility_hook_type previous_utility_hook = NULL;

/* right: what the command asks for; ACL_NO_RIGHTS: that the user owns the relation. */
static void
guard_relation(const RangeVar *named, AclMode right)
{
	Oid relation = named == NULL ? InvalidOid : RangeVarGetRelid(named, NoLock, true);
	Oid user = GetUserId();

	/* Those of others are their owners' business. */
	if (!OidIsValid(relation) || get_rel_namespace(relation) != get_namespace_oid("keypup", true) ||
		keypup_owns_relation(relation, user))
		return;
	if (right != ACL_NO_RIGHTS &&
		(pg_class_aclcheck(relation, user, right) == ACLCHECK_OK ||
		 pg_attribute_aclcheck_all(relation, user, right, ACLMASK_ANY) == ACLCHECK_OK))
		return;
	aclcheck_error(right == ACL_NO_RIGHTS ? ACLCHECK_NOT_OWNER : ACLCHECK_NO_PRIV,
				   get_relkind_objtype(get_rel_relkind(relation)), get_rel_name(relation));
}

/* A column or a constraint of a table, or a partition of it. */
static void
guard_element(Node *element)
{
	ListCell *cell;

	if (element == NULL)
		return;
	if (IsA(element, Constraint) && ((Constraint *) element)->contype == CONSTR_FOREIGN)
		guard_relation(((Constraint *) element)->pktable, ACL_REFERENCES);
	else if (IsA(element, PartitionCmd))
		guard_relation(((PartitionCmd *) element)->name, ACL_NO_RIGHTS);
	else if (IsA(element, ColumnDef))
	{
		foreach (cell, ((ColumnDef *) element)->constraints)
			guard_element(lfirst(cell));
	}
}

static void
guard_command(Node *command)
{
	ListCell *cell;

	if (IsA(command, RuleStmt))
		guard_relation(((RuleStmt *) command)->relation, ACL_NO_RIGHTS);
	else if (IsA(command, CreateTrigStmt))
		guard_relation(((CreateTrigStmt *) command)->relation, ACL_TRIGGER);
	else if (IsA(command, AlterObjectDependsStmt))
		guard_relation(((AlterObjectDependsStmt *) command)->relation, ACL_NO_RIGHTS);
	else if (IsA(command, CreateStmt) || IsA(command, CreateForeignTableStmt))
	{
		/* A foreign table is made by the same statement, and more. */
		CreateStmt *table = (CreateStmt *) command;

		foreach (cell, table->inhRelations)
			guard_relation(lfirst(cell), ACL_NO_RIGHTS);
		foreach (cell, table->tableElts)
			guard_element(lfirst(cell));
	}
	else if (IsA(command, AlterTableStmt))
	{
		foreach (cell, ((AlterTableStmt *) command)->cmds)
			guard_element(((AlterTableCmd *) lfirst(cell))->def);
	}
}

static void
see_command(PlannedStmt *statement, const char *text, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo parameters, QueryEnvironment *environment,
			DestReceiver *receiver, QueryCompletion *completion)
{
	guard_command(statement->utilityStmt);
	if (previous_utility_hook)
		previous_utility_hook(statement, text, read_only_tree, context, parameters, environment,
							  receiver, completion);
	else
		standard_ProcessUtility(statement, text, read_only_tree, context, parameters, environment,
								receiver, completion);
}

void
ask_before_locks(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = see_command;
}
