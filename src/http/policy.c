/*
 * policy.c
 *		Where requests may go. An account's admin names a base URL, and the
 *		server stands inside a network: so only https, only public addresses,
 *		unless a superuser has listed the host.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <curl/curl.h>

#include "fmgr.h"
#include "utils/builtins.h"

#include "http/policy.h"
#include "keypup.h"

#define BASE_URL_BYTES 2048

PG_FUNCTION_INFO_V1(keypup_check_base_url);

typedef struct Range
{
	uint32 base;
	int bits;
} Range;

/* Special-purpose IPv4 blocks (RFC 6890 and successors): none is a provider. */
static const Range private_ranges[] = {
	{0x00000000, 8},  {0x0A000000, 8},	{0x64400000, 10}, {0x7F000000, 8},	{0xA9FE0000, 16},
	{0xAC100000, 12}, {0xC0000000, 24}, {0xC0000200, 24}, {0xC0586300, 24}, {0xC0A80000, 16},
	{0xC6120000, 15}, {0xC6336400, 24}, {0xCB007100, 24}, {0xE0000000, 4},	{0xF0000000, 4},
};

static bool
ipv4_is_public(uint32 address)
{
	for (int i = 0; i < (int) lengthof(private_ranges); i++)
	{
		uint32 mask = 0xFFFFFFFFU << (32 - private_ranges[i].bits);

		if ((address & mask) == private_ranges[i].base)
			return false;
	}
	return true;
}

static uint32
read_u32(const unsigned char *bytes)
{
	return (uint32) bytes[0] << 24 | (uint32) bytes[1] << 16 | (uint32) bytes[2] << 8 | bytes[3];
}

static bool
ipv6_is_public(const unsigned char *bytes)
{
	static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
	static const unsigned char nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
	uint32 first = read_u32(bytes);

	/* An IPv4 address in disguise is judged as what it is. */
	if (memcmp(bytes, mapped, sizeof(mapped)) == 0 || memcmp(bytes, nat64, sizeof(nat64)) == 0)
		return ipv4_is_public(read_u32(bytes + 12));
	if ((first & 0xE0000000) != 0x20000000) /* only 2000::/3 is global unicast */
		return false;
	return first != 0x20010DB8 /* documentation */
		   && (first & 0xFFFFF000) != 0x3FFF0000 /* documentation */
		   && (first & 0xFFFFFE00) != 0x20010000 /* protocols: Teredo, benchmarks, ORCHID */
		   && (first & 0xFFFF0000) != 0x20020000; /* 6to4 */
}

bool
address_is_public(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ipv4_is_public(ntohl(((const struct sockaddr_in *) address)->sin_addr.s_addr));
	if (address->sa_family == AF_INET6)
		return ipv6_is_public(((const struct sockaddr_in6 *) address)->sin6_addr.s6_addr);
	return false;
}

bool
read_url_host(const char *url, char *host, char *port)
{
	CURLU *parsed = curl_url();
	char *found_host = NULL;
	char *found_port = NULL;
	bool valid;

	valid = parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
			curl_url_get(parsed, CURLUPART_HOST, &found_host, 0) == CURLUE_OK &&
			curl_url_get(parsed, CURLUPART_PORT, &found_port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
			strlcpy(host, found_host, POLICY_HOST_BYTES) < POLICY_HOST_BYTES &&
			strlcpy(port, found_port, POLICY_PORT_BYTES) < POLICY_PORT_BYTES;
	curl_free(found_host);
	curl_free(found_port);
	curl_url_cleanup(parsed);
	return valid;
}

bool
list_names_host(const char *list, const char *host, const char *port)
{
	const char *at = list == NULL ? "" : list;
	char with_port[POLICY_HOST_BYTES + POLICY_PORT_BYTES];

	snprintf(with_port, sizeof(with_port), "%s:%s", host, port);
	while (*at != '\0')
	{
		size_t length;

		at += strspn(at, ", ");
		length = strcspn(at, ", ");
		if (length > 0 &&
			((strlen(host) == length && pg_strncasecmp(at, host, length) == 0) ||
			 (strlen(with_port) == length && pg_strncasecmp(at, with_port, length) == 0)))
			return true;
		at += length;
	}
	return false;
}

bool
host_is_private(const char *host, const char *port)
{
	return list_names_host(keypup_private_hosts, host, port);
}

/*
 * Whether the last label is a number: no top-level domain is, so the resolver
 * would read the host as an IPv4 address. It is the rule of the WHATWG URL
 * standard (https://url.spec.whatwg.org/#ends-in-a-number-checker).
 */
static bool
host_ends_in_number(const char *host)
{
	const char *dot = strrchr(host, '.');
	const char *label = dot == NULL ? host : dot + 1;

	if (label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))
		return label[2 + strspn(label + 2, "0123456789abcdefABCDEF")] == '\0';
	return label[0] != '\0' && label[strspn(label, "0123456789")] == '\0';
}

