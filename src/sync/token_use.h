/*
 * token_use.h
 *		How often connections' tokens were shown to their providers, for the audit log.
 */
#ifndef KEYPUP_TOKEN_USE_H
#define KEYPUP_TOKEN_USE_H

#include "utils/uuid.h"

#include "outside/step.h"

/*
 * count_token_use
 *		A request is about to be sent with the token of a connection.
 */
extern void count_token_use(const pg_uuid_t *account, const pg_uuid_t *connection);

/*
 * record_due_token_uses
 *		Within a step, puts what was counted into the audit log: the first use of a
 *		token at once, and others once a minute.
 */
extern void record_due_token_uses(void);

/*
 * record_token_uses
 *		The same in steps of its own; all that is left where the caller is about to end.
 */
extern void record_token_uses(Steps *steps, bool all);

#endif
