/*
 * pinned_settings.c
 *		The one list of settings that the background worker and CALL keypup.sync
 *		depend on. They inherit what is set for their database and role, mostly for
 *		other reasons: what would break them, or change what they store, is pinned.
 *
 * Not pinned is what is the DBA's to decide for whatever runs: memory and disk,
 * costs of plans, how commits are made safe, what is logged. Nor, in CALL, how long
 * the caller lets a statement or a transaction take.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "pinned_settings.h"

typedef enum PinnedIn
{
	IN_BOTH,
	IN_WORKER,
	IN_PROCEDURE
} PinnedIn;

typedef struct PinnedSetting
{
	const char *name;
	const char *value;
	PinnedIn where;
} PinnedSetting;

static const PinnedSetting pinned_settings[] = {
	/* The sync writes, and takes jobs that others have just left: each statement sees what is committed. */
	{"default_transaction_read_only", "off", IN_WORKER},
	{"default_transaction_isolation", "read committed", IN_WORKER},
	{"transaction_read_only", "off", IN_PROCEDURE},
	{"transaction_isolation", "read committed", IN_PROCEDURE},
	/* Who it is, and what it sees: row-level security applies to it, and foreign keys hold. */
	{"role", "none", IN_WORKER},
	{"row_security", "on", IN_BOTH},
	{"restrict_nonsystem_relation_kind", "", IN_BOTH},
	{"session_replication_role", "origin", IN_BOTH},
	{"search_path", "pg_catalog, pg_temp", IN_BOTH},
	/* How the text of our functions is read, and values become text and back. */
	{"standard_conforming_strings", "on", IN_BOTH},
	{"transform_null_equals", "off", IN_BOTH},
	{"array_nulls", "on", IN_BOTH},
	{"DateStyle", "ISO, MDY", IN_BOTH},
	{"IntervalStyle", "postgres", IN_BOTH},
	{"TimeZone", "UTC", IN_BOTH},
	{"timezone_abbreviations", "Default", IN_BOTH},
	{"bytea_output", "hex", IN_BOTH},
	{"extra_float_digits", "1", IN_BOTH},
	/* One page that fails must not end the process. */
	{"exit_on_error", "off", IN_BOTH},
	/* Nobody's open transaction is waited for longer: shorter than deadlock_timeout, so that a step gives way first. */
	{"lock_timeout", "250ms", IN_BOTH},
	{"transaction_timeout", "0", IN_WORKER},
	/* Its queries are short and many: neither compiled nor spread over processes, which others may need. */
	{"jit", "off", IN_BOTH},
	{"max_parallel_workers_per_gather", "0", IN_BOTH},
	{"plan_cache_mode", "auto", IN_BOTH},
	/* keypup.analyze_grown_tables counts on it. */
	{"track_counts", "on", IN_BOTH}};

/* Some are not in every version of PostgreSQL. */
static bool
is_known(const char *name)
{
	return GetConfigOption(name, true, false) != NULL;
}

void
pin_settings_of_worker(void)
{
	for (int i = 0; i < (int) lengthof(pinned_settings); i++)
	{
		const PinnedSetting *setting = &pinned_settings[i];

		if (setting->where != IN_PROCEDURE && is_known(setting->name))
			SetConfigOption(setting->name, setting->value, PGC_SUSET, PGC_S_OVERRIDE);
	}
}

void
limit_lock_waits(const char *timeout)
{
	(void) set_config_option("lock_timeout", timeout, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
							 true, 0, false);
}

void
pin_settings_of_transaction(void)
{
	for (int i = 0; i < (int) lengthof(pinned_settings); i++)
	{
		const PinnedSetting *setting = &pinned_settings[i];
		const char *value;

		if (setting->where == IN_WORKER)
			continue;
		value = GetConfigOption(setting->name, true, false);
		/* Nearly all are as they should be; to set one is to read it anew, a file of time zones for one. */
		if (value != NULL && strcmp(value, setting->value) != 0)
			(void) set_config_option(setting->name, setting->value, PGC_SUSET, PGC_S_SESSION,
									 GUC_ACTION_LOCAL, true, 0, false);
	}
}
