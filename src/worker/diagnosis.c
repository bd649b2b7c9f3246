/*
 * diagnosis.c
 *		Why no worker works in this database, in words: for the warnings of
 *		CREATE EXTENSION, connect and track, for sync_status, and for
 *		check_installation.
 *
 * Shared memory holds numbers; the words for them are all here, and hold nothing
 * of a provider's.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "datum.h"
#include "kept_plan.h"
#include "keypup.h"
#include "worker/database_list.h"
#include "worker/diagnosis.h"
#include "worker/launcher.h"
#include "worker_list.h"

PG_FUNCTION_INFO_V1(keypup_diagnose_launcher);
PG_FUNCTION_INFO_V1(keypup_diagnose_workers);

/* Every new database would be a copy of it. */
#define TEMPLATE1_REMEDY                                                                           \
	"Use another database: CREATE DATABASE keypup TEMPLATE template0 ENCODING 'UTF8'; "            \
	"there CREATE EXTENSION keypup; and here DROP EXTENSION keypup;"

/* The launcher starts together with the server. */
#define LAUNCHER_MILLISECONDS 10000

/* Those that a worker may meet before it has read its first page. */
static const struct
{
	int sqlstate;
	const char *condition; /* PostgreSQL's name of it */
	const char *remedy; /* NULL: the log says it */
} known_errors[] = {
	{ERRCODE_UNDEFINED_OBJECT, "undefined_object",
	 "A role or another object of keypup's is missing: see the check of roles."},
	{ERRCODE_UNDEFINED_SCHEMA, "invalid_schema_name", "Objects of the extension are missing."},
	{ERRCODE_UNDEFINED_TABLE, "undefined_table", "Objects of the extension are missing."},
	{ERRCODE_UNDEFINED_COLUMN, "undefined_column", "Objects of the extension were changed."},
	{ERRCODE_UNDEFINED_FUNCTION, "undefined_function", "Objects of the extension are missing."},
	{ERRCODE_INSUFFICIENT_PRIVILEGE, "insufficient_privilege",
	 "Rights that the extension gives to keypup_worker were revoked: see the check of roles."},
	{ERRCODE_READ_ONLY_SQL_TRANSACTION, "read_only_sql_transaction", NULL},
	{ERRCODE_CONFIG_FILE_ERROR, "config_file_error", NULL},
	{ERRCODE_DISK_FULL, "disk_full", "Make room on the disk."},
	{ERRCODE_OUT_OF_MEMORY, "out_of_memory", NULL},
	{ERRCODE_TOO_MANY_CONNECTIONS, "too_many_connections", NULL},
	{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, "object_not_in_prerequisite_state", NULL},
	{ERRCODE_LOCK_NOT_AVAILABLE, "lock_not_available", NULL},
	{ERRCODE_T_R_DEADLOCK_DETECTED, "deadlock_detected", NULL},
	{ERRCODE_QUERY_CANCELED, "query_canceled", NULL},
	{ERRCODE_UNDEFINED_FILE, "undefined_file", NULL},
	{ERRCODE_IO_ERROR, "io_error", NULL},
	{ERRCODE_DATA_CORRUPTED, "data_corrupted", NULL},
	{ERRCODE_INDEX_CORRUPTED, "index_corrupted", NULL},
	{ERRCODE_INTERNAL_ERROR, "internal_error", NULL}};

/* --- the line of postgresql.conf --- */

/* In a function of ours the current user is its owner: the question is who called it. */
static bool
may_read_settings(void)
{
	return has_privs_of_role(GetOuterUserId(), ROLE_PG_READ_ALL_SETTINGS);
}

static char *
preload_remedy(void)
{
	const char *libraries = GetConfigOption("shared_preload_libraries", false, false);

	if (!may_read_settings())
		return pstrdup(
			"A superuser must add keypup to shared_preload_libraries, and restart the server.");
	return psprintf(
		"Set shared_preload_libraries = %s in postgresql.conf, and restart the server.",
		quote_literal_cstr(psprintf("%s%skeypup", libraries, libraries[0] == '\0' ? "" : ", ")));
}

/* --- what is wrong --- */

