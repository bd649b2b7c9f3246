/*
 * wrapping.c
 *		The key file (or command) is read when a key of it is needed, by the
 *		process that needs it, and nothing of it is kept.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "lib/stringinfo.h"
#include "storage/fd.h"

#include "keypup.h"
#include "token/key_file.h"
#include "token/wrapping.h"

#define MAX_KEY_FILE_BYTES 65536
#define KEY_COMMAND_SECONDS 10
/* What timeout(1) exits with when it has ended the command. */
#define TIMEOUT_STATUS 124

#define KEY_FILE_RULE                                                                              \
	"It must be a regular file, owned by the server's user with mode 0600 or by root with mode 0640 or less."

/* Reads the file into text; *length receives its bytes. Returns NULL or what is wrong. */
static const char *
read_key_file(const char *path, Secret *text, Size *length)
{
	struct stat status;
	ssize_t count;
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
	count = read(file, text->bytes, text->length);
	close(file);
	if (count < 0)
		return "it cannot be read";
	if ((Size) count == text->length)
		return "it is too long";
	*length = (Size) count;
	return NULL;
}

/* The command for a shell, which ends it when it takes too long: nobody can cancel it, and a shutdown waits for it. */
static char *
limit_command(const char *command)
{
	StringInfoData limited;

	initStringInfo(&limited);
	appendStringInfo(&limited, "timeout -k 1 %d sh -c '", KEY_COMMAND_SECONDS);
	for (const char *c = command; *c != '\0'; c++)
	{
		if (*c == '\'')
			appendStringInfoString(&limited, "'\\''");
		else
			appendStringInfoChar(&limited, *c);
	}
	appendStringInfoChar(&limited, '\'');
	return limited.data;
}

static const char *
run_key_command(const char *command, Secret *text, Size *length)
{
	FILE *pipe = OpenPipeStream(limit_command(command), "r");
	int status;

	if (pipe == NULL)
		return "it cannot be run";
	/* Without a buffer of stdio's, which would not be wiped. */
	setvbuf(pipe, NULL, _IONBF, 0);
	*length = fread(text->bytes, 1, text->length, pipe);
	status = ClosePipeStream(pipe);
	if (status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == TIMEOUT_STATUS)
		return "it takes too long";
	/* Before its status: whether such a command still ends well, or by SIGPIPE, depends on how much a pipe holds. */
	if (*length == text->length)
		return "its output is too long";
	if (status != 0)
		return "it failed";
	return NULL;
}

/* Reads all wrapping keys; the caller wipes them. */
static Secret *
read_wrapping_keys(void)
{
	bool is_file = keypup_key_file != NULL && keypup_key_file[0] != '\0';
	Secret *text;
	Secret *keys;
	const char *problem;
	Size length = 0;
	int line;

	if (!is_file && (keypup_key_command == NULL || keypup_key_command[0] == '\0'))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("no encryption key is configured"),
				 errhint("Set keypup.key_file or keypup.key_command, and reload."),
				 errhidestmt(true)));

	text = allocate_secret(MAX_KEY_FILE_BYTES);
	problem = is_file ? read_key_file(keypup_key_file, text, &length)
					  : run_key_command(keypup_key_command, text, &length);
	if (problem != NULL && is_file)
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("key file \"%s\" cannot be used: %s", keypup_key_file, problem),
						errhint(KEY_FILE_RULE), errhidestmt(true)));
	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("keypup.key_command cannot be used: %s", problem),
						errhint("It must print the keys and exit with 0, within %d seconds.",
								KEY_COMMAND_SECONDS),
						errhidestmt(true)));

	keys = allocate_secret(sizeof(WrappingKeys));
	problem = parse_key_file((char *) text->bytes, length, (WrappingKeys *) keys->bytes, &line);
	if (problem != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("%s is malformed: line %d %s",
					is_file ? "the key file" : "the output of keypup.key_command", line, problem),
			 errhint(
				 "Each line is a key's number and 64 hexadecimal digits: \"1 0123…\". Make one with: openssl rand -hex 32"),
			 errhidestmt(true)));
	wipe_secret(text);
	return keys;
}

/* Tells a wrong key: the first 8 bytes of HMAC-SHA256 of a fixed text. */
static bool
compute_check_value(const uint8 *key, uint8 *check_value)
{
	static const unsigned char label[] = "keypup-kcv";
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (HMAC(EVP_sha256(), key, DATA_KEY_BYTES, label, sizeof(label) - 1, digest, NULL) == NULL)
		return false;
	memcpy(check_value, digest, CHECK_VALUE_BYTES);
	return true;
}

