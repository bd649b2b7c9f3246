/*
 * new_id.h
 *		Numbers of rows that accounts see.
 */
#ifndef KEYPUP_NEW_ID_H
#define KEYPUP_NEW_ID_H

/*
 * register_ids
 *		Asks for the shared memory; called at preload.
 */
extern void register_ids(void);

#endif
