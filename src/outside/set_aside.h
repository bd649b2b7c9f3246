/*
 * set_aside.h
 *		Accounts of which somebody holds a lock: their work waits, and nobody
 *		else's.
 */
#ifndef KEYPUP_SET_ASIDE_H
#define KEYPUP_SET_ASIDE_H

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
 * accounts_set_aside
 *		Those that are: a uuid[], in CurrentMemoryContext.
 *
 * slow_too: also those that are slow (slow.h).
 */
extern Datum accounts_set_aside(bool slow_too);

#endif
