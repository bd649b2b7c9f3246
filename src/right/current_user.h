/*
 * current_user.h
 *		Who the current user is, and for whose account the worker is at work.
 */
#ifndef KEYPUP_CURRENT_USER_H
#define KEYPUP_CURRENT_USER_H

#include "fmgr.h"
#include "utils/array.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#define HANDLE_DIGEST_BYTES 32

/* A session that this backend uses. */
typedef struct SessionIdentity
{
	pg_uuid_t account;
	uint8 handle_digest[HANDLE_DIGEST_BYTES];
} SessionIdentity;

/*
 * used_session
 *		The session that the current transaction uses, or NULL.
 */
extern const SessionIdentity *used_session(void);

/*
 * watch_cursors
 *		From now on no transaction has both a session and a cursor WITH HOLD. Called
 *		when the library is loaded.
 */
extern void watch_cursors(void);

/*
 * find_session_holder
 *		Whose session it is, palloc'd; NULL when it has ended, or is started by this
 *		very transaction.
 *
 * kind: gets person or api_key, palloc'd, unless it has ended; may be NULL.
 * snapshot: as in run_kept_plan.
 */
extern text *find_session_holder(const SessionIdentity *session, text **kind, Snapshot snapshot);

/*
 * name_current_user
 *		Who called a function of ours, palloc'd: the holder of the session, or the
 *		role; NULL when there is none.
 *
 * owner: of the extension. kind: gets database_role, person or api_key, palloc'd,
 * unless there is none; may be NULL.
 */
extern text *name_current_user(Oid owner, text **kind);

/*
 * What of a snapshot tells that nothing was committed, and nothing changed or undone
 * by ourselves, since another. Compared as bytes: there is no padding.
 */
typedef struct SeenWhen
{
	TransactionId xmin;
	TransactionId xmax;
	uint32 xcnt;
	int32 subxcnt;
	CommandId curcid;
	TransactionId own; /* no snapshot tells whether it is still under way */
	uint32 undone; /* subtransactions so far: one that repeats its reads has the same snapshot */
} SeenWhen;

/*
 * seen_now
 *		That of the active snapshot.
 */
extern SeenWhen seen_now(void);

/*
 * projects_of_current_user
 *		The projects in which the current user has the permission, a text: a bigint[]
 *		in ascending order, palloc'd; NULL when there is none.
 *
 * owner: of the extension.
 */
extern ArrayType *projects_of_current_user(Oid owner, Datum permission);

/*
 * end_of_call
 *		A call has ended that find_call may have named. Whoever may no longer do what
 *		it has asked for is refused: ERRCODE_INSUFFICIENT_PRIVILEGE.
 *
 * done: false when it has ended in an error.
 */
extern void end_of_call(int call, bool done);

/*
 * set_job_account
 *		From now on the worker's policies admit the rows of this account.
 *
 * account: copied; NULL admits none. Stays until it is set again.
 */
extern void set_job_account(const pg_uuid_t *account);

/*
 * owner_of_extension_function
 *		Who owns a function: ours belong to the owner of the extension.
 */
extern Oid owner_of_extension_function(Oid function);

/*
 * role_of_worker
 *		The oid of role keypup_worker; raises ERRCODE_UNDEFINED_OBJECT without it.
 */
extern Oid role_of_worker(void);

#endif
