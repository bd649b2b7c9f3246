/*
 * id_token.c
 *		What an ID token and a provider's key may say, for sign_in (sso.sql).
 *
 * A token is read strictly before anything of it is believed: a lax reader sees
 * another token than the one that was signed. Nothing here says what was wrong.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "access/detoast.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "datum.h"
#include "token/jws.h"

PG_FUNCTION_INFO_V1(keypup_read_id_token);
PG_FUNCTION_INFO_V1(keypup_id_token_is_signed);
PG_FUNCTION_INFO_V1(keypup_key_is_usable);

#define MAX_DEPTH 8
#define MAX_NUMBER_DIGITS 15
/* A key of 8192 bits, in base64url. */
#define MAX_NUMBER_TEXT 1400

/* --- JSON that can be read in one way only --- */

typedef struct StrictReader
{
	int depth;
	List *names[MAX_DEPTH + 1]; /* of the objects that are open, by depth */
	bool refused;
} StrictReader;

static keypup_json_result
enter(void *state)
{
	StrictReader *reader = state;

	reader->depth++;
	if (reader->depth > MAX_DEPTH)
		reader->refused = true;
	else
		reader->names[reader->depth] = NIL;
	KEYPUP_JSON_GO_ON;
}

static keypup_json_result
leave(void *state)
{
	((StrictReader *) state)->depth--;
	KEYPUP_JSON_GO_ON;
}

static keypup_json_result
note_name(void *state, char *name, bool isnull)
{
	StrictReader *reader = state;
	ListCell *cell;

	if (!reader->refused)
	{
		foreach (cell, reader->names[reader->depth])
			reader->refused = reader->refused || strcmp((char *) lfirst(cell), name) == 0;
		reader->names[reader->depth] = lappend(reader->names[reader->depth], name);
	}
	KEYPUP_JSON_GO_ON;
}

/* Integers only: what 1e400 or 0.1 means depends on who reads. */
static keypup_json_result
check_scalar(void *state, char *token, JsonTokenType type)
{
	if (type == JSON_TOKEN_NUMBER)
	{
		const char *digits = token + (*token == '-' ? 1 : 0);

		if (strspn(digits, "0123456789") != strlen(digits) || strlen(digits) > MAX_NUMBER_DIGITS)
			((StrictReader *) state)->refused = true;
	}
	KEYPUP_JSON_GO_ON;
}

/* The object that a part of a token holds, or NULL. */
static Jsonb *
read_object(const JwsPart *part)
{
	StrictReader reader = {0};
	JsonSemAction actions = {.semstate = &reader,
							 .object_start = enter,
							 .object_end = leave,
							 .array_start = enter,
							 .array_end = leave,
							 .object_field_start = note_name,
							 .scalar = check_scalar};
	char *text = palloc0(part->length + 1);
	int length = decode_base64url(part->text, part->length, (uint8 *) text);
	Jsonb *object;

	/* jsonb would raise an error for an escaped NUL; no claim of ours has one. */
	if (length < 2 || memchr(text, '\0', (Size) length) != NULL ||
		strstr(text, "\\u0000") != NULL || !pg_verify_mbstr(PG_UTF8, text, length, true) ||
		pg_parse_json(keypup_json_lexer(text, length, true), &actions) != JSON_SUCCESS ||
		reader.refused)
		return NULL;
	object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	return JB_ROOT_IS_OBJECT(object) ? object : NULL;
}

/* --- members of an object --- */

static JsonbValue *
find_value(Jsonb *object, const char *name)
{
	return getKeyJsonValueFromContainer(&object->root, name, (int) strlen(name), NULL);
}

static bool
is_string(const JsonbValue *value, const char *expected)
{
	return value != NULL && value->type == jbvString &&
		   value->val.string.len == (int) strlen(expected) &&
		   memcmp(value->val.string.val, expected, strlen(expected)) == 0;
}

static bool
is_absent_or(Jsonb *object, const char *name, const char *expected)
{
	JsonbValue *value = find_value(object, name);

	return value == NULL || is_string(value, expected);
}

/* Whether operations is absent, or an array that names "verify". */
static bool
allows_verifying(Jsonb *key)
{
	JsonbValue *operations = find_value(key, "key_ops");
	JsonbValue verify = {.type = jbvString, .val.string = {.val = "verify", .len = 6}};

	if (operations == NULL)
		return true;
	return operations->type == jbvBinary && JsonContainerIsArray(operations->val.binary.data) &&
		   findJsonbValueFromContainer(operations->val.binary.data, JB_FARRAY, &verify) != NULL;
}

/* --- keys --- */

/* The bytes of a member in base64url; -1 when it is none. */
static int
read_number(Jsonb *key, const char *name, uint8 *bytes)
{
	JsonbValue *value = find_value(key, name);

	if (value == NULL || value->type != jbvString || value->val.string.len > MAX_NUMBER_TEXT)
		return -1;
	return decode_base64url(value->val.string.val, (Size) value->val.string.len, bytes);
}

