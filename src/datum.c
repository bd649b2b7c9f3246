/*
 * datum.c
 *		Values that C functions hand to SQL, and get from it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "funcapi.h"

#include "compat.h"
#include "datum.h"

#define MAX_COLUMNS 8

Datum
make_bytea(const void *bytes, Size length)
{
	bytea *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), bytes, length);
	return PointerGetDatum(result);
}

Datum
return_row(FunctionCallInfo fcinfo, int columns, Datum *values, const bool *nulls)
{
	bool row_nulls[MAX_COLUMNS] = {false};
	TupleDesc description;

	if (columns > MAX_COLUMNS ||
		get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE ||
		description->natts != columns)
		elog(ERROR, "the function's result is not as installed");
	if (nulls != NULL)
		memcpy(row_nulls, nulls, (Size) columns * sizeof(bool));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, row_nulls));
}

Datum
read_field(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}
