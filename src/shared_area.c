/*
 * shared_area.c
 *		Shared memory is asked for in two hooks of the postmaster, which everybody
 *		shares; this is the one place that knows them.
 */
#include "postgres.h"

#include <openssl/rand.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#include "shared_area.h"

#define MAX_AREAS 16

static SharedArea *areas[MAX_AREAS];
static int area_count = 0;
static shmem_request_hook_type previous_request_hook = NULL;
static shmem_startup_hook_type previous_startup_hook = NULL;

static void
request_areas(void)
{
	if (previous_request_hook)
		previous_request_hook();
	for (int i = 0; i < area_count; i++)
	{
		RequestAddinShmemSpace(MAXALIGN(areas[i]->size));
		RequestNamedLWLockTranche(areas[i]->name, 1);
	}
}

static void
start_areas(void)
{
	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < area_count; i++)
	{
		SharedArea *area = areas[i];
		bool found;
		void *memory = ShmemInitStruct(area->name, area->size, &found);

		area->lock = &(GetNamedLWLockTranche(area->name))->lock;
		if (!found)
		{
			memset(memory, 0, area->size);
			if (area->start != NULL)
				area->start(memory);
		}
		*area->memory = memory;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
register_shared_area(SharedArea *area)
{
	if (area_count == 0)
	{
		previous_request_hook = shmem_request_hook;
		shmem_request_hook = request_areas;
		previous_startup_hook = shmem_startup_hook;
		shmem_startup_hook = start_areas;
	}
	Assert(area_count < MAX_AREAS);
	areas[area_count++] = area;
}

void
draw_seed(void *memory)
{
	if (RAND_bytes(memory, sizeof(uint64)) != 1)
		ereport(ERROR, (errmsg("could not draw a random number")));
}

void
require_shared_area(const SharedArea *area)
{
	if (*area->memory == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("keypup is not preloaded"),
						errhint("Add it to shared_preload_libraries, and restart the server.")));
}
