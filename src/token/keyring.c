/*
 * keyring.c
 *		Finds data keys and keeps them ready until the transaction ends.
 *
 * What is known of a key is true for one transaction: to seal with a key is to
 * hold a lock on it, so that nobody destroys it before the record is committed;
 * the lock and what a rolled back subtransaction made go together, and so does
 * what is kept here.
 *
 * Encryptions are counted to keep random IVs from meeting (NIST SP 800-38D, 8.3:
 * at most 2^32 under one key). One sequence counts those of all keys, in blocks,
 * outside of transactions; a key has sealed at most what was counted since it
 * was made. So no seal waits for another's transaction, and after a crash or a
 * rollback the count is too high, never too low.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "datum.h"
#include "kept_plan.h"
#include "token/keyring.h"
#include "token/wrapping.h"

#define RENEW_AFTER_ENCRYPTIONS (INT64CONST(1) << 31)
#define MAX_ENCRYPTIONS (INT64CONST(1) << 32)
/* The increment of the sequence keypup.encryptions. */
#define ENCRYPTIONS_BLOCK 1024
#define MAX_KEPT_KEYS 64
#define MAX_ATTEMPTS 5

typedef struct KeptKey
{
	DataKey key; /* key_id 0: free */
	bool seals; /* locked, and active when it was */
	bool has_account;
	pg_uuid_t account;
	int64 encryptions_before; /* the count when it was made */
} KeptKey;

static KeptKey kept_keys[MAX_KEPT_KEYS];
static int kept_next = 0;

/* What is left of this session's block of the count. */
static int64 block_next = 0;
static int64 block_end = 0;

typedef enum KeyQuery
{
	KEY_OF_ID,
	ACTIVE_KEY_OF_ACCOUNT,
	ACTIVE_SHARED_KEY,
	START_KEY,
	START_SHARED_KEY,
	FREE_TO_RENEW,
	RENEW_KEY
} KeyQuery;

#define KEY_COLUMNS                                                                                \
	"SELECT k.key_id, k.kek_id, k.wrapped, k.check_value, k.encryptions_before,"                   \
	" k.state OPERATOR(pg_catalog.=) 'active', k.account_id FROM keypup.data_keys k"

static KeptPlan key_queries[] = {
	[KEY_OF_ID] = KEPT_PLAN(KEY_COLUMNS " WHERE k.key_id OPERATOR(pg_catalog.=) $1"
										" AND k.state OPERATOR(pg_catalog.<>) 'destroyed'",
							1, INT4OID),
	[ACTIVE_KEY_OF_ACCOUNT] = KEPT_PLAN(KEY_COLUMNS " WHERE k.account_id OPERATOR(pg_catalog.=) $1"
													" AND k.state OPERATOR(pg_catalog.=) 'active'",
										1, UUIDOID),
	[ACTIVE_SHARED_KEY] = KEPT_PLAN(KEY_COLUMNS " WHERE k.account_id IS NULL"
												" AND k.state OPERATOR(pg_catalog.=) 'active'",
									0, InvalidOid),
	[START_KEY] = KEPT_PLAN("SELECT keypup.start_data_key($1, NULL::pg_catalog.int4)", 1, UUIDOID),
	[START_SHARED_KEY] =
		KEPT_PLAN("SELECT keypup.start_data_key(NULL::pg_catalog.uuid, NULL::pg_catalog.int4)", 0,
				  InvalidOid),
	[FREE_TO_RENEW] = KEPT_PLAN("SELECT k.key_id FROM keypup.data_keys k"
								" WHERE k.key_id OPERATOR(pg_catalog.=) $1"
								" AND k.state OPERATOR(pg_catalog.=) 'active'"
								" FOR NO KEY UPDATE SKIP LOCKED",
								1, INT4OID),
	[RENEW_KEY] =
		KEPT_PLAN("SELECT keypup.start_data_key(k.account_id, k.key_id) FROM keypup.data_keys k"
				  " WHERE k.key_id OPERATOR(pg_catalog.=) $1",
				  1, INT4OID)};

