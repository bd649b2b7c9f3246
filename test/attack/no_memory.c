/*
 * no_memory.c
 *		No memory for one process, loaded before libc: while there is a file
 *		$NO_MEMORY_FILE.PID, malloc finds no room for what is as large as an answer
 *		of a worker.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SMALLEST 8192
#define LARGEST 20000

void *
malloc(size_t size)
{
	static void *(*next)(size_t);
	const char *file;
	char path[256];

	if (next == NULL)
		*(void **) &next = dlsym(RTLD_NEXT, "malloc");
	if (size > SMALLEST && size < LARGEST && (file = getenv("NO_MEMORY_FILE")) != NULL)
	{
		snprintf(path, sizeof(path), "%s.%d", file, (int) getpid());
		if (access(path, F_OK) == 0)
		{
			errno = ENOMEM;
			return NULL;
		}
	}
	return next(size);
}
