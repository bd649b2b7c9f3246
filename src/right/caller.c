/*
 * caller.c
 *		Who called a function of ours that runs as its owner.
 *
 * Inside of it the current user is the owner, and PostgreSQL tells nobody who it
 * was before; it tells who is logged in, or has SET ROLE. That is somebody else
 * where a function in between runs as its own owner: whoever wrote it would act
 * as whoever calls it. So the users are noted, as each function that runs as its
 * owner, or with settings of its own, begins.
 *
 * What began before the library was loaded is not known: without preload the
 * first call of a session passes for one of who is logged in.
 *
 * A process that works for a parallel query knows neither the functions that have
 * called the query nor the session that is used. None of ours that asks who called
 * it is made to run there, but a function that calls it may be declared PARALLEL
 * SAFE by whoever wrote it: there nobody is the caller.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "right/caller.h"
#include "right/current_user.h"

typedef struct Frame
{
	Oid function;
	Oid role; /* as which it runs */
	CommandId began; /* the transaction's command then */
} Frame;

static Frame *frames = NULL; /* in TopMemoryContext; the last is the innermost */
static int depth = 0;
static int room = 0;

static fmgr_hook_type previous_fmgr_hook = NULL;

static void
enter(Oid function)
{
	if (depth == room)
	{
		int wanted = room == 0 ? 64 : 2 * room;

		if (frames == NULL)
			frames = MemoryContextAlloc(TopMemoryContext, (Size) wanted * sizeof(Frame));
		else
			frames = repalloc(frames, (Size) wanted * sizeof(Frame));
		room = wanted;
	}
	frames[depth].function = function;
	frames[depth].role = GetUserId();
	frames[depth].began = GetCurrentCommandId(false);
	depth++;
}

static void
see_call(FmgrHookEventType event, FmgrInfo *function, Datum *argument)
{
	if (previous_fmgr_hook)
		previous_fmgr_hook(event, function, argument);
	if (event == FHET_START)
		enter(function->fn_oid);
	else if (depth > 0)
	{
		depth--;
		end_of_call(depth, event == FHET_END);
	}
}

static bool
is_ours(Oid function, Oid owner)
{
	return get_func_namespace(function) == get_namespace_oid("keypup", true) &&
		   owner_of_extension_function(function) == owner;
}

/* The frame from which on all are of ours that run as the owner; depth: not even the last is. */
static int
outermost_frame(Oid owner)
{
	int outermost = depth;

	while (outermost > 0 && frames[outermost - 1].role == owner &&
		   is_ours(frames[outermost - 1].function, owner))
		outermost--;
	return outermost;
}

Oid
calling_role(Oid owner)
{
	int outermost;

	if (IsParallelWorker())
		return InvalidOid;
	if (GetUserId() != owner)
		return GetUserId();
	if (InSecurityRestrictedOperation())
		return InvalidOid;
	outermost = outermost_frame(owner);
	return outermost > 0 ? frames[outermost - 1].role : GetOuterUserId();
}

int
find_call(Oid owner, CommandId *began)
{
	int outermost = outermost_frame(owner);

	if (outermost == depth)
		return -1;
	*began = frames[outermost].began;
	return outermost;
}

void
register_caller(void)
{
	previous_fmgr_hook = fmgr_hook;
	fmgr_hook = see_call;
}
