/*
 * opening.h
 *		Records that sealed records were opened, or did not open.
 */
#ifndef KEYPUP_OPENING_H
#define KEYPUP_OPENING_H

#include "utils/uuid.h"

/*
 * note_opened
 *		Somebody got a plaintext to see. Recorded when the transaction ends, however
 *		that comes; several are one record, with a count.
 *
 * owner: of the extension. account: whose it is, or NULL. context: what it was sealed for, or NULL.
 */
extern void note_opened(Oid owner, const pg_uuid_t *account, const char *context);

/*
 * note_unopened
 *		A sealed record does not open. Raises nothing, and does not wait.
 */
extern void note_unopened(const pg_uuid_t *account, const char *context);

#endif
