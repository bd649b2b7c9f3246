/*
 * keyring.h
 *		Where keys come from: the key file (or command) holds the keys that wrap
 *		the data keys; keypup.data_keys holds those, wrapped.
 */
#ifndef KEYPUP_KEYRING_H
#define KEYPUP_KEYRING_H

#include "utils/uuid.h"

#include "token/envelope.h"

typedef struct DataKey
{
	uint32 key_id;
	uint8 bytes[ENVELOPE_KEY_BYTES];
} DataKey;

/*
 * find_data_key
 *		The data key of that id, into key; the caller wipes it.
 *
 * Returns false when there is none. Raises ERRCODE_CONFIG_FILE_ERROR when the
 * key that wraps it is not to be had or is another.
 */
extern bool find_data_key(uint32 key_id, DataKey *key);

/*
 * active_data_key
 *		The data key that new records are sealed with, into key; made at first use.
 *
 * account: whose; NULL for callers' own tables. Raises ERRCODE_CONFIG_FILE_ERROR
 * without a key file or command.
 */
extern void active_data_key(const pg_uuid_t *account, DataKey *key);

#endif
