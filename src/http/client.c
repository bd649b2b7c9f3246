/*
 * client.c
 *		libcurl's multi interface, driven by a WaitEventSet. Knows no provider
 *		and no job: URL, header and body in, status, headers and body out.
 *
 * Callbacks run inside libcurl: they return codes and use malloc, and no error
 * is raised before libcurl has returned. All that libcurl frees is wiped, since
 * the token passes through its buffers.
 */
#include "postgres.h"

#include <malloc.h>
#include <signal.h>

#include <curl/curl.h>
#include <openssl/crypto.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "compat.h"
#include "http/client.h"
#include "http/policy.h"
#include "keypup.h"

#define MAX_BODY_BYTES (8 * 1024 * 1024)
#define MAX_HEADER_BYTES (64 * 1024)
#define MAX_SOCKETS 256
#define CONNECT_MILLISECONDS 5000L
#define REQUEST_MILLISECONDS 30000L

typedef struct Request
{
	struct Request *next;
	CURL *easy;
	struct curl_slist *header_lines;
	char host[POLICY_HOST_BYTES];
	char port[8];
	char *body;					/* malloc'd; what arrived */
	size_t body_length;
	char *header_text;			/* malloc'd */
	size_t header_length;
	char *sent_body;			/* malloc'd */
	char error[CURL_ERROR_SIZE];
	const char *refused;		/* what a callback refused */
	CURLcode result;
	bool finished;
	void *caller;
} Request;

typedef struct WatchedSocket
{
	curl_socket_t socket;
	int events;					/* WL_SOCKET_… */
} WatchedSocket;

struct HttpClient
{
	MemoryContext context;
	CURLM *multi;
	Request *requests;
	int in_flight;
	int socket_count;
	WatchedSocket sockets[MAX_SOCKETS];
	long timer;					/* milliseconds until curl wants to act; -1 never */
};

/* The headers that a provider's verdict may need. */
static const char *const kept_headers[] = {
	"retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-used", "x-ratelimit-reset",
	"x-ratelimit-resource", "x-github-sso", "github-authentication-token-expiration", "x-oauth-scopes",
	"date", "content-type", "location",
};

static void
free_wiped(void *memory)
{
	if (memory != NULL)
		OPENSSL_cleanse(memory, malloc_usable_size(memory));
	free(memory);
}

static void *
reallocate_wiped(void *memory, size_t size)
{
	size_t old = memory == NULL ? 0 : malloc_usable_size(memory);
	void *copy = malloc(size == 0 ? 1 : size);

	if (copy == NULL)
		return NULL;
	if (memory != NULL)
		memcpy(copy, memory, Min(old, size));
	free_wiped(memory);
	return copy;
}

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
	/* OpenSSL would write TLS keys to the file that this names. */
	unsetenv("SSLKEYLOGFILE");
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, free_wiped, reallocate_wiped, duplicate, calloc) != CURLE_OK)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not start libcurl")));
	initialized = true;
}

/* --- callbacks: called by libcurl, raise nothing --- */

static size_t
take_body(char *bytes, size_t size, size_t count, void *argument)
{
	Request *request = argument;
	size_t length = size * count;
	char *grown;

	if (request->body_length + length > MAX_BODY_BYTES)
	{
		request->refused = "reply is larger than 8 MiB";
		return 0;
	}
	grown = realloc(request->body, request->body_length + length + 1);
	if (grown == NULL)
	{
		request->refused = "out of memory";
		return 0;
	}
	memcpy(grown + request->body_length, bytes, length);
	request->body = grown;
	request->body_length += length;
	return length;
}

static size_t
take_header(char *bytes, size_t size, size_t count, void *argument)
{
	Request *request = argument;
	size_t length = size * count;
	char *grown;

	if (request->header_length + length > MAX_HEADER_BYTES)
	{
		request->refused = "reply has more than 64 KiB of headers";
		return 0;
	}
	grown = realloc(request->header_text, request->header_length + length + 1);
	if (grown == NULL)
	{
		request->refused = "out of memory";
		return 0;
	}
	memcpy(grown + request->header_length, bytes, length);
	grown[request->header_length + length] = '\0';
	request->header_text = grown;
	request->header_length += length;
	return length;
}

/* Before any packet leaves: the address that was resolved, not the name that was written. */
static curl_socket_t
open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *address)
{
	Request *request = argument;

	if (!address_is_public(&address->addr) && !host_is_private(request->host, request->port))
	{
		request->refused = "address is private";
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *argument, void *unused)
{
	HttpClient *client = argument;
	int events = (what & CURL_POLL_IN ? WL_SOCKET_READABLE : 0) | (what & CURL_POLL_OUT ? WL_SOCKET_WRITEABLE : 0);
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
	client->sockets[i].socket = socket;
	client->sockets[i].events = events;
	return 0;
}

static int
set_timer(CURLM *multi, long milliseconds, void *argument)
{
	((HttpClient *) argument)->timer = milliseconds;
	return 0;
}

/* --- driving libcurl --- */

/* libcurl may start a resolver thread, which inherits the signal mask: signals are the main thread's. */
static void
drive(HttpClient *client, curl_socket_t socket, int events)
{
	sigset_t all;
	sigset_t before;
	int running;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	if (socket == CURL_SOCKET_TIMEOUT)
		client->timer = -1;
	curl_multi_socket_action(client->multi, socket, events, &running);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

static void
collect_finished(HttpClient *client)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(client->multi, &left)) != NULL)
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

