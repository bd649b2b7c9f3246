/*
 * compat.h
 *		Differences between PostgreSQL 15 and 18. No other file asks for the version.
 */
#ifndef KEYPUP_COMPAT_H
#define KEYPUP_COMPAT_H

#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "common/jsonapi.h"
#include "postmaster/bgworker_internals.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

/* Before the declaration of a function that does not return. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn __attribute__((noreturn))
#endif

#if PG_VERSION_NUM >= 170000
#define keypup_create_wait_event_set(n) CreateWaitEventSet(NULL, (n))
#else
#define keypup_create_wait_event_set(n) CreateWaitEventSet(CurrentMemoryContext, (n))
#endif

#if PG_VERSION_NUM >= 170000
#define keypup_json_lexer(bytes, length, escapes)                                                  \
	makeJsonLexContextCstringLen(NULL, (bytes), (length), PG_UTF8, (escapes))
#else
#define keypup_json_lexer(bytes, length, escapes)                                                  \
	makeJsonLexContextCstringLen((char *) (bytes), (length), PG_UTF8, (escapes))
#endif

/* A wait event with a name of ours, where the server knows such; kept: a static uint32, 0 at first. */
#if PG_VERSION_NUM >= 170000
#define keypup_wait_event(kept, name)                                                              \
	(*(kept) != 0 ? *(kept) : (*(kept) = WaitEventExtensionNew(name)))
#else
#define keypup_wait_event(kept, name) (*(kept) = PG_WAIT_EXTENSION)
#endif

/* What a hook of the executor's run takes and passes on. */
#if PG_VERSION_NUM >= 180000
#define KEYPUP_EXECUTOR_RUN_ARGUMENTS QueryDesc *query, ScanDirection direction, uint64 count
#define KEYPUP_EXECUTOR_RUN_VALUES query, direction, count
#else
#define KEYPUP_EXECUTOR_RUN_ARGUMENTS                                                              \
	QueryDesc *query, ScanDirection direction, uint64 count, bool once
#define KEYPUP_EXECUTOR_RUN_VALUES query, direction, count, once
#endif

/* What a callback of the JSON parser returns. */
#if PG_VERSION_NUM >= 160000
#define keypup_json_result JsonParseErrorType
#define KEYPUP_JSON_GO_ON return JSON_SUCCESS
#else
#define keypup_json_result void
#define KEYPUP_JSON_GO_ON return
#endif

/* The background worker that was registered last, or NULL. In the postmaster, and what it forks. */
#if PG_VERSION_NUM >= 180000
#define keypup_newest_background_worker()                                                          \
	(dlist_is_empty(&BackgroundWorkerList)                                                         \
		 ? NULL                                                                                    \
		 : dlist_head_element(RegisteredBgWorker, rw_lnode, &BackgroundWorkerList))
#else
#define keypup_newest_background_worker()                                                          \
	(slist_is_empty(&BackgroundWorkerList)                                                         \
		 ? NULL                                                                                    \
		 : slist_head_element(RegisteredBgWorker, rw_lnode, &BackgroundWorkerList))
#endif

#if PG_VERSION_NUM >= 160000
#define keypup_owns_database(database, role)                                                       \
	object_ownercheck(DatabaseRelationId, (database), (role))
#define keypup_owns_extension(extension, role)                                                     \
	object_ownercheck(ExtensionRelationId, (extension), (role))
#define keypup_owns_relation(relation, role)                                                       \
	object_ownercheck(RelationRelationId, (relation), (role))
#else
#define keypup_owns_database(database, role) pg_database_ownercheck((database), (role))
#define keypup_owns_extension(extension, role) pg_extension_ownercheck((extension), (role))
#define keypup_owns_relation(relation, role) pg_class_ownercheck((relation), (role))
#endif

#endif
