/*
 * keyring.c
 *		Finds keys. The key file is read when a key is needed, by the process that
 *		needs it, and nothing of it is kept: no key is in the postmaster, in
 *		shared memory or in a process that does not use it.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "catalog/pg_type.h"
#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"

#include "compat.h"
#include "keypup.h"
#include "token/keyring.h"

#define MAX_KEY_FILE_BYTES 65536
#define MAX_WRAPPING_KEYS 256
#define CHECK_VALUE_BYTES 8

typedef struct WrappingKeys
{
	int count;
	DataKey keys[MAX_WRAPPING_KEYS];
} WrappingKeys;

#define KEY_FILE_RULE                                                                              \
	"It must be a regular file, owned by the server's user with mode 0600 or by root with mode 0640 or less."

static void
fail_key_source(const char *source, int line, const char *problem)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_CONFIG_FILE_ERROR),
		 errmsg("%s is malformed: line %d %s", source, line, problem),
		 errhint(
			 "Each line is a key's number and 64 hexadecimal digits: \"1 0123…\". Make one with: openssl rand -hex 32"),
		 errhidestmt(true)));
}

/* Reads the file into text, which has room for MAX_KEY_FILE_BYTES. Returns NULL or what is wrong. */
static const char *
read_key_file(const char *path, char *text)
{
	struct stat status;
	ssize_t length;
	int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (file < 0)
		return errno == ELOOP ? "it is a symbolic link" : strerror(errno);
	/* The opened file is judged, not the path: that could be another by now. */
	if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode) ||
		(status.st_uid != geteuid() && status.st_uid != 0) ||
		(status.st_mode &
		 (status.st_uid == 0 ? (S_IWGRP | S_IXGRP | S_IRWXO) : (S_IRWXG | S_IRWXO))) != 0)
	{
		close(file);
		return "its owner or permissions are wrong";
	}
	length = read(file, text, MAX_KEY_FILE_BYTES - 1);
	close(file);
	if (length < 0)
		return "it cannot be read";
	if (length == MAX_KEY_FILE_BYTES - 1)
		return "it is too long";
	text[length] = '\0';
	return NULL;
}

static const char *
run_key_command(const char *command, char *text)
{
	FILE *pipe = OpenPipeStream(command, "r");
	size_t length;

	if (pipe == NULL)
		return "it cannot be run";
	length = fread(text, 1, MAX_KEY_FILE_BYTES - 1, pipe);
	text[length] = '\0';
	if (ClosePipeStream(pipe) != 0)
		return "it failed";
	return NULL;
}

static int
hexadecimal_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Reads one line. Returns NULL or what is wrong; a blank or comment line adds no key. */
static const char *
parse_key_line(const char *line, size_t length, WrappingKeys *keys)
{
	const char *end = line + length;
	DataKey *key = &keys->keys[keys->count];
	uint64 id = 0;

	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	while (line < end && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	if (line == end || *line == '#')
		return NULL;
	if (keys->count == MAX_WRAPPING_KEYS)
		return "is one key too many";
	while (line < end && *line >= '0' && *line <= '9' && id <= PG_INT32_MAX)
		id = id * 10 + (uint64) (*line++ - '0');
	if (id == 0 || id > PG_INT32_MAX)
		return "does not begin with a key's number";
	while (line < end && (*line == ' ' || *line == '\t'))
		line++;
	if (end - line != ENVELOPE_KEY_BYTES * 2)
		return "does not have 64 hexadecimal digits";
	for (int i = 0; i < ENVELOPE_KEY_BYTES; i++)
	{
		int high = hexadecimal_digit(line[2 * i]);
		int low = hexadecimal_digit(line[2 * i + 1]);

		if (high < 0 || low < 0)
			return "does not have 64 hexadecimal digits";
		key->bytes[i] = (uint8) (high << 4 | low);
	}
	for (int i = 0; i < keys->count; i++)
	{
		if (keys->keys[i].key_id == id)
			return "repeats a key's number";
	}
	key->key_id = (uint32) id;
	keys->count++;
	return NULL;
}

/* Returns keys that the caller wipes; raises an error when there are none. */
static WrappingKeys *
read_wrapping_keys(void)
{
	bool is_file = keypup_key_file != NULL && keypup_key_file[0] != '\0';
	const char *source = is_file ? "the key file" : "the output of keypup.key_command";
	const char *problem;
	WrappingKeys *keys;
	char *text;
	int line = 1;

	if (!is_file && (keypup_key_command == NULL || keypup_key_command[0] == '\0'))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("no encryption key is configured"),
				 errhint("Set keypup.key_file or keypup.key_command, and reload."),
				 errhidestmt(true)));

	text = palloc0(MAX_KEY_FILE_BYTES);
	keys = palloc0(sizeof(WrappingKeys));
	problem =
		is_file ? read_key_file(keypup_key_file, text) : run_key_command(keypup_key_command, text);
	if (problem != NULL)
	{
		OPENSSL_cleanse(text, MAX_KEY_FILE_BYTES);
		if (is_file)
			ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
							errmsg("key file \"%s\" cannot be used: %s", keypup_key_file, problem),
							errhint(KEY_FILE_RULE), errhidestmt(true)));
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("keypup.key_command cannot be used: %s", problem),
						errhint("It must print the keys and exit with 0."), errhidestmt(true)));
	}
	for (char *at = text; problem == NULL && *at != '\0'; line++)
	{
		size_t length = strcspn(at, "\n");

		problem = parse_key_line(at, length, keys);
		at += length + (at[length] == '\n' ? 1 : 0);
	}
	OPENSSL_cleanse(text, MAX_KEY_FILE_BYTES);
	if (problem != NULL || keys->count == 0)
	{
		OPENSSL_cleanse(keys, sizeof(WrappingKeys));
		fail_key_source(source, problem != NULL ? line - 1 : 1,
						problem != NULL ? problem : "has no key");
	}
	return keys;
}

