/*
 * chain.c
 *		Proof that no record of the audit log was changed since it was sealed.
 *
 * The sealed records of an account are numbered, and the seal of each (seal.c)
 * covers that of the one before. The worker seals what is committed; no other
 * place writes the chain.
 */
#include "postgres.h"

#include <openssl/crypto.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "audit/seal.h"
#include "compat.h"
#include "datum.h"

PG_FUNCTION_INFO_V1(keypup_seal_audit_records);
PG_FUNCTION_INFO_V1(keypup_check_audit_chain);
PG_FUNCTION_INFO_V1(keypup_audit_proof);

#define ROWS_AT_ONCE 1000

/* purpose text, key integer, account uuid, sequence bigint, seal bytea */
Datum
keypup_audit_proof(PG_FUNCTION_ARGS)
{
	uint8 seal[SEAL_BYTES];
	uint8 proof[SEAL_BYTES];

	copy_bytes(seal, PG_GETARG_DATUM(4), SEAL_BYTES);
	SPI_connect();
	compute_proof(require_audit_key(make_audit_keys(), PG_GETARG_INT32(1)),
				  text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_UUID_P(2), PG_GETARG_INT64(3),
				  seal, proof);
	SPI_finish();
	PG_RETURN_DATUM(make_bytea(proof, SEAL_BYTES));
}

/* --- sealing --- */

typedef struct Sealed
{
	Datum *accounts;
	Datum *records;
	Datum *times;
	Datum *sequences;
	Datum *seals;
	Datum *proofs; /* of the head, where it is an account's last; otherwise of nothing */
	bool *is_last;
} Sealed;

static Datum
make_array(Datum *values, int count, Oid type, int length, bool by_value, char align)
{
	return PointerGetDatum(construct_array(values, count, type, length, by_value, align));
}

static void
store_seals(const Sealed *sealed, int count, int32 key_id, int64 first, int64 last)
{
	Oid types[] = {UUIDARRAYOID,  INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
				   BYTEAARRAYOID, INT4OID,		INT8OID,	  INT8OID};
	Datum values[] = {
		make_array(sealed->accounts, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR),
		make_array(sealed->records, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE),
		make_array(sealed->times, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE),
		make_array(sealed->sequences, count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE),
		make_array(sealed->seals, count, BYTEAOID, -1, false, TYPALIGN_INT),
		Int32GetDatum(key_id),
		Int64GetDatum(first),
		Int64GetDatum(last)};
	Datum *heads = palloc(sizeof(Datum) * (Size) count);
	Oid head_types[] = {UUIDARRAYOID, INT8ARRAYOID, BYTEAARRAYOID, BYTEAARRAYOID, INT4OID};
	Datum head_values[5];
	int head_count = 0;

	SPI_execute_with_args(
		"UPDATE keypup.audit_log l SET sequence = u.sequence, seal = u.seal, seal_key = $6"
		" FROM ROWS FROM (pg_catalog.unnest($1),"
		" pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5)) AS u (account_id, record_id, times, sequence, seal)"
		" WHERE l.account_id OPERATOR(pg_catalog.=) u.account_id"
		" AND l.record_id OPERATOR(pg_catalog.=) u.record_id"
		" AND l.times OPERATOR(pg_catalog.=) u.times AND l.sequence IS NULL"
		" AND l.record_id OPERATOR(pg_catalog.>=) $7 AND l.record_id OPERATOR(pg_catalog.<=) $8",
		lengthof(types), types, values, NULL, false, 0);
	/* Somebody has counted on: it is sealed the next time. */
	if (SPI_processed != (uint64) count)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("records of the audit log changed while they were sealed")));

	for (int column = 0; column < 4; column++)
	{
		Datum *from[] = {sealed->accounts, sealed->sequences, sealed->seals, sealed->proofs};

		head_count = 0;
		for (int i = 0; i < count; i++)
		{
			if (sealed->is_last[i])
				heads[head_count++] = from[column][i];
		}
		head_values[column] =
			column == 0 ? make_array(heads, head_count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)
			: column == 1
				? make_array(heads, head_count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)
				: make_array(heads, head_count, BYTEAOID, -1, false, TYPALIGN_INT);
	}
	head_values[4] = Int32GetDatum(key_id);
	SPI_execute_with_args(
		"INSERT INTO keypup.audit_heads AS h (account_id, sequence, seal, proof, key_id)"
		" SELECT u.account_id, u.sequence, u.seal, u.proof, $5"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2),"
		" pg_catalog.unnest($3), pg_catalog.unnest($4)) AS u (account_id, sequence, seal, proof)"
		" ON CONFLICT (account_id) DO UPDATE SET sequence = EXCLUDED.sequence, seal = EXCLUDED.seal,"
		" proof = EXCLUDED.proof, key_id = EXCLUDED.key_id",
		lengthof(head_types), head_types, head_values, NULL, false, 0);
}

