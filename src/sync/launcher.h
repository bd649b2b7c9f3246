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
 * count_wakes, report_no_extension
 *		It found no extension, having looked after so many wakes; raises nothing.
 */
extern void enter_worker(Oid database);
extern void leave_worker(void);
extern uint64 count_wakes(void);
extern void report_no_extension(Oid database, uint64 wakes);

/*
 * wake_workers
 *		Has the workers of this database look at once what there is to do.
 *		Returns how many there are; raises nothing.
 */
extern int wake_workers(void);

#endif
