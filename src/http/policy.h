/*
 * policy.h
 *		Which URLs may be connected to, and which addresses may be talked to.
 */
#ifndef KEYPUP_POLICY_H
#define KEYPUP_POLICY_H

#include <stdbool.h>

#include <sys/socket.h>

#define POLICY_HOST_BYTES 256
#define POLICY_PORT_BYTES 8

/*
 * address_is_public
 *		Whether an IPv4 or IPv6 address is one of the public internet (IANA special-purpose registries).
 */
extern bool address_is_public(const struct sockaddr *address);

/*
 * read_url_host
 *		The host of a URL, as libcurl understands it, and its port or the scheme's own.
 *
 * host, port: of POLICY_HOST_BYTES and POLICY_PORT_BYTES. Returns whether it is a URL. Raises nothing.
 */
extern bool read_url_host(const char *url, char *host, char *port);

/*
 * list_names_host
 *		Whether a list of HOST and HOST:PORT, separated by commas or blanks, names the host.
 */
extern bool list_names_host(const char *list, const char *host, const char *port);

/*
 * host_is_literal_private
 *		Whether the host is a private address, or a name that can only mean this machine.
 */
extern bool host_is_literal_private(const char *host);

/*
 * host_is_private
 *		Whether keypup.private_hosts names the host, or HOST:PORT; it may then have any address.
 */
extern bool host_is_private(const char *host, const char *port);

#endif