/* key integer, how_many integer: seals up to so many records that are to be counted no more. */
Datum
keypup_seal_audit_records(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID};
	Datum values[] = {PG_GETARG_DATUM(1)};
	AuditKeys *keys = make_audit_keys();
	EVP_MAC_CTX *mac;
	SPITupleTable *rows;
	Sealed sealed;
	int64 sequence = 0;
	int64 first = PG_INT64_MAX;
	int64 last = PG_INT64_MIN;
	uint8 seal[SEAL_BYTES];
	int count;

	SPI_connect();
	mac = require_audit_key(keys, PG_GETARG_INT32(0));
	SPI_execute_with_args(
		"SELECT " SEALED_COLUMNS ", h.sequence, h.seal FROM (SELECT u.* FROM keypup.audit_log u"
		" WHERE u.sequence IS NULL AND (u.counts_until IS NULL"
		" OR u.counts_until OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp())"
		" ORDER BY u.record_id LIMIT $1) AS l"
		" LEFT JOIN keypup.audit_heads h ON h.account_id OPERATOR(pg_catalog.=) l.account_id"
		" ORDER BY l.account_id, l.record_id",
		1, types, values, NULL, false, 0);
	count = (int) SPI_processed;
	rows = SPI_tuptable;
	if (count > 0)
	{
		Datum **columns[] = {&sealed.accounts,	&sealed.records, &sealed.times,
							 &sealed.sequences, &sealed.seals,	 &sealed.proofs};

		for (Size i = 0; i < lengthof(columns); i++)
			*columns[i] = palloc(sizeof(Datum) * (Size) count);
		sealed.is_last = palloc(sizeof(bool) * (Size) count);
	}
	for (int i = 0; i < count; i++)
	{
		Datum columns_of_row[MAX_COLUMNS];
		bool nulls[MAX_COLUMNS];
		bool isnull;
		pg_uuid_t *account;
		pg_uuid_t *next =
			i + 1 == count
				? NULL
				: DatumGetUUIDP(SPI_getbinval(rows->vals[i + 1], rows->tupdesc, 1, &isnull));

		heap_deform_tuple(rows->vals[i], rows->tupdesc, columns_of_row, nulls);
		account = DatumGetUUIDP(columns_of_row[0]);
		if (i == 0 || sealed.is_last[i - 1])
		{
			memset(seal, 0, SEAL_BYTES);
			sequence = 0;
			if (!nulls[FIRST_OTHER])
			{
				copy_bytes(seal, columns_of_row[FIRST_OTHER], SEAL_BYTES);
				sequence = DatumGetInt64(columns_of_row[FIRST_OTHER - 1]);
			}
		}
		sequence++;
		compute_seal(mac, seal, sequence, columns_of_row, nulls, seal);
		sealed.accounts[i] = UUIDPGetDatum(account);
		sealed.records[i] = columns_of_row[SEALED_RECORD - 1];
		sealed.times[i] = columns_of_row[SEALED_TIMES - 1];
		sealed.sequences[i] = Int64GetDatum(sequence);
		sealed.seals[i] = make_bytea(seal, SEAL_BYTES);
		sealed.is_last[i] = next == NULL || memcmp(account, next, sizeof(*account)) != 0;
		if (sealed.is_last[i])
		{
			uint8 proof[SEAL_BYTES];

			compute_proof(mac, "keypup audit head v1", account, sequence, seal, proof);
			sealed.proofs[i] = make_bytea(proof, SEAL_BYTES);
		}
		first = Min(first, DatumGetInt64(sealed.records[i]));
		last = Max(last, DatumGetInt64(sealed.records[i]));
	}
	if (count > 0)
		store_seals(&sealed, count, PG_GETARG_INT32(0), first, last);
	SPI_finish();
	PG_RETURN_INT64(count);
}

