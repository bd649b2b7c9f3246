/*
 * reply.h
 *		Replies as arguments of SQL functions.
 */
#ifndef KEYPUP_REPLY_H
#define KEYPUP_REPLY_H

#include "http/client.h"

/*
 * reply_arguments
 *		Fills four arguments: status, an integer, headers, a text, reply, a jsonb, and failure, a text.
 *
 * The reply is NULL when it is not JSON or there was a failure; one that goes beyond a
 * limit of clean_json is a failure. The reply's body is dropped.
 */
extern void reply_arguments(HttpReply *reply, Datum *values, char *nulls);

#endif