static const DataKey *
newest_wrapping_key(const WrappingKeys *keys)
{
	const DataKey *newest = &keys->keys[0];

	for (int i = 1; i < keys->count; i++)
	{
		if (keys->keys[i].key_id > newest->key_id)
			newest = &keys->keys[i];
	}
	return newest;
}

static void
compute_check_value(const uint8 *key, uint8 *check_value)
{
	static const unsigned char label[] = "keypup-kcv";
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (HMAC(EVP_sha256(), key, ENVELOPE_KEY_BYTES, label, sizeof(label) - 1, digest, NULL) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute a key's check value")));
	memcpy(check_value, digest, CHECK_VALUE_BYTES);
}

static bytea *
make_bytea(const uint8 *bytes, Size length)
{
	bytea *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), bytes, length);
	return result;
}

/* Opens a row of keypup.data_keys: key_id, kek_id, wrapped, check_value. */
static void
unwrap_data_key(HeapTuple row, TupleDesc description, DataKey *key)
{
	WrappingKeys *keys = read_wrapping_keys();
	const DataKey *wrapping = NULL;
	uint8 check_value[CHECK_VALUE_BYTES];
	bool isnull;
	uint32 kek_id;
	bytea *wrapped;
	bytea *check;
	char context[32];
	bool opened = false;

	key->key_id = DatumGetInt32(SPI_getbinval(row, description, 1, &isnull));
	kek_id = DatumGetInt32(SPI_getbinval(row, description, 2, &isnull));
	wrapped = DatumGetByteaPP(SPI_getbinval(row, description, 3, &isnull));
	check = DatumGetByteaPP(SPI_getbinval(row, description, 4, &isnull));
	for (int i = 0; i < keys->count; i++)
	{
		if (keys->keys[i].key_id == kek_id)
			wrapping = &keys->keys[i];
	}
	snprintf(context, sizeof(context), "data_key:%u", key->key_id);
	if (wrapping != NULL && VARSIZE_ANY_EXHDR(wrapped) == ENVELOPE_OVERHEAD + ENVELOPE_KEY_BYTES)
		opened =
			open_envelope(wrapping->bytes, context, strlen(context), (uint8 *) VARDATA_ANY(wrapped),
						  VARSIZE_ANY_EXHDR(wrapped), key->bytes);
	OPENSSL_cleanse(keys, sizeof(WrappingKeys));
	if (wrapping == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("key %u, which wraps data key %u, is not available", kek_id, key->key_id),
				 errhint("Put key %u back in the key file.", kek_id), errhidestmt(true)));
	if (opened)
		compute_check_value(key->bytes, check_value);
	if (!opened || VARSIZE_ANY_EXHDR(check) != CHECK_VALUE_BYTES ||
		CRYPTO_memcmp(check_value, VARDATA_ANY(check), CHECK_VALUE_BYTES) != 0)
	{
		OPENSSL_cleanse(key->bytes, sizeof(key->bytes));
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("key %u is not the one that wraps data key %u", kek_id, key->key_id),
						errhint("The key file may be another server's."), errhidestmt(true)));
	}
}

