/*
 * time_zone.c
 *		A time zone that this server knows, for views that must not fail.
 */
#include "postgres.h"

#include "fmgr.h"
#include "pgtime.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keypup_known_time_zone);

/* The zone itself, or UTC when this server has none of that name: the time zone data may be another's. */
Datum
keypup_known_time_zone(PG_FUNCTION_ARGS)
{
	text *zone = PG_GETARG_TEXT_PP(0);
	const char *name = text_to_cstring(zone);

	/* A longer one would be cut. */
	if (strlen(name) <= TZ_STRLEN_MAX && pg_tzset(name) != NULL)
		PG_RETURN_TEXT_P(zone);
	PG_RETURN_TEXT_P(cstring_to_text("UTC"));
}
