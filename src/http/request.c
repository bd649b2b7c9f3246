/*
 * request.c
 *		One request: its options, what its callbacks accept, and the reply that is
 *		made of it. Every limit that a hostile server could test stands here.
 *
 * Callbacks run inside libcurl: they return codes and use malloc, and no error
 * is raised before libcurl has returned.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>

#include <openssl/crypto.h>

#include "miscadmin.h"
#include "utils/json.h"

#include "http/proxy.h"
#include "http/request.h"
#include "http/tls.h"
#include "keypup.h"

#define MAX_BODY_BYTES (2 * 1024 * 1024)
#define MAX_HEADER_BYTES (64 * 1024)
#define CONNECT_MILLISECONDS 5000L
#define REQUEST_MILLISECONDS 30000L

/* The headers that are kept of every reply: HTTP's own (RFC 9110, RFC 8288). A provider names others. */
static const char kept_headers[] = "content-type date link location retry-after";

void
free_wiped(void *memory)
{
	if (memory != NULL)
		OPENSSL_cleanse(memory, malloc_usable_size(memory));
	free(memory);
}

void *
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

/* --- callbacks: called by libcurl, raise nothing --- */

/* Appends to what is there, up to a limit. Returns NULL or what is wrong. */
static const char *
append_bytes(Bytes *into, const char *bytes, size_t length, size_t limit, const char *too_much)
{
	if (length > limit - into->used)
		return too_much;
	if (into->used + length + 1 > into->room)
	{
		size_t room = Max(into->used + length + 1, Min(2 * into->room, limit + 1));
		char *grown = reallocate_wiped(into->text, room);

		if (grown == NULL)
			return "out of memory";
		into->text = grown;
		into->room = room;
	}
	memcpy(into->text + into->used, bytes, length);
	into->used += length;
	into->text[into->used] = '\0';
	return NULL;
}

static size_t
take_body(char *bytes, size_t size, size_t count, void *argument)
{
	Request *request = argument;

	request->refused = append_bytes(&request->body, bytes, size * count, MAX_BODY_BYTES,
									"reply is larger than 2 MiB");
	return request->refused == NULL ? size * count : 0;
}

static size_t
take_header(char *bytes, size_t size, size_t count, void *argument)
{
	Request *request = argument;

	/* A status line begins a response; what came before was an interim one, as 103. */
	if (size * count >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
		request->header_start = request->headers.used;
	request->refused = append_bytes(&request->headers, bytes, size * count, MAX_HEADER_BYTES,
									"reply has more than 64 KiB of headers");
	return request->refused == NULL ? size * count : 0;
}

/* Which addresses a request may talk to. */
static bool
address_is_allowed(const Request *request, const struct sockaddr *address)
{
	if (request->proxied)
		return address_is_proxy(request, address);
	return address_is_public(address) || host_is_private(request->host, request->port);
}

/* Before any packet leaves: the address that was resolved, not the name that was written. */
static curl_socket_t
open_socket(void *argument, curlsocktype purpose, struct curl_sockaddr *address)
{
	Request *request = argument;

	if (!address_is_allowed(request, &address->addr))
	{
		request->address_refused = true;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Before the request is written: a connection that is used again has opened no socket. */
static int
check_peer(void *argument, char *peer, char *local, int peer_port, int local_port)
{
	Request *request = argument;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16) peer_port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16) peer_port)};

	if ((inet_pton(AF_INET, peer, &v4.sin_addr) == 1 &&
		 address_is_allowed(request, (struct sockaddr *) &v4)) ||
		(inet_pton(AF_INET6, peer, &v6.sin6_addr) == 1 &&
		 address_is_allowed(request, (struct sockaddr *) &v6)))
	{
		request->connected = true;
		return CURL_PREREQFUNC_OK;
	}
	request->address_refused = true;
	return CURL_PREREQFUNC_ABORT;
}

/* --- making a request --- */

static const char *
add_header(Request *request, const char *line)
{
	struct curl_slist *lines = curl_slist_append(request->header_lines, line);

	if (lines == NULL)
		return "out of memory";
	request->header_lines = lines;
	return NULL;
}

/* A control character in the token could start another header. */
static const char *
add_authorization(Request *request, const char *line)
{
	for (const char *c = line; *c != '\0'; c++)
	{
		if ((unsigned char) *c < 0x20 || (unsigned char) *c >= 0x7F)
			return "token is malformed";
	}
	return add_header(request, line);
}

static bool
has_header(const char *const *headers, const char *name)
{
	for (; headers != NULL && *headers != NULL; headers++)
	{
		if (pg_strncasecmp(*headers, name, strlen(name)) == 0 && (*headers)[strlen(name)] == ':')
			return true;
	}
	return false;
}

