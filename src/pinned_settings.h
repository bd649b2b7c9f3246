/*
 * pinned_settings.h
 *		The settings that the sync depends on, whatever its database or role inherits.
 */
#ifndef KEYPUP_PINNED_SETTINGS_H
#define KEYPUP_PINNED_SETTINGS_H

/*
 * pin_settings_of_worker
 *		For the life of the process. Outside a transaction.
 */
extern void pin_settings_of_worker(void);

/*
 * pin_settings_of_transaction
 *		For the transaction that has just begun, and before its first query: its end,
 *		however it comes, brings the session's own values back.
 */
extern void pin_settings_of_transaction(void);

/*
 * limit_lock_waits
 *		Has the rest of the transaction wait for a lock for so long at most, as
 *		lock_timeout has it.
 */
extern void limit_lock_waits(const char *timeout);

#endif
