/*
 * shared_area.h
 *		Pieces of shared memory, each with a lock of its own.
 */
#ifndef KEYPUP_SHARED_AREA_H
#define KEYPUP_SHARED_AREA_H

#include "storage/lwlock.h"

/* In it are numbers and bytes only: whoever reads them may belong to another life of the server. */
typedef struct SharedArea
{
	const char *name; /* unique; also the name of the lock */
	Size size;
	void (*start)(void *memory); /* fills the zeroed memory once; NULL: zeroes will do */
	void **memory; /* where to put its address, which stays NULL when keypup is not preloaded */
	LWLock *lock;
} SharedArea;

/*
 * register_shared_area
 *		Asks for the memory and its lock; called once for each area, at preload.
 */
extern void register_shared_area(SharedArea *area);

/*
 * require_shared_area
 *		Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE when keypup is not preloaded.
 */
extern void require_shared_area(const SharedArea *area);

/*
 * draw_seed
 *		A start for an area that begins with a uint64: a random number that nobody
 *		knows, for hashes. Raises ERRCODE_INTERNAL_ERROR without one.
 */
extern void draw_seed(void *memory);

#endif
