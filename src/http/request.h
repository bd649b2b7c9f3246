/*
 * request.h
 *		One request, from its options to its reply. For client.c alone.
 */
#ifndef KEYPUP_REQUEST_H
#define KEYPUP_REQUEST_H

#include <curl/curl.h>

#include "http/client.h"
#include "http/policy.h"

/* Bytes that arrive bit by bit, ended by a NUL. */
typedef struct Bytes
{
	char *text; /* malloc'd; NULL while there are none */
	size_t used;
	size_t room;
} Bytes;

typedef struct Request
{
	struct Request *next;
	struct Lane *lane; /* client.c's; NULL before it has one */
	pg_uuid_t owner;
	CURL *easy;
	struct curl_slist *header_lines;
	char host[POLICY_HOST_BYTES];
	char port[POLICY_PORT_BYTES];
	bool proxied; /* the host is asked through the proxy, and in no other way */
	bool has_credentials; /* for the proxy */
	bool connected; /* to the host, be it through the proxy */
	char proxy_host[POLICY_HOST_BYTES];
	char proxy_port[POLICY_PORT_BYTES];
	struct curl_slist *proxy_header_lines;
	int proxy_calls; /* of its limit_answer */
	Bytes body; /* what arrived */
	Bytes headers;
	size_t header_start; /* of the last response: others are interim, as 103 */
	char *sent_body; /* malloc'd; NULL: a GET */
	char *reply_headers; /* malloc'd; NULL: none but those of all replies */
	char error[CURL_ERROR_SIZE];
	const char *refused; /* what a callback refused, or why it was not sent */
	const char *refused_hint; /* may be NULL */
	bool address_refused; /* one of the host's addresses was; another may have done */
	CURLcode result;
	bool finished;
	void *caller;
} Request;

/*
 * open_request
 *		A request that is ready for libcurl, or one whose refused says why it is not.
 *
 * Arguments as send_request's. Returns NULL when memory is out.
 */
extern Request *open_request(const HttpRequest *wanted, void *caller);

/*
 * make_reply
 *		The reply of a finished request, in CurrentMemoryContext.
 */
extern HttpReply *make_reply(Request *request);

/*
 * close_request
 *		Releases all that libcurl and malloc hold for it. The caller has removed it from the multi handle.
 */
extern void close_request(Request *request);

/*
 * free_wiped, reallocate_wiped
 *		free and realloc that leave nothing behind: a token passes through this memory.
 */
extern void free_wiped(void *memory);
extern void *reallocate_wiped(void *memory, size_t size);

#endif
