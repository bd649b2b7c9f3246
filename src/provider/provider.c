/*
 * provider.c
 *		What C asks of a provider: its row, the queries that call its functions, and
 *		the requests that these make. What is common to all requests is judged here.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "datum.h"
#include "http/policy.h"
#include "kept_plan.h"
#include "provider/provider.h"

PG_FUNCTION_INFO_V1(keypup_call_provider);

static char *
text_column(int column)
{
	bool isnull;
	Datum value = read_field(0, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

Provider *
read_provider(const char *name)
{
	static KeptPlan kept = KEPT_PLAN(
		"SELECT p.authorizes_by, p.token_header, pg_catalog.array_to_string(p.reply_headers, ' ')"
		" FROM keypup.providers p WHERE p.provider OPERATOR(pg_catalog.=) $1",
		1, TEXTOID);
	MemoryContext context = CurrentMemoryContext;
	Datum values[] = {CStringGetTextDatum(name)};
	bool found = run_kept_plan(&kept, GetUserId(), values, InvalidSnapshot, true);
	Provider *provider;

	MemoryContextSwitchTo(context);
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("provider \"%s\" is unknown", name)));
	provider = palloc(sizeof(Provider));
	*provider = (Provider){.name = pstrdup(name),
						   .authorizes_by = text_column(1),
						   .token_header = text_column(2),
						   .reply_headers = text_column(3)};
	return provider;
}

char *
provider_query(const char *provider, const char *function, const char *arguments)
{
	return psprintf("SELECT * FROM keypup.%s(%s)",
					quote_identifier(psprintf("%s_%s", provider, function)), arguments);
}

/* What a call found, for the next one of the same expression. */
typedef struct Callee
{
	char provider[NAMEDATALEN];
	FmgrInfo function;
} Callee;

static List *
function_name(const char *provider, const char *verb)
{
	return list_make2(makeString("keypup"), makeString(psprintf("%s%s", provider, verb)));
}

static void
find_callee(FunctionCallInfo fcinfo, Callee *callee, const char *provider)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	Form_pg_proc form;
	const char *verb;
	Oid function;
	Oid types[FUNC_MAX_ARGS];
	int nargs;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	nargs = form->pronargs - 1;
	memcpy(types, form->proargtypes.values + 1, sizeof(Oid) * nargs);
	verb = pstrdup(NameStr(form->proname) + strlen("provider"));
	ReleaseSysCache(tuple);
	function = LookupFuncName(function_name(provider, verb), nargs, types, true);
	if (!OidIsValid(function))
		function = LookupFuncName(function_name("default", verb), nargs, types, true);
	if (!OidIsValid(function))
		/* Raises the error that names it. */
		LookupFuncName(function_name(provider, verb), nargs, types, false);
	fmgr_info_cxt(function, &callee->function, fcinfo->flinfo->fn_mcxt);
	strlcpy(callee->provider, provider, sizeof(callee->provider));
}

/*
 * keypup.provider_VERB(provider, ...) calls keypup.PROVIDER_VERB(...). Called as a function, and not
 * by a statement: that would be planned each time, and have what is passed as its
 * parameters, for the log. Where the provider has none, keypup.default_VERB is.
 */
Datum
keypup_call_provider(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
	char *provider = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	Callee *callee = fcinfo->flinfo->fn_extra;
	Datum result;

	if (provider == NULL)
		PG_RETURN_NULL();
	if (callee == NULL)
	{
		callee = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Callee));
		fcinfo->flinfo->fn_extra = callee;
	}
	if (strcmp(callee->provider, provider) != 0)
		find_callee(fcinfo, callee, provider);
	InitFunctionCallInfoData(*inner, &callee->function, fcinfo->nargs - 1, fcinfo->fncollation,
							 NULL, NULL);
	for (int i = 0; i < inner->nargs; i++)
	{
		inner->args[i] = fcinfo->args[i + 1];
		if (inner->args[i].isnull && callee->function.fn_strict)
			PG_RETURN_NULL();
	}
	result = FunctionCallInvoke(inner);
	fcinfo->isnull = inner->isnull;
	return result;
}

/* --- requests --- */

void
refuse_outgoing(const Provider *provider, const char *why)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("a request to %s may not be sent: %s", provider->name, why),
					errhint("This is a defect of Keypup's functions for the provider.")));
}

/* RFC 9110, 5.6.2. */
#define TOKEN_CHARACTERS                                                                           \
	"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/* What says who asks, and whom, is not for SQL to write; nor what says where a request ends. */
static const char *const own_headers[] = {
	"Authorization",
	"Connection",
	"Content-Length",
	"Cookie",
	"Expect",
	"Host",
	"Proxy-Authorization",
	"TE",
	"Trailer",
	"Transfer-Encoding",
	"Upgrade",
	"User-Agent",
};

static void
check_header(const Provider *provider, const char *line)
{
	size_t length = strspn(line, TOKEN_CHARACTERS);

	if (length == 0 || line[length] != ':')
		refuse_outgoing(provider, "a header is malformed");
	for (int i = 0; i < (int) lengthof(own_headers); i++)
	{
		if (strlen(own_headers[i]) == length && pg_strncasecmp(line, own_headers[i], length) == 0)
			refuse_outgoing(provider, psprintf("it has a header %s", own_headers[i]));
	}
	if (strlen(provider->token_header) == length &&
		pg_strncasecmp(line, provider->token_header, length) == 0)
		refuse_outgoing(provider, psprintf("it has a header %s", provider->token_header));
	for (const char *c = line; *c != '\0'; c++)
	{
		if ((unsigned char) *c < 0x20 || (unsigned char) *c >= 0x7F)
			refuse_outgoing(provider, "a header has a character that none may have");
	}
}

