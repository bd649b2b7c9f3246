/*
 * tree.h
 *		The Merkle tree of RFC 6962, 2.1 (RFC 9162, 2.1.1), with SHA-256, as it grows.
 */
#ifndef KEYPUP_TREE_H
#define KEYPUP_TREE_H

#define TREE_HASH_BYTES 32
#define TREE_MAX_SUBTREES 64

/* Of a tree the roots of its perfect subtrees suffice to add to it: one for each bit of its size, the largest first. */
typedef struct Tree
{
	uint64 size;
	uint8 subtrees[TREE_MAX_SUBTREES][TREE_HASH_BYTES];
} Tree;

/* count_subtrees: how many of them a tree of so many leaves has. */
extern int count_subtrees(uint64 size);

/*
 * add_leaf
 *		Appends one leaf: its bytes, not their hash. Raises ERRCODE_INTERNAL_ERROR where
 *		OpenSSL fails, as the next does.
 */
extern void add_leaf(Tree *tree, const void *bytes, Size length);

/* compute_root: of TREE_HASH_BYTES. */
extern void compute_root(const Tree *tree, uint8 *root);

#endif
