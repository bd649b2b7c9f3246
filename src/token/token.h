/*
 * token.h
 *		Opening and sealing secrets, for other C code.
 */
#ifndef KEYPUP_TOKEN_H
#define KEYPUP_TOKEN_H

#include "token/secret.h"

/*
 * open_token
 *		Decrypt one sealed token.
 *
 * context: what it belongs to; must equal the one it was sealed with.
 * Returns the plaintext, for the caller to wipe; an error wipes it, too. Raises
 * ERRCODE_DATA_EXCEPTION "cannot open token" for every failure alike,
 * ERRCODE_CONFIG_FILE_ERROR for missing keys.
 */
extern Secret *open_token(bytea *envelope, const char *context);

/*
 * try_open_token
 *		The same, but NULL for an envelope that does not open.
 */
extern Secret *try_open_token(bytea *envelope, const char *context);

/*
 * seal_secret
 *		Seals bytes under the active data key of the account that the context names.
 *
 * The caller wipes the secret. Raises ERRCODE_INVALID_PARAMETER_VALUE for more
 * than 8192 bytes, ERRCODE_CONFIG_FILE_ERROR for missing keys.
 */
extern bytea *seal_secret(const Secret *secret, const char *context);

#endif