/* Returns NULL or what is wrong. */
static const char *
make_headers(Request *request, const char *authorization, const char *const *headers)
{
	static const char *const own[] = {"User-Agent: keypup/" KEYPUP_VERSION, NULL};
	static const char *const accepted[] = {"Accept: application/json", NULL};
	static const char *const posted[] = {"Content-Type: application/json", NULL};
	bool is_json = request->sent_body != NULL && !has_header(headers, "Content-Type");
	const char *const *sets[] = {own, has_header(headers, "Accept") ? NULL : accepted,
								 is_json ? posted : NULL, headers};
	const char *wrong = authorization == NULL ? NULL : add_authorization(request, authorization);

	for (int i = 0; i < (int) lengthof(sets) && wrong == NULL; i++)
	{
		for (const char *const *header = sets[i];
			 header != NULL && *header != NULL && wrong == NULL; header++)
			wrong = add_header(request, *header);
	}
	return wrong;
}

/* Every option's return is checked: a refused one would be a hole. */
static bool
set_options(Request *request, const char *url)
{
	CURL *easy = request->easy;
	bool done = true;

#define SET(option, value) (done = done && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_PRIVATE, request);
	SET(CURLOPT_ERRORBUFFER, request->error);
	SET(CURLOPT_HTTPHEADER, request->header_lines);
	if (request->sent_body == NULL)
		SET(CURLOPT_HTTPGET, 1L);
	else
		SET(CURLOPT_POSTFIELDS, request->sent_body);
	SET(CURLOPT_PROTOCOLS_STR, "https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_UNRESTRICTED_AUTH, 0L);
	SET(CURLOPT_HTTPAUTH, (long) CURLAUTH_NONE);
	SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET(CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_SSL_CIPHER_LIST, TLS12_CIPHERS);
	SET(CURLOPT_SSL_CTX_FUNCTION, check_revocations);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (keypup_ca_file != NULL && keypup_ca_file[0] != '\0')
	{
		SET(CURLOPT_CAINFO, keypup_ca_file);
		/* Instead of the system's: where libcurl was built with a folder of them, it would ask that, too. */
		SET(CURLOPT_CAPATH, NULL);
	}
	SET(CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET(CURLOPT_NOSIGNAL, 1L);
	/* When its time is over: libcurl would wait for the thread that looks the name up, and all others with it. */
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MILLISECONDS);
	SET(CURLOPT_TIMEOUT_MS, REQUEST_MILLISECONDS);
	SET(CURLOPT_LOW_SPEED_LIMIT, 100L);
	SET(CURLOPT_LOW_SPEED_TIME, 10L);
	/* For HTTP/2 libcurl has a library that frees its copies of the token unwiped; a worker's process ends with them. */
	SET(CURLOPT_HTTP_VERSION, MyBackendType == B_BG_WORKER ? (long) CURL_HTTP_VERSION_2TLS
														   : (long) CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_ACCEPT_ENCODING, "gzip");
	SET(CURLOPT_BUFFERSIZE, 65536L);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_OPENSOCKETDATA, request);
	SET(CURLOPT_PREREQFUNCTION, check_peer);
	SET(CURLOPT_PREREQDATA, request);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, request);
	SET(CURLOPT_HEADERFUNCTION, take_header);
	SET(CURLOPT_HEADERDATA, request);
#undef SET
	return done;
}

/* Returns NULL or what is wrong. */
static const char *
prepare_request(Request *request, const HttpRequest *wanted)
{
	const char *wrong = NULL;

	request->sent_body = wanted->body == NULL ? NULL : strdup(wanted->body);
	request->reply_headers = wanted->reply_headers == NULL ? NULL : strdup(wanted->reply_headers);
	request->easy = curl_easy_init();
	if ((wanted->body != NULL && request->sent_body == NULL) ||
		(wanted->reply_headers != NULL && request->reply_headers == NULL) || request->easy == NULL)
		return "out of memory";
	if (!read_url_host(wanted->url, request->host, request->port))
		return "URL is malformed";
	wrong = choose_route(request);
	if (wrong == NULL)
		wrong = make_headers(request, wanted->authorization, wanted->headers);
	if (wrong == NULL && !(set_options(request, wanted->url) &&
						   set_proxy_options(request, wanted->proxy_credentials)))
		wrong = "libcurl refused a setting";
	return wrong;
}

Request *
open_request(const HttpRequest *wanted, void *caller)
{
	Request *request = calloc(1, sizeof(Request));

	if (request == NULL)
		return NULL;
	request->caller = caller;
	request->refused = wanted->refused;
	request->refused_hint = wanted->refused_hint;
	if (request->refused == NULL)
		request->refused = prepare_request(request, wanted);
	return request;
}

static void
free_header_lines(struct curl_slist *lines)
{
	/* Again here: libcurl frees by other means when another extension has started it. */
	for (struct curl_slist *line = lines; line != NULL; line = line->next)
		OPENSSL_cleanse(line->data, strlen(line->data));
	curl_slist_free_all(lines);
}

