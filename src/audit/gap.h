/*
 * gap.h
 *		What never came into the audit log: how often, so that the log itself can say so.
 */
#ifndef KEYPUP_GAP_H
#define KEYPUP_GAP_H

/*
 * register_gaps
 *		Asks for the shared memory; called at preload.
 */
extern void register_gaps(void);

/*
 * count_lost_note
 *		One more was lost in this database: there was no room for it, or no shared
 *		memory. May be called where a transaction ends.
 */
extern void count_lost_note(void);

#endif
