/*
 * proxy.h
 *		The HTTP proxy that requests to listed hosts go through. For request.c and
 *		keypup.c; the rest asks url_is_proxied.
 */
#ifndef KEYPUP_PROXY_H
#define KEYPUP_PROXY_H

#include "utils/guc.h"

#include "http/request.h"

/*
 * check_proxy, check_proxy_hosts
 *		Check hooks of the settings. What they say does not repeat the value: people
 *		write passwords into URLs.
 */
extern bool check_proxy(char **value, void **extra, GucSource source);
extern bool check_proxy_hosts(char **value, void **extra, GucSource source);

/*
 * url_is_proxied
 *		Whether a request to the URL goes through the proxy.
 */
extern bool url_is_proxied(const char *url);

/*
 * choose_route
 *		Sets proxied, and which proxy it is, for the request's host.
 *
 * Returns NULL, or why the host cannot be asked at all: a host on the list is
 * never asked directly.
 */
extern const char *choose_route(Request *request);

/*
 * set_proxy_options
 *		What libcurl is told of the proxy, or that there is none. Returns whether it
 *		took everything.
 *
 * credentials: user:password for the proxy, or NULL; copied, and wiped by close_request.
 */
extern bool set_proxy_options(Request *request, const Secret *credentials);

/*
 * address_is_proxy
 *		Whether a proxied request may open a connection to the address, or use one
 *		that is open: the proxy's, which may be private.
 */
extern bool address_is_proxy(const Request *request, const struct sockaddr *address);

/*
 * describe_proxy_failure
 *		Why the proxy did not lead to the host, in CurrentMemoryContext; NULL when it
 *		did, or was not to. The proxy is not named: members of an account read this.
 */
extern const char *describe_proxy_failure(Request *request, const char **hint);

#endif
