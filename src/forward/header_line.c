/*
 * header_line.c
 *		Whether a secret is a line that a request can have among its headers. Errors
 *		never say what was given.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"

PG_FUNCTION_INFO_V1(keypup_check_header_line);

#define MAX_LINE_BYTES 4096

/* What a request says about itself, or about its way, is not for a sink to say. */
static const char *const own_headers[] = {"Accept",
										  "Accept-Encoding",
										  "Connection",
										  "Content-Encoding",
										  "Content-Length",
										  "Content-Type",
										  "Expect",
										  "Host",
										  "Proxy-Authorization",
										  "TE",
										  "Trailer",
										  "Transfer-Encoding",
										  "Upgrade",
										  "User-Agent"};

/* NAME: VALUE, as RFC 9110, 5, has it, of printable ASCII, neither of them empty. */
static bool
is_header_line(const char *line, Size length)
{
	static const char name_characters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
	const char *colon = memchr(line, ':', length);
	Size name = colon == NULL ? 0 : (Size) (colon - line);

	if (name == 0 || length < name + 3 || colon[1] != ' ' || colon[2] == ' ' ||
		line[length - 1] == ' ')
		return false;
	for (Size i = 0; i < name; i++)
	{
		if (memchr(name_characters, line[i], sizeof(name_characters) - 1) == NULL)
			return false;
	}
	for (Size i = name; i < length; i++)
	{
		if ((unsigned char) line[i] < 0x20 || (unsigned char) line[i] >= 0x7F)
			return false;
	}
	for (Size i = 0; i < lengthof(own_headers); i++)
	{
		if (strlen(own_headers[i]) == name && pg_strncasecmp(own_headers[i], line, name) == 0)
			return false;
	}
	return true;
}

/* check_header_line(secret) */
Datum
keypup_check_header_line(PG_FUNCTION_ARGS)
{
	Size size = toast_raw_datum_size(PG_GETARG_DATUM(0)) - VARHDRSZ;
	bool valid = false;

	if (size <= MAX_LINE_BYTES)
		valid = is_header_line(VARDATA_ANY(PG_GETARG_TEXT_PP(0)), size);
	if (!valid)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the secret is no line of a request's headers"),
						errhint("Write it as the receiver asks for it, NAME: VALUE, for example "
								"Authorization: Bearer and its token, or api-key: and the key."),
						errhidestmt(true)));
	PG_RETURN_VOID();
}
