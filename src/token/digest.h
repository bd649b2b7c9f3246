/*
 * digest.h
 *		How many password digests are computed at once, in shared memory.
 */
#ifndef KEYPUP_DIGEST_H
#define KEYPUP_DIGEST_H

/*
 * register_digests
 *		Asks for the shared memory; called at preload.
 */
extern void register_digests(void);

#endif
