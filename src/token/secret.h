/*
 * secret.h
 *		Memory for keys and tokens while they are in clear.
 */
#ifndef KEYPUP_SECRET_H
#define KEYPUP_SECRET_H

#include "utils/palloc.h"

/* Where a secret stands; the struct itself is ordinary memory. */
typedef struct Secret
{
	MemoryContextCallback callback;
	uint8 *bytes;
	Size length;
} Secret;

/*
 * protect_process_memory
 *		From now on this process writes no core dump and nobody may attach to it.
 *
 * allocate_secret does it, too; a process that will hold secrets calls it first thing.
 */
extern void protect_process_memory(void);

/*
 * overwrite_freed_memory
 *		Overwrites the C heap's free memory, now and as more is freed: libraries
 *		that a token passes through (TLS, HTTP/2) free their buffers as they are.
 *
 * For processes that do little else; without effect on C libraries but glibc.
 */
extern void overwrite_freed_memory(void);

/*
 * allocate_secret
 *		Zeroed memory of OpenSSL's secure heap: locked, excluded from core dumps,
 *		between guard pages.
 *
 * It is wiped when CurrentMemoryContext is reset or deleted, so after an error,
 * too. Raises ERRCODE_OUT_OF_MEMORY.
 */
extern Secret *allocate_secret(Size length);

/*
 * wipe_secret
 *		Wipes a secret and gives its memory back at once. Without effect on NULL.
 */
extern void wipe_secret(Secret *secret);

#endif
