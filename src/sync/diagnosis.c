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
#include "sync/database_list.h"
#include "sync/diagnosis.h"
#include "sync/worker_list.h"

PG_FUNCTION_INFO_V1(keypup_diagnose_workers);

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
	 "Rights that the extension gives to keypup_worker were revoked."},
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

static Diagnosis
diagnose_launcher(void)
{
	if (!TimestampDifferenceExceeds(PgStartTime, GetCurrentTimestamp(), LAUNCHER_MILLISECONDS))
		return make_diagnosis(HEALTH_UNKNOWN, "the launcher is starting", NULL);
	return make_diagnosis(
		HEALTH_BAD, "the launcher is not running, so that no worker is started",
		psprintf("The server's log says why; max_worker_processes (%d) must have room for it.",
				 max_worker_processes));
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
									psprintf("ALTER DATABASE %s IS_TEMPLATE false;", name));
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

static int
count_running_workers(bool *launcher)
{
	WorkerEntry *workers = palloc(sizeof(WorkerEntry) * MAX_WORKERS);
	int count = copy_workers(workers);
	int running = 0;

	*launcher = false;
	for (int i = 0; i < count; i++)
	{
		*launcher = *launcher || !OidIsValid(workers[i].database);
		running += workers[i].database == MyDatabaseId && workers[i].state != WORKER_STARTING;
	}
	pfree(workers);
	return running;
}

Diagnosis
diagnose_workers(void)
{
	DatabaseEntry known;
	Diagnosis diagnosis;
	bool launcher;
	int running;

	if (!has_shared_lists())
		return make_diagnosis(HEALTH_BAD,
							  "keypup is not preloaded: nothing is read in the background",
							  preload_remedy());
	if (RecoveryInProgress())
		return make_diagnosis(HEALTH_UNKNOWN,
							  "the server is a standby: a worker starts when it is promoted", NULL);
	running = count_running_workers(&launcher);
	if (!launcher)
		return diagnose_launcher();
	if (diagnose_database(&diagnosis))
		return diagnosis;
	known = look_up_database(MyDatabaseId);
	if (known.holders > 0)
		return make_diagnosis(
			HEALTH_UNKNOWN, "a command needs the database for itself: the worker waits for its end",
			NULL);
	if (known.finding == FINDING_SWITCHED_OFF)
		return make_diagnosis(HEALTH_BAD, "the workers are switched off: keypup.workers is 0 here",
							  psprintf("ALTER DATABASE %s SET keypup.workers = 1;",
									   quote_identifier(get_database_name(MyDatabaseId))));
	if (known.failing_since != 0)
		return diagnose_failure(&known);
	if (running > 0)
		return make_diagnosis(
			HEALTH_GOOD,
			psprintf("%d of %d workers run", running, Max(running, known.workers_wanted)), NULL);
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
Datum
keypup_diagnose_workers(PG_FUNCTION_ARGS)
{
	Diagnosis diagnosis = diagnose_workers();
	Datum values[3] = {BoolGetDatum(diagnosis.health == HEALTH_GOOD),
					   CStringGetTextDatum(diagnosis.detail), (Datum) 0};
	bool nulls[3] = {diagnosis.health == HEALTH_UNKNOWN, false, diagnosis.remedy == NULL};

	if (diagnosis.remedy != NULL)
		values[2] = CStringGetTextDatum(diagnosis.remedy);
	return return_row(fcinfo, 3, values, nulls);
}
