/*
 * pace.h
 *		What is left of a token's budget at its provider, for everything in the
 *		server that uses the same token: projects, databases and workers.
 */
#ifndef KEYPUP_PACE_H
#define KEYPUP_PACE_H

#include "datatype/timestamp.h"
#include "token/secret.h"

/* Names a token without telling it: a keyed hash that holds until the server restarts. */
typedef uint64 PaceKey;

/* What an answer said. Times are 0, and numbers -1, when it did not say. */
typedef struct PaceReport
{
	int64 limit; /* points an hour */
	int64 remaining;
	TimestampTz reset_at;
	TimestampTz blocked_until;
} PaceReport;

/*
 * register_paces
 *		Asks for the shared memory; called at preload. Without it each database
 *		obeys what its own connections were told.
 */
extern void register_paces(void);

/*
 * pace_key
 *		The key of a token.
 */
extern PaceKey pace_key(const Secret *token);

/*
 * pace_admits
 *		Whether a request may be sent now. When it may not, until is when it may;
 *		when it may, one point is taken as spent until an answer says how many.
 */
extern bool pace_admits(PaceKey key, TimestampTz *until);

/*
 * note_pace
 *		Takes over what an answer said.
 */
extern void note_pace(PaceKey key, const PaceReport *report);

#endif