/* The key of a JWK, for the algorithm that is set; NULL for one that may not check signatures. */
static EVP_PKEY *
make_verifying_key(Jsonb *key, JwsAlgorithm *algorithm)
{
	static const char *const secret[] = {"k", "d", "p", "q", "oth"};
	uint8 first[MAX_NUMBER_TEXT];
	uint8 second[MAX_NUMBER_TEXT];
	bool is_rsa = is_string(find_value(key, "kty"), "RSA");
	int first_length = read_number(key, is_rsa ? "n" : "x", first);
	int second_length = read_number(key, is_rsa ? "e" : "y", second);

	/* Whoever publishes the secret part has no secret any more. */
	for (int i = 0; i < (int) lengthof(secret); i++)
	{
		if (find_value(key, secret[i]) != NULL)
			return NULL;
	}
	*algorithm = is_rsa ? JWS_RS256 : JWS_ES256;
	if (first_length <= 0 || second_length <= 0 || !is_absent_or(key, "use", "sig") ||
		!allows_verifying(key) || !is_absent_or(key, "alg", is_rsa ? "RS256" : "ES256"))
		return NULL;
	if (is_rsa)
		return make_rsa_key(first, (Size) first_length, second, (Size) second_length);
	if (!is_string(find_value(key, "kty"), "EC") || !is_string(find_value(key, "crv"), "P-256"))
		return NULL;
	return make_p256_key(first, (Size) first_length, second, (Size) second_length);
}

/* Whether the header asks for that algorithm and key, and for nothing else. */
static bool
accepts_header(Jsonb *header, Jsonb *key, JwsAlgorithm algorithm)
{
	/* Ways to have the verifier take another key, to demand what it does not know, or to nest (RFC 7515, 4.1). */
	static const char *const refused[] = {"crit", "cty", "jku", "jwk", "x5u", "x5c"};
	JsonbValue *header_kid = find_value(header, "kid");
	JsonbValue *key_kid = find_value(key, "kid");

	for (int i = 0; i < (int) lengthof(refused); i++)
	{
		if (find_value(header, refused[i]) != NULL)
			return false;
	}
	if (header_kid != NULL && key_kid != NULL &&
		(header_kid->type != jbvString || key_kid->type != jbvString ||
		 header_kid->val.string.len != key_kid->val.string.len ||
		 memcmp(header_kid->val.string.val, key_kid->val.string.val,
				(Size) key_kid->val.string.len) != 0))
		return false;
	return is_absent_or(header, "typ", "JWT") &&
		   is_string(find_value(header, "alg"), algorithm == JWS_RS256 ? "RS256" : "ES256");
}

/* --- for SQL --- */

/* The token's parts in one piece of memory; false for what is none. */
static bool
split_token(Datum token, Jws *jws)
{
	text *compact;

	if (toast_raw_datum_size(token) - VARHDRSZ > JWS_MAX_BYTES)
		return false;
	compact = DatumGetTextPP(token);
	return split_jws(VARDATA_ANY(compact), VARSIZE_ANY_EXHDR(compact), jws);
}

/* A row of header, payload; both NULL when the token cannot be read in one way only. */
Datum
keypup_read_id_token(PG_FUNCTION_ARGS)
{
	Jsonb *header = NULL;
	Jsonb *payload = NULL;
	bool nulls[2];
	Datum values[2];
	Jws jws;

	if (split_token(PG_GETARG_DATUM(0), &jws) && (header = read_object(&jws.header)) != NULL)
		payload = read_object(&jws.payload);
	nulls[0] = nulls[1] = payload == NULL;
	values[0] = JsonbPGetDatum(header);
	values[1] = JsonbPGetDatum(payload);
	return return_row(fcinfo, 2, values, nulls);
}

Datum
keypup_id_token_is_signed(PG_FUNCTION_ARGS)
{
	Jsonb *jwk = PG_GETARG_JSONB_P(1);
	JwsAlgorithm algorithm;
	bool verified = false;
	Jsonb *header;
	EVP_PKEY *key;
	Jws jws;

	if (!split_token(PG_GETARG_DATUM(0), &jws) || !JB_ROOT_IS_OBJECT(jwk) ||
		(header = read_object(&jws.header)) == NULL)
		PG_RETURN_BOOL(false);
	/* The payload's text, too, has one form only. */
	if (jws.payload.length > 0 &&
		decode_base64url(jws.payload.text, jws.payload.length, palloc(jws.payload.length)) < 0)
		PG_RETURN_BOOL(false);
	key = make_verifying_key(jwk, &algorithm);
	/* Nothing between here and the end raises an error. */
	if (key != NULL)
		verified = accepts_header(header, jwk, algorithm) && verify_jws(&jws, algorithm, key);
	EVP_PKEY_free(key);
	PG_RETURN_BOOL(verified);
}

Datum
keypup_key_is_usable(PG_FUNCTION_ARGS)
{
	Jsonb *jwk = PG_GETARG_JSONB_P(0);
	JwsAlgorithm algorithm;
	EVP_PKEY *key = JB_ROOT_IS_OBJECT(jwk) ? make_verifying_key(jwk, &algorithm) : NULL;
	bool usable = key != NULL && check_public_key(key);

	EVP_PKEY_free(key);
	PG_RETURN_BOOL(usable);
}
