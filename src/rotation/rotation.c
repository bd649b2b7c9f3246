/*
 * rotation.c
 *		What rotation.sql needs and SQL cannot do: to make, wrap and lock data
 *		keys, and to seal a record again. All granted to nobody.
 */
#include "postgres.h"

#include "fmgr.h"
#include "port/pg_bswap.h"

#include "compat.h"
#include "datum.h"
#include "token/keyring.h"
#include "token/wrapping.h"

PG_FUNCTION_INFO_V1(keypup_make_data_key);
PG_FUNCTION_INFO_V1(keypup_rewrap_data_key);
PG_FUNCTION_INFO_V1(keypup_newest_wrapping_key);
PG_FUNCTION_INFO_V1(keypup_lock_data_key);
PG_FUNCTION_INFO_V1(keypup_count_unopenable_keys);

#define KEY_RECORD_BYTES (2 * sizeof(uint32) + WRAPPED_KEY_BYTES + CHECK_VALUE_BYTES)

/* A row of kek_id, wrapped, check_value. */
static Datum
return_wrapped_key(FunctionCallInfo fcinfo, const WrappedKey *key)
{
	Datum values[3];

	values[0] = Int32GetDatum((int32) key->kek_id);
	values[1] = make_bytea(key->wrapped, WRAPPED_KEY_BYTES);
	values[2] = make_bytea(key->check_value, CHECK_VALUE_BYTES);
	return return_row(fcinfo, 3, values, NULL);
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

static void
read_key_record(const uint8 *record, WrappedKey *key)
{
	uint32 numbers[2];

	memcpy(numbers, record, sizeof(numbers));
	key->key_id = pg_ntoh32(numbers[0]);
	key->kek_id = pg_ntoh32(numbers[1]);
	memcpy(key->wrapped, record + sizeof(numbers), WRAPPED_KEY_BYTES);
	memcpy(key->check_value, record + sizeof(numbers) + WRAPPED_KEY_BYTES, CHECK_VALUE_BYTES);
}

/* The records of all keys, one after the other: key_id, kek_id, wrapped, check_value. */
Datum
keypup_count_unopenable_keys(PG_FUNCTION_ARGS)
{
	bytea *records = PG_GETARG_BYTEA_PP(0);
	Size length = VARSIZE_ANY_EXHDR(records);
	int count = (int) (length / KEY_RECORD_BYTES);
	WrappedKey *keys = palloc(sizeof(WrappedKey) * (Size) Max(count, 1));
	uint32 first = 0;
	Datum values[2];
	bool nulls[2] = {false, false};

	if (length % KEY_RECORD_BYTES != 0)
		elog(ERROR, "data key is damaged");
	for (int i = 0; i < count; i++)
		read_key_record((uint8 *) VARDATA_ANY(records) + (Size) i * KEY_RECORD_BYTES, &keys[i]);
	values[0] = Int32GetDatum(count_unopenable_keys(keys, count, &first));
	values[1] = Int32GetDatum((int32) first);
	nulls[1] = first == 0;
	return return_row(fcinfo, 2, values, nulls);
}