static Size
describe_data_key(uint32 key_id, char context[32])
{
	return (Size) snprintf(context, 32, "data_key:%u", key_id);
}

/* Wraps the 32 bytes with the newest of the keys. */
static void
wrap_key(const Secret *keys, const uint8 *bytes, WrappedKey *key)
{
	const WrappingKey *newest = find_wrapping_key((const WrappingKeys *) keys->bytes, 0);
	AesGcmKey cipher = {0};
	char context[32];
	Size context_length = describe_data_key(key->key_id, context);
	bool wrapped;

	key->kek_id = newest->key_id;
	wrapped = compute_check_value(bytes, key->check_value) &&
			  prepare_aes_gcm_key(&cipher, newest->bytes) &&
			  seal_envelope(&cipher, newest->key_id, context, context_length, bytes, DATA_KEY_BYTES,
							key->wrapped);
	release_aes_gcm_key(&cipher);
	if (!wrapped)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not wrap a data key")));
}

/* NULL: it is not there. */
static const WrappingKey *
find_wrapping_key_of(const Secret *keys, const WrappedKey *key)
{
	/* The number 0 would ask for the newest. */
	if (key->kek_id == 0)
		return NULL;
	return find_wrapping_key((const WrappingKeys *) keys->bytes, key->kek_id);
}

/* Opens it into the 32 bytes; false when the key that wraps it is not there, or is another. */
static bool
open_wrapped_key(const Secret *keys, const WrappedKey *key, Secret *bytes)
{
	const WrappingKey *wrapping = find_wrapping_key_of(keys, key);
	uint8 check_value[CHECK_VALUE_BYTES];
	AesGcmKey cipher = {0};
	char context[32];
	Size context_length = describe_data_key(key->key_id, context);
	bool opened;

	if (wrapping == NULL)
		return false;
	opened = prepare_aes_gcm_key(&cipher, wrapping->bytes) &&
			 open_envelope(&cipher, context, context_length, key->wrapped, WRAPPED_KEY_BYTES,
						   bytes->bytes);
	release_aes_gcm_key(&cipher);
	return opened && compute_check_value(bytes->bytes, check_value) &&
		   CRYPTO_memcmp(check_value, key->check_value, CHECK_VALUE_BYTES) == 0;
}

static Secret *
unwrap_with(const Secret *keys, const WrappedKey *key)
{
	Secret *bytes = allocate_secret(DATA_KEY_BYTES);

	if (open_wrapped_key(keys, key, bytes))
		return bytes;
	if (find_wrapping_key_of(keys, key) == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("key %u, which wraps data key %u, is not available", key->kek_id, key->key_id),
			 errhint("Put key %u back in the key file.", key->kek_id), errhidestmt(true)));
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("key %u is not the one that wraps data key %u", key->kek_id, key->key_id),
			 errhint("The key file may be another server's."), errhidestmt(true)));
	return NULL;
}

int
count_unopenable_keys(const WrappedKey *keys, int count, uint32 *first)
{
	Secret *wrapping_keys = read_wrapping_keys();
	Secret *bytes = allocate_secret(DATA_KEY_BYTES);
	int unopenable = 0;

	for (int i = 0; i < count; i++)
	{
		if (open_wrapped_key(wrapping_keys, &keys[i], bytes))
			continue;
		if (unopenable++ == 0)
			*first = keys[i].key_id;
	}
	wipe_secret(bytes);
	wipe_secret(wrapping_keys);
	return unopenable;
}

uint32
newest_wrapping_key(void)
{
	Secret *keys = read_wrapping_keys();
	uint32 newest = find_wrapping_key((const WrappingKeys *) keys->bytes, 0)->key_id;

	wipe_secret(keys);
	return newest;
}

void
make_wrapped_key(WrappedKey *key)
{
	Secret *keys = read_wrapping_keys();
	Secret *bytes = allocate_secret(DATA_KEY_BYTES);

	if (RAND_bytes(bytes->bytes, DATA_KEY_BYTES) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not make a data key")));
	wrap_key(keys, bytes->bytes, key);
	wipe_secret(bytes);
	wipe_secret(keys);
}

void
rewrap_key(WrappedKey *key)
{
	Secret *keys = read_wrapping_keys();
	Secret *bytes = unwrap_with(keys, key);

	wrap_key(keys, bytes->bytes, key);
	wipe_secret(bytes);
	wipe_secret(keys);
}

Secret *
unwrap_key(const WrappedKey *key)
{
	Secret *keys = read_wrapping_keys();
	Secret *bytes = unwrap_with(keys, key);

	wipe_secret(keys);
	return bytes;
}
