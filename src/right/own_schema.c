/*
 * own_schema.c
 *		Keeps what is not the extension's out of schema keypup.
 *
 * Functions that run as their owner call others by name. PostgreSQL prefers the
 * one whose arguments fit best, and that may be one that somebody has added since:
 * whoever is granted CREATE in the schema would have code of theirs run as a
 * superuser. So the right alone does not suffice. Without preload only the
 * schema's rights keep others out; check_installation says when they do not.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "right/own_schema.h"

/* What a name in a query may stand for; a relation brings a type. */
typedef struct NamedKind
{
	Oid catalog;
	Oid index;
	AttrNumber oid_column;
	AttrNumber schema_column;
} NamedKind;

static const NamedKind kinds[] = {
	{ProcedureRelationId, ProcedureOidIndexId, Anum_pg_proc_oid, Anum_pg_proc_pronamespace},
	{TypeRelationId, TypeOidIndexId, Anum_pg_type_oid, Anum_pg_type_typnamespace},
	{OperatorRelationId, OperatorOidIndexId, Anum_pg_operator_oid, Anum_pg_operator_oprnamespace},
	{RelationRelationId, ClassOidIndexId, Anum_pg_class_oid, Anum_pg_class_relnamespace}};

static object_access_hook_type previous_access_hook = NULL;

/* The schema of an object as this command has left it, which no syscache has yet. */
static Oid
find_new_schema(const NamedKind *kind, Oid object)
{
	Relation catalog = table_open(kind->catalog, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid schema = InvalidOid;

	ScanKeyInit(&key, kind->oid_column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object));
	scan = systable_beginscan(catalog, kind->index, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;

		schema = DatumGetObjectId(
			heap_getattr(tuple, kind->schema_column, RelationGetDescr(catalog), &isnull));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return schema;
}

static bool
owns_schema(Oid role, Oid schema)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	bool owns;

	if (!HeapTupleIsValid(tuple))
		return false;
	owns = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner == role;
	ReleaseSysCache(tuple);
	return owns;
}

static void
guard(Oid catalog, Oid object)
{
	Oid schema;

	if (superuser())
		return;
	for (Size i = 0; i < lengthof(kinds); i++)
	{
		if (kinds[i].catalog != catalog)
			continue;
		schema = get_namespace_oid("keypup", true);
		if (OidIsValid(schema) && find_new_schema(&kinds[i], object) == schema &&
			!owns_schema(GetUserId(), schema) && OidIsValid(get_extension_oid("keypup", true)))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("schema \"keypup\" is the extension's own"),
					 errdetail("Its functions run as their owner, and find each other by name."),
					 errhint("Choose another schema.")));
	}
}

static void
see_access(ObjectAccessType access, Oid class_id, Oid object, int column, void *argument)
{
	if (previous_access_hook)
		previous_access_hook(access, class_id, object, column, argument);
	if ((access == OAT_POST_CREATE || access == OAT_POST_ALTER) && column == 0)
		guard(class_id, object);
}

void
guard_own_schema(void)
{
	previous_access_hook = object_access_hook;
	object_access_hook = see_access;
}
