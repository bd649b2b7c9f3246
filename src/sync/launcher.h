/*
 * launcher.h
 *		The launcher, and what workers tell it through shared memory.
 */
#ifndef KEYPUP_LAUNCHER_H
#define KEYPUP_LAUNCHER_H

/*
 * register_launcher
 *		Called once, from _PG_init in the postmaster.
 */
extern void register_launcher(void);

/*
 * enter_worker, leave_worker
 *		A worker of this database is there, or no longer.
 *
 * report_no_extension
 *		It found no extension; raises nothing.
 */
extern void enter_worker(Oid database);
extern void leave_worker(void);
extern void report_no_extension(Oid database);

#endif
