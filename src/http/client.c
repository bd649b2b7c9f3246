/*
 * client.c
 *		libcurl's multi interface, driven by a WaitEventSet. Knows no provider
 *		and no job: URL, header and body in, status, headers and body out.
 *		What one request is and may do stands in request.c.
 *
 * No error is raised while libcurl is at work. All that libcurl frees is wiped,
 * since the token passes through its buffers.
 */
#include "postgres.h"

#include <signal.h>

#include <curl/curl.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "http/client.h"
#include "http/request.h"

#define MAX_SOCKETS 512
/* Of a lane. A session speaks HTTP/1.1 (request.c): it has one for each of the requests that may be in flight. */
#define MAX_CONNECTIONS (MyBackendType == B_BG_WORKER ? 8L : 64L)
#define MAX_LANES 16

/*
 * The requests of one owner. libcurl keeps connections, names and TLS sessions
 * in a multi handle, so that owners with a handle each share none of them.
 */
typedef struct Lane
{
	struct Lane *next;
	HttpClient *client;
	pg_uuid_t owner;
	CURLM *multi;
	int in_flight;
	long timer; /* milliseconds until curl wants to act; -1 never */
} Lane;

typedef struct WatchedSocket
{
	Lane *lane;
	curl_socket_t socket;
	int events; /* WL_SOCKET_… */
} WatchedSocket;

struct HttpClient
{
	MemoryContext context;
	Request *requests;
	int in_flight;
	int64 sent;
	uint32 wait_event;
	pg_uuid_t answered; /* whose reply was taken last */
	Lane *lanes; /* malloc'd; the one used last is first */
	int lane_count;
	int socket_count;
	WatchedSocket sockets[MAX_SOCKETS];
};

static char *
duplicate(const char *text)
{
	return strdup(text);
}

static void
initialize_curl(void)
{
	static bool initialized = false;

	if (initialized)
		return;
	/* Debian's libcurl writes TLS keys to the file that this names; it reads it in curl_global_init. */
	unsetenv("SSLKEYLOGFILE");
	/* Without effect when another extension has started libcurl here: so close_request wipes by itself. */
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free_wiped, reallocate_wiped, duplicate,
							 calloc) != CURLE_OK)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not start libcurl")));
	initialized = true;
}

/* --- callbacks: called by libcurl, raise nothing --- */

static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *argument, void *unused)
{
	Lane *lane = argument;
	HttpClient *client = lane->client;
	int events = (what & CURL_POLL_IN ? WL_SOCKET_READABLE : 0) |
				 (what & CURL_POLL_OUT ? WL_SOCKET_WRITEABLE : 0);
	int i;

	for (i = 0; i < client->socket_count && client->sockets[i].socket != socket; i++)
		;
	if (what == CURL_POLL_REMOVE || events == 0)
	{
		if (i < client->socket_count)
			client->sockets[i] = client->sockets[--client->socket_count];
		return 0;
	}
	if (i == MAX_SOCKETS)
		return -1;
	if (i == client->socket_count)
		client->socket_count++;
	client->sockets[i].lane = lane;
	client->sockets[i].socket = socket;
	client->sockets[i].events = events;
	return 0;
}

static int
set_timer(CURLM *multi, long milliseconds, void *argument)
{
	((Lane *) argument)->timer = milliseconds;
	return 0;
}

/* --- driving libcurl --- */

/* libcurl may start a resolver thread, which inherits the signal mask: signals are the main thread's. */
static void
drive(Lane *lane, curl_socket_t socket, int events)
{
	sigset_t all;
	sigset_t before;
	int running;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	if (socket == CURL_SOCKET_TIMEOUT)
		lane->timer = -1;
	curl_multi_socket_action(lane->multi, socket, events, &running);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void
collect_finished(Lane *lane)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(lane->multi, &left)) != NULL)
	{
		Request *request = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **) &request);
		request->result = message->data.result;
		request->finished = true;
	}
}

static bool
has_finished(HttpClient *client)
{
	for (Request *request = client->requests; request != NULL; request = request->next)
	{
		if (request->finished)
			return true;
	}
	return false;
}

