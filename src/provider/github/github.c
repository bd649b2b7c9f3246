/*
 * github.c
 *		Where GitHub's GraphQL API is, and how it is signed in to. What is asked
 *		and what answers mean stands in the .sql files beside.
 */
#include "postgres.h"

#include "provider/provider.h"

/*
 * https://api.github.com -> https://api.github.com/graphql
 * https://HOST/api/v3 (GitHub Enterprise Server) -> https://HOST/api/graphql
 * (docs.github.com, "Forming calls with GraphQL").
 */
static char *
github_endpoint(const char *base_url)
{
	size_t length = strlen(base_url);

	if (length > 3 && strcmp(base_url + length - 3, "/v3") == 0)
		return psprintf("%.*s/graphql", (int) length - 3, base_url);
	return psprintf("%s/graphql", base_url);
}

/* Ids in the new format, whatever the age of what they name. */
static const char *const github_headers[] = {
	"X-Github-Next-Global-ID: 1",
	NULL,
};

static const char *const github_app_headers[] = {
	"Accept: application/vnd.github+json",
	NULL,
};

const Provider github_provider = {
	.name = "github",
	.endpoint = github_endpoint,
	.authorization_scheme = "Bearer ",
	.headers = github_headers,
	.request_query = "SELECT keypup.github_request($1, $2)::pg_catalog.text",
	.store_query =
		"SELECT * FROM keypup.github_store($1, $2, $3, $4, $5::pg_catalog.jsonb, $6, $7, $8, $9, $10, $11)",
	.viewer_query = "SELECT keypup.github_viewer_request($1, $2)::pg_catalog.text",
	.viewer_answer_query =
		"SELECT keypup.github_viewer_answer($1, $2, $3, $4::pg_catalog.jsonb, $5, $6)::pg_catalog.text",
	.projects_query = "SELECT * FROM keypup.github_projects_request($1, $2, $3)",
	.projects_answer_query =
		"SELECT keypup.github_projects_answer($1, $2, $3, $4::pg_catalog.jsonb, $5, $6)::pg_catalog.text",
	.app_request_query = "SELECT * FROM keypup.github_app_request($1, $2)",
	.app_headers = github_app_headers,
	.app_token_member = "token",
	.app_answer_query =
		"SELECT keypup.github_app_answer($1, $2, $3, $4::pg_catalog.jsonb, $5, $6, $7, $8)",
};
