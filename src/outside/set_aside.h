/*
 * set_aside.h
 *		Accounts of which somebody holds a lock: their work waits, and nobody
 *		else's. Accounts whose providers are slow to answer: together they have a
 *		share of what all use, and no more.
 */
#ifndef KEYPUP_SET_ASIDE_H
#define KEYPUP_SET_ASIDE_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "outside/step.h"

/*
 * begin_account_step
 *		begin_step, for an account. Of one that is set aside no lock is waited for
 *		any more.
 */
extern void begin_account_step(Steps *steps, const pg_uuid_t *account);

/*
 * try_for_account
 *		try_action, within such a step. An account of which somebody holds a lock is
 *		set aside: a second, doubling to half a minute while it goes on.
 */
extern StepError *try_for_account(const pg_uuid_t *account, void (*action)(void *), void *argument);

/*
 * is_set_aside
 *		Whether the account is set aside now, by this process.
 */
extern bool is_set_aside(const pg_uuid_t *account);

/*
 * note_wait
 *		An account waits for an answer since then: after six seconds it is slow, until
 *		none of its answers has taken so long for a minute.
 */
extern void note_wait(const pg_uuid_t *account, TimestampTz since);

/*
 * is_slow
 *		Whether the account is, for this process.
 */
extern bool is_slow(const pg_uuid_t *account);

/*
 * accounts_set_aside
 *		Those that are set aside: a uuid[], in CurrentMemoryContext.
 *
 * slow_too: also those that are slow.
 */
extern Datum accounts_set_aside(bool slow_too);

#endif
