/*
 * working_time.c
 *		How much of the time between two moments is working time: of the hours of a week, on days that are no
 *		holidays, as clocks on the wall show them. Views ask it of every row, for spans from seconds to thousands
 *		of years.
 *
 * The time is cut where the zone's offset from UTC changes. In between clocks go as time does, and working time
 * follows from numbers of whole weeks; no day is walked through, but for holidays. So an hour that clocks skip
 * counts as nothing, and one that they show twice, twice: it is worked twice.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#define USECS_PER_WEEK (7 * USECS_PER_DAY)
/* January 3, 2000, the first Monday after PostgreSQL's epoch. */
#define FIRST_MONDAY (2 * USECS_PER_DAY)
#define MINUTES_PER_WEEK (7 * 24 * 60)

typedef struct WorkingWeek
{
	const int32 *minutes; /* begin and end of each span, in minutes from Monday 0:00, ascending */
	int minute_count;
	const DateADT *holidays; /* ascending */
	int holiday_count;
} WorkingWeek;

PG_FUNCTION_INFO_V1(keypup_time_at_work);

static int64
floor_divide(int64 number, int64 divisor)
{
	return number / divisor - (number % divisor < 0);
}

/* Working time from the first Monday to a moment, both on the wall; less than 0 before it. Holidays count as work. */
static int64
work_before(const WorkingWeek *week, int64 wall)
{
	int64 weeks = floor_divide(wall - FIRST_MONDAY, USECS_PER_WEEK);
	int64 rest = wall - FIRST_MONDAY - weeks * USECS_PER_WEEK;
	int64 whole = 0;
	int64 part = 0;

	for (int i = 0; i + 1 < week->minute_count; i += 2)
	{
		int64 begin = week->minutes[i] * USECS_PER_MINUTE;
		int64 end = week->minutes[i + 1] * USECS_PER_MINUTE;

		whole += end - begin;
		if (rest > begin)
			part += Min(rest, end) - begin;
	}
	return weeks * whole + part;
}

/* Working time between two moments on the wall, where the clock is not put forward or back in between. */
static int64
work_between(const WorkingWeek *week, int64 begin, int64 end)
{
	int64 work = work_before(week, end) - work_before(week, begin);
	int64 first_day = floor_divide(begin, USECS_PER_DAY);
	int low = 0;
	int high = week->holiday_count;

	/* The first holiday that is not over. */
	while (low < high)
	{
		int middle = (low + high) / 2;

		if (week->holidays[middle] < first_day)
			low = middle + 1;
		else
			high = middle;
	}
	for (int i = low; i < week->holiday_count; i++)
	{
		int64 day = week->holidays[i] * USECS_PER_DAY;

		if (day >= end)
			break;
		work -=
			work_before(week, Min(end, day + USECS_PER_DAY)) - work_before(week, Max(begin, day));
	}
	return work;
}

/* The numbers of an array of four bytes each, in ascending order. */
static const int32 *
read_ascending(ArrayType *array, Oid type, int *count)
{
	const int32 *numbers = (const int32 *) ARR_DATA_PTR(array);

	if (ARR_ELEMTYPE(array) != type || ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_ARRAY_ELEMENT_ERROR), errmsg("working time is malformed"),
						errdetail("Its arrays have one dimension, and no NULL.")));
	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	for (int i = 1; i < *count; i++)
	{
		if (numbers[i] < numbers[i - 1])
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_ELEMENT_ERROR), errmsg("working time is malformed"),
					 errdetail("Its arrays are in ascending order.")));
	}
	return numbers;
}

/*
 * time_at_work(minutes integer[], holidays date[], time_zone text, from_at timestamptz, until_at timestamptz)
 *		RETURNS interval
 *
 * minutes: begin and end of each span of working time, from Monday 0:00 on, ascending; holidays: ascending. A time
 * zone that this server does not know is taken for UTC, as views never fail on one. NULL where one of the times has
 * no end; 0 where they are in reverse.
 */
Datum
keypup_time_at_work(PG_FUNCTION_ARGS)
{
	WorkingWeek week;
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(3);
	TimestampTz until = PG_GETARG_TIMESTAMPTZ(4);
	pg_tz *zone = strlen(name) <= TZ_STRLEN_MAX ? pg_tzset(name) : NULL;
	const int64 to_unix = (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	Interval *work = palloc0(sizeof(Interval));

	week.minutes = read_ascending(PG_GETARG_ARRAYTYPE_P(0), INT4OID, &week.minute_count);
	week.holidays = read_ascending(PG_GETARG_ARRAYTYPE_P(1), DATEOID, &week.holiday_count);
	if (week.minute_count % 2 != 0 ||
		(week.minute_count > 0 &&
		 (week.minutes[0] < 0 || week.minutes[week.minute_count - 1] > MINUTES_PER_WEEK)))
		ereport(ERROR, (errcode(ERRCODE_ARRAY_ELEMENT_ERROR), errmsg("working time is malformed"),
						errdetail("Its minutes are those of a week, in pairs.")));
	if (TIMESTAMP_NOT_FINITE(at) || TIMESTAMP_NOT_FINITE(until))
		PG_RETURN_NULL();
	while (at < until)
	{
		pg_time_t second = floor_divide(at, USECS_PER_SEC) + to_unix;
		pg_time_t boundary;
		long offset = 0;
		long next_offset;
		int is_summer;
		TimestampTz end = until;

		CHECK_FOR_INTERRUPTS();
		if (zone != NULL &&
			pg_next_dst_boundary(&second, &offset, &is_summer, &boundary, &next_offset, &is_summer,
								 zone) > 0 &&
			boundary - to_unix <= until / USECS_PER_SEC)
			end = Min(until, (boundary - to_unix) * USECS_PER_SEC);
		work->time +=
			work_between(&week, at + offset * USECS_PER_SEC, end + offset * USECS_PER_SEC);
		at = end;
	}
	PG_RETURN_INTERVAL_P(work);
}
