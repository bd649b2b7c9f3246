/*
 * seal.c
 *		What proves that a record of the audit log is as it was: an HMAC-SHA-256
 *		over its fields and the HMAC of the record before.
 *
 * The key is derived from a data key of its own (keypup.data_keys), which a key of
 * the key file wraps: the tables alone do not suffice to compute it, and a new
 * wrapping key changes nothing.
 *
 * The fields are in the HMAC as they are, numbers in network order, texts behind
 * their length, so that two records never have the same bytes.
 */
#include "postgres.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "port/pg_bswap.h"

#include "audit/seal.h"
#include "datum.h"
#include "token/wrapping.h"

#define MAX_KEYS 64

/* The numbers and texts of a record that its seal covers, among SEALED_COLUMNS. */
#define NUMBERS 4
#define TEXTS 9
#define FIRST_NUMBER SEALED_RECORD
#define FIRST_TEXT (FIRST_NUMBER + NUMBERS)

/* --- keys --- */

typedef struct AuditKey
{
	int32 key_id;
	EVP_MAC_CTX *mac;
} AuditKey;

struct AuditKeys
{
	MemoryContextCallback callback;
	int count;
	AuditKey keys[MAX_KEYS];
};

static void
free_audit_keys(void *argument)
{
	AuditKeys *keys = argument;

	for (int i = 0; i < keys->count; i++)
		EVP_MAC_CTX_free(keys->keys[i].mac);
	keys->count = 0;
}

AuditKeys *
make_audit_keys(void)
{
	AuditKeys *keys = palloc0(sizeof(AuditKeys));

	keys->callback.func = free_audit_keys;
	keys->callback.arg = keys;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &keys->callback);
	return keys;
}

/* HKDF (RFC 5869) with SHA-256. */
static bool
derive_key(const uint8 *secret, const char *purpose, uint8 *derived)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	size_t length = SEAL_BYTES;
	bool made = context != NULL && EVP_PKEY_derive_init(context) > 0 &&
				EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) > 0 &&
				EVP_PKEY_CTX_set1_hkdf_key(context, secret, DATA_KEY_BYTES) > 0 &&
				EVP_PKEY_CTX_add1_hkdf_info(context, (const unsigned char *) purpose,
											(int) strlen(purpose)) > 0 &&
				EVP_PKEY_derive(context, derived, &length) > 0 && length == SEAL_BYTES;

	EVP_PKEY_CTX_free(context);
	return made;
}

static EVP_MAC_CTX *
start_mac(const uint8 *key)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
	OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
							   OSSL_PARAM_construct_end()};

	EVP_MAC_free(mac);
	if (context != NULL && EVP_MAC_init(context, key, SEAL_BYTES, parameters) == 1)
		return context;
	EVP_MAC_CTX_free(context);
	return NULL;
}

void
copy_bytes(uint8 *into, Datum value, Size length)
{
	bytea *bytes = DatumGetByteaPP(value);

	if (VARSIZE_ANY_EXHDR(bytes) != length)
		elog(ERROR, "data key is damaged");
	memcpy(into, VARDATA_ANY(bytes), length);
}

bool
derive_audit_key(int32 key_id, const char *purpose, uint8 *derived)
{
	SPITupleTable *rows = SPI_tuptable;
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(key_id)};
	WrappedKey wrapped = {.key_id = (uint32) key_id};
	bool found;
	bool isnull;

	/* Not read-only: it may have been made just now. */
	SPI_execute_with_args("SELECT k.kek_id, k.wrapped, k.check_value FROM keypup.data_keys k"
						  " WHERE k.key_id OPERATOR(pg_catalog.=) $1"
						  " AND k.account_id OPERATOR(pg_catalog.=) keypup.audit_key_account()"
						  " AND k.state OPERATOR(pg_catalog.<>) 'destroyed'",
						  1, types, values, NULL, false, 1);
	found = SPI_processed == 1;
	if (found)
	{
		Secret *secret;
		bool is_derived;

		wrapped.kek_id = (uint32) DatumGetInt32(read_field(0, 1, &isnull));
		copy_bytes(wrapped.wrapped, read_field(0, 2, &isnull), WRAPPED_KEY_BYTES);
		copy_bytes(wrapped.check_value, read_field(0, 3, &isnull), CHECK_VALUE_BYTES);
		secret = unwrap_key(&wrapped);
		is_derived = derive_key(secret->bytes, purpose, derived);
		wipe_secret(secret);
		if (!is_derived)
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("could not derive a key of the audit log")));
	}
	SPI_freetuptable(SPI_tuptable);
	SPI_tuptable = rows;
	return found;
}

