/*
 * json_time.h
 *		Times as JSON has them.
 */
#ifndef KEYPUP_JSON_TIME_H
#define KEYPUP_JSON_TIME_H

#include "datatype/timestamp.h"

/*
 * read_json_time
 *		The time that a text is, in ISO 8601: 2026-01-31T23:59:59Z, with a fraction of
 *		a second or without, and with an offset (+02:00) instead of Z or without.
 *
 * Returns false where it is no such time, or none that there is. The same in every
 * session: it does not depend on DateStyle or TimeZone.
 */
extern bool read_json_time(const char *text, Size length, TimestampTz *time);

#endif