static Diagnosis
make_diagnosis(Health health, char *detail, char *remedy)
{
	Diagnosis diagnosis = {health, detail, remedy};

	return diagnosis;
}

/* To the second: who reads it wants to find it in the log. */
static const char *
show_time(TimestampTz time)
{
	return timestamptz_to_str(time - time % USECS_PER_SEC);
}

typedef struct Running
{
	int launcher; /* its process; 0: there is none */
	int workers; /* of this database */
} Running;

static Running
look_what_runs(void)
{
	WorkerEntry *entries = palloc(sizeof(WorkerEntry) * MAX_WORKERS);
	int count = copy_workers(entries);
	Running running = {0};

	for (int i = 0; i < count; i++)
	{
		if (!OidIsValid(entries[i].database))
			running.launcher = entries[i].pid;
		running.workers +=
			entries[i].database == MyDatabaseId && entries[i].state != WORKER_STARTING;
	}
	pfree(entries);
	return running;
}

static Diagnosis
diagnose_launcher(const Running *running)
{
	if (!has_shared_lists())
		return make_diagnosis(HEALTH_BAD,
							  "keypup is not preloaded: nothing is read in the background",
							  preload_remedy());
	if (RecoveryInProgress())
		return make_diagnosis(HEALTH_UNKNOWN,
							  "the server is a standby: workers start when it is promoted", NULL);
	if (!IsPostmasterEnvironment || IsBinaryUpgrade)
		return make_diagnosis(HEALTH_UNKNOWN,
							  IsBinaryUpgrade
								  ? "the server is being upgraded: no worker runs in it"
								  : "the server is in single-user mode: no worker runs in it",
							  NULL);
	if (running->launcher != 0)
		return make_diagnosis(HEALTH_GOOD,
							  psprintf("it is running, as process %d", running->launcher), NULL);
	if (launcher_was_refused())
		return make_diagnosis(
			HEALTH_BAD,
			psprintf("max_worker_processes (%d) has no room for the launcher, so that no worker is "
					 "started",
					 max_worker_processes),
			psprintf(
				"Set max_worker_processes = %d or more in postgresql.conf, and restart the server.",
				max_worker_processes + 1 + Max(keypup_workers, 1)));
	if (!TimestampDifferenceExceeds(PgStartTime, GetCurrentTimestamp(), LAUNCHER_MILLISECONDS))
		return make_diagnosis(HEALTH_UNKNOWN, "the launcher is starting", NULL);
	return make_diagnosis(
		HEALTH_BAD, "the launcher is not running, so that no worker is started",
		"The server's log says why it has ended; it is started again after 5 seconds.");
}

/* Returns whether the database itself rules workers out. */
static bool
diagnose_database(Diagnosis *diagnosis)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	Form_pg_database row;
	const char *name;
	bool is_template;
	bool admits;

	if (!HeapTupleIsValid(tuple))
		return false;
	row = (Form_pg_database) GETSTRUCT(tuple);
	name = quote_identifier(pstrdup(NameStr(row->datname)));
	is_template = row->datistemplate;
	admits = row->datallowconn;
	ReleaseSysCache(tuple);
	if (is_template)
		*diagnosis = make_diagnosis(HEALTH_BAD, "the database is a template: no worker runs in it",
									strcmp(name, "template1") == 0
										? TEMPLATE1_REMEDY
										: psprintf("ALTER DATABASE %s IS_TEMPLATE false;", name));
	else if (!admits)
		*diagnosis =
			make_diagnosis(HEALTH_BAD, "the database admits no connections: no worker runs in it",
						   psprintf("ALTER DATABASE %s ALLOW_CONNECTIONS true;", name));
	return is_template || !admits;
}