EVP_MAC_CTX *
find_audit_key(AuditKeys *keys, int32 key_id)
{
	uint8 derived[SEAL_BYTES];
	EVP_MAC_CTX *mac;

	for (int i = 0; i < keys->count; i++)
	{
		if (keys->keys[i].key_id == key_id)
			return keys->keys[i].mac;
	}
	if (keys->count == MAX_KEYS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the audit log is sealed with more than %d keys", MAX_KEYS)));
	if (!derive_audit_key(key_id, "keypup audit records v1", derived))
		return NULL;
	mac = start_mac(derived);
	OPENSSL_cleanse(derived, sizeof(derived));
	if (mac == NULL)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not compute seals of the audit log")));
	keys->keys[keys->count].key_id = key_id;
	keys->keys[keys->count++].mac = mac;
	return mac;
}

/* --- seals --- */

static void
add_bytes(EVP_MAC_CTX *mac, const void *bytes, Size length)
{
	if (EVP_MAC_update(mac, bytes, length) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a seal")));
}

static void
add_number(EVP_MAC_CTX *mac, int64 number)
{
	uint64 bytes = pg_hton64((uint64) number);

	add_bytes(mac, &bytes, sizeof(bytes));
}

/* purpose: with its NUL, so that no bytes of one kind are those of another. */
static void
start_seal(EVP_MAC_CTX *mac, const char *purpose)
{
	if (EVP_MAC_init(mac, NULL, 0, NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a seal")));
	add_bytes(mac, purpose, strlen(purpose) + 1);
}

static void
end_seal(EVP_MAC_CTX *mac, uint8 *seal)
{
	size_t length = 0;

	if (EVP_MAC_final(mac, seal, &length, SEAL_BYTES) != 1 || length != SEAL_BYTES)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a seal")));
}

/* All in one piece: each call of OpenSSL costs as much as hashing a field. */
void
compute_seal(EVP_MAC_CTX *mac, const uint8 *before, int64 sequence, const Datum *values,
			 const bool *nulls, uint8 *seal)
{
	StringInfoData bytes;

	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, (const char *) before, SEAL_BYTES);
	pq_sendint64(&bytes, (uint64) sequence);
	appendBinaryStringInfo(&bytes, (const char *) DatumGetUUIDP(values[0])->data, UUID_LEN);
	for (int i = 0; i < NUMBERS; i++)
		pq_sendint64(&bytes, (uint64) DatumGetInt64(values[FIRST_NUMBER - 1 + i]));
	for (int i = 0; i < TEXTS; i++)
	{
		bool isnull = nulls[FIRST_TEXT - 1 + i];
		text *words = isnull ? NULL : DatumGetTextPP(values[FIRST_TEXT - 1 + i]);

		pq_sendint32(&bytes, isnull ? PG_UINT32_MAX : (uint32) VARSIZE_ANY_EXHDR(words));
		if (!isnull)
			appendBinaryStringInfo(&bytes, VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words));
	}
	start_seal(mac, "keypup audit record v1");
	add_bytes(mac, bytes.data, (Size) bytes.len);
	end_seal(mac, seal);
	pfree(bytes.data);
}

void
compute_proof(EVP_MAC_CTX *mac, const char *purpose, const pg_uuid_t *account, int64 sequence,
			  const uint8 *seal, uint8 *proof)
{
	start_seal(mac, purpose);
	add_bytes(mac, account->data, UUID_LEN);
	add_number(mac, sequence);
	add_bytes(mac, seal, SEAL_BYTES);
	end_seal(mac, proof);
}

EVP_MAC_CTX *
require_audit_key(AuditKeys *keys, int32 key_id)
{
	EVP_MAC_CTX *mac = find_audit_key(keys, key_id);

	if (mac == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("data key %d is none of the audit log", key_id)));
	return mac;
}
