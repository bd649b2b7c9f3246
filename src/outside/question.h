/*
 * question.h
 *		What a session cannot find out in the database: it asks the worker, which
 *		asks outside, and waits for the answer.
 */
#ifndef KEYPUP_QUESTION_H
#define KEYPUP_QUESTION_H

#include "utils/uuid.h"

#define QUESTION_KIND_BYTES 16
#define QUESTION_BYTES 8192
#define ANSWER_BYTES 16384
/* The answer to a question for which nobody was asked yet: to be asked again. */
#define ANSWER_LATER "{\"later\": true}"

typedef struct Question
{
	uint64 ticket; /* names the place; never 0 */
	char kind[QUESTION_KIND_BYTES];
	pg_uuid_t account;
	int length;
	uint8 bytes[QUESTION_BYTES]; /* secrets are sealed in it */
} Question;

/*
 * register_questions
 *		Asks for the shared memory; called at preload.
 */
extern void register_questions(void);

/*
 * take_question
 *		The next question to a worker of this database, which is now the caller's to
 *		answer. Returns whether there is one.
 */
extern bool take_question(Question *into);

/*
 * answer_question
 *		Hands over the answer: JSON, or NULL for none. Whoever asked may be gone.
 */
extern void answer_question(uint64 ticket, const char *json);

#endif