/* --- verifying --- */

typedef struct Check
{
	AuditKeys *keys;
	pg_uuid_t *account;
	int64 records; /* that are as they were sealed */
	int64 sequence; /* of the last of them */
	uint8 seal[SEAL_BYTES];
	int64 bad_sequence;
	int64 bad_record; /* 0: it is not there */
	const char *problem; /* NULL: none yet */
} Check;

/*
 * What is kept of a chain beside its records: the seal of that number, in the
 * head or where records before it have expired. Sets the problem where nobody
 * but the worker could have written it and it is not the worker's.
 */
static bool
find_kept_seal(Check *check, const char *table, const char *purpose, int64 sequence, uint8 *seal)
{
	SPITupleTable *rows = SPI_tuptable;
	Oid types[] = {UUIDOID, INT8OID};
	Datum values[] = {UUIDPGetDatum(check->account), Int64GetDatum(sequence)};
	uint8 proof[SEAL_BYTES];
	uint8 expected[SEAL_BYTES];
	EVP_MAC_CTX *mac;
	bool isnull;
	bool found;

	SPI_execute_with_args(psprintf("SELECT b.seal, b.proof, b.key_id FROM keypup.%s b"
								   " WHERE b.account_id OPERATOR(pg_catalog.=) $1"
								   " AND b.sequence OPERATOR(pg_catalog.=) $2",
								   table),
						  2, types, values, NULL, true, 1);
	found = SPI_processed == 1;
	if (found)
	{
		copy_bytes(seal, read_field(0, 1, &isnull), SEAL_BYTES);
		copy_bytes(proof, read_field(0, 2, &isnull), SEAL_BYTES);
		mac = find_audit_key(check->keys, DatumGetInt32(read_field(0, 3, &isnull)));
		found = mac != NULL;
		if (found)
		{
			compute_proof(mac, purpose, check->account, sequence, seal, expected);
			found = CRYPTO_memcmp(proof, expected, SEAL_BYTES) == 0;
		}
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_tuptable = rows;
	return found;
}

static void
fail_check(Check *check, int64 sequence, int64 record, const char *problem)
{
	check->bad_sequence = sequence;
	check->bad_record = record;
	check->problem = problem;
}

static void
check_row(Check *check, HeapTuple row, TupleDesc columns)
{
	Datum values[MAX_COLUMNS];
	bool nulls[MAX_COLUMNS];
	int64 sequence;
	int64 record;
	EVP_MAC_CTX *mac;
	uint8 before[SEAL_BYTES];
	uint8 seal[SEAL_BYTES];
	Datum stored;

	heap_deform_tuple(row, columns, values, nulls);
	sequence = DatumGetInt64(values[FIRST_OTHER - 1]);
	record = DatumGetInt64(values[SEALED_RECORD - 1]);
	stored = values[FIRST_OTHER];
	memcpy(before, check->seal, SEAL_BYTES);
	if (sequence <= check->sequence)
	{
		fail_check(check, sequence, record, "another record has its number");
		return;
	}
	if (sequence != check->sequence + 1 &&
		!find_kept_seal(check, "audit_boundaries", "keypup audit boundary v1", sequence - 1,
						before))
	{
		fail_check(check, check->sequence + 1, 0, "it is missing");
		return;
	}
	mac = nulls[FIRST_OTHER + 1]
			  ? NULL
			  : find_audit_key(check->keys, DatumGetInt32(values[FIRST_OTHER + 1]));
	if (mac == NULL)
	{
		fail_check(check, sequence, record, "the key that it was sealed with is not there");
		return;
	}
	compute_seal(mac, before, sequence, values, nulls, seal);
	if (nulls[FIRST_OTHER] || VARSIZE_ANY_EXHDR(DatumGetByteaPP(stored)) != SEAL_BYTES ||
		CRYPTO_memcmp(VARDATA_ANY(DatumGetByteaPP(stored)), seal, SEAL_BYTES) != 0)
	{
		fail_check(check, sequence, record, "it is not as it was sealed");
		return;
	}
	memcpy(check->seal, seal, SEAL_BYTES);
	check->sequence = sequence;
	check->records++;
}

/* The end of the chain must be where the worker has left it, or later. */
static void
check_end(Check *check)
{
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(check->account)};
	int64 head;
	uint8 seal[SEAL_BYTES];
	bool isnull;

	SPI_execute_with_args("SELECT h.sequence FROM keypup.audit_heads h"
						  " WHERE h.account_id OPERATOR(pg_catalog.=) $1",
						  1, types, values, NULL, true, 1);
	if (SPI_processed == 0)
	{
		if (check->sequence > 0)
			fail_check(check, check->sequence, 0, "where the chain ends is not known any more");
		return;
	}
	head = DatumGetInt64(read_field(0, 1, &isnull));
	if (!find_kept_seal(check, "audit_heads", "keypup audit head v1", head, seal))
		fail_check(check, head, 0, "where the chain ends was changed");
	else if (head < check->sequence)
		fail_check(check, head + 1, 0, "it is behind the end of the chain");
	else if (head == check->sequence && memcmp(seal, check->seal, SEAL_BYTES) != 0)
		fail_check(check, head, 0, "the chain ends with another record");
	/* All may have expired, up to the head. */
	else if (head > check->sequence &&
			 !find_kept_seal(check, "audit_boundaries", "keypup audit boundary v1", head, seal))
		fail_check(check, check->sequence + 1, 0, "it is missing");
}

