/*
 * verify_checkpoint_pg.c - the checkpoints: that they follow one another, are signed, have the root
 * of their leaves, and are those that somebody kept outside; and that each leaf is what the journal
 * holds now. So a chain that was recomputed as a whole is found, as its old head was notarised.
 */
#include "base/hex.h"
#include "ledger/entry_pg.h"
#include "ledger/merkle.h"
#include "ledger/verify_internal_pg.h"

#include <inttypes.h>
#include <string.h>

enum column {
    NUMBER,
    PREVIOUS,
    ROOT,
    LEAVES,
    CREATED_AT,
    KEY,
    SIGNATURE,
    LEAF_ACCOUNT,
    LEAF_SEQ,
    LEAF_HEAD,
    LEAF_TRANSACTION,
    LEAF_CONTENT,
    ACCOUNT_ID,
    HASH, /* that the journal has at the leaf's place */
    FIELDS,
};

static const struct statement checkpoints = {
    "verify_checkpoints",
    "SELECT point.number, point.previous, point.root, point.leaves, point.created_at, point.key,"
    "       point.signature, leaf.account, leaf.seq, leaf.head, leaf.transaction, leaf.content,"
    "       named.id, coalesce(debits.hash, credits.hash), " ENTRY_COLUMNS
    "  FROM checkpoint AS point"
    "  LEFT JOIN LATERAL (SELECT * FROM checkpoint_leaf WHERE checkpoint = point.number"
    "                      ORDER BY position) AS leaf ON true"
    "  LEFT JOIN LATERAL (SELECT id FROM account WHERE number BETWEEN leaf.account AND leaf.account"
    "                      ORDER BY number DESC LIMIT 1) AS named ON true"
    "  LEFT JOIN LATERAL (SELECT debit_hash AS hash FROM journal WHERE debit = leaf.account"
    "                        AND debit_seq = leaf.seq AND debit_seq IS NOT NULL OFFSET 0)"
    "       AS debits ON true"
    "  LEFT JOIN LATERAL (SELECT credit_hash AS hash FROM journal WHERE credit = leaf.account"
    "                        AND credit_seq = leaf.seq AND credit_seq IS NOT NULL OFFSET 0)"
    "       AS credits ON true"
    "  LEFT JOIN LATERAL " ENTRY_UNCHAINED(
        "id = leaf.transaction OFFSET 0)") " AS step ON true" ENTRY_JOIN_OWN ENTRY_JOIN_OTHER
                                           " ORDER BY point.number"};

struct walk { /* along the checkpoints */
    const struct verify *verify;
    struct checkpoint at; /* number 0: none yet */
    struct merkle merkle;
    uint32_t kept; /* of those that were kept outside: looked at so far */
};

static bool bytes_cell(const PGresult *row, int column, void *to, size_t size)
{
    struct bytes cell = cell_bytes(row, 0, column);

    if (cell.size != size) return false;
    memcpy(to, cell.data, size);
    return true;
}

static void check_signature(const struct walk *walk)
{
    const struct verify_options *options = walk->verify->shared->options;
    char id[2 * KEY_ID_SIZE + 1];

    if (options->keys_count == 0) return;
    for (uint32_t i = 0; i < options->keys_count; i++) {
        if (memcmp(walk->at.key, ed25519_id(options->keys[i]), KEY_ID_SIZE) != 0) continue;
        if (!checkpoint_verify(&walk->at, options->keys[i]))
            verify_differ(walk->verify, "checkpoint %" PRId64 ": its signature is wrong",
                          walk->at.number);
        return;
    }
    hex_format(walk->at.key, KEY_ID_SIZE, id);
    verify_differ(walk->verify,
                  "checkpoint %" PRId64 " was signed with key %s, of which no public key was given",
                  walk->at.number, id);
}

/* Those before this number that are left, and this one. */
static void check_kept(struct walk *walk, int64_t number)
{
    const struct verify_options *options = walk->verify->shared->options;
    struct sha256 hash, kept;

    for (; walk->kept < options->kept_count; walk->kept++) {
        const struct checkpoint *outside = &options->kept[walk->kept];
        if (outside->number > number) return;
        if (outside->number < number || number != walk->at.number) {
            verify_differ(walk->verify,
                          "checkpoint %" PRId64 " was kept outside, but is not in the ledger",
                          outside->number);
            continue;
        }
        checkpoint_hash(&walk->at, &hash);
        checkpoint_hash(outside, &kept);
        if (memcmp(&hash, &kept, sizeof hash) != 0)
            verify_differ(walk->verify,
                          "checkpoint %" PRId64 " is not the one that was kept outside", number);
    }
}

