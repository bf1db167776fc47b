/*
 * proof.h - that an entry is part of what the notary signed: the entry, its way along its account's
 * chain to the head at the first checkpoint that covers it, and from there up the tree to the
 * signed root. Whoever has it and the public key needs nothing else. Pure.
 */
#ifndef LEDGER_PROOF_H
#define LEDGER_PROOF_H

#include "ledger/chain.h"
#include "ledger/merkle.h"
#include "protocol/checkpoint.h"

struct proof {                      /* views into memory of whoever made it */
    struct chain_entry entry;       /* without a seq: a movement between two system accounts */
    struct sha256 previous;         /* hash of the entry before */
    const struct sha256 *following; /* contents of the entries after it, up to the head */
    uint32_t following_count;
    int64_t position; /* of the leaf */
    struct sha256 path[MERKLE_DEPTH_MAX];
    uint32_t path_count;
    struct checkpoint checkpoint;
};

/* NULL when it holds; else what does not. */
const char *proof_problem(const struct proof *proof, const struct ed25519 *const *keys,
                          uint32_t keys_count);

#endif
