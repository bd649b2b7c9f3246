/*
 * answer.h
 *		What the worker asks outside beside the sync: key sets of identity providers,
 *		who has a person's token, and which projects a connection could track.
 */
#ifndef KEYPUP_ANSWER_H
#define KEYPUP_ANSWER_H

#include "outside/runner.h"

/*
 * answer_questions
 *		Sends the requests of questions that sessions have asked, and fetches the key
 *		sets that are due.
 */
extern void answer_questions(Runner *runner);

#endif
