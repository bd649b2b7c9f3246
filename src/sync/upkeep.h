/*
 * upkeep.h
 *		What the worker does for the vault beside the sync.
 */
#ifndef KEYPUP_UPKEEP_H
#define KEYPUP_UPKEEP_H

#include "sync/step.h"

typedef enum KeyWork
{
	REWRAP_DATA_KEYS, /* with the newest key of the key file */
	RESEAL_TOKENS /* that are under a key which is active no more */
} KeyWork;

/*
 * do_key_work
 *		One small transaction of it.
 *
 * Returns whether there may be more to do. A failure is logged, and is none of
 * the worker's: the sync goes on.
 */
extern bool do_key_work(Steps *steps, KeyWork work);

#endif