/* localhost and all below it are this machine (RFC 6761, 6.3). */
static bool
host_is_localhost(const char *host)
{
	size_t length = strlen(host);
	size_t name = strlen("localhost");

	return length >= name && pg_strcasecmp(host + length - name, "localhost") == 0 &&
		   (length == name || host[length - name - 1] == '.');
}

bool
host_is_literal_private(const char *host)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	char bare[POLICY_HOST_BYTES];
	size_t length = strlen(host);

	strlcpy(bare, host, sizeof(bare));
	if (host[0] == '[' && length > 2)
	{
		strlcpy(bare, host + 1, sizeof(bare));
		bare[strcspn(bare, "]%")] = '\0';
	}
	else
	{
		/* The root's dot: "localhost." is localhost. What has more is no name at all. */
		while (length > 1 && bare[length - 1] == '.')
			bare[--length] = '\0';
	}
	if (inet_pton(AF_INET, bare, &v4.sin_addr) == 1)
		return !address_is_public((struct sockaddr *) &v4);
	if (inet_pton(AF_INET6, bare, &v6.sin6_addr) == 1)
		return !address_is_public((struct sockaddr *) &v6);
	return host_is_localhost(bare) || host_ends_in_number(bare);
}

/* The URL as libcurl understood it, without a last slash. Returns NULL or what is wrong. */
static const char *
normalize_url(CURLU *url, char *normal)
{
	char *text = NULL;
	size_t length;

	if (curl_url_get(url, CURLUPART_URL, &text, CURLU_NO_DEFAULT_PORT) != CURLUE_OK)
		return "it is not a URL";
	length = strlcpy(normal, text, BASE_URL_BYTES);
	curl_free(text);
	if (length >= BASE_URL_BYTES)
		return "it is too long";
	while (normal[length - 1] == '/')
		normal[--length] = '\0';
	return NULL;
}

/* One parse, by the library that will connect. Returns NULL or what is wrong. */
static const char *
judge_url(CURLU *url, const char *text, const char **hint)
{
	char *scheme = NULL;
	char *host = NULL;
	char *port = NULL;
	char *part = NULL;
	const char *problem = NULL;

	*hint = "Write it as https://HOST or https://HOST/PATH.";
	if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
		curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		problem = "it is not a URL";
	else if (strcmp(scheme, "https") != 0)
	{
		problem = "only https is used";
		*hint = "Tokens are never sent over an unencrypted connection.";
	}
	else if (curl_url_get(url, CURLUPART_USER, &part, 0) == CURLUE_OK ||
			 curl_url_get(url, CURLUPART_PASSWORD, &part, 0) == CURLUE_OK)
		problem = "it holds a user name or password";
	else if (curl_url_get(url, CURLUPART_QUERY, &part, 0) == CURLUE_OK ||
			 curl_url_get(url, CURLUPART_FRAGMENT, &part, 0) == CURLUE_OK)
		problem = "it has a query or a fragment";
	else if (strlen(host) >= POLICY_HOST_BYTES)
		problem = "its host name is too long";
	else if (host_is_literal_private(host) && !host_is_private(host, port))
	{
		problem = "its host is in a private network";
		*hint = "A superuser can allow the host in keypup.private_hosts.";
	}
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_free(part);
	return problem;
}

Datum
keypup_check_base_url(PG_FUNCTION_ARGS)
{
	char *written = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CURLU *url = curl_url();
	const char *hint = NULL;
	const char *problem = url == NULL ? "out of memory" : judge_url(url, written, &hint);
	char normal[BASE_URL_BYTES];
	size_t length = strlen(written);

	if (problem == NULL)
		problem = normalize_url(url, normal);
	curl_url_cleanup(url);
	if (problem == NULL &&
		strspn(written, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:/-_~[]") !=
			length)
	{
		problem = "it holds a character that no API address has";
		hint = "Write it as https://HOST or https://HOST/PATH.";
	}
	/* The written is not repeated: people paste tokens into URLs. */
	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("base URL cannot be used: %s", problem), errhint("%s", hint)));
	PG_RETURN_TEXT_P(cstring_to_text(normal));
}