void
forget_data_keys(void)
{
	for (int i = 0; i < MAX_KEPT_KEYS; i++)
	{
		if (kept_keys[i].key.key_id != 0)
			release_aes_gcm_key(&kept_keys[i].key.cipher);
	}
	memset(kept_keys, 0, sizeof(kept_keys));
	kept_next = 0;
}

static void
forget_at_end(XactEvent event, void *argument)
{
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PARALLEL_PRE_COMMIT &&
		event != XACT_EVENT_PRE_PREPARE)
		forget_data_keys();
}

static void
forget_at_rollback(SubXactEvent event, SubTransactionId own, SubTransactionId parent,
				   void *argument)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_data_keys();
}

/* A free place among the kept keys; the oldest goes when there is none. */
static KeptKey *
free_place(void)
{
	static bool registered = false;
	KeptKey *place = &kept_keys[kept_next];

	if (!registered)
	{
		RegisterXactCallback(forget_at_end, NULL);
		RegisterSubXactCallback(forget_at_rollback, NULL);
		registered = true;
	}
	kept_next = (kept_next + 1) % MAX_KEPT_KEYS;
	if (place->key.key_id != 0)
		release_aes_gcm_key(&place->key.cipher);
	memset(place, 0, sizeof(*place));
	return place;
}

/*
 * Runs one of the queries as the bootstrap superuser, since no role has rights
 * on keypup.data_keys, and sees what is committed by now, whatever the
 * transaction's isolation. Returns whether there is a row.
 */
static bool
run_key_query(KeyQuery query, Datum argument)
{
	return run_kept_plan(&key_queries[query], BOOTSTRAP_SUPERUSERID, &argument, GetLatestSnapshot(),
						 false);
}

static Datum
column(int number, bool *isnull)
{
	return read_field(0, number, isnull);
}

static void
read_bytes(int number, uint8 *bytes, Size length)
{
	bool isnull;
	bytea *value = DatumGetByteaPP(column(number, &isnull));

	if (isnull || VARSIZE_ANY_EXHDR(value) != length)
		elog(ERROR, "data key is damaged");
	memcpy(bytes, VARDATA_ANY(value), length);
}

/* Makes the key of the row that run_key_query found ready. */
static KeptKey *
keep_key(bool seals)
{
	WrappedKey wrapped;
	KeptKey *kept;
	AesGcmKey cipher = {0};
	Secret *bytes;
	bool isnull;
	bool prepared;
	Datum account;

	wrapped.key_id = DatumGetInt32(column(1, &isnull));
	wrapped.kek_id = DatumGetInt32(column(2, &isnull));
	read_bytes(3, wrapped.wrapped, WRAPPED_KEY_BYTES);
	read_bytes(4, wrapped.check_value, CHECK_VALUE_BYTES);
	bytes = unwrap_key(&wrapped);
	prepared = prepare_aes_gcm_key(&cipher, bytes->bytes);
	wipe_secret(bytes);
	if (!prepared)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not use a data key")));

	kept = free_place();
	kept->key.key_id = wrapped.key_id;
	kept->key.cipher = cipher;
	kept->seals = seals;
	kept->encryptions_before = DatumGetInt64(column(5, &isnull));
	account = column(7, &isnull);
	kept->has_account = !isnull;
	if (!isnull)
		kept->account = *DatumGetUUIDP(account);
	return kept;
}

static KeptKey *
find_kept_key(uint32 key_id)
{
	for (int i = 0; i < MAX_KEPT_KEYS; i++)
	{
		if (kept_keys[i].key.key_id == key_id)
			return &kept_keys[i];
	}
	return NULL;
}

static KeptKey *
find_kept_active_key(const pg_uuid_t *account)
{
	for (int i = 0; i < MAX_KEPT_KEYS; i++)
	{
		KeptKey *kept = &kept_keys[i];

		if (kept->seals && kept->has_account == (account != NULL) &&
			(account == NULL || memcmp(&kept->account, account, sizeof(*account)) == 0))
			return kept;
	}
	return NULL;
}