static const char *const *
read_headers(const Provider *provider, Datum array)
{
	Datum *lines;
	bool *nulls;
	int count;
	const char **headers;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &lines, &nulls,
					  &count);
	headers = palloc0(sizeof(char *) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			refuse_outgoing(provider, "a header is malformed");
		headers[i] = TextDatumGetCString(lines[i]);
		check_header(provider, headers[i]);
	}
	return headers;
}

/* Of printable ASCII, what no part of a URL may have as it is (RFC 3986, 2); and some take a backslash for a slash. */
#define NOT_IN_URLS " \"<>\\^`{|}"

static bool
has_url_characters(const char *url)
{
	for (const char *c = url; *c != '\0'; c++)
	{
		if ((unsigned char) *c <= 0x20 || (unsigned char) *c >= 0x7F ||
			strchr(NOT_IN_URLS, *c) != NULL)
			return false;
	}
	return true;
}

/* An origin is a scheme, a host and a port (RFC 6454); the scheme is https for all. */
static bool
is_same_origin(const char *url, const char *base_url)
{
	static const char scheme[] = "https://";
	const char *authority;
	char host[POLICY_HOST_BYTES];
	char port[POLICY_PORT_BYTES];
	char base_host[POLICY_HOST_BYTES];
	char base_port[POLICY_PORT_BYTES];

	if (pg_strncasecmp(url, scheme, strlen(scheme)) != 0)
		return false;
	/* What stands before an @ would be somebody's name, and might be taken for the host. */
	authority = url + strlen(scheme);
	if (memchr(authority, '@', strcspn(authority, "/?#")) != NULL)
		return false;
	return read_url_host(url, host, port) && read_url_host(base_url, base_host, base_port) &&
		   pg_strcasecmp(host, base_host) == 0 && strcmp(port, base_port) == 0;
}

void
read_outgoing(const Provider *provider, const char *base_url, HttpRequest *request)
{
	char *method;
	char *url;
	bool isnull;
	Datum headers;

	if (SPI_processed != 1)
		refuse_outgoing(provider, "there is none");
	method = text_column(1);
	url = text_column(2);
	headers = read_field(0, 3, &isnull);
	if (method == NULL || (strcmp(method, "GET") != 0 && strcmp(method, "POST") != 0))
		refuse_outgoing(provider, "its method is neither GET nor POST");
	if (url != NULL && !has_url_characters(url))
		refuse_outgoing(provider, "its URL is malformed");
	if (url == NULL || !is_same_origin(url, base_url))
		refuse_outgoing(provider, "it asks another server than the connection's");
	*request = (HttpRequest){.url = url,
							 .headers = isnull ? NULL : read_headers(provider, headers),
							 .reply_headers = provider->reply_headers,
							 .body = text_column(4)};
	if ((request->body == NULL) != (strcmp(method, "GET") == 0))
		refuse_outgoing(provider, "a GET has no body, and a POST has one");
}

/* --- authorization --- */

/* A line of these parts, the last of which is secret. */
static Secret *
make_line(const char *header, const char *scheme, const uint8 *bytes, Size length)
{
	Size name = strlen(header);
	Size used = name + 2 + strlen(scheme);
	Secret *line = allocate_secret(used + length + 1);

	memcpy(line->bytes, header, name);
	memcpy(line->bytes + name, ": ", 2);
	memcpy(line->bytes + name + 2, scheme, strlen(scheme));
	memcpy(line->bytes + used, bytes, length);
	return line;
}

/* RFC 7617: the token is user:secret already. */
static Secret *
make_basic(const char *header, const Secret *token)
{
	Secret *encoded = allocate_secret(4 * ((token->length + 2) / 3) + 1);
	int length = EVP_EncodeBlock(encoded->bytes, token->bytes, (int) token->length);
	Secret *line = make_line(header, "Basic ", encoded->bytes, length);

	wipe_secret(encoded);
	return line;
}

/* The form of OAuth 1.0's header (RFC 5849, 3.5.1) that shows a key and a token and signs nothing. */
static Secret *
make_oauth(const char *header, const Secret *token)
{
	static const char before[] = "OAuth oauth_consumer_key=\"";
	static const char between[] = "\", oauth_token=\"";
	Size key = 0;
	Secret *rest;
	Secret *line;

	while (key < token->length && token->bytes[key] != ':')
		key++;
	if (key == token->length)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the token has no key")));
	rest = allocate_secret(token->length + sizeof(between));
	memcpy(rest->bytes, token->bytes, key);
	memcpy(rest->bytes + key, between, sizeof(between) - 1);
	memcpy(rest->bytes + key + sizeof(between) - 1, token->bytes + key + 1,
		   token->length - key - 1);
	rest->bytes[token->length + sizeof(between) - 2] = '"';
	line = make_line(header, before, rest->bytes, token->length + sizeof(between) - 1);
	wipe_secret(rest);
	return line;
}

Secret *
make_authorization(const Provider *provider, Secret *token)
{
	const char *header = provider->token_header;
	Secret *line;

	if (strcmp(provider->authorizes_by, "basic") == 0)
		line = make_basic(header, token);
	else if (strcmp(provider->authorizes_by, "oauth") == 0)
		line = make_oauth(header, token);
	else
		line = make_line(header, strcmp(provider->authorizes_by, "bearer") == 0 ? "Bearer " : "",
						 token->bytes, token->length);
	wipe_secret(token);
	return line;
}

Secret *
make_bearer_authorization(Secret *token)
{
	Secret *line = make_line("Authorization", "Bearer ", token->bytes, token->length);

	wipe_secret(token);
	return line;
}
