/*
 * new_id.c
 *		Numbers of rows that accounts see.
 *
 * A sequence is the server's own: its gaps would tell each account how much the
 * others do. So the number is the time, in microseconds, which stands beside it
 * anyway; programs that read numbers as doubles read it exactly.
 */
#include "postgres.h"

#include "fmgr.h"
#include "port/atomics.h"
#include "utils/timestamp.h"

#include "model/new_id.h"
#include "shared_area.h"

PG_FUNCTION_INFO_V1(keypup_new_id);

static pg_atomic_uint64 *last_id = NULL;
static pg_atomic_uint64 last_of_process; /* where keypup is not preloaded */

static void
start(void *memory)
{
	pg_atomic_init_u64((pg_atomic_uint64 *) memory, 0);
}

static SharedArea area = {.name = "keypup ids",
						  .size = sizeof(pg_atomic_uint64),
						  .start = start,
						  .memory = (void **) &last_id};

void
register_ids(void)
{
	register_shared_area(&area);
}

/* No number is given twice, also when the clock stands still or goes back. */
Datum
keypup_new_id(PG_FUNCTION_ARGS)
{
	pg_atomic_uint64 *last = last_id != NULL ? last_id : &last_of_process;
	uint64 now = (uint64) GetCurrentTimestamp();
	uint64 before = pg_atomic_read_u64(last);
	uint64 id;

	do
		id = Max(before + 1, now);
	while (!pg_atomic_compare_exchange_u64(last, &before, id));
	PG_RETURN_INT64((int64) id);
}