/*
 * All statements on data_keys run as the bootstrap superuser: no role has rights
 * on it. Not read-only, even to read: the same statement may have made the key.
 */
static void
query_data_keys(const char *text, int nargs, Oid *types, Datum *values, const char *nulls)
{
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	if (SPI_execute_with_args(text, nargs, types, values, nulls, false, 1) < 0)
		elog(ERROR, "could not read data keys");
	SetUserIdAndSecContext(user, security);
}

bool
find_data_key(uint32 key_id, DataKey *key)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum((int32) key_id)};
	bool found;

	if (key_id > PG_INT32_MAX)
		return false;
	SPI_connect();
	query_data_keys(
		"SELECT key_id, kek_id, wrapped, check_value FROM keypup.data_keys"
		" WHERE key_id OPERATOR(pg_catalog.=) $1 AND state OPERATOR(pg_catalog.<>) 'destroyed'",
		1, types, values, NULL);
	found = SPI_processed == 1;
	if (found)
		unwrap_data_key(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, key);
	SPI_finish();
	return found;
}

#define ACTIVE_KEY                                                                                 \
	"SELECT key_id, kek_id, wrapped, check_value FROM keypup.data_keys"                            \
	" WHERE state OPERATOR(pg_catalog.=) 'active' AND account_id IS NOT DISTINCT FROM $1"

/* Makes and stores a data key; if another session was faster, its key stays. */
static void
make_data_key(Datum account, const char *nulls)
{
	WrappingKeys *keys = read_wrapping_keys();
	const DataKey *wrapping = newest_wrapping_key(keys);
	Oid types[] = {UUIDOID, INT4OID, INT4OID, BYTEAOID, BYTEAOID};
	char all_nulls[6] = {nulls[0], ' ', ' ', ' ', ' ', '\0'};
	Datum values[5];
	uint8 bytes[ENVELOPE_KEY_BYTES];
	uint8 wrapped[ENVELOPE_OVERHEAD + ENVELOPE_KEY_BYTES] = {0};
	uint8 check_value[CHECK_VALUE_BYTES] = {0};
	uint32 kek_id = wrapping->key_id;
	char context[32];
	int32 key_id;
	bool isnull;
	bool sealed;

	query_data_keys(
		"SELECT pg_catalog.nextval('keypup.data_key_ids'::pg_catalog.regclass)::pg_catalog.int4", 0,
		NULL, NULL, NULL);
	key_id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	snprintf(context, sizeof(context), "data_key:%d", key_id);
	sealed = RAND_bytes(bytes, sizeof(bytes)) == 1 &&
			 seal_envelope(wrapping->bytes, kek_id, context, strlen(context), bytes, sizeof(bytes),
						   wrapped);
	OPENSSL_cleanse(keys, sizeof(WrappingKeys));
	if (sealed)
		compute_check_value(bytes, check_value);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	if (!sealed)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not make a data key")));

	values[0] = account;
	values[1] = Int32GetDatum(key_id);
	values[2] = Int32GetDatum((int32) kek_id);
	values[3] = PointerGetDatum(make_bytea(wrapped, sizeof(wrapped)));
	values[4] = PointerGetDatum(make_bytea(check_value, sizeof(check_value)));
	query_data_keys(
		"INSERT INTO keypup.data_keys (account_id, key_id, kek_id, wrapped, check_value, state)"
		" VALUES ($1, $2, $3, $4, $5, 'active') ON CONFLICT DO NOTHING",
		5, types, values, all_nulls);
}

void
active_data_key(const pg_uuid_t *account, DataKey *key)
{
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(account)};
	const char *nulls = account == NULL ? "n" : " ";

	SPI_connect();
	query_data_keys(ACTIVE_KEY, 1, types, values, nulls);
	if (SPI_processed == 0)
	{
		make_data_key(values[0], nulls);
		query_data_keys(ACTIVE_KEY, 1, types, values, nulls);
	}
	if (SPI_processed == 0)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("a data key was made by another transaction"), errhint("Try again."),
						errhidestmt(true)));
	unwrap_data_key(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, key);
	SPI_finish();
}
