/*
 * rebind.c
 *		A name server that changes its mind, loaded before libc: the name
 *		rebind.example has, at each look-up, the address that then stands in the
 *		file $REBIND_FILE. One that hardly answers: slow.example takes it a minute.
 *		All other names are libc's.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
			struct addrinfo **result)
{
	static int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
	char address[64] = "";
	const char *file = getenv("REBIND_FILE");
	FILE *handle;

	if (next == NULL)
		*(void **) &next = dlsym(RTLD_NEXT, "getaddrinfo");
	if (node != NULL && strcasecmp(node, "slow.example") == 0)
	{
		sleep(60);
		return EAI_AGAIN;
	}
	if (node == NULL || file == NULL ||
		(strcasecmp(node, "rebind.example") != 0 && strcasecmp(node, "rebind.example.") != 0))
		return next(node, service, hints, result);
	handle = fopen(file, "r");
	if (handle == NULL)
		return EAI_AGAIN;
	if (fgets(address, sizeof(address), handle) == NULL)
		address[0] = '\0';
	fclose(handle);
	address[strcspn(address, "\n")] = '\0';
	return next(address, service, hints, result);
}
