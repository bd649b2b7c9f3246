/*
 * throttle.h
 *		How often an account may have a provider asked for its people.
 */
#ifndef KEYPUP_THROTTLE_H
#define KEYPUP_THROTTLE_H

#include "utils/uuid.h"

/*
 * register_throttle
 *		Asks for the shared memory; called at preload.
 */
extern void register_throttle(void);

/*
 * admit_question
 *		Whether one more question of its kind may be asked now for the account;
 *		if so, it is counted.
 *
 * of_session: by the current session, whose source has a share of its own;
 * otherwise by a worker. Returns 0, or in how many seconds it may be. Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE when keypup is not preloaded.
 */
extern int admit_question(const char *kind, const pg_uuid_t *account, bool of_session);

/*
 * take_back_question
 *		One that was admitted to the current session was not asked after all.
 */
extern void take_back_question(const char *kind, const pg_uuid_t *account);

#endif
