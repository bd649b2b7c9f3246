/*
 * tree.c
 *		The Merkle tree of RFC 6962 over what is appended to it, without keeping
 *		the leaves.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "port/pg_bitutils.h"

#include "audit/tree.h"

/* In front of what is hashed, so that no leaf is a node. */
#define LEAF_PREFIX 0x00
#define NODE_PREFIX 0x01

static void
hash(uint8 prefix, const void *left, Size left_length, const void *right, Size right_length,
	 uint8 *digest)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool hashed = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
				  EVP_DigestUpdate(context, &prefix, 1) == 1 &&
				  EVP_DigestUpdate(context, left, left_length) == 1 &&
				  EVP_DigestUpdate(context, right, right_length) == 1 &&
				  EVP_DigestFinal_ex(context, digest, NULL) == 1;

	EVP_MD_CTX_free(context);
	if (!hashed)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not hash a leaf of the audit log")));
}

static void
hash_node(const uint8 *left, const uint8 *right, uint8 *digest)
{
	hash(NODE_PREFIX, left, TREE_HASH_BYTES, right, TREE_HASH_BYTES, digest);
}

int
count_subtrees(uint64 size)
{
	return pg_popcount64(size);
}

void
add_leaf(Tree *tree, const void *bytes, Size length)
{
	int count = count_subtrees(tree->size);
	uint8 digest[TREE_HASH_BYTES];

	hash(LEAF_PREFIX, bytes, length, NULL, 0, digest);
	/* As in counting: each subtree that is as large as what was added makes one of twice the size with it. */
	for (uint64 carry = tree->size; carry & 1; carry >>= 1)
		hash_node(tree->subtrees[--count], digest, digest);
	memcpy(tree->subtrees[count], digest, TREE_HASH_BYTES);
	tree->size++;
}

void
compute_root(const Tree *tree, uint8 *root)
{
	int count = count_subtrees(tree->size);

	if (count == 0)
	{
		if (EVP_Digest("", 0, root, NULL, EVP_sha256(), NULL) != 1)
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
							errmsg("could not hash an empty tree of the audit log")));
		return;
	}
	memcpy(root, tree->subtrees[count - 1], TREE_HASH_BYTES);
	for (int i = count - 2; i >= 0; i--)
		hash_node(tree->subtrees[i], root, root);
}