/* --- lanes --- */

static bool
set_lane_options(Lane *lane)
{
	/* As CURLOPT_QUICK_EXIT, which no longer does it since 8.20: a lane would be closed when the last name is looked up. */
#if CURL_AT_LEAST_VERSION(8, 20, 0)
	if (curl_multi_setopt(lane->multi, CURLMOPT_QUICK_EXIT, 1L) != CURLM_OK)
		return false;
#endif
	return curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, watch_socket) == CURLM_OK &&
		   curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane) == CURLM_OK &&
		   curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, set_timer) == CURLM_OK &&
		   curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane) == CURLM_OK &&
		   curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, MAX_CONNECTIONS) == CURLM_OK &&
		   curl_multi_setopt(lane->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) == CURLM_OK;
}

static Lane *
open_lane(HttpClient *client, const pg_uuid_t *owner)
{
	Lane *lane = calloc(1, sizeof(Lane));

	if (lane == NULL)
		return NULL;
	lane->client = client;
	lane->owner = *owner;
	lane->timer = -1;
	lane->multi = curl_multi_init();
	if (lane->multi == NULL || !set_lane_options(lane))
	{
		curl_multi_cleanup(lane->multi);
		free(lane);
		return NULL;
	}
	client->lane_count++;
	return lane;
}

/* Takes a lane out of the list and closes its connections. */
static void
close_lane(HttpClient *client, Lane **at)
{
	Lane *lane = *at;

	*at = lane->next;
	curl_multi_cleanup(lane->multi);
	free(lane);
	client->lane_count--;
}

/* Too many owners: the lane that was used longest ago, and has nothing to do, goes. */
static void
close_idle_lane(HttpClient *client)
{
	Lane **idle = NULL;

	for (Lane **at = &client->lanes; *at != NULL; at = &(*at)->next)
	{
		if ((*at)->in_flight == 0)
			idle = at;
	}
	if (idle != NULL)
		close_lane(client, idle);
}

/* The lane of an owner, first in the list from now on; NULL when memory is out. */
static Lane *
find_lane(HttpClient *client, const pg_uuid_t *owner)
{
	Lane **at = &client->lanes;
	Lane *lane;

	while (*at != NULL && memcmp(&(*at)->owner, owner, sizeof(*owner)) != 0)
		at = &(*at)->next;
	lane = *at;
	if (lane != NULL)
		*at = lane->next;
	else
	{
		if (client->lane_count >= MAX_LANES)
			close_idle_lane(client);
		lane = open_lane(client, owner);
	}
	if (lane != NULL)
	{
		lane->next = client->lanes;
		client->lanes = lane;
	}
	return lane;
}

/* --- the client --- */

HttpClient *
open_http_client(MemoryContext context)
{
	static uint32 event = 0;
	HttpClient *client;

	initialize_curl();
	client = MemoryContextAllocZero(context, sizeof(HttpClient));
	client->context = context;
	client->wait_event = keypup_wait_event(&event, "KeypupReplies");
	return client;
}

static void
release_request(HttpClient *client, Request *request)
{
	Lane *lane = request->lane;

	if (request->easy != NULL && lane != NULL)
		curl_multi_remove_handle(lane->multi, request->easy);
	if (lane != NULL)
		lane->in_flight--;
	close_request(request);
	client->in_flight--;
}

void
rest_http_client(HttpClient *client)
{
	while (client->requests == NULL && client->lanes != NULL)
		close_lane(client, &client->lanes);
}

void
close_http_client(HttpClient *client)
{
	while (client->requests != NULL)
	{
		Request *request = client->requests;

		client->requests = request->next;
		release_request(client, request);
	}
	rest_http_client(client);
}