HttpClient *
open_http_client(MemoryContext context)
{
	HttpClient *client;

	initialize_curl();
	client = MemoryContextAllocZero(context, sizeof(HttpClient));
	client->context = context;
	client->timer = -1;
	client->multi = curl_multi_init();
	if (client->multi == NULL ||
		curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, watch_socket) != CURLM_OK ||
		curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client) != CURLM_OK ||
		curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, set_timer) != CURLM_OK ||
		curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client) != CURLM_OK ||
		curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) != CURLM_OK)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not open an HTTP client")));
	return client;
}

static void
release_request(HttpClient *client, Request *request)
{
	if (request->easy != NULL)
	{
		curl_multi_remove_handle(client->multi, request->easy);
		curl_easy_cleanup(request->easy);
	}
	curl_slist_free_all(request->header_lines);
	free(request->body);
	free(request->header_text);
	free(request->sent_body);
	free(request);
	client->in_flight--;
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
	if (client->multi != NULL)
		curl_multi_cleanup(client->multi);
	client->multi = NULL;
}

/* Returns NULL or what is wrong. */
static const char *
read_host(Request *request, const char *url)
{
	CURLU *parsed = curl_url();
	char *host = NULL;
	char *port = NULL;
	bool valid;

	valid = parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
		curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
		strlen(host) < sizeof(request->host) && strlen(port) < sizeof(request->port);
	if (valid)
	{
		strlcpy(request->host, host, sizeof(request->host));
		strlcpy(request->port, port, sizeof(request->port));
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(parsed);
	return valid ? NULL : "URL is malformed";
}

/* Returns NULL or what is wrong. A value with a control character could start another header. */
static const char *
make_headers(Request *request, const char *authorization, const char *const *headers)
{
	static const char *const own[] = {"Content-Type: application/json", "Accept: application/json", "User-Agent: keypup/" KEYPUP_VERSION, NULL};
	const char *const *sets[] = {own, headers};
	struct curl_slist *lines;
	char *line;
	size_t size;

	for (const char *c = authorization; *c != '\0'; c++)
	{
		if ((unsigned char) *c < 0x20 || (unsigned char) *c >= 0x7F)
			return "token is malformed";
	}
	size = strlen(authorization) + sizeof("Authorization: ");
	line = malloc(size);
	if (line == NULL)
		return "out of memory";
	snprintf(line, size, "Authorization: %s", authorization);
	lines = curl_slist_append(NULL, line);
	free_wiped(line);
	request->header_lines = lines;
	for (int i = 0; i < (int) lengthof(sets) && lines != NULL; i++)
	{
		for (const char *const *header = sets[i]; header != NULL && *header != NULL && lines != NULL; header++)
			lines = curl_slist_append(request->header_lines, *header);
	}
	return lines == NULL ? "out of memory" : NULL;
}

/* Every option's return is checked: a refused one would be a hole. */
static bool
set_options(HttpClient *client, Request *request, const char *url)
{
	CURL *easy = request->easy;
	bool done = true;

#define SET(option, value) (done = done && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PRIVATE, request);
	SET(CURLOPT_ERRORBUFFER, request->error);
	SET(CURLOPT_HTTPHEADER, request->header_lines);
	SET(CURLOPT_POSTFIELDS, request->sent_body);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_UNRESTRICTED_AUTH, 0L);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (keypup_ca_file != NULL && keypup_ca_file[0] != '\0')
		SET(CURLOPT_CAINFO, keypup_ca_file);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MILLISECONDS);
	SET(CURLOPT_TIMEOUT_MS, REQUEST_MILLISECONDS);
	SET(CURLOPT_LOW_SPEED_LIMIT, 100L);
	SET(CURLOPT_LOW_SPEED_TIME, 10L);
	SET(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
	SET(CURLOPT_ACCEPT_ENCODING, "gzip");
	SET(CURLOPT_BUFFERSIZE, 65536L);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, request);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, request);
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, request);
#undef SET
	return done;
}

