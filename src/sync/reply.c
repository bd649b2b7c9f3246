/*
 * reply.c
 *		Replies as arguments of SQL functions.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "http/json.h"
#include "sync/reply.h"

void
reply_arguments(HttpReply *reply, Datum *values, char *nulls)
{
	const char *why = NULL;
	char *json =
		reply->failure == NULL ? clean_json(reply->body.data, reply->body.len, &why) : NULL;

	values[0] = Int32GetDatum(reply->status);
	values[1] = CStringGetTextDatum(reply->headers);
	values[2] = json == NULL ? (Datum) 0 : CStringGetTextDatum(json);
	values[3] = reply->failure == NULL ? (Datum) 0 : CStringGetTextDatum(reply->failure);
	nulls[0] = nulls[1] = ' ';
	nulls[2] = json == NULL ? 'n' : ' ';
	nulls[3] = reply->failure == NULL ? 'n' : ' ';
}