void
send_request(HttpClient *client, const pg_uuid_t *owner, const HttpRequest *wanted, void *caller)
{
	Request *request = open_request(wanted, caller);
	Lane *lane;

	if (request == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	request->owner = *owner;
	request->next = client->requests;
	client->requests = request;
	client->in_flight++;
	client->sent++;

	lane = find_lane(client, owner);
	if (lane == NULL)
		request->refused = "out of memory";
	else
	{
		request->lane = lane;
		lane->in_flight++;
	}
	if (request->refused == NULL && curl_multi_add_handle(lane->multi, request->easy) != CURLM_OK)
		request->refused = "libcurl refused the request";
	request->finished = request->refused != NULL;
	if (!request->finished)
	{
		drive(lane, CURL_SOCKET_TIMEOUT, 0);
		collect_finished(lane);
	}
}

int
requests_in_flight(HttpClient *client)
{
	return client->in_flight;
}

int64
requests_sent(HttpClient *client)
{
	return client->sent;
}

/* Returns how many events there are. */
static int
wait_for_events(HttpClient *client, long timeout, WaitEvent *events)
{
	WaitEventSet *set = keypup_create_wait_event_set(client->socket_count + 2);
	volatile int count = 0;

	/* The kernel may refuse to watch a socket, and the set is a file descriptor that no context closes. */
	PG_TRY();
	{
		AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
		AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
		for (int i = 0; i < client->socket_count; i++)
			AddWaitEventToSet(set, client->sockets[i].events, client->sockets[i].socket, NULL,
							  client->sockets[i].lane);
		count =
			WaitEventSetWait(set, timeout, events, client->socket_count + 2, client->wait_event);
	}
	PG_FINALLY();
	{
		FreeWaitEventSet(set);
	}
	PG_END_TRY();
	return count;
}

void
wait_for_replies(HttpClient *client, long timeout)
{
	WaitEvent events[MAX_SOCKETS + 2];
	int count;

	if (has_finished(client))
		return;
	for (Lane *lane = client->lanes; lane != NULL; lane = lane->next)
	{
		if (lane->timer >= 0)
			timeout = timeout < 0 ? lane->timer : Min(timeout, lane->timer);
	}

	count = wait_for_events(client, timeout, events);
	for (int i = 0; i < count; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else
			drive(events[i].user_data, events[i].fd,
				  (events[i].events & WL_SOCKET_READABLE ? CURL_CSELECT_IN : 0) |
					  (events[i].events & WL_SOCKET_WRITEABLE ? CURL_CSELECT_OUT : 0));
	}
	/* Acting early does no harm; acting late would. */
	for (Lane *lane = client->lanes; lane != NULL; lane = lane->next)
	{
		if (lane->in_flight > 0)
			drive(lane, CURL_SOCKET_TIMEOUT, 0);
		collect_finished(lane);
	}
}

/* A finished request: of the owner whose turn is next, and of that owner the one that was sent first. */
static Request **
find_finished(HttpClient *client)
{
	Request **first = NULL;
	Request **next = NULL;

	for (Request **at = &client->requests; *at != NULL; at = &(*at)->next)
	{
		const pg_uuid_t *owner = &(*at)->owner;

		if (!(*at)->finished)
			continue;
		if (first == NULL || memcmp(owner, &(*first)->owner, sizeof(*owner)) <= 0)
			first = at;
		if (memcmp(owner, &client->answered, sizeof(*owner)) > 0 &&
			(next == NULL || memcmp(owner, &(*next)->owner, sizeof(*owner)) <= 0))
			next = at;
	}
	return next != NULL ? next : first;
}

HttpReply *
next_reply(HttpClient *client)
{
	Request **at = find_finished(client);
	Request *request;
	HttpReply *reply;
	MemoryContext before;

	if (at == NULL)
		return NULL;
	request = *at;
	client->answered = request->owner;

	before = MemoryContextSwitchTo(
		AllocSetContextCreate(client->context, "keypup reply", ALLOCSET_DEFAULT_SIZES));
	reply = make_reply(request);
	MemoryContextSwitchTo(before);

	*at = request->next;
	release_request(client, request);
	return reply;
}

void
drop_body(HttpReply *reply)
{
	free_wiped(reply->body);
	reply->body_release.arg = reply->body = NULL;
	reply->body_length = 0;
}

void
free_reply(HttpReply *reply)
{
	MemoryContextDelete(GetMemoryChunkContext(reply));
}
