/*
 * signed_note.h
 *		Texts that are signed with Ed25519, in the form of C2SP's signed-note
 *		(c2sp.org/signed-note), by keys that have a name.
 */
#ifndef KEYPUP_SIGNED_NOTE_H
#define KEYPUP_SIGNED_NOTE_H

#define NOTE_KEY_BYTES 32
#define NOTE_SIGNATURE_BYTES 64
/* So many signatures are read, the first ones: others may add theirs. */
#define NOTE_MAX_SIGNATURES 16

typedef struct NoteSignature
{
	const char *name; /* of the key */
	int name_length;
	uint32 key_id;
	uint8 signature[NOTE_SIGNATURE_BYTES];
} NoteSignature;

/* Where the parts stand in a note. */
typedef struct SignedNote
{
	const char *text;
	int text_length; /* with its last newline */
	int signature_count; /* of a length that Ed25519's have: others are passed over */
	NoteSignature signatures[NOTE_MAX_SIGNATURES];
} SignedNote;

/*
 * sign_note
 *		The note: the text, which ends with a newline, and its one signature.
 *
 * name: without spaces and plus signs. seed: the private key (RFC 8032), of
 * NOTE_KEY_BYTES. palloc'd. Raises ERRCODE_INTERNAL_ERROR where OpenSSL fails.
 */
extern char *sign_note(const char *text, const char *name, const uint8 *seed);

/*
 * make_verifier_key
 *		What somebody needs to check such notes, as tools for them take it:
 *		NAME+ID+KEY. palloc'd. Raises as sign_note.
 */
extern char *make_verifier_key(const char *name, const uint8 *seed);

/*
 * read_note
 *		Takes a note apart. Returns NULL, or what is wrong with it, as a sentence.
 *
 * note: palloc'd, and pointed into.
 */
extern const char *read_note(const char *note, SignedNote *parts);

/*
 * is_signed_by
 *		Whether the note has the signature of that key.
 */
extern bool is_signed_by(const SignedNote *note, const char *name, const uint8 *seed);

/*
 * encode_base64, decode_base64
 *		RFC 4648, 4, with padding. The first is palloc'd; the second takes what has
 *		exactly so many bytes, and returns false for anything else.
 */
extern char *encode_base64(const uint8 *bytes, int length);
extern bool decode_base64(const char *text, int text_length, uint8 *bytes, int length);

#endif
