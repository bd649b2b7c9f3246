/*
 * proxy.c
 *		The HTTP proxy of a company's network. Requests to the hosts that a superuser
 *		has listed go through it, and never directly; all others go directly, and
 *		never through it.
 *
 * The proxy is asked to CONNECT: TLS is between us and the host, which is verified
 * as ever. Where a name leads, the proxy decides: the address cannot be checked here,
 * so the list is explicit.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <openssl/evp.h>

#include "http/proxy.h"
#include "http/tls.h"
#include "keypup.h"

#define MAX_ANSWER_BYTES (64 * 1024)
#define HOST_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]"

/* --- settings --- */

static bool
has_part(CURLU *url, CURLUPart part)
{
	char *text = NULL;
	bool has = curl_url_get(url, part, &text, 0) == CURLUE_OK;

	curl_free(text);
	return has;
}

static bool
path_is_empty(CURLU *url)
{
	char *path = NULL;
	bool is = curl_url_get(url, CURLUPART_PATH, &path, 0) == CURLUE_OK && strcmp(path, "/") == 0;

	curl_free(path);
	return is;
}

/* Returns NULL or what is wrong. */
static const char *
judge_proxy(CURLU *url, const char *text)
{
	static const char form[] = "It is written as http://HOST:PORT or https://HOST:PORT.";
	const char *rest = text;

	if (strchr(text, '@') != NULL)
		return "It holds a user name or password.";
	if (pg_strncasecmp(text, "http://", 7) == 0)
		rest += 7;
	else if (pg_strncasecmp(text, "https://", 8) == 0)
		rest += 8;
	/* libcurl is more lenient than people: it reads http:/HOST and http:///HOST as well. */
	if (rest == text || *rest == '/' || strlen(text) >= POLICY_HOST_BYTES ||
		rest[strspn(rest, HOST_CHARACTERS "/")] != '\0' ||
		curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
		return form;
	if (!path_is_empty(url))
		return "It has a path.";
	return has_part(url, CURLUPART_PORT) ? NULL : "It has no port.";
}

bool
check_proxy(char **value, void **extra, GucSource source)
{
	CURLU *url;
	const char *problem;

	if (*value == NULL || **value == '\0')
		return true;
	url = curl_url();
	problem = url == NULL ? "Memory is out." : judge_proxy(url, *value);
	curl_url_cleanup(url);
	if (problem == NULL)
		return true;
	GUC_check_errmsg("invalid value for parameter \"keypup.proxy\"");
	GUC_check_errdetail("%s", problem);
	GUC_check_errhint("keypup.set_proxy_credentials takes a user and a password, and seals them.");
	return false;
}

/* HOST or HOST:PORT, written as libcurl writes the host of a URL, since it is compared with that. */
static bool
entry_is_valid(const char *entry, size_t length)
{
	char url[POLICY_HOST_BYTES + sizeof("https://")];
	char host[POLICY_HOST_BYTES];
	char port[POLICY_PORT_BYTES];
	size_t host_length;

	if (length >= POLICY_HOST_BYTES || strspn(entry, HOST_CHARACTERS) < length)
		return false;
	snprintf(url, sizeof(url), "https://%.*s", (int) length, entry);
	if (strstr(url, "..") != NULL || entry[0] == '.' || !read_url_host(url, host, port))
		return false;
	host_length = strlen(host);
	if (host_length > length || host[host_length - 1] == '.' ||
		pg_strncasecmp(entry, host, host_length) != 0)
		return false;
	return length == host_length ||
		   (entry[host_length] == ':' && length == host_length + 1 + strlen(port) &&
			strncmp(entry + host_length + 1, port, strlen(port)) == 0);
}

bool
check_proxy_hosts(char **value, void **extra, GucSource source)
{
	const char *at = *value == NULL ? "" : *value;

	while (*at != '\0')
	{
		size_t length;

		at += strspn(at, ", ");
		length = strcspn(at, ", ");
		if (length > 0 && !entry_is_valid(at, length))
		{
			GUC_check_errmsg("invalid value for parameter \"keypup.proxy_hosts\"");
			GUC_check_errdetail("Each entry is HOST or HOST:PORT; there are no patterns.");
			return false;
		}
		at += length;
	}
	return true;
}

/* --- which way --- */

static bool
has_proxy(void)
{
	return keypup_proxy != NULL && keypup_proxy[0] != '\0';
}

static bool
host_is_proxied(const char *host, const char *port)
{
	char bare[POLICY_HOST_BYTES];
	size_t length = strlcpy(bare, host, sizeof(bare));

	/* With the root's dot it is the same host, and may not go another way. */
	if (length > 1 && length < sizeof(bare) && bare[length - 1] == '.')
		bare[length - 1] = '\0';
	return list_names_host(keypup_proxy_hosts, bare, port);
}

bool
url_is_proxied(const char *url)
{
	char host[POLICY_HOST_BYTES];
	char port[POLICY_PORT_BYTES];

	return has_proxy() && read_url_host(url, host, port) && host_is_proxied(host, port);
}

const char *
choose_route(Request *request)
{
	if (!host_is_proxied(request->host, request->port))
		return NULL;
	request->proxied = true;
	if (!has_proxy())
	{
		request->refused_hint = "A superuser sets keypup.proxy, or takes the host off the list.";
		return "the host is on keypup.proxy_hosts, but there is no proxy";
	}
	/* What it looks up we cannot see, but a private address and this machine can be told by their names. */
	if (host_is_literal_private(request->host) && !host_is_private(request->host, request->port))
	{
		request->refused_hint = "A superuser can allow the host in keypup.private_hosts.";
		return "the host has a private address, which the proxy is not asked for";
	}
	return read_url_host(keypup_proxy, request->proxy_host, request->proxy_port)
			   ? NULL
			   : "keypup.proxy is malformed";
}

/* --- options --- */

/*
 * libcurl reads what the proxy answers to CONNECT byte by byte, and throws it away,
 * in one go for as long as more comes; after each byte it calls this.
 */
static int
limit_answer(void *argument, curl_off_t total, curl_off_t now, curl_off_t total_sent,
			 curl_off_t now_sent)
{
	Request *request = argument;

	if (request->connected || ++request->proxy_calls <= MAX_ANSWER_BYTES)
		return 0;
	request->refused = "the proxy's answer to CONNECT is larger than 64 KiB";
	return 1;
}

/* Returns the header line with the credentials, malloc'd, or NULL when memory is out. */
static char *
make_proxy_authorization(const Secret *credentials)
{
	static const char name[] = "Proxy-Authorization: Basic ";
	char *line = malloc(sizeof(name) + (credentials->length + 2) / 3 * 4 + 1);

	if (line == NULL)
		return NULL;
	memcpy(line, name, sizeof(name));
	EVP_EncodeBlock((unsigned char *) line + strlen(name), credentials->bytes,
					(int) credentials->length);
	return line;
}

static bool
add_proxy_header(Request *request, const char *line)
{
	struct curl_slist *lines = curl_slist_append(request->proxy_header_lines, line);

	if (lines != NULL)
		request->proxy_header_lines = lines;
	return lines != NULL;
}

/*
 * The credentials are a header of our own, since libcurl decodes what it is given as
 * a user or password as if it stood in a URL, and keeps more copies.
 */
static bool
add_proxy_headers(Request *request, const Secret *credentials)
{
	char *line;
	bool added;

	if (!add_proxy_header(request, "User-Agent: keypup/" KEYPUP_VERSION))
		return false;
	if (credentials == NULL)
		return true;
	line = make_proxy_authorization(credentials);
	added = line != NULL && add_proxy_header(request, line);
	free_wiped(line);
	request->has_credentials = added;
	return added;
}

bool
set_proxy_options(Request *request, const Secret *credentials)
{
	CURL *easy = request->easy;
	bool done = true;

#define SET(option, value) (done = done && curl_easy_setopt(easy, (option), (value)) == CURLE_OK)
	/* Always set: libcurl would look for a proxy in the environment. */
	SET(CURLOPT_PROXY, request->proxied ? keypup_proxy : "");
	SET(CURLOPT_NOPROXY, request->proxied ? "" : "*");
	if (!request->proxied)
		return done;
	done = done && add_proxy_headers(request, credentials);
	SET(CURLOPT_HTTPPROXYTUNNEL, 1L);
	/* The proxy gets its headers and the host its own. */
	SET(CURLOPT_HEADEROPT, (long) CURLHEADER_SEPARATE);
	SET(CURLOPT_PROXYHEADER, request->proxy_header_lines);
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_PROXYAUTH, (long) CURLAUTH_NONE);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_XFERINFOFUNCTION, limit_answer);
	SET(CURLOPT_XFERINFODATA, request);
	SET(CURLOPT_PROXY_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	SET(CURLOPT_PROXY_SSL_CIPHER_LIST, TLS12_CIPHERS);
	SET(CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
	if (keypup_proxy_ca_file != NULL && keypup_proxy_ca_file[0] != '\0')
	{
		SET(CURLOPT_PROXY_CAINFO, keypup_proxy_ca_file);
		/* Instead of the system's, not beside them. */
		SET(CURLOPT_PROXY_CAPATH, NULL);
	}
#undef SET
	return done;
}

/* --- callbacks and failures --- */

bool
address_is_proxy(const Request *request, const struct sockaddr *address)
{
	struct in_addr v4;
	struct in6_addr v6;
	char literal[POLICY_HOST_BYTES];
	in_port_t port;

	if (address->sa_family == AF_INET)
		port = ((const struct sockaddr_in *) address)->sin_port;
	else if (address->sa_family == AF_INET6)
		port = ((const struct sockaddr_in6 *) address)->sin6_port;
	else
		return false;
	if (ntohs(port) != atoi(request->proxy_port))
		return false;

	strlcpy(literal, request->proxy_host + (request->proxy_host[0] == '['), sizeof(literal));
	literal[strcspn(literal, "]")] = '\0';
	if (inet_pton(AF_INET, literal, &v4) == 1)
		return address->sa_family == AF_INET &&
			   memcmp(&((const struct sockaddr_in *) address)->sin_addr, &v4, sizeof(v4)) == 0;
	if (inet_pton(AF_INET6, literal, &v6) == 1)
		return address->sa_family == AF_INET6 &&
			   memcmp(&((const struct sockaddr_in6 *) address)->sin6_addr, &v6, sizeof(v6)) == 0;
	/* A name: libcurl looks no other up for a proxied request than the proxy's. */
	return true;
}

/* What the proxy answered to CONNECT, other than yes. */
static const char *
describe_refusal(const Request *request, long status, const char **hint)
{
	/* It should be 407; tinyproxy says 401 to a wrong password. */
	if (status == 407 || status == 401)
	{
		*hint =
			"A superuser sets them with keypup.set_proxy_credentials; the proxy must offer Basic.";
		if (request->has_credentials)
			return psprintf("the proxy refuses the user and password (%ld)", status);
		return psprintf("the proxy asks for a user and a password (%ld)", status);
	}
	if (status >= 400 && status <= 499)
	{
		*hint = psprintf("It must allow CONNECT to %s:%s.", request->host, request->port);
		return psprintf("the proxy refuses connections to \"%s\" (%ld)", request->host, status);
	}
	*hint = "The host is on keypup.proxy_hosts, so that it is not asked directly.";
	if (status >= 500 && status <= 599)
		return psprintf("the proxy could not connect to \"%s\" (%ld)", request->host, status);
	return psprintf("the proxy answered CONNECT with status %ld", status);
}

/* The proxy said yes, and there is no connection: that TLS fails is the host's matter. */
static const char *
describe_tunnel_failure(const Request *request)
{
	switch (request->result)
	{
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CONNECT_ERROR:
			return NULL;
		default:
			return psprintf("no connection to \"%s\" through the proxy: %s", request->host,
							curl_easy_strerror(request->result));
	}
}

const char *
describe_proxy_failure(Request *request, const char **hint)
{
	long status = 0;

	if (!request->proxied || request->easy == NULL || request->connected)
		return NULL;
	curl_easy_getinfo(request->easy, CURLINFO_HTTP_CONNECTCODE, &status);
	if (status >= 200 && status <= 299)
		return describe_tunnel_failure(request);
	if (status != 0)
		return describe_refusal(request, status, hint);

	*hint =
		"Check keypup.proxy. The host is on keypup.proxy_hosts, so that it is not asked directly.";
	switch (request->result)
	{
		case CURLE_COULDNT_RESOLVE_PROXY:
			return "the proxy's name is not known";
		case CURLE_COULDNT_CONNECT:
			return "could not connect to the proxy";
		case CURLE_OPERATION_TIMEDOUT:
			return "the proxy did not answer in time";
		case CURLE_PEER_FAILED_VERIFICATION:
			*hint = "Check keypup.proxy_ca_file, and the host's name in keypup.proxy.";
			return "the certificate of the proxy is not valid";
		case CURLE_SSL_CACERT_BADFILE:
			*hint = "Check keypup.proxy_ca_file.";
			return "the file of certificate authorities for the proxy cannot be used";
		case CURLE_SSL_CONNECT_ERROR:
			*hint = "A proxy at https://HOST:PORT speaks TLS 1.2 or newer itself.";
			return "no TLS connection to the proxy";
		default:
			return psprintf("the proxy failed: %s", curl_easy_strerror(request->result));
	}
}
