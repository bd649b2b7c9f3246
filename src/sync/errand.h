/*
 * errand.h
 *		What the worker asks outside beside the sync: key sets of identity providers,
 *		who has a person's token, and which projects a connection could track.
 */
#ifndef KEYPUP_ERRAND_H
#define KEYPUP_ERRAND_H

#include "sync/runner.h"

/*
 * send_errands
 *		Sends the requests of questions that sessions have asked, and fetches the key
 *		sets that are due.
 */
extern void send_errands(Runner *runner);

#endif
