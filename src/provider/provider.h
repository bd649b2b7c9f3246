/*
 * provider.h
 *		What every provider answers. A new provider is a folder and one line in provider.c.
 */
#ifndef KEYPUP_PROVIDER_H
#define KEYPUP_PROVIDER_H

#include "token/secret.h"

typedef struct Provider
{
	const char *name;

	/* The URL that requests go to, palloc'd, from a connection's base URL. */
	char *(*endpoint)(const char *base_url);

	/* Begins the Authorization header; the token follows. */
	const char *authorization_scheme;

	/* Further headers, ended by NULL. */
	const char *const *headers;

	/* SQL: ($1 account uuid, $2 job bigint) -> the request's body, as text. */
	const char *request_query;

	/*
	 * SQL: ($1 account, $2 job, $3 seconds to the next run, $4 status, $5
	 * headers, $6 reply, $7 failure, $8 hint, $9 milliseconds, $10 revision of the
	 * token, $11 whether to hold all projects of the connection, after SQLSTATE 55006,
	 * which asks for it), the texts as text: takes the answer, and stores it or says why not. A row of what the answer
	 * said of the token's budget: limit, remaining, when it is full again, and until
	 * when no request may be sent; and whether it was answered, but not with what was
	 * asked for. Each may be NULL.
	 */
	const char *store_query;

	/*
	 * SQL: ($1 account, $2 connection uuid) -> the body of the request that asks, with a
	 * person's own token, who the person is and where they belong.
	 */
	const char *viewer_query;

	/*
	 * SQL: ($1 account, $2 connection, $3 status, $4 headers, $5 reply, $6 failure) ->
	 * {sub, login, groups}, {refused} or {failed, hint}, as text.
	 */
	const char *viewer_answer_query;

	/*
	 * SQL: ($1 account, $2 connection, $3 text: where the list goes on, or '') -> url, body:
	 * the request for the projects that the connection could track. No url: the endpoint;
	 * with one, a GET.
	 */
	const char *projects_query;

	/*
	 * SQL: ($1 account, $2 connection, $3 status, $4 headers, $5 reply, $6 failure) ->
	 * {projects: [[name, visibility, is_archived, is_fork]], after} or {failed, hint}, as text.
	 */
	const char *projects_answer_query;

	/*
	 * SQL: ($1 account, $2 connection) -> url, claims, body: the request for the token of
	 * an app's installation. The claims are signed by the app's key. NULL: there are no apps.
	 */
	const char *app_request_query;

	/* Its further headers, ended by NULL. */
	const char *const *app_headers;

	/* The member of the answer that is the token. */
	const char *app_token_member;

	/*
	 * SQL: ($1 account, $2 connection, $3 status, $4 headers, $5 reply, $6 failure, $7
	 * revision bigint, $8 envelope bytea): takes the answer. The token is in the
	 * envelope, sealed for that revision, and not in the reply; NULL when there was none.
	 */
	const char *app_answer_query;
} Provider;

/*
 * find_provider
 *		The provider of that name. Raises ERRCODE_INTERNAL_ERROR if there is none:
 *		the tables admit known ones only.
 */
extern const Provider *find_provider(const char *name);

/*
 * make_authorization
 *		The Authorization header's value, ended by a NUL, for the caller to wipe.
 *
 * token: wiped.
 */
extern Secret *make_authorization(const Provider *provider, Secret *token);

extern const Provider github_provider;

#endif