const DataKey *
find_data_key(uint32 key_id)
{
	KeptKey *kept;

	if (key_id == 0 || key_id > PG_INT32_MAX)
		return NULL;
	kept = find_kept_key(key_id);
	if (kept == NULL)
	{
		SPI_connect();
		if (run_key_query(KEY_OF_ID, Int32GetDatum((int32) key_id)))
			kept = keep_key(false);
		SPI_finish();
	}
	return kept == NULL ? NULL : &kept->key;
}

void
lock_data_key(uint32 key_id, bool exclusively)
{
	LockDatabaseObject(get_relname_relid("data_keys", get_namespace_oid("keypup", false)), key_id,
					   0, exclusively ? AccessExclusiveLock : AccessShareLock);
}

/* The active key of the account, locked and ready. NULL when there is none. */
static KeptKey *
lock_active_key(const pg_uuid_t *account)
{
	KeyQuery query = account == NULL ? ACTIVE_SHARED_KEY : ACTIVE_KEY_OF_ACCOUNT;
	bool isnull;

	for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++)
	{
		uint32 key_id;

		if (!run_key_query(query, UUIDPGetDatum(account)))
			return NULL;
		key_id = DatumGetInt32(column(1, &isnull));
		lock_data_key(key_id, false);
		/* It may have been destroyed while we waited for the lock. */
		if (run_key_query(KEY_OF_ID, Int32GetDatum((int32) key_id)) &&
			DatumGetBool(column(6, &isnull)))
			return keep_key(true);
	}
	return NULL;
}

/* Takes the next number of the count that is not below first. */
static int64
count_encryption(int64 first)
{
	if (block_next >= block_end || block_next < first)
	{
		Oid sequence = get_relname_relid("encryptions", get_namespace_oid("keypup", false));
		XLogRecPtr logged = XactLastRecEnd;

		block_next = nextval_internal(sequence, false);
		block_end = block_next + ENCRYPTIONS_BLOCK;
		/* What is not on disk could be handed out again after a crash. */
		if (XactLastRecEnd != logged)
			XLogFlush(XactLastRecEnd);
	}
	return block_next++;
}

/* Renews a key, unless another transaction is at it. */
static bool
renew_key(uint32 key_id)
{
	return run_key_query(FREE_TO_RENEW, Int32GetDatum((int32) key_id)) &&
		   run_key_query(RENEW_KEY, Int32GetDatum((int32) key_id));
}

/* One encryption by the key is counted; NULL when it should be renewed, and was. */
static KeptKey *
count_for_key(KeptKey *kept)
{
	int64 encryptions = count_encryption(kept->encryptions_before) - kept->encryptions_before;
	bool renewed;

	if (encryptions < RENEW_AFTER_ENCRYPTIONS)
		return kept;
	SPI_connect();
	renewed = renew_key(kept->key.key_id);
	SPI_finish();
	if (renewed)
		return NULL;
	if (encryptions < MAX_ENCRYPTIONS)
		return kept;
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("data key %u has sealed as much as it may", kept->key.key_id),
					errdetail("Another transaction is renewing it."),
					errhint("Try again when that has ended."), errhidestmt(true)));
	return NULL;
}

const DataKey *
active_data_key(const pg_uuid_t *account)
{
	if (XactReadOnly || RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("cannot seal a token in a read-only transaction"),
						errdetail("Each encryption is counted."),
						errhint("Seal it on the primary server, in a transaction that may write."),
						errhidestmt(true)));
	for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++)
	{
		KeptKey *kept = find_kept_active_key(account);

		if (kept == NULL)
		{
			SPI_connect();
			kept = lock_active_key(account);
			if (kept == NULL)
			{
				run_key_query(account == NULL ? START_SHARED_KEY : START_KEY,
							  UUIDPGetDatum(account));
				kept = lock_active_key(account);
			}
			SPI_finish();
		}
		if (kept != NULL)
			kept = count_for_key(kept);
		if (kept != NULL)
			return &kept->key;
	}
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("the data key is being replaced by another transaction"),
					errhint("Try again."), errhidestmt(true)));
	return NULL;
}
