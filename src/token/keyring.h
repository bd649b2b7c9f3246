/*
 * keyring.h
 *		The data keys of keypup.data_keys, ready for use.
 */
#ifndef KEYPUP_KEYRING_H
#define KEYPUP_KEYRING_H

#include "utils/uuid.h"

#include "token/envelope.h"

typedef struct DataKey
{
	uint32 key_id;
	AesGcmKey cipher;
} DataKey;

/*
 * find_data_key
 *		The data key of that id, to open with; NULL when there is none.
 *
 * Valid until the next call of a function of this file. Raises
 * ERRCODE_CONFIG_FILE_ERROR when the key that wraps it is not to be had or is another.
 */
extern const DataKey *find_data_key(uint32 key_id);

/*
 * active_data_key
 *		The data key to seal one record with; made at first use, and renewed when
 *		it has sealed enough.
 *
 * account: whose; NULL for callers' own tables. Valid until the next call of a
 * function of this file. Until the transaction ends the key cannot be destroyed.
 * Raises ERRCODE_CONFIG_FILE_ERROR without a key file or command,
 * ERRCODE_READ_ONLY_SQL_TRANSACTION where nothing may be written.
 */
extern const DataKey *active_data_key(const pg_uuid_t *account);

/*
 * forget_data_keys
 *		Wipes the keys that this session has ready. Happens by itself when a
 *		transaction ends or a subtransaction is rolled back.
 */
extern void forget_data_keys(void);

/*
 * lock_data_key
 *		Locks a data key until the transaction ends: shared to seal with it,
 *		exclusively to destroy it.
 */
extern void lock_data_key(uint32 key_id, bool exclusively);

#endif
