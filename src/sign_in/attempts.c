/*
 * attempts.c
 *		How often somebody tries to sign in with a password, whether there is such a
 *		person or not.
 *
 * Counted are an account's name, a person's, and where it comes from: five attempts
 * at once, then one in five minutes. So who guesses from elsewhere leaves the person
 * alone. All places from which the person has never signed in have a slower count
 * together. An attempt counts when its digest is about to be computed, not before:
 * nobody counts for less than that costs. One that succeeds is taken back.
 *
 * The counts are in a sketch of leaky buckets in shared memory: a key has a cell in
 * each of several rows, by a hash with a key of its own that nobody knows. Each cell
 * is the time at which it will have leaked empty, and keys that share a cell add up
 * in it; the key counts as its lowest cell. So nothing is ever pushed out, others can
 * only add, and who cannot tell which cells a key has, adds to all four only by
 * adding to most cells: more than two hundred attempts a second, for hours. Count-min
 * sketch: Cormode and Muthukrishnan 2005.
 *
 * The count is outside of transactions, since the sign-in that fails rolls its own
 * back. The clock is one that does not jump. A restart of the server forgets.
 */
#include "postgres.h"

#include <arpa/inet.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/refusal.h"
#include "compat.h"
#include "datum.h"
#include "shared_area.h"
#include "sign_in/attempts.h"
#include "token/digest.h"
#include "token/turn.h"

PG_FUNCTION_INFO_V1(keypup_name_source);
PG_FUNCTION_INFO_V1(keypup_check_password);
PG_FUNCTION_INFO_V1(keypup_forgive_attempt);

#define ROWS 4
#define CELLS 65536
#define KEY_BYTES 32
#define DIGEST_BYTES 32
/* Of an IPv6 address, the part that is somebody's; the rest they choose. */
#define IPV6_NETWORK_BYTES 8

typedef enum Count
{
	OF_SOURCE, /* of a person from one source */
	OF_PERSON, /* of a person from all sources that are new */
	COUNTS
} Count;

static const struct
{
	int at_once;
	int64 interval; /* in which one more may be made, in microseconds */
} limits[COUNTS] = {[OF_SOURCE] = {5, INT64CONST(300) * USECS_PER_SEC},
					[OF_PERSON] = {10, INT64CONST(900) * USECS_PER_SEC}};

typedef struct SharedAttempts
{
	uint8 key[KEY_BYTES];
	int64 cells[COUNTS][ROWS][CELLS]; /* when each has leaked empty */
} SharedAttempts;

/* The cells of one key. */
typedef struct Cells
{
	uint32 of_row[ROWS];
} Cells;

typedef struct Attempt
{
	Cells cells[COUNTS];
	int counts; /* 1: known, and so not counted OF_PERSON */
	int64 began_at; /* 0: there is none to forgive */
} Attempt;

static void
draw_key(void *memory)
{
	if (RAND_bytes(memory, KEY_BYTES) != 1)
		ereport(ERROR, (errmsg("could not draw a random number")));
}

static SharedAttempts *shared = NULL;
static SharedArea area = {.name = "keypup attempts",
						  .size = sizeof(SharedAttempts),
						  .start = draw_key,
						  .memory = (void **) &shared};

/* This session's last. */
static Attempt last_attempt = {.began_at = 0};

void
register_attempts(void)
{
	register_shared_area(&area);
}

static int64
read_clock(void)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* --- where it comes from --- */

/* An address as what is one source; any other word as it stands. */
static void
append_source(StringInfo into, const char *source)
{
	struct in6_addr address;

	if (inet_pton(AF_INET6, source, &address) == 1 && !IN6_IS_ADDR_V4MAPPED(&address))
		appendBinaryStringInfo(into, (char *) &address, IPV6_NETWORK_BYTES);
	else
		appendStringInfoString(into, source);
}

/*
 * Digest of a source. What the caller says is believed as the word of the database role, so that no other role
 * can speak of the same source; else it is the address of the client.
 */
