/*
 * merkle.h - the tree over the leaves of a checkpoint, as in RFC 6962, section 2.1: a leaf is
 * hashed behind 0x00, a node behind 0x01, a tree of n leaves is split at the largest power of two
 * below n.
 *
 *     account:      SHA-256(0x00 || 'A' || length of its id (4 bytes) || id || seq (8) || head
 * (32)) transaction:  SHA-256(0x00 || 'T' || id (16) || content (32))      in no account's chain
 */
#ifndef LEDGER_MERKLE_H
#define LEDGER_MERKLE_H

#include "base/bytes.h"
#include "base/sha256.h"
#include "base/uuid.h"

enum { MERKLE_DEPTH_MAX = 63 };

void merkle_account(struct text id, int64_t seq, const struct sha256 *head, struct sha256 *leaf);
void merkle_transaction(const struct uuid *id, const struct sha256 *content, struct sha256 *leaf);

struct merkle { /* begin with {0}; memory does not grow with the leaves */
    uint64_t count;
    struct sha256 roots[MERKLE_DEPTH_MAX]; /* of the full trees so far, a bit of count each */
    uint32_t roots_count;
};
void merkle_add(struct merkle *merkle, const struct sha256 *leaf);
void merkle_root(const struct merkle *merkle, struct sha256 *out); /* of one leaf at least */

/* From the leaf upwards: what its way to the root is hashed with. Returns how many. */
uint32_t merkle_path(const struct sha256 *leaves, uint64_t count, uint64_t at,
                     struct sha256 path[static MERKLE_DEPTH_MAX]);
/* Whether the leaf is at this place of a tree of `count` leaves with this root (RFC 9162, 2.1.3.2).
 */
bool merkle_proves(const struct sha256 *leaf, uint64_t at, uint64_t count,
                   const struct sha256 *path, uint32_t path_count, const struct sha256 *root);

#endif
