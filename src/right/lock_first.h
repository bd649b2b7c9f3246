/*
 * lock_first.h
 *		Commands that lock a table before PostgreSQL asks whether they are permitted.
 */
#ifndef KEYPUP_LOCK_FIRST_H
#define KEYPUP_LOCK_FIRST_H

/*
 * ask_before_locks
 *		From now on a command that PostgreSQL would refuse for a table of ours is
 *		refused before it waits for a lock, with PostgreSQL's own error. Called when
 *		the library is loaded.
 */
extern void ask_before_locks(void);

#endif
