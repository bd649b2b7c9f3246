/*
 * role_name.c
 *		Whether a database role is the one that a row was written about.
 *
 * A name outlives its role: it may be dropped and made anew for somebody else,
 * or be given up for another name. So rows about a role have its oid, too, and
 * hold while both are right. Oids are a server's own: in a dump that was restored
 * elsewhere, which the row's origin tells, the name alone counts, until the
 * worker has put the oids of here in (keep_roles).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keypup_is_role);
PG_FUNCTION_INFO_V1(keypup_is_of_this_server);

/* origin: what keypup_this_database said when the row was written. */
static bool
is_of_this_server(const char *origin)
{
	char *server = psprintf(UINT64_FORMAT "/", GetSystemIdentifier());
	bool is = strncmp(origin, server, strlen(server)) == 0;

	pfree(server);
	return is;
}

/* role_id oid, role_name text, origin text. */
Datum
keypup_is_role(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *current;

	if (!is_of_this_server(text_to_cstring(PG_GETARG_TEXT_PP(2))))
		PG_RETURN_BOOL(OidIsValid(get_role_oid(name, true)));
	current = GetUserNameFromId(PG_GETARG_OID(0), true);
	PG_RETURN_BOOL(current != NULL && strcmp(current, name) == 0);
}

/* origin text. */
Datum
keypup_is_of_this_server(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_of_this_server(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}