/* account uuid, OUT records bigint, OUT sequence bigint, OUT record_id bigint, OUT problem text */
Datum
keypup_check_audit_chain(PG_FUNCTION_ARGS)
{
	Check check = {.keys = make_audit_keys(), .account = PG_GETARG_UUID_P(0)};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext batch;
	Oid types[] = {UUIDOID};
	Datum values[4] = {PG_GETARG_DATUM(0)};
	bool nulls[4] = {false};
	Portal cursor;

	SPI_connect();
	batch =
		AllocSetContextCreate(CurrentMemoryContext, "keypup audit check", ALLOCSET_DEFAULT_SIZES);
	cursor = SPI_cursor_open_with_args(
		NULL,
		"SELECT " SEALED_COLUMNS ", l.sequence, l.seal, l.seal_key FROM keypup.audit_log l"
		" WHERE l.account_id OPERATOR(pg_catalog.=) $1 AND l.sequence IS NOT NULL ORDER BY l.sequence",
		1, types, values, NULL, true, 0);
	for (;;)
	{
		SPITupleTable *rows;

		SPI_cursor_fetch(cursor, true, ROWS_AT_ONCE);
		if (SPI_processed == 0)
			break;
		rows = SPI_tuptable;
		MemoryContextSwitchTo(batch);
		for (uint64 i = 0, count = SPI_processed; i < count && check.problem == NULL; i++)
			check_row(&check, rows->vals[i], rows->tupdesc);
		MemoryContextReset(batch);
		SPI_freetuptable(rows);
		CHECK_FOR_INTERRUPTS();
		if (check.problem != NULL)
			break;
	}
	SPI_cursor_close(cursor);
	if (check.problem == NULL)
		check_end(&check);
	MemoryContextSwitchTo(context);
	SPI_finish();

	values[0] = Int64GetDatum(check.records);
	values[1] = Int64GetDatum(check.problem == NULL ? check.sequence : check.bad_sequence);
	values[2] = Int64GetDatum(check.bad_record);
	nulls[2] = check.bad_record == 0;
	nulls[3] = check.problem == NULL;
	if (check.problem != NULL)
		values[3] = CStringGetTextDatum(check.problem);
	return return_row(fcinfo, 4, values, nulls);
}