void
send_request(HttpClient *client, const char *url, const char *authorization, const char *body,
			 const char *const *headers, void *caller)
{
	Request *request = calloc(1, sizeof(Request));

	if (request == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	request->caller = caller;
	request->next = client->requests;
	client->requests = request;
	client->in_flight++;

	request->sent_body = strdup(body);
	request->easy = curl_easy_init();
	if (request->sent_body == NULL || request->easy == NULL)
		request->refused = "out of memory";
	if (request->refused == NULL)
		request->refused = read_host(request, url);
	if (request->refused == NULL)
		request->refused = make_headers(request, authorization, headers);
	if (request->refused == NULL && (!set_options(client, request, url) || curl_multi_add_handle(client->multi, request->easy) != CURLM_OK))
		request->refused = "libcurl refused a setting";
	request->finished = request->refused != NULL;
	if (!request->finished)
		drive(client, CURL_SOCKET_TIMEOUT, 0);
	collect_finished(client);
}

int
requests_in_flight(HttpClient *client)
{
	return client->in_flight;
}

void
wait_for_replies(HttpClient *client, long timeout)
{
	WaitEventSet *set;
	WaitEvent events[MAX_SOCKETS + 2];
	int count;

	if (has_finished(client))
		return;
	if (client->timer >= 0)
		timeout = Min(timeout, client->timer);

	set = keypup_create_wait_event_set(client->socket_count + 2);
	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < client->socket_count; i++)
		AddWaitEventToSet(set, client->sockets[i].events, client->sockets[i].socket, NULL, NULL);
	count = WaitEventSetWait(set, timeout, events, client->socket_count + 2, PG_WAIT_EXTENSION);
	FreeWaitEventSet(set);

	for (int i = 0; i < count; i++)
	{
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
		else
			drive(client, events[i].fd,
				  (events[i].events & WL_SOCKET_READABLE ? CURL_CSELECT_IN : 0) | (events[i].events & WL_SOCKET_WRITEABLE ? CURL_CSELECT_OUT : 0));
	}
	/* Acting early does no harm; acting late would. */
	drive(client, CURL_SOCKET_TIMEOUT, 0);
	collect_finished(client);
}

static const char *
describe_failure(Request *request, const char **hint)
{
	*hint = NULL;
	if (request->refused != NULL && strcmp(request->refused, "address is private") == 0)
	{
		*hint = "A superuser can allow the host in keypup.private_hosts.";
		return psprintf("host \"%s\" has a private address", request->host);
	}
	if (request->refused != NULL)
		return request->refused;
	switch (request->result)
	{
		case CURLE_OPERATION_TIMEDOUT:
			return "timed out";
		case CURLE_COULDNT_RESOLVE_HOST:
			*hint = "Check base_url in keypup.connections, and the server's name resolution.";
			return psprintf("host \"%s\" is not known", request->host);
		case CURLE_COULDNT_CONNECT:
			return psprintf("could not connect to \"%s\"", request->host);
		case CURLE_PEER_FAILED_VERIFICATION:
			*hint = "Check keypup.ca_file, and whether a proxy intercepts TLS.";
			return psprintf("certificate of \"%s\" is not valid: %s", request->host, request->error);
		case CURLE_SSL_CACERT_BADFILE:
			*hint = "Check keypup.ca_file.";
			return "the file of certificate authorities cannot be used";
		case CURLE_SSL_CONNECT_ERROR:
			*hint = "TLS 1.2 or newer is needed.";
			return psprintf("no TLS connection to \"%s\"", request->host);
		default:
			return psprintf("request failed: %s", curl_easy_strerror(request->result));
	}
}

/* The kept headers of the last response, as a JSON object. */
static char *
keep_headers(const char *text)
{
	StringInfoData json;
	const char *separator = "";

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
	{
		for (int i = 0; i < (int) lengthof(kept_headers); i++)
		{
			size_t length = strlen(kept_headers[i]);
			char value[1024];
			size_t size = 0;

			if (pg_strncasecmp(line, kept_headers[i], length) != 0 || line[length] != ':')
				continue;
			for (const char *c = line + length + 1; *c != '\r' && *c != '\n' && *c != '\0' && size < sizeof(value) - 1; c++)
			{
				/* Plain characters only: a header is not always valid text. */
				if ((size > 0 || *c != ' ') && *c >= 0x20 && *c < 0x7F)
					value[size++] = *c;
			}
			value[size] = '\0';
			appendStringInfo(&json, "%s\"%s\":", separator, kept_headers[i]);
			escape_json(&json, value);
			separator = ",";
		}
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

HttpReply *
next_reply(HttpClient *client)
{
	Request **at = &client->requests;
	Request *request;
	HttpReply *reply;
	MemoryContext before;
	long status = 0;

	while (*at != NULL && !(*at)->finished)
		at = &(*at)->next;
	if (*at == NULL)
		return NULL;
	request = *at;

	before = MemoryContextSwitchTo(AllocSetContextCreate(client->context, "keypup reply", ALLOCSET_DEFAULT_SIZES));
	reply = palloc0(sizeof(HttpReply));
	reply->caller = request->caller;
	if (request->refused != NULL || request->result != CURLE_OK)
		reply->failure = describe_failure(request, &reply->failure_hint);
	else
	{
		curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
		reply->status = (int) status;
	}
	initStringInfo(&reply->body);
	if (request->body != NULL && reply->failure == NULL)
		appendBinaryStringInfo(&reply->body, request->body, (int) request->body_length);
	reply->headers = keep_headers(request->header_text);
	MemoryContextSwitchTo(before);

	*at = request->next;
	release_request(client, request);
	return reply;
}

void
free_reply(HttpReply *reply)
{
	MemoryContextDelete(GetMemoryChunkContext(reply));
}