static void walk_end(const struct walk *walk)
{
    struct sha256 root = {0};

    if (walk->at.number == 0) return;
    if (walk->merkle.count > 0) merkle_root(&walk->merkle, &root);
    if (walk->merkle.count != (uint64_t)walk->at.leaves ||
        memcmp(&root, &walk->at.root, sizeof root) != 0)
        verify_differ(walk->verify,
                      "checkpoint %" PRId64 ": its leaves are not those that were signed",
                      walk->at.number);
}

static void walk_begin(struct walk *walk, const PGresult *row)
{
    struct checkpoint *at = &walk->at;
    struct sha256 previous = {0};
    int64_t expected = at->number + 1;

    walk_end(walk);
    if (at->number > 0) checkpoint_hash(at, &previous);
    walk->merkle = (struct merkle){0};
    at->number = cell_int64(row, 0, NUMBER);
    at->leaves = cell_int64(row, 0, LEAVES);
    at->created_us = cell_time_us(row, 0, CREATED_AT);
    if (!bytes_cell(row, PREVIOUS, &at->previous, SHA256_SIZE) ||
        !bytes_cell(row, ROOT, &at->root, SHA256_SIZE) ||
        !bytes_cell(row, KEY, at->key, KEY_ID_SIZE) ||
        !bytes_cell(row, SIGNATURE, at->signature, SIGNATURE_SIZE))
        verify_differ(walk->verify, "checkpoint %" PRId64 " is none", at->number);
    if (at->number != expected)
        verify_differ(walk->verify, "checkpoint %" PRId64 " was removed; the next one is %" PRId64,
                      expected, at->number);
    else if (memcmp(&previous, &at->previous, sizeof previous) != 0)
        verify_differ(walk->verify, "checkpoint %" PRId64 " does not follow the one before",
                      at->number);
    check_signature(walk);
    check_kept(walk, at->number);
}

static void step_account(struct walk *walk, const PGresult *row)
{
    struct text id = cell_text(row, 0, ACCOUNT_ID);
    int64_t seq = cell_int64(row, 0, LEAF_SEQ);
    struct sha256 head = {0}, hash, leaf;
    bool same = bytes_cell(row, LEAF_HEAD, &head, sizeof head) &&
                bytes_cell(row, HASH, &hash, sizeof hash) && memcmp(&head, &hash, sizeof hash) == 0;

    if (!same)
        verify_differ(walk->verify,
                      "account %.*s: entry %" PRId64 " is not the one that checkpoint %" PRId64
                      " attests: it, or one before it, was changed and the chain recomputed",
                      TEXT_ARGS(id), seq, walk->at.number);
    merkle_account(id, seq, &head, &leaf);
    merkle_add(&walk->merkle, &leaf);
}

static void step_transaction(struct walk *walk, const PGresult *row)
{
    struct uuid id = cell_uuid(row, 0, LEAF_TRANSACTION);
    struct sha256 attested = {0}, content, leaf;
    char text[UUID_TEXT_SIZE];
    struct entry_row entry;

    entry_read(row, 0, FIELDS, &entry);
    chain_content(&entry.entry, &content);
    if (!bytes_cell(row, LEAF_CONTENT, &attested, sizeof attested) ||
        memcmp(&attested, &content, sizeof content) != 0) {
        uuid_format(&id, text);
        verify_differ(walk->verify,
                      "transaction %s was changed or removed by hand: checkpoint %" PRId64
                      " attests another",
                      text, walk->at.number);
    }
    merkle_transaction(&id, &attested, &leaf);
    merkle_add(&walk->merkle, &leaf);
}

bool verify_checkpoints(const struct verify *verify, struct err *err)
{
    struct walk walk = {.verify = verify};
    PGresult *row;

    if (!query_rows_begin(verify->db, &checkpoints, NULL, 0, err)) return false;
    while (query_rows_next(verify->db, &row, err)) {
        if (row == NULL) {
            walk_end(&walk);
            check_kept(&walk, INT64_MAX);
            return true;
        }
        if (cell_int64(row, 0, NUMBER) != walk.at.number) walk_begin(&walk, row);
        if (!cell_is_null(row, 0, LEAF_ACCOUNT)) step_account(&walk, row);
        if (!cell_is_null(row, 0, LEAF_TRANSACTION)) step_transaction(&walk, row);
        PQclear(row);
    }
    return false;
}
