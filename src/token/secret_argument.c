/*
 * secret_argument.c
 *		Keeps bound parameters that are secrets out of plans, and out of what is
 *		logged with plans.
 *
 * A plan that is made for the values of one execution holds them as constants
 * (auto_explain with log_verbose and debug_print_plan write them to the log),
 * and since PostgreSQL 16 auto_explain logs the bound parameters themselves.
 * Refusing the call would be too late for whoever catches the error. So a
 * statement that calls one of our functions with a secret is planned without
 * its values; and each statement that is being executed when such a function
 * is made ready or called, for example one that calls a function that calls
 * ours, forgets its parameters for all that comes after: auto_explain asks for
 * them when the execution ends. The executor has its own reference to them.
 *
 * What others log before a statement is executed (pgaudit.log_parameter) cannot
 * be kept back: there, such a statement is refused when it is planned, and a
 * call whose plan was kept when it is made.
 *
 * What PostgreSQL itself logs about a statement's protocol messages
 * (log_parameter_max_length) cannot be kept back here, nor refused, as it may be
 * logged before: see doc/tokens.md.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "compat.h"
#include "token/secret_argument.h"

/* An argument of ours with such a name is a secret; "body" is a webhook's, of which nothing is kept. */
static const char *const secret_names[] = {"token",		  "secret",	 "password", "old_password",
										   "private_key", "api_key", "id_token", "user_token",
										   "handle",	  "code",	 "body"};

/* Settings, on or off, of extensions that log parameters before a statement is executed. */
static const char *const logging_settings[] = {"pgaudit.log_parameter"};

typedef struct KnownFunction
{
	Oid function; /* the key */
	bool takes_secret;
} KnownFunction;

/* Those that were asked about in this session. */
static HTAB *known_functions = NULL;

/* How often a function that takes a secret was made ready or called in this session. */
static uint64 secrets_taken = 0;

static planner_hook_type previous_planner = NULL;
static object_access_hook_type previous_access = NULL;
static needs_fmgr_hook_type previous_needs_call_hook = NULL;
static fmgr_hook_type previous_call_hook = NULL;
static ExecutorStart_hook_type previous_start = NULL;
static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;

/* --- which functions they are --- */

static bool
is_secret_name(const char *name)
{
	for (Size i = 0; i < lengthof(secret_names); i++)
	{
		if (strcmp(name, secret_names[i]) == 0)
			return true;
	}
	return false;
}

static bool
has_secret_argument(HeapTuple function)
{
	bool has_no_names;
	bool has_no_modes;
	Datum names = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_proargnames, &has_no_names);
	Datum modes = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_proargmodes, &has_no_modes);
	char **arguments;
	int count;
	bool found = false;

	if (has_no_names)
		return false;
	count = get_func_input_arg_names(names, has_no_modes ? (Datum) 0 : modes, &arguments);
	for (int i = 0; i < count && !found; i++)
		found = arguments[i] != NULL && is_secret_name(arguments[i]);
	return found;
}

static bool
look_up(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid schema = get_namespace_oid("keypup", true);
	bool takes_secret;

	if (!HeapTupleIsValid(tuple))
		return false;
	takes_secret = OidIsValid(schema) &&
				   ((Form_pg_proc) GETSTRUCT(tuple))->pronamespace == schema &&
				   has_secret_argument(tuple);
	ReleaseSysCache(tuple);
	return takes_secret;
}

static bool
takes_secret(Oid function)
{
	KnownFunction *known;
	bool answer;

	if (function < FirstNormalObjectId)
		return false;
	known = hash_search(known_functions, &function, HASH_FIND, NULL);
	if (known != NULL)
		return known->takes_secret;
	/* May fail, or have all forgotten: so it is entered afterwards. */
	answer = look_up(function);
	known = hash_search(known_functions, &function, HASH_ENTER, NULL);
	known->takes_secret = answer;
	return answer;
}

static void
forget_functions(Datum argument, int cache, uint32 hash)
{
	HASH_SEQ_STATUS functions;
	KnownFunction *known;

	hash_seq_init(&functions, known_functions);
	while ((known = hash_seq_search(&functions)) != NULL)
		(void) hash_search(known_functions, &known->function, HASH_REMOVE, NULL);
}

