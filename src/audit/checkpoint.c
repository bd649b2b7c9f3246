/*
 * checkpoint.c
 *		Signed checkpoints of the audit log: the Merkle tree of where its chains
 *		have ended, which only grows, in the form of C2SP's tlog-checkpoint.
 *
 * A checkpoint that is kept elsewhere shows what the database held then, also
 * when tables and ends of chains are put back together. The key that signs is
 * derived from a data key of the audit log, as that of seals is (seal.c).
 */
#include "postgres.h"

#include <openssl/crypto.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "audit/seal.h"
#include "audit/signed_note.h"
#include "audit/tree.h"
#include "compat.h"
#include "datum.h"

PG_FUNCTION_INFO_V1(keypup_sign_audit_checkpoint);
PG_FUNCTION_INFO_V1(keypup_check_audit_checkpoints);
PG_FUNCTION_INFO_V1(keypup_open_audit_checkpoint);

#define LEAVES_AT_ONCE 1000
#define LEAF_BYTES (UUID_LEN + sizeof(int64) + SEAL_BYTES)

/* What the keys that sign are derived for; other purposes have other keys. */
#define SIGNING_PURPOSE "keypup audit checkpoints v1"

/* --- leaves --- */

static void
add_head(Tree *tree, HeapTuple row, TupleDesc columns)
{
	bool isnull;
	uint8 leaf[LEAF_BYTES];
	uint64 sequence = pg_hton64((uint64) DatumGetInt64(SPI_getbinval(row, columns, 2, &isnull)));

	memcpy(leaf, DatumGetUUIDP(SPI_getbinval(row, columns, 1, &isnull))->data, UUID_LEN);
	memcpy(leaf + UUID_LEN, &sequence, sizeof(sequence));
	copy_bytes(leaf + UUID_LEN + sizeof(sequence), SPI_getbinval(row, columns, 3, &isnull),
			   SEAL_BYTES);
	add_leaf(tree, leaf, LEAF_BYTES);
}

/* Adds the leaves that are kept up to a size. Returns false where one is missing. */
static bool
add_heads(Tree *tree, uint64 size, bool read_only)
{
	SPITupleTable *outer_rows = SPI_tuptable;
	Oid types[] = {INT8OID, INT8OID};
	Datum values[] = {Int64GetDatum((int64) tree->size), Int64GetDatum((int64) size)};
	Portal cursor = SPI_cursor_open_with_args(
		NULL,
		"SELECT k.account_id, k.sequence, k.seal, k.leaf FROM keypup.audit_checkpoint_heads k"
		" WHERE k.leaf OPERATOR(pg_catalog.>=) $1 AND k.leaf OPERATOR(pg_catalog.<) $2"
		" ORDER BY k.leaf",
		2, types, values, NULL, read_only, 0);
	bool complete = true;
	uint64 count;

	do
	{
		SPI_cursor_fetch(cursor, true, LEAVES_AT_ONCE);
		count = SPI_processed;
		for (uint64 i = 0; i < count && complete; i++)
		{
			bool isnull;
			Datum leaf = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 4, &isnull);

			complete = (uint64) DatumGetInt64(leaf) == tree->size;
			if (complete)
				add_head(tree, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		}
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	} while (complete && count == LEAVES_AT_ONCE);
	SPI_cursor_close(cursor);
	SPI_tuptable = outer_rows;
	return complete && tree->size == size;
}

/* --- writing --- */

static void
require_signing_key(int32 key_id, uint8 *seed)
{
	if (!derive_audit_key(key_id, SIGNING_PURPOSE, seed))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("data key %d is none of the audit log", key_id)));
}

/* origin: also the name of the key. */
static char *
make_checkpoint(const Tree *tree, const char *origin, const uint8 *seed)
{
	uint8 root[TREE_HASH_BYTES];

	compute_root(tree, root);
	return sign_note(psprintf("%s\n" UINT64_FORMAT "\n%s\n", origin, tree->size,
							  encode_base64(root, TREE_HASH_BYTES)),
					 origin, seed);
}

