/*
 * app_key.h
 *		The private key of a provider's app: what a connection signs in with.
 */
#ifndef KEYPUP_APP_KEY_H
#define KEYPUP_APP_KEY_H

#include "token/secret.h"

/*
 * sign_with_app_key
 *		A web token (JWT, RS256) of claims that are JSON, for the caller to wipe.
 *
 * envelope: the sealed key, and context what it was sealed for. The key is in
 * clear during the call only. Raises the errors of open_token, and
 * ERRCODE_DATA_EXCEPTION for what is no key.
 */
extern Secret *sign_with_app_key(bytea *envelope, const char *context, const char *claims);

#endif
