/*
 * turn.c
 *		Who computes a password digest next. Each takes a processor for a fifth of
 *		a second, so a few are computed at once, and whoever guesses passwords must
 *		keep neither the processors from the server nor the turns from the others.
 *
 * A database role has at most so many turns at once (keypup.
 * max_password_digests_per_role). A free one goes to the role whose turn it is, and
 * in the role to the source whose turn it is: start-time fair queueing (Goyal, Vin
 * and Cheng 1996), where each demand costs the same. A demand is tagged, as it
 * comes, with one more than the last tag of its role that waits, or than the tag
 * that was served last, whichever is more; likewise for its source; and the lowest
 * tag is served. So a hundred demands of one role or source are tagged a hundred
 * turns into the future, and the first of another stands before all but one of them.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"

#include "compat.h"
#include "keypup.h"
#include "shared_area.h"
#include "token/turn.h"

#define PLACES 512
/* Whoever finds no place waits for one, and so leaves some to others. */
#define PLACES_OF_ROLE 384
#define NO_PLACE (-1)

typedef struct Demand
{
	Oid role; /* of the login; InvalidOid: the place is free */
	uint64 source;
	uint64 role_tag;
	uint64 source_tag;
	uint64 number; /* in the order of arrival */
	bool has_turn;
} Demand;

typedef struct SharedTurns
{
	ConditionVariable changed;
	uint64 last_number;
	uint64 served_role_tag;
	uint64 served_source_tag;
	Demand places[PLACES];
} SharedTurns;

static void
start_turns(void *memory)
{
	ConditionVariableInit(&((SharedTurns *) memory)->changed);
}

static SharedTurns *shared = NULL;
static SharedArea area = {.name = "keypup turns",
						  .size = sizeof(SharedTurns),
						  .start = start_turns,
						  .memory = (void **) &shared};

/* This process's place, while it waits or has a turn. */
static int own_place = NO_PLACE;

void
register_turns(void)
{
	register_shared_area(&area);
}

static int
turns_of_role(void)
{
	int limit = keypup_max_password_digests_per_role;

	return limit > 0 ? limit : Max(keypup_max_password_digests - 1, 1);
}

/* The lock is held. */
static void
tag_demand(Demand *demand)
{
	demand->role_tag = shared->served_role_tag;
	demand->source_tag = shared->served_source_tag;
	for (int i = 0; i < PLACES; i++)
	{
		Demand *other = &shared->places[i];

		if (other == demand || other->role != demand->role)
			continue;
		demand->role_tag = Max(demand->role_tag, other->role_tag);
		if (other->source == demand->source)
			demand->source_tag = Max(demand->source_tag, other->source_tag);
	}
	demand->role_tag++;
	demand->source_tag++;
	demand->number = ++shared->last_number;
}

/* Whether there was a place. */
static bool
queue_up(Oid role, uint64 source)
{
	int unused = NO_PLACE;
	int of_role = 0;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	for (int i = 0; i < PLACES; i++)
	{
		of_role += shared->places[i].role == role;
		if (!OidIsValid(shared->places[i].role))
			unused = i;
	}
	if (unused != NO_PLACE && of_role < PLACES_OF_ROLE)
	{
		shared->places[unused] = (Demand){.role = role, .source = source};
		tag_demand(&shared->places[unused]);
		own_place = unused;
	}
	LWLockRelease(area.lock);
	return own_place != NO_PLACE;
}

/* Those who have a turn, by their roles; returns how many. The lock is held. */
static int
list_turns(Oid *roles)
{
	int count = 0;

	for (int i = 0; i < PLACES && count < MAX_PASSWORD_DIGESTS; i++)
	{
		if (shared->places[i].has_turn)
			roles[count++] = shared->places[i].role;
	}
	return count;
}

static bool
has_turns_left(Oid role, const Oid *roles, int count)
{
	int of_role = 0;

	for (int i = 0; i < count; i++)
		of_role += roles[i] == role;
	return of_role < turns_of_role();
}

static bool
comes_before(const Demand *a, uint64 a_tag, const Demand *b, uint64 b_tag)
{
	return a_tag != b_tag ? a_tag < b_tag : a->number < b->number;
}

/* The demand whose tag of its role is lowest; NULL: none may have a turn. The lock is held. */
static Demand *
find_next_role(const Oid *roles, int count)
{
	Demand *next = NULL;

	for (int i = 0; i < PLACES; i++)
	{
		Demand *demand = &shared->places[i];

		if (!OidIsValid(demand->role) || demand->has_turn)
			continue;
		if ((next == NULL || comes_before(demand, demand->role_tag, next, next->role_tag)) &&
			has_turns_left(demand->role, roles, count))
			next = demand;
	}
	return next;
}

/* Of those that the role waits with, the one whose tag of its source is lowest. The lock is held. */
static Demand *
find_next_source(Oid role)
{
	Demand *next = NULL;

	for (int i = 0; i < PLACES; i++)
	{
		Demand *demand = &shared->places[i];

		if (demand->role == role && !demand->has_turn &&
			(next == NULL || comes_before(demand, demand->source_tag, next, next->source_tag)))
			next = demand;
	}
	return next;
}

/* Takes the turn if it is this process's; the tags of a role are for any of those that it waits with. */
static bool
try_turn(void)
{
	Demand *own = &shared->places[own_place];
	Oid roles[MAX_PASSWORD_DIGESTS];
	int count;
	bool more = false;

	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	count = list_turns(roles);
	if (count < keypup_max_password_digests)
	{
		Demand *next_role = find_next_role(roles, count);

		if (next_role != NULL && find_next_source(next_role->role) == own)
		{
			uint64 role_tag = next_role->role_tag;

			next_role->role_tag = own->role_tag;
			own->role_tag = role_tag;
			own->has_turn = true;
			shared->served_role_tag = Max(shared->served_role_tag, own->role_tag);
			shared->served_source_tag = Max(shared->served_source_tag, own->source_tag);
			more = count + 1 < keypup_max_password_digests;
		}
	}
	LWLockRelease(area.lock);
	/* Who looked a moment ago was not next then. */
	if (more)
		ConditionVariableBroadcast(&shared->changed);
	return own->has_turn;
}

static void
leave_queue(int code, Datum argument)
{
	end_turn();
}

void
take_turn(uint64 source)
{
	static uint32 event = 0;

	if (shared == NULL)
		return;
	end_turn();
	/* An end of the process that is no error leaves the queue, too. */
	PG_ENSURE_ERROR_CLEANUP(leave_queue, (Datum) 0);
	{
		ConditionVariablePrepareToSleep(&shared->changed);
		while (!queue_up(GetSessionUserId(), source))
			ConditionVariableSleep(&shared->changed, keypup_wait_event(&event, "KeypupDigest"));
		while (!try_turn())
			ConditionVariableSleep(&shared->changed, keypup_wait_event(&event, "KeypupDigest"));
		ConditionVariableCancelSleep();
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave_queue, (Datum) 0);
}

void
end_turn(void)
{
	if (own_place == NO_PLACE)
		return;
	LWLockAcquire(area.lock, LW_EXCLUSIVE);
	memset(&shared->places[own_place], 0, sizeof(Demand));
	LWLockRelease(area.lock);
	own_place = NO_PLACE;
	/* All of them: each looks whether it is next, and one that is cancelled just now would keep a signal for one. */
	ConditionVariableBroadcast(&shared->changed);
}