void
close_request(Request *request)
{
	if (request->easy != NULL)
		curl_easy_cleanup(request->easy);
	free_header_lines(request->header_lines);
	free_header_lines(request->proxy_header_lines);
	free_wiped(request->body.text);
	free_wiped(request->headers.text);
	/* An assertion that is exchanged for a token is one. */
	free_wiped(request->sent_body);
	free(request->reply_headers);
	free(request);
}

/* --- making a reply --- */

static const char *
describe_failure(Request *request, const char **hint)
{
	const char *proxy_failure;

	*hint = request->refused_hint;
	if (request->refused != NULL)
		return request->refused;
	proxy_failure = describe_proxy_failure(request, hint);
	if (proxy_failure != NULL)
		return proxy_failure;
	/* A refused address matters only when no other address of the host could be reached. */
	if (request->address_refused &&
		(request->result == CURLE_COULDNT_CONNECT || request->result == CURLE_ABORTED_BY_CALLBACK))
	{
		*hint = "A superuser can allow the host in keypup.private_hosts.";
		return psprintf("host \"%s\" has a private address", request->host);
	}
	switch (request->result)
	{
		case CURLE_OPERATION_TIMEDOUT:
			/* Before anything was sent no reply could be too large, or too slow. */
			if (!request->connected)
				return psprintf("could not connect to \"%s\" in time", request->host);
			return "timed out";
		case CURLE_COULDNT_RESOLVE_HOST:
			*hint = "Check base_url in keypup.connections, and the server's name resolution.";
			return psprintf("host \"%s\" is not known", request->host);
		case CURLE_COULDNT_CONNECT:
			return psprintf("could not connect to \"%s\"", request->host);
		case CURLE_PEER_FAILED_VERIFICATION:
			*hint = "Check keypup.ca_file, and whether a proxy intercepts TLS.";
			return psprintf("certificate of \"%s\" is not valid: %s", request->host,
							request->error);
		case CURLE_SSL_CACERT_BADFILE:
			*hint = "Check keypup.ca_file.";
			return "the file of certificate authorities cannot be used";
		case CURLE_SSL_CONNECT_ERROR:
			*hint = request->proxied
						? "TLS 1.2 or newer is needed; check whether the proxy intercepts it."
						: "TLS 1.2 or newer is needed.";
			return psprintf("no TLS connection to \"%s\"", request->host);
		default:
			return psprintf("request failed: %s", curl_easy_strerror(request->result));
	}
}

/* The name in a list, separated by blanks, that a header line begins with, and its length; NULL: none. */
static const char *
kept_name(const char *list, const char *line, size_t *length)
{
	for (const char *name = list; name != NULL && *name != '\0'; name += *length)
	{
		name += strspn(name, " ");
		*length = strcspn(name, " ");
		if (*length > 0 && pg_strncasecmp(line, name, *length) == 0 && line[*length] == ':')
			return name;
	}
	return NULL;
}

/* The kept headers of the last response, as a JSON object. */
static char *
keep_headers(const char *text, const char *reply_headers)
{
	StringInfoData json;
	const char *separator = "";

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (const char *line = text; line != NULL && *line != '\0';
		 line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
	{
		size_t length = 0;
		const char *name = kept_name(kept_headers, line, &length);
		char value[1024];
		size_t size = 0;

		if (name == NULL)
			name = kept_name(reply_headers, line, &length);
		if (name == NULL)
			continue;
		for (const char *c = line + length + 1;
			 *c != '\r' && *c != '\n' && *c != '\0' && size < sizeof(value) - 1; c++)
		{
			/* Plain characters only: a header is not always valid text. */
			if ((size > 0 || *c != ' ') && *c >= 0x20 && *c < 0x7F)
				value[size++] = *c;
		}
		value[size] = '\0';
		appendStringInfo(&json, "%s\"%.*s\":", separator, (int) length, name);
		escape_json(&json, value);
		separator = ",";
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

HttpReply *
make_reply(Request *request)
{
	HttpReply *reply;
	curl_off_t microseconds = 0;
	long status = 0;

	reply = palloc0(sizeof(HttpReply));
	reply->caller = request->caller;
	if (request->easy != NULL &&
		curl_easy_getinfo(request->easy, CURLINFO_TOTAL_TIME_T, &microseconds) == CURLE_OK)
		reply->milliseconds = (int) (microseconds / 1000);
	if (request->refused != NULL || request->result != CURLE_OK)
		reply->failure = describe_failure(request, &reply->failure_hint);
	else
	{
		curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
		reply->status = (int) status;
	}
	reply->headers = keep_headers(
		request->headers.text == NULL ? NULL : request->headers.text + request->header_start,
		request->reply_headers);
	if (reply->failure == NULL)
	{
		/* It is the reply's now. */
		reply->body = request->body.text;
		reply->body_length = request->body.used;
		reply->body_release.func = free_wiped;
		reply->body_release.arg = reply->body;
		MemoryContextRegisterResetCallback(CurrentMemoryContext, &reply->body_release);
		request->body = (Bytes){0};
	}
	return reply;
}
