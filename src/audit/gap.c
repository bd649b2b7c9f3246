/*
 * gap.c
 *		What never came into the audit log is counted: in shared memory, from which
 *		the worker has it; where keypup is not preloaded, by a sequence, which no
 *		rollback sets back. How much a crash takes along nobody knows; that there
 *		was one is known from the control file.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_control.h"
#include "commands/sequence.h"
#include "common/controldata_utils.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "audit/gap.h"
#include "compat.h"
#include "datum.h"
#include "shared_area.h"

PG_FUNCTION_INFO_V1(keypup_lost_notes);

#define COUNTED_DATABASES 1024

typedef struct Loss
{
	Oid database; /* 0: the place is free */
	int64 times;
	TimestampTz first_at;
	TimestampTz last_at;
} Loss;

typedef struct SharedLosses
{
	TimestampTz started_at;
	int32 state_before; /* a DBState: how the server ended before */
	Loss losses[COUNTED_DATABASES];
} SharedLosses;

static SharedLosses *shared = NULL;

/* The control file says what was last, until the server has started. */
static void
start_losses(void *memory)
{
	SharedLosses *losses = memory;
	bool is_intact;
	ControlFileData *control = get_controlfile(DataDir, &is_intact);

	losses->started_at = GetCurrentTimestamp();
	losses->state_before = (int32) control->state;
	pfree(control);
}

static SharedArea area = {.name = "keypup losses",
						  .size = sizeof(SharedLosses),
						  .start = start_losses,
						  .memory = (void **) &shared};

void
register_gaps(void)
{
	register_shared_area(&area);
}

/* --- counting --- */

/* The lock is held. NULL: there are too many databases. */
static Loss *
find_loss(Oid database)
{
	for (int i = 0; i < COUNTED_DATABASES; i++)
	{
		if (shared->losses[i].database == database || !OidIsValid(shared->losses[i].database))
			return &shared->losses[i];
	}
	return NULL;
}

static void
count_in_shared_memory(void)
{
	TimestampTz now = GetCurrentTimestamp();
	Loss *loss;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	loss = find_loss(MyDatabaseId);
	if (loss != NULL)
	{
		if (loss->times++ == 0)
			loss->first_at = now;
		loss->database = MyDatabaseId;
		loss->last_at = now;
	}
	LWLockRelease(area.lock);
}

/* What is lost where nothing can be written is counted with the next of the session. */
static void
count_by_sequence(void)
{
	static int64 uncounted = 0;
	Oid sequence;

	uncounted++;
	if (!IsTransactionState() || XactReadOnly || IsInParallelMode() || RecoveryInProgress())
		return;
	sequence = get_relname_relid("audit_losses", get_namespace_oid("keypup", true));
	for (; OidIsValid(sequence) && uncounted > 0; uncounted--)
		(void) nextval_internal(sequence, false);
}

void
count_lost_note(void)
{
	if (shared != NULL)
		count_in_shared_memory();
	else
		count_by_sequence();
}

/* --- telling --- */

/* Why it is not known what was noted before; NULL: nothing was left. */
static const char *
explain_start(int32 state_before)
{
	switch (state_before)
	{
		case DB_SHUTDOWNED:
			return NULL;
		case DB_SHUTDOWNED_IN_RECOVERY:
		case DB_IN_ARCHIVE_RECOVERY:
			return "a standby was started anew before it was promoted";
		default:
			return "the server has crashed, or is a copy of one that ran";
	}
}

/* OUT started_at timestamptz, OUT lost_by text, OUT times bigint, OUT first_at timestamptz, OUT last_at timestamptz */
Datum
keypup_lost_notes(PG_FUNCTION_ARGS)
{
	const char *lost_by;
	Loss loss = {0};
	Loss *found;
	Datum values[5] = {0};
	bool nulls[5] = {false};

	require_shared_area(&area);
	LWLockAcquire(area.lock, LW_SHARED);
	found = find_loss(MyDatabaseId);
	if (found != NULL)
		loss = *found;
	LWLockRelease(area.lock);
	lost_by = explain_start(shared->state_before);
	values[0] = TimestampTzGetDatum(shared->started_at);
	nulls[1] = lost_by == NULL;
	if (lost_by != NULL)
		values[1] = CStringGetTextDatum(lost_by);
	values[2] = Int64GetDatum(loss.times);
	values[3] = TimestampTzGetDatum(loss.first_at);
	values[4] = TimestampTzGetDatum(loss.last_at);
	nulls[3] = nulls[4] = loss.times == 0;
	return return_row(fcinfo, 5, values, nulls);
}
