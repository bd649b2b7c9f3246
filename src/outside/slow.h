/*
 * slow.h
 *		Accounts whose providers are slow to answer: together they have a share of
 *		what all use, and no more.
 */
#ifndef KEYPUP_SLOW_H
#define KEYPUP_SLOW_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#define SLOW_ACCOUNTS 64

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
 * list_slow
 *		Those that are: their number, and each as a Datum that is valid until note_wait.
 *
 * accounts: has room for SLOW_ACCOUNTS.
 */
extern int list_slow(Datum *accounts);

#endif
