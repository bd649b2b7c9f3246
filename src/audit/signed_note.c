/*
 * signed_note.c
 *		Signed notes: a text, an empty line, and lines with signatures, which
 *		anybody checks who has the public key, with tools that know neither keypup
 *		nor PostgreSQL.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "lib/stringinfo.h"
#include "port/pg_bswap.h"

#include "audit/signed_note.h"

/* U+2014 and a space, before each signature. */
#define SIGNATURE_MARK "\xe2\x80\x94 "
/* Which kind of key it is. */
#define ED25519_TYPE 0x01
#define KEY_ID_BYTES 4

/* --- base64 --- */

char *
encode_base64(const uint8 *bytes, int length)
{
	char *text = palloc(4 * (Size) ((length + 2) / 3) + 1);

	EVP_EncodeBlock((unsigned char *) text, bytes, length);
	return text;
}

bool
decode_base64(const char *text, int text_length, uint8 *bytes, int length)
{
	uint8 decoded[128];
	char *again;

	if (text_length != 4 * ((length + 2) / 3) || text_length > (int) sizeof(decoded) ||
		EVP_DecodeBlock(decoded, (const unsigned char *) text, text_length) < length)
		return false;
	memcpy(bytes, decoded, (Size) length);
	/* There is one way to write it. */
	again = encode_base64(bytes, length);
	return strncmp(again, text, (Size) text_length) == 0;
}

/* --- keys --- */

static void
require(bool succeeded)
{
	if (!succeeded)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not sign a checkpoint of the audit log")));
}

static EVP_PKEY *
open_key(const uint8 *seed)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, NOTE_KEY_BYTES);

	require(key != NULL);
	return key;
}

/* The kind of the key and the public key. */
static bool
read_public_key(EVP_PKEY *key, uint8 *encoded)
{
	size_t length = NOTE_KEY_BYTES;

	encoded[0] = ED25519_TYPE;
	return EVP_PKEY_get_raw_public_key(key, encoded + 1, &length) == 1 && length == NOTE_KEY_BYTES;
}

static void
encode_public_key(const uint8 *seed, uint8 *encoded)
{
	EVP_PKEY *key = open_key(seed);
	bool found = read_public_key(key, encoded);

	EVP_PKEY_free(key);
	require(found);
}

/* The first bytes of SHA-256(name, newline, kind of the key, public key). */
static uint32
compute_key_id(const char *name, const uint8 *encoded)
{
	StringInfoData input;
	uint8 digest[EVP_MAX_MD_SIZE];
	uint32 key_id;

	initStringInfo(&input);
	appendStringInfo(&input, "%s\n", name);
	appendBinaryStringInfo(&input, (const char *) encoded, 1 + NOTE_KEY_BYTES);
	require(EVP_Digest(input.data, (size_t) input.len, digest, NULL, EVP_sha256(), NULL) == 1);
	memcpy(&key_id, digest, KEY_ID_BYTES);
	return pg_ntoh32(key_id);
}

char *
make_verifier_key(const char *name, const uint8 *seed)
{
	uint8 encoded[1 + NOTE_KEY_BYTES];

	encode_public_key(seed, encoded);
	return psprintf("%s+%08x+%s", name, compute_key_id(name, encoded),
					encode_base64(encoded, sizeof(encoded)));
}

/* --- signing --- */

char *
sign_note(const char *text, const char *name, const uint8 *seed)
{
	uint8 encoded[1 + NOTE_KEY_BYTES];
	uint8 signature[KEY_ID_BYTES + NOTE_SIGNATURE_BYTES];
	size_t length = NOTE_SIGNATURE_BYTES;
	EVP_PKEY *key = open_key(seed);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool is_signed = context != NULL && read_public_key(key, encoded) &&
					 EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
					 EVP_DigestSign(context, signature + KEY_ID_BYTES, &length,
									(const unsigned char *) text, strlen(text)) == 1;
	uint32 key_id;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	require(is_signed && length == NOTE_SIGNATURE_BYTES);
	key_id = pg_hton32(compute_key_id(name, encoded));
	memcpy(signature, &key_id, KEY_ID_BYTES);
	return psprintf("%s\n" SIGNATURE_MARK "%s %s\n", text, name,
					encode_base64(signature, sizeof(signature)));
}

