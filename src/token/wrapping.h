/*
 * wrapping.h
 *		The keys that wrap data keys (KEKs): where they come from, and their use.
 *
 * All functions raise ERRCODE_CONFIG_FILE_ERROR, naming the key's number, when
 * the key that is needed is not to be had or is another.
 */
#ifndef KEYPUP_WRAPPING_H
#define KEYPUP_WRAPPING_H

#include "token/envelope.h"
#include "token/secret.h"

#define DATA_KEY_BYTES AES_GCM_KEY_BYTES
#define WRAPPED_KEY_BYTES (ENVELOPE_OVERHEAD + DATA_KEY_BYTES)
#define CHECK_VALUE_BYTES 8

/* A data key as keypup.data_keys holds it. */
typedef struct WrappedKey
{
	uint32 key_id;
	uint32 kek_id;
	uint8 wrapped[WRAPPED_KEY_BYTES];
	uint8 check_value[CHECK_VALUE_BYTES];
} WrappedKey;

/*
 * newest_wrapping_key
 *		The number of the key that new data keys are wrapped with: the highest.
 */
extern uint32 newest_wrapping_key(void);

/*
 * make_wrapped_key
 *		Makes 32 random bytes and wraps them with the newest key.
 *
 * Takes key->key_id, fills in the rest.
 */
extern void make_wrapped_key(WrappedKey *key);

/*
 * rewrap_key
 *		Wraps a data key with the newest key instead of the one it names.
 */
extern void rewrap_key(WrappedKey *key);

/*
 * unwrap_key
 *		The 32 bytes of a data key, for the caller to wipe.
 */
extern Secret *unwrap_key(const WrappedKey *key);

/*
 * count_unopenable_keys
 *		How many of the data keys do not open with the wrapping keys that are there;
 *		*first receives the number of the first of them.
 */
extern int count_unopenable_keys(const WrappedKey *keys, int count, uint32 *first);

#endif
