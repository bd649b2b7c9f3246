/*
 * json_time.c
 *		Times as JSON has them. To PostgreSQL infinity and today are times, too, and
 *		2026-13-45 is an error in the middle of a page; and its own reading takes ten
 *		times as long.
 */
#include "postgres.h"

#include <math.h>

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "http/json_time.h"

/* A double holds fifteen digits exactly; of a fraction six count. */
#define MAX_SCALE 1e15

/* The number that the next two digits are. Moves on. */
static int
read_two(const char **at)
{
	int value = ((*at)[0] - '0') * 10 + (*at)[1] - '0';

	*at += 2;
	return value;
}

/* Whether text begins with the form, where 0 stands for any digit. */
static bool
has_form(const char *text, Size length, const char *form)
{
	if (length < strlen(form))
		return false;
	for (int i = 0; form[i] != '\0'; i++)
	{
		if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	}
	return true;
}

/* A fraction of a second in microseconds, rounded as timestamptz_in does. Moves on. */
static int64
read_fraction(const char **at, const char *end)
{
	double digits = 0;
	double scale = 1;

	while (++*at < end && **at >= '0' && **at <= '9')
	{
		if (scale >= MAX_SCALE)
			continue;
		digits = digits * 10 + (**at - '0');
		scale *= 10;
	}
	return (int64) rint(digits / scale * USECS_PER_SEC);
}

/* "Z" or an offset like "+02:00", in microseconds. */
static bool
read_offset(const char *text, Size length, int64 *offset)
{
	const char *at = text + 1;
	int minutes;

	*offset = 0;
	if (length == 1)
		return *text == 'Z';
	if (length != 6 || (!has_form(text, length, "+00:00") && !has_form(text, length, "-00:00")))
		return false;
	minutes = read_two(&at) * MINS_PER_HOUR;
	at++;
	if (*at > '5')
		return false;
	minutes += read_two(&at);
	*offset = (*text == '-' ? -minutes : minutes) * USECS_PER_MINUTE;
	return minutes < 15 * MINS_PER_HOUR;
}

bool
read_json_time(const char *text, Size length, TimestampTz *time)
{
	const char *at = text;
	const char *end = text + length;
	int year;
	int month;
	int day;
	int hour;
	int minute;
	int second;
	int64 fraction = 0;
	int64 offset;

	if (!has_form(text, length, "0000-00-00T00:00:00"))
		return false;
	year = read_two(&at) * 100;
	year += read_two(&at);
	at++;
	month = read_two(&at);
	at++;
	day = read_two(&at);
	at++;
	hour = read_two(&at);
	at++;
	minute = read_two(&at);
	at++;
	second = read_two(&at);
	if (year < 1 || month < 1 || month > MONTHS_PER_YEAR || day < 1 ||
		day > day_tab[isleap(year)][month - 1] || hour >= HOURS_PER_DAY ||
		minute >= MINS_PER_HOUR || second >= SECS_PER_MINUTE)
		return false;
	if (at + 1 < end && *at == '.')
		fraction = read_fraction(&at, end);
	if (!read_offset(at, (Size) (end - at), &offset))
		return false;
	*time = (TimestampTz) (date2j(year, month, day) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY +
			((hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second) * USECS_PER_SEC +
			fraction - offset;
	return true;
}
