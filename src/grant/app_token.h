/*
 * app_token.h
 *		Tokens of apps: a connection that has an app's key gets its token from the
 *		provider, again and again.
 */
#ifndef KEYPUP_APP_TOKEN_H
#define KEYPUP_APP_TOKEN_H

#include "outside/runner.h"

/*
 * ask_for_app_tokens
 *		Sends the requests for the tokens of the scope that are due: where jobs wait
 *		and there is no token, or one that ends soon.
 *
 * Until the answer is there, the connection's jobs are not claimed.
 */
extern void ask_for_app_tokens(Runner *runner);

#endif
