/*
 * attempts.h
 *		How often passwords are tried, in shared memory.
 */
#ifndef KEYPUP_ATTEMPTS_H
#define KEYPUP_ATTEMPTS_H

/*
 * register_attempts
 *		Asks for the shared memory; called at preload.
 */
extern void register_attempts(void);

#endif
