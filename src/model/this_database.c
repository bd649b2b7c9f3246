/*
 * this_database.c
 *		Which database this is, in the world: a copy of its rows is not it.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keypup_this_database);

/*
 * The cluster's system identifier, which initdb draws and standbys share, and the
 * oid: they stay when a standby is promoted, and differ after a restored dump,
 * CREATE DATABASE, logical replication and pg_upgrade.
 */
Datum
keypup_this_database(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(
		cstring_to_text(psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId)));
}
