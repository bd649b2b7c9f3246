/*
 * token.h
 *		Opening a connection's token, for the worker.
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

#endif
