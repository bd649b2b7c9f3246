/*
 * reply.h
 *		Replies as arguments of SQL functions.
 */
#ifndef KEYPUP_REPLY_H
#define KEYPUP_REPLY_H

#include "http/client.h"

/*
 * reply_arguments
 *		Fills four arguments: status, an integer, and headers, reply and failure, texts.
 *
 * The reply is cleaned, and NULL when it is not JSON or there was a failure.
 */
extern void reply_arguments(HttpReply *reply, Datum *values, char *nulls);

#endif
