/*
 * command.c
 *		What commands of sessions do to the workers.
 *
 * Commands that need a database to themselves fail while anybody is connected to
 * it. So the workers step aside: they are ended before the command, none is
 * started before the transaction ends, and then they come back at once. Who may
 * not do the command may not end workers by it either.
 *
 * Settings of a database or role apply from the start of a session: when they
 * have changed, the workers start anew. That, and waking, happens at commit,
 * when the change can be seen; PostgreSQL has judged by then whether it may be.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "worker/command.h"
#include "worker/database_list.h"
#include "worker/diagnosis.h"
#include "worker_list.h"

PG_FUNCTION_INFO_V1(keypup_let_workers_step_aside);
PG_FUNCTION_INFO_V1(keypup_wake_launcher);

#define PATIENCE_MILLISECONDS 10000

static ProcessUtility_hook_type previous_utility_hook = NULL;

/* What the end of the transaction brings. The lists are in TopTransactionContext. */
static List *held = NIL; /* databases that this session needs for itself */
static List *restarted = NIL; /* databases whose workers start anew; InvalidOid: all */
static bool wakes_workers = false; /* of this database */
static bool wakes_launcher = false;

/* --- the end of the transaction --- */

static void
commit_changes(void)
{
	ListCell *cell;

	if (wakes_workers)
	{
		wake_database(MyDatabaseId);
		(void) wake_workers();
	}
	foreach (cell, restarted)
	{
		Oid database = lfirst_oid(cell);

		if (OidIsValid(database))
			wake_database(database);
		else
			wake_all_databases();
		(void) end_workers(database);
	}
}

/* What a prepared transaction has changed cannot be seen yet: the launcher finds it later. */
static void
end_transaction(XactEvent event, void *argument)
{
	ListCell *cell;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT)
		commit_changes();
	foreach (cell, held)
		release_database(lfirst_oid(cell));
	if (held != NIL || (event == XACT_EVENT_COMMIT && (wakes_launcher || restarted != NIL)))
		wake_launcher_process();
	held = restarted = NIL;
	wakes_workers = wakes_launcher = false;
}

static List *
remember_database(List *databases, Oid database)
{
	MemoryContext context = MemoryContextSwitchTo(TopTransactionContext);

	databases = list_append_unique_oid(databases, database);
	MemoryContextSwitchTo(context);
	return databases;
}

Datum
keypup_wake_launcher(PG_FUNCTION_ARGS)
{
	if (has_shared_lists())
		wakes_workers = wakes_launcher = true;
	warn_without_workers();
	PG_RETURN_VOID();
}

/* --- before a command --- */

/* Remembered first: what is held is released, however the transaction ends. */
static void
let_workers_step_aside(Oid database)
{
	static uint32 event = 0;
	TimestampTz give_up = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PATIENCE_MILLISECONDS);

	if (!list_member_oid(held, database))
	{
		held = remember_database(held, database);
		hold_database(database);
	}
	while (end_workers(database) > 0 && GetCurrentTimestamp() < give_up)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20,
						 keypup_wait_event(&event, "KeypupStepAside"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* For a function that locks the tables in another order than a worker does. */
Datum
keypup_let_workers_step_aside(PG_FUNCTION_ARGS)
{
	if (has_shared_lists())
		let_workers_step_aside(MyDatabaseId);
	PG_RETURN_VOID();
}

/* DROP, RENAME and SET TABLESPACE: for its owner, from another database. */
static void
before_owners_command(const char *name)
{
	Oid database = get_database_oid(name, true);

	if (OidIsValid(database) && database != MyDatabaseId &&
		keypup_owns_database(database, GetUserId()))
		let_workers_step_aside(database);
}

static bool
may_create_databases(void)
{
	HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool may = superuser();

	if (HeapTupleIsValid(tuple))
	{
		may = may || ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return may;
}

static DefElem *
find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return option;
	}
	return NULL;
}

/* A template that everybody may copy has no workers, save those that are about to leave. */
static void
before_create_database(CreatedbStmt *statement)
{
	DefElem *option = find_option(statement->options, "template");
	/* As PostgreSQL has it: without the option, or with DEFAULT, it is template1. */
	Oid database = get_database_oid(option == NULL ? "template1" : defGetString(option), true);
	HeapTuple tuple;
	bool is_template;

	if (!OidIsValid(database) || !may_create_databases())
		return;
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	if (!HeapTupleIsValid(tuple))
		return;
	is_template = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	if (is_template || keypup_owns_database(database, GetUserId()))
		let_workers_step_aside(database);
}

/* --- commands that lock the tables in another order than a worker does --- */

/* DROP and UPDATE: for its owner. */
static void
before_extension_command(const char *name)
{
	Oid extension = get_extension_oid("keypup", true);

	if (strcmp(name, "keypup") == 0 && OidIsValid(extension) &&
		keypup_owns_extension(extension, GetUserId()))
		let_workers_step_aside(MyDatabaseId);
}

