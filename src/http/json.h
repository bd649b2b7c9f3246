/*
 * json.h
 *		Making a provider's reply safe for jsonb.
 */
#ifndef KEYPUP_JSON_H
#define KEYPUP_JSON_H

#include "token/secret.h"

/*
 * clean_json
 *		A copy of the bytes that jsonb_in accepts, palloc'd.
 *
 * What text cannot hold becomes U+FFFD: bytes that are not UTF-8, \u0000, lone
 * surrogates. Returns NULL and sets why for what is not JSON, nests deeper than
 * 64, or holds a number of more than 64 characters or an exponent beyond 308.
 * Raises nothing of its own.
 */
extern char *clean_json(const char *bytes, Size length, const char **why);

/*
 * take_secret_member
 *		Moves a text out of a JSON object: asterisks stay in its place, so that what
 *		is done with the reply cannot spill it.
 *
 * name: of a member of the outermost object. Returns NULL when there is none, or
 * one with escapes. The bytes need not be JSON.
 */
extern Secret *take_secret_member(char *json, Size length, const char *name);

#endif