static Diagnosis
diagnose_failure(const DatabaseEntry *known)
{
	StringInfoData detail;
	const char *condition = NULL;
	const char *remedy = NULL;

	initStringInfo(&detail);
	appendStringInfo(&detail, "the worker has failed since %s", show_time(known->failing_since));
	appendStringInfo(&detail, ", last at %s", show_time(known->failed_at));
	for (int i = 0; i < (int) lengthof(known_errors); i++)
	{
		if (known_errors[i].sqlstate == known->sqlstate)
		{
			condition = known_errors[i].condition;
			remedy = known_errors[i].remedy;
		}
	}
	if (known->sqlstate == 0)
		appendStringInfoString(&detail, ", before it had begun");
	else
		appendStringInfo(&detail, ", with SQLSTATE %s", unpack_sql_state(known->sqlstate));
	if (condition != NULL)
		appendStringInfo(&detail, " (%s)", condition);
	if (known->retry_at > GetCurrentTimestamp())
		appendStringInfo(&detail, "; it is tried again at %s", show_time(known->retry_at));
	return make_diagnosis(HEALTH_BAD, detail.data,
						  psprintf("%s%sThe server's log has the message.",
								   remedy == NULL ? "" : remedy, remedy == NULL ? "" : " "));
}

static Diagnosis
diagnose_switch(void)
{
	static KeptPlan query = KEPT_PLAN("SELECT keypup.find_switch($1)", 1, BOOLOID);
	Datum shows_files = BoolGetDatum(may_read_settings());
	MemoryContext context = CurrentMemoryContext;
	char *remedy = NULL;
	bool isnull;

	SPI_connect();
	if (run_kept_plan(&query, BOOTSTRAP_SUPERUSERID, &shows_files, InvalidSnapshot, true))
		remedy = MemoryContextStrdup(context, TextDatumGetCString(read_field(0, 1, &isnull)));
	SPI_finish();
	return make_diagnosis(HEALTH_BAD, "the workers are switched off: keypup.workers is 0 here",
						  remedy);
}

Diagnosis
diagnose_workers(void)
{
	DatabaseEntry known;
	Running running = look_what_runs();
	Diagnosis diagnosis = diagnose_launcher(&running);

	if (diagnosis.health != HEALTH_GOOD || diagnose_database(&diagnosis))
		return diagnosis;
	known = look_up_database(MyDatabaseId);
	if (known.holders > 0)
		return make_diagnosis(
			HEALTH_UNKNOWN, "a command needs the database for itself: the worker waits for its end",
			NULL);
	if (known.finding == FINDING_SWITCHED_OFF)
		return diagnose_switch();
	if (known.failing_since != 0)
		return diagnose_failure(&known);
	if (running.workers > 0)
		return make_diagnosis(HEALTH_GOOD,
							  psprintf("%d of %d workers run", running.workers,
									   Max(running.workers, known.workers_wanted)),
							  NULL);
	if (known.no_slot_since != 0)
		return make_diagnosis(
			HEALTH_BAD,
			psprintf(
				"no worker could be started since %s: all of max_worker_processes (%d) are in use",
				show_time(known.no_slot_since), max_worker_processes),
			"Raise max_worker_processes, and restart the server.");
	return make_diagnosis(HEALTH_UNKNOWN, "the worker is starting", NULL);
}

/* --- where it is told --- */

void
warn_without_workers(void)
{
	static TimestampTz warned_in = 0;
	Diagnosis diagnosis = diagnose_workers();

	if (diagnosis.health != HEALTH_BAD || warned_in == GetCurrentTransactionStartTimestamp())
		return;
	warned_in = GetCurrentTransactionStartTimestamp();
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("%s", diagnosis.detail),
			 diagnosis.remedy == NULL ? 0 : errhint("%s", diagnosis.remedy)));
}

/* A row of ok, detail, remedy. */
static Datum
return_diagnosis(FunctionCallInfo fcinfo, Diagnosis diagnosis)
{
	Datum values[3] = {BoolGetDatum(diagnosis.health == HEALTH_GOOD),
					   CStringGetTextDatum(diagnosis.detail), (Datum) 0};
	bool nulls[3] = {diagnosis.health == HEALTH_UNKNOWN, false, diagnosis.remedy == NULL};

	if (diagnosis.remedy != NULL)
		values[2] = CStringGetTextDatum(diagnosis.remedy);
	return return_row(fcinfo, 3, values, nulls);
}

Datum
keypup_diagnose_launcher(PG_FUNCTION_ARGS)
{
	Running running = look_what_runs();

	return return_diagnosis(fcinfo, diagnose_launcher(&running));
}

Datum
keypup_diagnose_workers(PG_FUNCTION_ARGS)
{
	return return_diagnosis(fcinfo, diagnose_workers());
}
