/*
 * count_bots.c
 *		Whether sums and percentiles count what bots opened: views ask it of every row.
 */
#include "postgres.h"

#include "fmgr.h"

#include "keypup.h"

PG_FUNCTION_INFO_V1(keypup_counts_bots);

/* counts_bots() RETURNS boolean: the setting keypup.count_bots. */
Datum
keypup_counts_bots(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(keypup_count_bots);
}
