/*
 * proof.c - see proof.h. Nothing of a proof is believed before it is used.
 */
#include "ledger/proof.h"

#include <string.h>

static int64_t number_of(struct bytes value)
{
    uint64_t number = 0;

    for (uint32_t i = 0; i < value.size; i++) number = number << 8 | value.data[i];
    return (int64_t)number;
}

/* The account's leaf, at the end of the chain from the entry on. */
static bool leaf_of_account(const struct proof *proof, const struct sha256 *content,
                            struct sha256 *leaf)
{
    struct bytes id = proof->entry.fields[CHAIN_ACCOUNT];
    struct sha256 hash;
    int64_t seq;

    if (id.data == NULL || proof->entry.fields[CHAIN_SEQ].size != CHAIN_NUMBER_SIZE) return false;
    if (__builtin_add_overflow(number_of(proof->entry.fields[CHAIN_SEQ]), proof->following_count,
                               &seq))
        return false;
    chain_link(&proof->previous, content, &hash);
    for (uint32_t i = 0; i < proof->following_count; i++)
        chain_link(&hash, &proof->following[i], &hash);
    merkle_account((struct text){(const char *)id.data, id.size}, seq, &hash, leaf);
    return true;
}

static bool leaf_of_transaction(const struct proof *proof, const struct sha256 *content,
                                struct sha256 *leaf)
{
    struct bytes bytes = proof->entry.fields[CHAIN_TRANSACTION];
    struct uuid id;

    if (bytes.size != sizeof id.bytes) return false;
    memcpy(id.bytes, bytes.data, sizeof id.bytes);
    merkle_transaction(&id, content, leaf);
    return true;
}

const char *proof_problem(const struct proof *proof, const struct ed25519 *const *keys,
                          uint32_t keys_count)
{
    bool is_chained = proof->entry.fields[CHAIN_SEQ].data != NULL;
    const struct ed25519 *key = NULL;
    struct sha256 content, leaf;

    chain_content(&proof->entry, &content);
    if (!(is_chained ? leaf_of_account(proof, &content, &leaf)
                     : leaf_of_transaction(proof, &content, &leaf)))
        return "it lacks the entry's account, seq or transaction";
    if (proof->position < 0 || proof->checkpoint.leaves < 1 ||
        !merkle_proves(&leaf, (uint64_t)proof->position, (uint64_t)proof->checkpoint.leaves,
                       proof->path, proof->path_count, &proof->checkpoint.root))
        return "the entry is not under the checkpoint's root";
    for (uint32_t i = 0; i < keys_count; i++)
        if (memcmp(ed25519_id(keys[i]), proof->checkpoint.key, KEY_ID_SIZE) == 0) key = keys[i];
    if (key == NULL) return "it was signed with another key than those given";
    return checkpoint_verify(&proof->checkpoint, key) ? NULL : "the signature is wrong";
}
