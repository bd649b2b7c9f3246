/*
 * database_list.c
 *		What is known of each database, in shared memory. Workers and sessions write
 *		it; the launcher acts on it, and operation/ tells it in words.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "shared_area.h"
#include "worker/database_list.h"

#define LOOK_AGAIN_MILLISECONDS (5 * 60 * 1000)
#define FIRST_PAUSE_MILLISECONDS 5000
#define LONGEST_PAUSE_MILLISECONDS (5 * 60 * 1000)

typedef struct SharedDatabases
{
	int count; /* no place beyond is taken */
	DatabaseEntry entries[MAX_DATABASES];
} SharedDatabases;

static SharedDatabases *shared = NULL;
static SharedArea area = {
	.name = "keypup databases", .size = sizeof(SharedDatabases), .memory = (void **) &shared};

void
register_database_list(void)
{
	register_shared_area(&area);
}

/* The lock is held. NULL: it has no place. */
static DatabaseEntry *
find_entry(Oid database)
{
	for (int i = 0; i < shared->count; i++)
	{
		if (shared->entries[i].database == database)
			return &shared->entries[i];
	}
	return NULL;
}

/* The lock is held exclusively. NULL: there is no place left. */
static DatabaseEntry *
find_or_make_entry(Oid database)
{
	DatabaseEntry *entry = find_entry(database);

	if (entry == NULL)
		entry = find_entry(InvalidOid);
	if (entry == NULL && shared->count < MAX_DATABASES)
		entry = &shared->entries[shared->count++];
	if (entry != NULL)
		entry->database = database;
	return entry;
}

bool
enter_database(Oid database)
{
	bool entered;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entered = find_or_make_entry(database) != NULL;
	LWLockRelease(area.lock);
	return entered;
}

DatabaseEntry
look_up_database(Oid database)
{
	DatabaseEntry *entry;
	DatabaseEntry copy = {0};

	if (shared == NULL)
		return copy;
	LWLockAcquire(area.lock, LW_SHARED);
	entry = find_entry(database);
	if (entry != NULL)
		copy = *entry;
	LWLockRelease(area.lock);
	return copy;
}

int
list_databases(Oid *into)
{
	int count = 0;

	LWLockAcquire(area.lock, LW_SHARED);
	for (int i = 0; i < shared->count; i++)
	{
		if (OidIsValid(shared->entries[i].database))
			into[count++] = shared->entries[i].database;
	}
	LWLockRelease(area.lock);
	return count;
}

void
forget_database(Oid database)
{
	DatabaseEntry *entry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entry = find_entry(database);
	if (entry != NULL && entry->holders == 0)
		memset(entry, 0, sizeof(*entry));
	LWLockRelease(area.lock);
}

uint64
count_wakes(Oid database)
{
	return look_up_database(database).wakes;
}

/* --- what workers and the launcher say --- */

void
note_finding(Oid database, uint64 wakes, DatabaseFinding finding, int workers_wanted,
			 bool waits_for_standby)
{
	DatabaseEntry *entry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entry = find_or_make_entry(database);
	/* That there is nothing to do may be over, if somebody has woken it meanwhile. */
	if (entry != NULL && (finding == FINDING_WORK || entry->wakes == wakes))
	{
		entry->finding = finding;
		entry->workers_wanted = workers_wanted;
		entry->waits_for_standby = waits_for_standby;
		if (finding != FINDING_WORK)
		{
			entry->retry_at =
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_AGAIN_MILLISECONDS);
			entry->no_slot_since = entry->failing_since = 0;
			entry->failures = 0;
		}
	}
	LWLockRelease(area.lock);
}

static int
pause_after(int failures)
{
	int pause = FIRST_PAUSE_MILLISECONDS;

	for (int i = 1; i < failures && pause < LONGEST_PAUSE_MILLISECONDS; i++)
		pause *= 2;
	return Min(pause, LONGEST_PAUSE_MILLISECONDS);
}

void
note_failure(Oid database, int sqlstate)
{
	TimestampTz now = GetCurrentTimestamp();
	DatabaseEntry *entry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entry = find_or_make_entry(database);
	if (entry != NULL)
	{
		if (entry->failing_since == 0)
			entry->failing_since = now;
		entry->failed_at = now;
		entry->sqlstate = sqlstate;
		/* Workers of one database that fail together count once. */
		if (now >= entry->retry_at)
			entry->retry_at = TimestampTzPlusMilliseconds(now, pause_after(++entry->failures));
	}
	LWLockRelease(area.lock);
}

void
note_good_run(Oid database)
{
	DatabaseEntry *entry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entry = find_entry(database);
	if (entry != NULL)
	{
		entry->failing_since = 0;
		entry->failures = 0;
	}
	LWLockRelease(area.lock);
}

void
note_slot(Oid database, bool found)
{
	DatabaseEntry *entry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entry = find_entry(database);
	if (entry != NULL && found)
		entry->no_slot_since = 0;
	else if (entry != NULL && entry->no_slot_since == 0)
		entry->no_slot_since = GetCurrentTimestamp();
	LWLockRelease(area.lock);
}

/* --- what sessions say --- */

/* The lock is held exclusively. */
static void
wake_entry(DatabaseEntry *entry)
{
	entry->wakes++;
	entry->retry_at = 0;
	entry->failures = 0;
	if (entry->finding != FINDING_WORK)
		entry->finding = FINDING_NONE;
}

void
wake_database(Oid database)
{
	DatabaseEntry *entry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entry = find_or_make_entry(database);
	if (entry != NULL)
		wake_entry(entry);
	LWLockRelease(area.lock);
}

void
wake_all_databases(void)
{
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->count; i++)
	{
		if (shared->entries[i].finding != FINDING_NO_EXTENSION)
			wake_entry(&shared->entries[i]);
	}
	LWLockRelease(area.lock);
}

void
hold_database(Oid database)
{
	DatabaseEntry *entry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entry = find_or_make_entry(database);
	if (entry != NULL)
		entry->holders++;
	LWLockRelease(area.lock);
}

void
release_database(Oid database)
{
	DatabaseEntry *entry;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	entry = find_entry(database);
	if (entry != NULL && entry->holders > 0)
	{
		entry->holders--;
		wake_entry(entry);
	}
	LWLockRelease(area.lock);
}
