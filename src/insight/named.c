/*
 * named.c
 *		Whether one of some names is what an account means by some patterns: views ask it of every row.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(keypup_is_named);

/*
 * is_named(names text[], patterns text[]) RETURNS boolean
 *
 * patterns: in lower case, as name_patterns makes them; LIKE's % and _ count.
 * Letters of ASCII are put in lower case first and by themselves: no language's rules turn I into another letter.
 */
Datum
keypup_is_named(PG_FUNCTION_ARGS)
{
	Datum *names;
	Datum *patterns;
	bool *null_names;
	bool *null_patterns;
	int name_count;
	int pattern_count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &names,
					  &null_names, &name_count);
	if (name_count == 0)
		PG_RETURN_BOOL(false);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &patterns,
					  &null_patterns, &pattern_count);
	for (int i = 0; i < name_count; i++)
	{
		Datum name;

		if (null_names[i])
			continue;
		name = DirectFunctionCall1Coll(lower, C_COLLATION_OID, names[i]);
		name = DirectFunctionCall1Coll(lower, DEFAULT_COLLATION_OID, name);
		for (int j = 0; j < pattern_count; j++)
		{
			if (!null_patterns[j] && DatumGetBool(DirectFunctionCall2Coll(
										 textlike, DEFAULT_COLLATION_OID, name, patterns[j])))
				PG_RETURN_BOOL(true);
		}
	}
	PG_RETURN_BOOL(false);
}