static bool
restore_tree(Tree *tree, uint64 size, Datum subtrees)
{
	bytea *bytes = DatumGetByteaPP(subtrees);

	tree->size = size;
	if (VARSIZE_ANY_EXHDR(bytes) != (Size) count_subtrees(size) * TREE_HASH_BYTES)
		return false;
	memcpy(tree->subtrees, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
	return true;
}

/*
 * key integer, origin text, size bigint, before_size bigint, before_subtrees bytea,
 * OUT note text, OUT verifier_key text, OUT subtrees bytea
 */
Datum
keypup_sign_audit_checkpoint(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	char *origin = text_to_cstring(PG_GETARG_TEXT_PP(1));
	uint8 seed[SEAL_BYTES];
	Tree tree;
	char *note;
	char *verifier_key;
	Datum values[3];

	SPI_connect();
	if (!restore_tree(&tree, (uint64) PG_GETARG_INT64(3), PG_GETARG_DATUM(4)) ||
		!add_heads(&tree, (uint64) PG_GETARG_INT64(2), false))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the last checkpoint of the audit log was changed")));
	require_signing_key(PG_GETARG_INT32(0), seed);
	note = make_checkpoint(&tree, origin, seed);
	verifier_key = make_verifier_key(origin, seed);
	OPENSSL_cleanse(seed, sizeof(seed));
	MemoryContextSwitchTo(context);
	values[0] = CStringGetTextDatum(note);
	values[1] = CStringGetTextDatum(verifier_key);
	values[2] = make_bytea(tree.subtrees, (Size) count_subtrees(tree.size) * TREE_HASH_BYTES);
	SPI_finish();
	return return_row(fcinfo, 3, values, NULL);
}

/* --- checking what is kept --- */

typedef struct KeptCheckpoint
{
	uint64 size;
	char *note;
	char *verifier_key;
	int32 key_id;
	Datum subtrees;
} KeptCheckpoint;

static void
read_kept_checkpoint(HeapTuple row, TupleDesc columns, KeptCheckpoint *kept)
{
	bool isnull;

	kept->size = (uint64) DatumGetInt64(SPI_getbinval(row, columns, 1, &isnull));
	kept->note = TextDatumGetCString(SPI_getbinval(row, columns, 2, &isnull));
	kept->verifier_key = TextDatumGetCString(SPI_getbinval(row, columns, 3, &isnull));
	kept->key_id = DatumGetInt32(SPI_getbinval(row, columns, 4, &isnull));
	kept->subtrees = SPI_getbinval(row, columns, 5, &isnull);
}

/*
 * The key that has signed the checkpoint before: few keys sign many checkpoints,
 * one after the other. Wiped with its memory.
 */
typedef struct SigningKey
{
	MemoryContextCallback callback;
	int32 key_id;
	char *verifier_key; /* NULL: none yet */
	char *origin;
	uint8 seed[SEAL_BYTES];
} SigningKey;

static void
wipe_signing_key(void *argument)
{
	OPENSSL_cleanse(((SigningKey *) argument)->seed, SEAL_BYTES);
}

static SigningKey *
make_signing_key(void)
{
	SigningKey *key = palloc0(sizeof(SigningKey));

	key->callback.func = wipe_signing_key;
	key->callback.arg = key;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &key->callback);
	return key;
}

/* Returns false where there is no such key, or no more. */
static bool
use_signing_key(SigningKey *key, int32 key_id, const char *origin)
{
	MemoryContext context;

	if (key->verifier_key != NULL && key->key_id == key_id && strcmp(key->origin, origin) == 0)
		return true;
	key->verifier_key = NULL;
	if (!derive_audit_key(key_id, SIGNING_PURPOSE, key->seed))
		return false;
	context = MemoryContextSwitchTo(GetMemoryChunkContext(key));
	key->key_id = key_id;
	key->origin = pstrdup(origin);
	key->verifier_key = make_verifier_key(origin, key->seed);
	MemoryContextSwitchTo(context);
	return true;
}

/* Ed25519 signs the same with the same: the note must be what would be written now. */
static const char *
check_note(const Tree *tree, const KeptCheckpoint *kept, SigningKey *key)
{
	char *origin = pnstrdup(kept->note, strcspn(kept->note, "\n"));

	if (!use_signing_key(key, kept->key_id, origin))
		return "the key that it was signed with is not there";
	return strcmp(make_checkpoint(tree, origin, key->seed), kept->note) == 0 &&
				   strcmp(key->verifier_key, kept->verifier_key) == 0
			   ? NULL
			   : "it is not as it was signed";
}

/* tree: as of the checkpoint before; of nothing before the first, whose leaves may have expired. */
static const char *
check_kept_checkpoint(Tree *tree, const KeptCheckpoint *kept, SigningKey *key, bool is_first)
{
	Tree stored;

	if (!restore_tree(&stored, kept->size, kept->subtrees))
		return "it is not as it was signed";
	if (is_first)
		*tree = stored;
	else if (!add_heads(tree, kept->size, true))
		return "where a chain ended is missing";
	if (memcmp(tree->subtrees, stored.subtrees,
			   (Size) count_subtrees(tree->size) * TREE_HASH_BYTES) != 0)
		return "where a chain ended is not as it was signed";
	return check_note(tree, kept, key);
}

