/*
 * inquiry.h
 *		What a session cannot find out in the database: it asks the worker, which
 *		asks outside, and waits for the answer.
 */
#ifndef KEYPUP_INQUIRY_H
#define KEYPUP_INQUIRY_H

#include "utils/uuid.h"

#define INQUIRY_KIND_BYTES 16
#define INQUIRY_QUESTION_BYTES 8192
#define INQUIRY_ANSWER_BYTES 16384
/* The answer to a question for which nobody was asked yet: to be asked again. */
#define INQUIRY_LATER "{\"later\": true}"

typedef struct InquiryQuestion
{
	uint64 ticket; /* names the inquiry; never 0 */
	char kind[INQUIRY_KIND_BYTES];
	pg_uuid_t account;
	int length;
	uint8 bytes[INQUIRY_QUESTION_BYTES]; /* secrets are sealed in it */
} InquiryQuestion;

/*
 * register_inquiries
 *		Asks for the shared memory; called at preload.
 */
extern void register_inquiries(void);

/*
 * take_question
 *		The next question to a worker of this database, which is now the caller's to
 *		answer. Returns whether there is one.
 */
extern bool take_question(InquiryQuestion *into);

/*
 * answer_question
 *		Hands over the answer: JSON, or NULL for none. Whoever asked may be gone.
 */
extern void answer_question(uint64 ticket, const char *json);

#endif
