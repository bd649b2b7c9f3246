/*
 * launcher.h
 *		The launcher.
 */
#ifndef KEYPUP_LAUNCHER_H
#define KEYPUP_LAUNCHER_H

/*
 * register_launcher
 *		Called once, from _PG_init in the postmaster.
 */
extern void register_launcher(void);

/*
 * launcher_was_refused
 *		Whether the server has none, since max_worker_processes had no room for it
 *		when it started.
 */
extern bool launcher_was_refused(void);

/*
 * read_worker_number
 *		In a worker that the launcher started: 0 for the first of its database.
 */
extern int read_worker_number(void);

#endif