/* OUT checkpoints bigint, OUT tree_size bigint, OUT problem text */
Datum
keypup_check_audit_checkpoints(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext step;
	Tree tree = {0};
	SigningKey *key;
	const char *problem = NULL;
	int64 checked = 0;
	SPITupleTable *rows;
	Datum values[3] = {0};
	bool nulls[3] = {false};

	SPI_connect();
	SPI_execute("SELECT c.tree_size, c.note, c.verifier_key, c.key_id, c.subtrees"
				" FROM keypup.audit_checkpoints c ORDER BY c.tree_size",
				true, 0);
	rows = SPI_tuptable;
	key = make_signing_key();
	step = AllocSetContextCreate(CurrentMemoryContext, "keypup checkpoint", ALLOCSET_DEFAULT_SIZES);
	for (uint64 i = 0, count = SPI_processed; i < count && problem == NULL; i++)
	{
		KeptCheckpoint kept;
		MemoryContext outer = MemoryContextSwitchTo(step);

		read_kept_checkpoint(rows->vals[i], rows->tupdesc, &kept);
		problem = check_kept_checkpoint(&tree, &kept, key, i == 0);
		values[1] = Int64GetDatum((int64) kept.size);
		checked += problem == NULL;
		MemoryContextSwitchTo(outer);
		MemoryContextReset(step);
	}
	MemoryContextSwitchTo(context);
	values[0] = Int64GetDatum(checked);
	nulls[1] = checked == 0 && problem == NULL;
	nulls[2] = problem == NULL;
	if (problem != NULL)
		values[2] = CStringGetTextDatum(problem);
	SPI_finish();
	return return_row(fcinfo, 3, values, nulls);
}

/* --- one that was kept elsewhere --- */

/* The three lines of a checkpoint's text; further ones are none of ours. Returns what is wrong, or NULL. */
static const char *
read_checkpoint(const SignedNote *note, char **origin, int64 *size)
{
	char *text = pnstrdup(note->text, (Size) note->text_length);
	char *size_line = strchr(text, '\n') + 1;
	char *root_line = strchr(size_line, '\n');
	uint8 root[TREE_HASH_BYTES];
	char *end;

	if (root_line == NULL || size_line == text + 1)
		return "Its text is not an origin, a size and a root, a line each.";
	*root_line++ = '\0';
	size_line[-1] = '\0';
	*origin = text;
	errno = 0;
	*size = strtoll(size_line, &end, 10);
	if (errno != 0 || *end != '\0' || strspn(size_line, "0123456789") != strlen(size_line) ||
		*size_line == '\0' || (size_line[0] == '0' && size_line[1] != '\0'))
		return "Its second line is not a size.";
	if (!decode_base64(root_line, (int) strcspn(root_line, "\n"), root, TREE_HASH_BYTES))
		return "Its third line is not the base64 of 32 bytes.";
	return NULL;
}

/* checkpoint text, OUT tree_size bigint, OUT note_text text */
Datum
keypup_open_audit_checkpoint(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	char *checkpoint = text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool is_ours = false;
	SignedNote note;
	const char *problem;
	char *origin = NULL;
	int64 size = 0;
	SPITupleTable *rows;
	Datum values[2];

	problem = read_note(checkpoint, &note);
	if (problem == NULL)
		problem = read_checkpoint(&note, &origin, &size);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("this is not a checkpoint of an audit log"), errdetail("%s", problem),
				 errhint("Give the whole note: origin, size, root, an empty line, signatures.")));
	SPI_connect();
	SPI_execute("SELECT k.key_id FROM keypup.data_keys k"
				" WHERE k.account_id OPERATOR(pg_catalog.=) keypup.audit_key_account()"
				" AND k.state OPERATOR(pg_catalog.<>) 'destroyed' ORDER BY k.created_at DESC",
				true, 0);
	rows = SPI_tuptable;
	for (uint64 i = 0, count = SPI_processed; i < count && !is_ours; i++)
	{
		bool isnull;
		uint8 seed[SEAL_BYTES];

		require_signing_key(DatumGetInt32(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull)),
							seed);
		is_ours = is_signed_by(&note, origin, seed);
		OPENSSL_cleanse(seed, sizeof(seed));
	}
	if (!is_ours)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the checkpoint is not of this audit log"),
						errdetail("No key of this database has signed it as \"%s\".", origin),
						errhint("It was changed, or belongs to another database, or the key was "
								"destroyed.")));
	MemoryContextSwitchTo(context);
	values[0] = Int64GetDatum(size);
	values[1] = PointerGetDatum(cstring_to_text_with_len(note.text, note.text_length));
	SPI_finish();
	return return_row(fcinfo, 2, values, NULL);
}
