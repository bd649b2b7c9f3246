/*
 * provider.h
 *		What C asks of a provider: a row of keypup.providers, and SQL functions with
 *		fixed names. A new provider is a folder of SQL, and nothing here.
 */
#ifndef KEYPUP_PROVIDER_H
#define KEYPUP_PROVIDER_H

#include "compat.h"
#include "http/client.h"
#include "token/secret.h"

typedef struct Provider
{
	char *name;
	char *authorizes_by; /* bearer, basic, raw or oauth */
	char *token_header;
	char *reply_headers; /* names, separated by blanks */
} Provider;

/*
 * read_provider
 *		The provider of that name, in CurrentMemoryContext. Raises
 *		ERRCODE_UNDEFINED_OBJECT if there is none. Called between SPI_connect and
 *		SPI_finish; SPI_tuptable is another one afterwards.
 */
extern Provider *read_provider(const char *name);

/*
 * provider_query
 *		A query that calls one of a provider's functions, in CurrentMemoryContext: SELECT *
 *		FROM keypup.PROVIDER_FUNCTION(ARGUMENTS). The name is one of keypup.providers.
 */
extern char *provider_query(const char *provider, const char *function, const char *arguments);

/*
 * refuse_outgoing
 *		Raises ERRCODE_INVALID_PARAMETER_VALUE: a request that a function of the provider made is not sent.
 */
pg_noreturn extern void refuse_outgoing(const Provider *provider, const char *why);

/*
 * read_outgoing
 *		The request in the first row of SPI_tuptable, whose first columns are method, url,
 *		headers and body: a text, a text, a text[] of lines NAME: VALUE, and a text. All
 *		in CurrentMemoryContext; it has no authorization yet.
 *
 * base_url: the connection's. A request to another origin than its would show the
 * token there, and one that says who it is, or whom it asks, could do as much: raises
 * ERRCODE_INVALID_PARAMETER_VALUE for these, for characters that no URL or header has, and
 * for methods but GET and POST.
 */
extern void read_outgoing(const Provider *provider, const char *base_url, HttpRequest *request);

/*
 * make_authorization
 *		The header line that shows the token, ended by a NUL, for the caller to wipe.
 *
 * token: wiped.
 */
extern Secret *make_authorization(const Provider *provider, Secret *token);

/*
 * make_bearer_authorization
 *		The same for a web token, which is shown in one way only (RFC 6750).
 */
extern Secret *make_bearer_authorization(Secret *token);

#endif
