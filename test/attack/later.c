/*
 * later.c
 *		Another time, loaded before libc: the clocks that count since the start of the
 *		machine are as many seconds off as the first number in $LATER_FILE says, that
 *		of the day as the second.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static void
read_offsets(long *since_start, long *of_day)
{
	const char *path = getenv("LATER_FILE");
	char text[64] = "";
	char *end = text;
	int file = path == NULL ? -1 : open(path, O_RDONLY);

	if (file >= 0)
	{
		if (read(file, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		close(file);
	}
	*since_start = strtol(text, &end, 10);
	*of_day = strtol(end, NULL, 10);
}

int
clock_gettime(clockid_t clock, struct timespec *into)
{
	static int (*next)(clockid_t, struct timespec *);
	long since_start;
	long of_day;
	int result;

	if (next == NULL)
		*(void **) &next = dlsym(RTLD_NEXT, "clock_gettime");
	result = next(clock, into);
	read_offsets(&since_start, &of_day);
	if (result == 0 && (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW))
		into->tv_sec += since_start;
	if (result == 0 && clock == CLOCK_REALTIME)
		into->tv_sec += of_day;
	return result;
}

int
gettimeofday(struct timeval *into, void *zone)
{
	static int (*next)(struct timeval *, void *);
	long since_start;
	long of_day;
	int result;

	if (next == NULL)
		*(void **) &next = dlsym(RTLD_NEXT, "gettimeofday");
	result = next(into, zone);
	read_offsets(&since_start, &of_day);
	if (result == 0)
		into->tv_sec += of_day;
	return result;
}
