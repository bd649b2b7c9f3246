/*
 * seal.h
 *		What proves that a record of the audit log is as it was.
 */
#ifndef KEYPUP_SEAL_H
#define KEYPUP_SEAL_H

#include <openssl/evp.h>

#include "utils/uuid.h"

#define SEAL_BYTES 32

/* What a seal covers of a record l, as the first columns of a query; the places of some, and of what comes behind. */
#define SEALED_COLUMNS                                                                             \
	"l.account_id, l.record_id, l.occurred_at, l.last_at, l.times, l.action, l.outcome, l.actor,"  \
	" l.actor_kind, l.claimed, l.database_role, l.client_address, l.application_name, l.detail"
#define SEALED_RECORD 2
#define SEALED_TIMES 5
#define FIRST_OTHER 15
/* With up to three of those. */
#define MAX_COLUMNS 17

/*
 * derive_audit_key
 *		A key of SEAL_BYTES for one purpose, of a data key of the audit log, for the
 *		caller to wipe; within SPI. Returns false where there is no such key, or no
 *		more. Raises internal_error, and what unwrap_key does.
 */
extern bool derive_audit_key(int32 key_id, const char *purpose, uint8 *derived);

/* Keys of one call; freed with its memory. */
typedef struct AuditKeys AuditKeys;

extern AuditKeys *make_audit_keys(void);

/*
 * find_audit_key, require_audit_key
 *		The key of seals that is derived from that data key; within SPI. Where there
 *		is no such key of the audit log, or no more: NULL, or an error
 *		(undefined_object). Other errors: program_limit_exceeded after 64 keys, and
 *		those of unwrap_key.
 */
extern EVP_MAC_CTX *find_audit_key(AuditKeys *keys, int32 key_id);
extern EVP_MAC_CTX *require_audit_key(AuditKeys *keys, int32 key_id);

/*
 * compute_seal
 *		The seal of a row whose values begin with SEALED_COLUMNS, behind the seal
 *		before; sequence is its number in the account. All of SEAL_BYTES.
 */
extern void compute_seal(EVP_MAC_CTX *mac, const uint8 *before, int64 sequence, const Datum *values,
						 const bool *nulls, uint8 *seal);

/*
 * compute_proof
 *		Of where a chain stands, for one purpose: what the worker says, and nobody
 *		else can. All of SEAL_BYTES.
 */
extern void compute_proof(EVP_MAC_CTX *mac, const char *purpose, const pg_uuid_t *account,
						  int64 sequence, const uint8 *seal, uint8 *proof);

/* copy_bytes: a bytea of exactly that length; an error (internal) where it has another. */
extern void copy_bytes(uint8 *into, Datum value, Size length);

#endif