/* --- reading --- */

static bool
has_control_character(const char *note)
{
	for (const char *at = note; *at != '\0'; at++)
	{
		if ((unsigned char) *at < 0x20 && *at != '\n')
			return true;
	}
	return false;
}

/* One line of a signature, without its newline. */
static const char *
read_signature(const char *line, const char *end, SignedNote *parts)
{
	const char *name = line + strlen(SIGNATURE_MARK);
	NoteSignature *found = &parts->signatures[parts->signature_count];
	uint8 bytes[KEY_ID_BYTES + NOTE_SIGNATURE_BYTES];
	const char *value;

	if (end - line < (int) strlen(SIGNATURE_MARK) ||
		strncmp(line, SIGNATURE_MARK, strlen(SIGNATURE_MARK)) != 0 ||
		(value = memchr(name, ' ', (Size) (end - name))) == NULL || value == name ||
		value + 1 == end)
		return "A line behind the empty one is no signature.";
	/* Those of other kinds have other lengths. */
	if (parts->signature_count < NOTE_MAX_SIGNATURES &&
		decode_base64(value + 1, (int) (end - value - 1), bytes, sizeof(bytes)))
	{
		found->name = name;
		found->name_length = (int) (value - name);
		memcpy(&found->key_id, bytes, KEY_ID_BYTES);
		found->key_id = pg_ntoh32(found->key_id);
		memcpy(found->signature, bytes + KEY_ID_BYTES, NOTE_SIGNATURE_BYTES);
		parts->signature_count++;
	}
	return NULL;
}

const char *
read_note(const char *note, SignedNote *parts)
{
	const char *problem = NULL;
	const char *gap = NULL;

	if (has_control_character(note))
		return "It has characters that no note may have, as carriage returns.";
	for (const char *next = strstr(note, "\n\n"); next != NULL; next = strstr(next + 1, "\n\n"))
		gap = next;
	if (gap == NULL || gap[2] == '\0')
		return "It has no empty line with signatures behind it.";
	parts->text = note;
	parts->text_length = (int) (gap + 1 - note);
	parts->signature_count = 0;
	for (const char *line = gap + 2; *line != '\0' && problem == NULL;)
	{
		const char *end = strchr(line, '\n');

		/* The last newline is easily lost on the way. */
		if (end == NULL)
			end = line + strlen(line);
		problem = read_signature(line, end, parts);
		line = *end == '\0' ? end : end + 1;
	}
	return problem;
}

static bool
verify_signature(const uint8 *encoded, const char *text, int length, const uint8 *signature)
{
	EVP_PKEY *key =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, encoded + 1, NOTE_KEY_BYTES);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool verified = key != NULL && context != NULL &&
					EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1 &&
					EVP_DigestVerify(context, signature, NOTE_SIGNATURE_BYTES,
									 (const unsigned char *) text, (Size) length) == 1;

	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	return verified;
}

bool
is_signed_by(const SignedNote *note, const char *name, const uint8 *seed)
{
	uint8 encoded[1 + NOTE_KEY_BYTES];
	uint32 key_id;

	encode_public_key(seed, encoded);
	key_id = compute_key_id(name, encoded);
	for (int i = 0; i < note->signature_count; i++)
	{
		const NoteSignature *found = &note->signatures[i];

		if (found->key_id == key_id && found->name_length == (int) strlen(name) &&
			strncmp(found->name, name, strlen(name)) == 0 &&
			verify_signature(encoded, note->text, note->text_length, found->signature))
			return true;
	}
	return false;
}
