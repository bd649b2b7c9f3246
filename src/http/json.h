/*
 * json.h
 *		A provider's reply as jsonb, within limits.
 */
#ifndef KEYPUP_JSON_H
#define KEYPUP_JSON_H

#include "utils/jsonb.h"

#define JSON_MAX_BYTES (8 * 1024 * 1024)

/*
 * clean_json
 *		The value that the bytes are, palloc'd. It takes little more memory than they.
 *
 * What text cannot hold becomes U+FFFD: bytes that are not UTF-8, \u0000, lone
 * surrogates. Of the same name in an object the last counts. Returns NULL for what
 * is not JSON; then why is NULL, or says which limit is reached: 120,000 values,
 * 1,000 names in an object, 64 levels, numbers of 64 characters or with an exponent
 * of 64, many bytes that are not UTF-8, JSON_MAX_BYTES. Raises nothing of its own.
 */
extern Jsonb *clean_json(const char *bytes, Size length, const char **why);

#endif