static void
before_drop_extension(List *names)
{
	ListCell *cell;

	foreach (cell, names)
		before_extension_command(strVal(lfirst(cell)));
}

/* DROP OWNED and REASSIGN OWNED: of whom the extension is, or its tables name in grants and policies. */
static void
before_command_on_owned(List *roles)
{
	Oid extension = get_extension_oid("keypup", true);
	ListCell *cell;

	if (!OidIsValid(extension) || !keypup_owns_extension(extension, GetUserId()))
		return;
	foreach (cell, roles)
	{
		Oid role = get_rolespec_oid(lfirst(cell), true);

		if (OidIsValid(role) && (keypup_owns_extension(extension, role) ||
								 role == get_role_oid("keypup_member", true) ||
								 role == get_role_oid("keypup_worker", true)))
			let_workers_step_aside(MyDatabaseId);
	}
}

/* PostgreSQL would let it through, and nothing would work any more. */
static void
refuse_renaming_of_schema(const char *name)
{
	Oid extension = get_extension_oid("keypup", true);
	Oid schema = get_namespace_oid(name, true);

	if (OidIsValid(extension) && OidIsValid(schema) &&
		getExtensionOfObject(NamespaceRelationId, schema) == extension)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("schema \"%s\" cannot be renamed", name),
				 errdetail("Functions and views of the extension keypup call each other by it."),
				 errhint("Give its relations other names by views of your own.")));
}

static void
before_command(Node *node)
{
	if (IsA(node, DropdbStmt))
		before_owners_command(((DropdbStmt *) node)->dbname);
	else if (IsA(node, RenameStmt) && ((RenameStmt *) node)->renameType == OBJECT_DATABASE)
		before_owners_command(((RenameStmt *) node)->subname);
	else if (IsA(node, AlterDatabaseStmt) &&
			 find_option(((AlterDatabaseStmt *) node)->options, "tablespace") != NULL)
		before_owners_command(((AlterDatabaseStmt *) node)->dbname);
	else if (IsA(node, RenameStmt) && ((RenameStmt *) node)->renameType == OBJECT_SCHEMA)
		refuse_renaming_of_schema(((RenameStmt *) node)->subname);
	else if (IsA(node, CreatedbStmt))
		before_create_database((CreatedbStmt *) node);
	else if (IsA(node, DropStmt) && ((DropStmt *) node)->removeType == OBJECT_EXTENSION)
		before_drop_extension(((DropStmt *) node)->objects);
	else if (IsA(node, AlterExtensionStmt))
		before_extension_command(((AlterExtensionStmt *) node)->extname);
	else if (IsA(node, DropOwnedStmt))
		before_command_on_owned(((DropOwnedStmt *) node)->roles);
	else if (IsA(node, ReassignOwnedStmt))
		before_command_on_owned(((ReassignOwnedStmt *) node)->roles);
}

/* --- after a command --- */

/* A worker runs as the bootstrap superuser. */
static void
after_alter_role_set(AlterRoleSetStmt *statement)
{
	Oid database = InvalidOid;

	if (statement->role != NULL && get_rolespec_oid(statement->role, true) != BOOTSTRAP_SUPERUSERID)
		return;
	if (statement->database != NULL)
	{
		database = get_database_oid(statement->database, true);
		if (!OidIsValid(database))
			return;
	}
	restarted = remember_database(restarted, database);
}

static void
after_alter_database_set(AlterDatabaseSetStmt *statement)
{
	Oid database = get_database_oid(statement->dbname, true);

	if (OidIsValid(database))
		restarted = remember_database(restarted, database);
}

static void
after_command(NodeTag tag, Node *node)
{
	if (tag == T_AlterRoleSetStmt)
		after_alter_role_set((AlterRoleSetStmt *) node);
	else if (tag == T_AlterDatabaseSetStmt)
		after_alter_database_set((AlterDatabaseSetStmt *) node);
	/* Whether a database may have workers the launcher reads from pg_database. */
	else if (tag == T_AlterDatabaseStmt || tag == T_CreatedbStmt)
		wakes_launcher = true;
}

static void
watch_utility(PlannedStmt *statement, const char *text, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo parameters,
			  QueryEnvironment *environment, DestReceiver *destination, QueryCompletion *completion)
{
	Node *node = statement->utilityStmt;
	NodeTag tag = nodeTag(node); /* a ROLLBACK, for one, is gone once it is done */

	before_command(node);
	if (previous_utility_hook)
		previous_utility_hook(statement, text, read_only_tree, context, parameters, environment,
							  destination, completion);
	else
		standard_ProcessUtility(statement, text, read_only_tree, context, parameters, environment,
								destination, completion);
	after_command(tag, node);
}

void
register_commands(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = watch_utility;
	RegisterXactCallback(end_transaction, NULL);
}
