/*
 * client.h
 *		Many HTTPS requests at once, on PostgreSQL's wait loop.
 */
#ifndef KEYPUP_CLIENT_H
#define KEYPUP_CLIENT_H

#include "utils/uuid.h"

#include "token/secret.h"

/* What is asked. A POST, of JSON where its headers say nothing else, or a GET. */
typedef struct HttpRequest
{
	const char *url;
	const char *authorization; /* the header line that shows the token; NULL: none is sent */
	const char *body; /* NULL: it is a GET */
	const char *const *headers; /* NULL, or further lines, ended by NULL */
	const char
		*reply_headers; /* NULL, or further headers of the reply that are kept, between blanks */
	const Secret *proxy_credentials; /* user:password, should it go through the proxy; NULL: none */
	const char *refused; /* NULL, or why it is not to be sent, which the reply says */
	const char *refused_hint;
} HttpRequest;

typedef struct HttpReply
{
	int status; /* 0 when there is no answer */
	const char *failure; /* NULL, or why there is none; never a secret */
	const char *failure_hint; /* may be NULL */
	char *body; /* decoded; malloc'd, and wiped with the reply's context; NULL: none */
	Size body_length;
	MemoryContextCallback body_release;
	char *headers; /* JSON object of the headers that are kept, lower-case names */
	int milliseconds; /* from sending to the end of the answer */
	void *caller; /* as given to send_request */
} HttpReply;

typedef struct HttpClient HttpClient;

/*
 * open_http_client
 *		A client whose replies are made in context. Raises ERRCODE_OUT_OF_MEMORY.
 */
extern HttpClient *open_http_client(MemoryContext context);

/*
 * rest_http_client
 *		Closes the connections, when nothing is in flight: HTTP/2 keeps the headers
 *		that it compresses, the token among them, as long as its connection.
 */
extern void rest_http_client(HttpClient *client);

/*
 * close_http_client
 *		Ends what is in flight and releases all that curl holds; safe after an error.
 */
extern void close_http_client(HttpClient *client);

/*
 * send_request
 *		Starts a request. All that can go wrong comes back as a reply.
 *
 * owner: whose request; owners share no connection, name or TLS session. Of the
 * request all is copied, and what is secret is wiped when the reply is there; why
 * it is refused must outlive it.
 */
extern void
send_request(HttpClient *client, const pg_uuid_t *owner, const HttpRequest *wanted, void *caller);

/*
 * requests_in_flight
 *		How many requests were sent whose reply was not taken by next_reply.
 */
extern int requests_in_flight(HttpClient *client);

/*
 * requests_sent
 *		How many requests were sent, in all.
 */
extern int64 requests_sent(HttpClient *client);

/*
 * wait_for_replies
 *		Waits until a reply is there, the latch is set (it is reset), or the
 *		timeout in milliseconds is over. Raises only that the kernel does not watch a
 *		socket; the caller checks for interrupts.
 */
extern void wait_for_replies(HttpClient *client, long timeout);

/*
 * next_reply
 *		A finished reply, or NULL. It lives in a context of its own, below the client's.
 *
 * Raises ERRCODE_OUT_OF_MEMORY only; the reply is then still there to be taken.
 */
extern HttpReply *next_reply(HttpClient *client);

/*
 * drop_body
 *		Releases the body of a reply, of which something better was made.
 */
extern void drop_body(HttpReply *reply);

/*
 * free_reply
 *		Releases a reply and all that it points to, except caller.
 */
extern void free_reply(HttpReply *reply);

#endif