Datum
keypup_name_source(PG_FUNCTION_ARGS)
{
	StringInfoData name;
	uint8 digest[DIGEST_BYTES];

	initStringInfo(&name);
	if (!PG_ARGISNULL(0))
	{
		appendStringInfo(&name, "by role %s: ", GetUserNameFromId(GetSessionUserId(), false));
		append_source(&name, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	}
	else
	{
		const char *address = find_client_address();

		appendStringInfoString(&name, "address ");
		append_source(&name, address == NULL ? "local" : address);
	}
	if (EVP_Digest(name.data, (size_t) name.len, digest, NULL, EVP_sha256(), NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a digest")));
	PG_RETURN_DATUM(make_bytea(digest, sizeof(digest)));
}

/* --- counting --- */

static void
append_name(StringInfo into, const text *name)
{
	int length = name == NULL ? 0 : (int) VARSIZE_ANY_EXHDR(name);

	appendBinaryStringInfo(into, (char *) &length, sizeof(length));
	if (name != NULL)
		appendBinaryStringInfo(into, VARDATA_ANY(name), length);
}

static void
find_cells(Cells *cells, Count count, const text *account, const text *person, const bytea *source)
{
	StringInfoData name;
	uint8 mac[EVP_MAX_MD_SIZE];

	initStringInfo(&name);
	appendStringInfo(&name, "%d %u ", count, MyDatabaseId);
	append_name(&name, account);
	append_name(&name, person);
	if (count == OF_SOURCE)
		append_name(&name, source);
	if (HMAC(EVP_sha256(), shared->key, KEY_BYTES, (uint8 *) name.data, (size_t) name.len, mac,
			 NULL) == NULL)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a digest")));
	memcpy(cells->of_row, mac, sizeof(cells->of_row));
	for (int row = 0; row < ROWS; row++)
		cells->of_row[row] %= CELLS;
	pfree(name.data);
}

/* How long until the key may try again; 0 or less: now. The lock is held. */
static int64
wait_of(const Cells *cells, Count count, int64 now)
{
	int64 empty_at = PG_INT64_MAX;

	for (int row = 0; row < ROWS; row++)
		empty_at = Min(empty_at, shared->cells[count][row][cells->of_row[row]]);
	return empty_at - now - limits[count].interval * (limits[count].at_once - 1);
}

/* Counts an attempt and returns 0, or says how many seconds are left to wait. */
static int
count_attempt(Attempt *attempt)
{
	int64 now = read_clock();
	int64 wait = 0;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int count = 0; count < attempt->counts; count++)
		wait = Max(wait, wait_of(&attempt->cells[count], count, now));
	for (int count = 0; count < attempt->counts && wait == 0; count++)
	{
		for (int row = 0; row < ROWS; row++)
		{
			int64 *cell = &shared->cells[count][row][attempt->cells[count].of_row[row]];

			*cell = Max(*cell, now) + limits[count].interval;
		}
	}
	LWLockRelease(area.lock);
	attempt->began_at = wait == 0 ? now : 0;
	return (int) ((wait + USECS_PER_SEC - 1) / USECS_PER_SEC);
}

/*
 * account, person: names. source: as name_source has it. is_known: the person has signed in from there. password,
 * hash: as in prepare_password_check. cost: what it shall cost. A row of is_right, and wait_seconds, which is NULL
 * unless it came too soon, and then is not looked at, though it costs as much.
 */
Datum
keypup_check_password(PG_FUNCTION_ARGS)
{
	const text *account = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	const text *person = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	const bytea *source = PG_ARGISNULL(2) ? NULL : PG_GETARG_BYTEA_PP(2);
	Attempt attempt = {.counts = !PG_ARGISNULL(3) && PG_GETARG_BOOL(3) ? 1 : COUNTS};
	PasswordCheck *check;
	uint64 turn = 0;
	int wait;
	bool is_right;
	bool nulls[2] = {false, false};
	Datum values[2];

	require_shared_area(&area);
	for (int count = 0; count < attempt.counts; count++)
		find_cells(&attempt.cells[count], count, account, person, source);
	check = prepare_password_check(PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4),
								   PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5),
								   PG_ARGISNULL(6) ? 0 : PG_GETARG_INT32(6));
	if (source != NULL && VARSIZE_ANY_EXHDR(source) >= sizeof(turn))
		memcpy(&turn, VARDATA_ANY(source), sizeof(turn));
	take_turn(turn);
	wait = count_attempt(&attempt);
	is_right = run_password_check(check);
	end_turn();
	last_attempt = attempt;
	values[0] = BoolGetDatum(is_right && wait == 0);
	values[1] = Int32GetDatum(wait);
	nulls[1] = wait == 0;
	return return_row(fcinfo, 2, values, nulls);
}

/* What is left of this session's last attempt is taken out again, of which a part has leaked since. */
Datum
keypup_forgive_attempt(PG_FUNCTION_ARGS)
{
	int64 age;

	require_shared_area(&area);
	if (last_attempt.began_at == 0)
		PG_RETURN_VOID();
	age = read_clock() - last_attempt.began_at;
	last_attempt.began_at = 0;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int count = 0; count < last_attempt.counts; count++)
	{
		for (int row = 0; row < ROWS; row++)
			shared->cells[count][row][last_attempt.cells[count].of_row[row]] -=
				Max(limits[count].interval - age, 0);
	}
	LWLockRelease(area.lock);
	PG_RETURN_VOID();
}