/* --- what would log them --- */

/* The setting that has parameters logged before a statement is executed, or NULL. */
static const char *
find_logging(void)
{
	for (Size i = 0; i < lengthof(logging_settings); i++)
	{
		const char *value = GetConfigOption(logging_settings[i], true, false);
		bool is_on;

		if (value != NULL && parse_bool(value, &is_on) && is_on)
			return logging_settings[i];
	}
	return NULL;
}

static void
refuse_logging(const char *setting)
{
	if (setting != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("secrets would be written to the server's log"),
						errdetail("%s is on.", setting),
						errhint("A superuser sets it to off, as with ALTER ROLE, for who passes "
								"secrets."),
						errhidestmt(true)));
}

/* --- planning --- */

static bool
is_taker(Oid function, void *context)
{
	return takes_secret(function);
}

/* Does the query, or a part of it, call such a function? */
static bool
passes_secret(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_taker, context))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, passes_secret, context, 0);
	return expression_tree_walker(node, passes_secret, context);
}

static PlannedStmt *
plan_without_secrets(Query *query, const char *text, int cursor_options, ParamListInfo parameters)
{
	const char *setting = find_logging();

	if ((parameters != NULL || setting != NULL) && passes_secret((Node *) query, NULL))
	{
		refuse_logging(setting);
		parameters = NULL;
	}
	return previous_planner ? previous_planner(query, text, cursor_options, parameters)
							: standard_planner(query, text, cursor_options, parameters);
}

/* --- calls --- */

/* A statement that calls it is made ready; it may end without the call. */
static void
note_access(ObjectAccessType access, Oid catalog, Oid object, int column, void *argument)
{
	if (access == OAT_FUNCTION_EXECUTE && takes_secret(object))
		secrets_taken++;
	if (previous_access != NULL)
		previous_access(access, catalog, object, column, argument);
}

static bool
needs_call_hook(Oid function)
{
	return takes_secret(function) ||
		   (previous_needs_call_hook != NULL && previous_needs_call_hook(function));
}

static void
note_call(FmgrHookEventType event, FmgrInfo *function, Datum *state)
{
	if (event == FHET_START && takes_secret(function->fn_oid))
	{
		refuse_logging(find_logging());
		secrets_taken++;
	}
	if (previous_call_hook != NULL)
		previous_call_hook(event, function, state);
}

/* --- execution --- */

static void
forget_parameters(QueryDesc *query, uint64 taken_before)
{
	if (secrets_taken != taken_before)
		query->params = NULL;
}

static void
start_execution(QueryDesc *query, int flags)
{
	uint64 taken_before = secrets_taken;

	if (previous_start)
		previous_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
	forget_parameters(query, taken_before);
}

static void
run_execution(KEYPUP_EXECUTOR_RUN_ARGUMENTS)
{
	uint64 taken_before = secrets_taken;

	if (previous_run)
		previous_run(KEYPUP_EXECUTOR_RUN_VALUES);
	else
		standard_ExecutorRun(KEYPUP_EXECUTOR_RUN_VALUES);
	forget_parameters(query, taken_before);
}

/* Triggers that run after the statement are called here. */
static void
finish_execution(QueryDesc *query)
{
	uint64 taken_before = secrets_taken;

	if (previous_finish)
		previous_finish(query);
	else
		standard_ExecutorFinish(query);
	forget_parameters(query, taken_before);
}

void
register_secret_arguments(void)
{
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(KnownFunction)};

	known_functions =
		hash_create("keypup functions with secrets", 64, &control, HASH_ELEM | HASH_BLOBS);
	CacheRegisterSyscacheCallback(PROCOID, forget_functions, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, forget_functions, (Datum) 0);

	previous_planner = planner_hook;
	planner_hook = plan_without_secrets;
	previous_access = object_access_hook;
	object_access_hook = note_access;
	previous_needs_call_hook = needs_fmgr_hook;
	needs_fmgr_hook = needs_call_hook;
	previous_call_hook = fmgr_hook;
	fmgr_hook = note_call;
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = start_execution;
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = run_execution;
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = finish_execution;
}
