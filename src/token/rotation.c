/*
 * rotation.c
 *		What rotation.sql needs and SQL cannot do: to make, wrap and lock data
 *		keys, and to seal a record again. All granted to nobody.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "compat.h"
#include "token/keyring.h"
#include "token/wrapping.h"

PG_FUNCTION_INFO_V1(keypup_make_data_key);
PG_FUNCTION_INFO_V1(keypup_rewrap_data_key);
PG_FUNCTION_INFO_V1(keypup_newest_wrapping_key);
PG_FUNCTION_INFO_V1(keypup_lock_data_key);

static Datum
make_bytea(const uint8 *bytes, Size length)
{
	bytea *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), bytes, length);
	return PointerGetDatum(result);
}

/* A row of kek_id, wrapped, check_value. */
static Datum
return_wrapped_key(FunctionCallInfo fcinfo, const WrappedKey *key)
{
	bool nulls[3] = {false, false, false};
	TupleDesc description;
	Datum values[3];

	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE ||
		description->natts != 3)
		elog(ERROR, "the function's result is not as installed");
	values[0] = Int32GetDatum((int32) key->kek_id);
	values[1] = make_bytea(key->wrapped, WRAPPED_KEY_BYTES);
	values[2] = make_bytea(key->check_value, CHECK_VALUE_BYTES);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls));
}

Datum
keypup_make_data_key(PG_FUNCTION_ARGS)
{
	WrappedKey key = {.key_id = (uint32) PG_GETARG_INT32(0)};

	make_wrapped_key(&key);
	/* The key that this session seals with may not be the active one any more. */
	forget_data_keys();
	return return_wrapped_key(fcinfo, &key);
}

Datum
keypup_rewrap_data_key(PG_FUNCTION_ARGS)
{
	bytea *wrapped = PG_GETARG_BYTEA_PP(2);
	bytea *check_value = PG_GETARG_BYTEA_PP(3);
	WrappedKey key = {.key_id = (uint32) PG_GETARG_INT32(0), .kek_id = (uint32) PG_GETARG_INT32(1)};

	if (VARSIZE_ANY_EXHDR(wrapped) != WRAPPED_KEY_BYTES ||
		VARSIZE_ANY_EXHDR(check_value) != CHECK_VALUE_BYTES)
		elog(ERROR, "data key is damaged");
	memcpy(key.wrapped, VARDATA_ANY(wrapped), WRAPPED_KEY_BYTES);
	memcpy(key.check_value, VARDATA_ANY(check_value), CHECK_VALUE_BYTES);
	rewrap_key(&key);
	return return_wrapped_key(fcinfo, &key);
}

Datum
keypup_newest_wrapping_key(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) newest_wrapping_key());
}

Datum
keypup_lock_data_key(PG_FUNCTION_ARGS)
{
	lock_data_key((uint32) PG_GETARG_INT32(0), true);
	PG_RETURN_VOID();
}
