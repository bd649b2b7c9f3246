/*
 * datum.h
 *		Values that C functions hand to SQL, and get from it.
 */
#ifndef KEYPUP_DATUM_H
#define KEYPUP_DATUM_H

#include "fmgr.h"

/*
 * make_bytea
 *		A bytea of so many bytes, palloc'd.
 */
extern Datum make_bytea(const void *bytes, Size length);

/*
 * return_row
 *		The row that a function with so many OUT parameters answers with.
 *
 * nulls: one a column; NULL when there is none. Raises an error where the
 * function was not installed with that many.
 */
extern Datum return_row(FunctionCallInfo fcinfo, int columns, Datum *values, const bool *nulls);

/*
 * read_field
 *		A column, counted from 1, of a row of SPI_tuptable, counted from 0.
 */
extern Datum read_field(uint64 row, int column, bool *isnull);

#endif
