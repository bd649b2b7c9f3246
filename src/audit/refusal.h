/*
 * refusal.h
 *		Records on their way to the audit log, past the transaction that is
 *		rolled back, or that writes nothing: of what was refused, of what was done
 *		and undone, and of reading by support.
 */
#ifndef KEYPUP_REFUSAL_H
#define KEYPUP_REFUSAL_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#define REFUSAL_ACTION_BYTES 48
#define REFUSAL_KIND_BYTES 16
#define REFUSAL_NAME_BYTES 208
#define REFUSAL_DETAIL_BYTES 256
#define REFUSAL_ADDRESS_BYTES 64
#define REFUSAL_APPLICATION_BYTES 64
#define TOKEN_DIGEST_BYTES 32

/* Texts are ended by a NUL, and clipped to what fits; empty: NULL. */
typedef struct Refusal
{
	uint64 number; /* in the order of refusals; 0: the place is free */
	Oid database;
	int taker_pid; /* the worker that records it; 0: none yet */
	TimestampTz first_at;
	TimestampTz last_at;
	int64 times;
	TimestampTz
		logged_at; /* on a standby, where nobody records it: when the server's log last had it */
	bool was_done; /* no refusal: it was done, or had its effect before it was rolled back */
	bool has_account;
	pg_uuid_t account;
	char action[REFUSAL_ACTION_BYTES];
	char actor_kind[REFUSAL_KIND_BYTES];
	char actor[REFUSAL_NAME_BYTES];
	char claimed[REFUSAL_NAME_BYTES];
	char database_role[NAMEDATALEN];
	char client_address[REFUSAL_ADDRESS_BYTES];
	char application_name[REFUSAL_APPLICATION_BYTES]; /* of several times, the first */
	char detail[REFUSAL_DETAIL_BYTES];
	bool has_token;
	uint8 token_digest[TOKEN_DIGEST_BYTES]; /* of what was shown, which stays used */
} Refusal;

/*
 * register_refusals
 *		Asks for the shared memory; called at preload.
 */
extern void register_refusals(void);

/*
 * find_client_address
 *		From where this session is connected, as inet's host() has it; NULL for a
 *		local socket. In CurrentMemoryContext.
 */
extern const char *find_client_address(void);

/*
 * note_refusal
 *		Has the worker of this database record that something was refused to
 *		somebody who has not proven to be anybody.
 *
 * account: NULL when it is of no account. claimed: who they say to be, or NULL.
 * Waits up to two seconds for room; then the server's log has the record, as it
 * has when keypup is not preloaded. Raises nothing but a cancel.
 */
extern void
note_refusal(const pg_uuid_t *account, const char *action, const char *claimed, const char *detail);

/*
 * note_refusal_to_current_user
 *		The same of whoever called a function of ours, as name_current_user has it.
 *
 * owner: of the extension.
 */
extern void note_refusal_to_current_user(Oid owner, const pg_uuid_t *account, const char *action,
										 const char *detail);

/*
 * note_support_reading
 *		Has the worker of this database record that a database role reads an account
 *		by consent, or by break-glass. On a standby the server's log has it, once a session,
 *		and the audit log when the standby is promoted. Does not wait. Raises nothing.
 */
extern void note_support_reading(const pg_uuid_t *account, const char *role);

/*
 * describe_refusal
 *		Fills a record, to be left later. Any text but the action may be NULL.
 */
extern void describe_refusal(Refusal *refusal, const pg_uuid_t *account, const char *action,
							 const char *actor_kind, const char *actor, const char *claimed,
							 const char *detail);

/*
 * is_same_refusal
 *		Whether one record says what the other does, but for its times. None that has
 *		a token does.
 */
extern bool is_same_refusal(const Refusal *a, const Refusal *b);

/*
 * leave_refusal
 *		As note_refusal, without waiting for room: for a transaction that is ending.
 *		Raises nothing.
 */
extern void leave_refusal(const Refusal *refusal);

/*
 * token_is_left
 *		Whether a record with this token is on its way.
 */
extern bool token_is_left(const uint8 *digest);

/*
 * take_refusals
 *		Copies up to limit refusals of this database, oldest first; returns how many.
 *		No other worker gets them while the caller lives.
 */
extern int take_refusals(Refusal *into, int limit);

/*
 * forget_refusals
 *		Frees the places of refusals that are in the audit log now.
 */
extern void forget_refusals(const Refusal *stored, int count);

#endif
