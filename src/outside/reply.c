/*
 * reply.c
 *		Replies as arguments of SQL functions.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "http/json.h"
#include "outside/reply.h"

void
reply_arguments(HttpReply *reply, Datum *values, char *nulls)
{
	const char *failure = reply->failure;
	Jsonb *json = failure == NULL ? clean_json(reply->body, reply->body_length, &failure) : NULL;

	/* SQL makes copies enough. */
	drop_body(reply);
	values[0] = Int32GetDatum(reply->status);
	values[1] = CStringGetTextDatum(reply->headers);
	values[2] = JsonbPGetDatum(json);
	values[3] = failure == NULL ? (Datum) 0 : CStringGetTextDatum(failure);
	nulls[0] = nulls[1] = ' ';
	nulls[2] = json == NULL ? 'n' : ' ';
	nulls[3] = failure == NULL ? 'n' : ' ';
}
