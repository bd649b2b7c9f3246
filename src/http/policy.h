/*
 * policy.h
 *		Which URLs may be connected to, and which addresses may be talked to.
 */
#ifndef KEYPUP_POLICY_H
#define KEYPUP_POLICY_H

#include <stdbool.h>

#include <sys/socket.h>

#define POLICY_HOST_BYTES 256

/*
 * address_is_public
 *		Whether an IPv4 or IPv6 address is one of the public internet (IANA special-purpose registries).
 */
extern bool address_is_public(const struct sockaddr *address);

/*
 * host_is_private
 *		Whether keypup.private_hosts names the host, or HOST:PORT; it may then have any address.
 */
extern bool host_is_private(const char *host, const char *port);

#endif
