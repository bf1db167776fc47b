/*
 * proof_pg.c - see proof_pg.h. All is read in one snapshot.
 */
#include "ledger/proof_pg.h"

#include "ledger/entry_pg.h"

#include <inttypes.h>
#include <string.h>

static const struct statement begin = {"proof_begin",
                                       "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"};
static const struct statement commit = {"proof_commit", "COMMIT"};

#define OWN_LATERAL(column)                                                                        \
    " JOIN LATERAL (SELECT number, id, asset, user_id FROM account"                                \
    "                WHERE number BETWEEN " column " AND " column                                  \
    "                ORDER BY number DESC LIMIT 1) AS own ON true"

/* $1 the transaction: its entries, in chains or in none; the debited account's first. */
#define ENTRY_OF(side, other)                                                                      \
    "SELECT own.number, step.hash, " ENTRY_COLUMNS                                                 \
    "  FROM " ENTRY_SIDE(side, other, "id = $1::uuid") " AS step JOIN journal AS row ON row.id = " \
                                                       "step.id" OWN_LATERAL("row." side)          \
                                                           ENTRY_JOIN_OTHER
static const struct statement entries = {
    "proof_entries",
    ENTRY_OF("debit", "credit") " UNION ALL " ENTRY_OF(
        "credit", "debit") " UNION ALL SELECT NULL, NULL, " ENTRY_COLUMNS
                           "  FROM " ENTRY_UNCHAINED(
                               "id = $1::uuid)") " AS step" ENTRY_JOIN_OWN ENTRY_JOIN_OTHER};
enum entry_column { NUMBER, HASH, FIELDS };

#define COVERING                                                                                   \
    "SELECT leaf.position, leaf.seq, point.number, previous, root, leaves, created_at, key,"       \
    "       signature"                                                                             \
    "  FROM checkpoint_leaf AS leaf JOIN checkpoint AS point ON point.number = leaf.checkpoint"
static const struct statement cover_account = {
    "proof_cover_account",
    COVERING " WHERE leaf.account = $1::int8 AND leaf.seq >= $2::int8 ORDER BY leaf.seq LIMIT 1"};
static const struct statement cover_transaction = {"proof_cover_transaction",
                                                   COVERING " WHERE leaf.transaction = $1::uuid"};
enum cover_column { POSITION, LEAF_SEQ, POINT, PREVIOUS, ROOT, LEAVES, CREATED_AT, KEY, SIGNATURE };

/* $1 the account, of which the entries after $2 up to $3. */
/* clang-format off */
static const struct statement following = {
    "proof_following",
    "SELECT step.hash, " ENTRY_COLUMNS
    "  FROM account AS own CROSS JOIN LATERAL ("
    "       " ENTRY_SIDE("debit", "credit", "debit = own.number AND debit_seq > $2::int8 AND debit_seq <= $3::int8")
    " UNION ALL " ENTRY_SIDE("credit", "debit", "credit = own.number AND credit_seq > $2::int8 AND credit_seq <= $3::int8")
    " ORDER BY seq) AS step" ENTRY_JOIN_OTHER
    " WHERE own.number = $1::int8"};
/* clang-format on */

/* $1 the account, $2 the number of the entry before. */
static const struct statement before = {
    "proof_before",
    "SELECT debit_hash FROM journal WHERE debit = $1::int8 AND debit_seq = $2::int8"
    " UNION ALL "
    "SELECT credit_hash FROM journal WHERE credit = $1::int8 AND credit_seq = $2::int8"};

static const struct statement leaves = {
    "proof_leaves",
    "SELECT leaf.seq, leaf.head, own.id, leaf.transaction, leaf.content"
    "  FROM checkpoint_leaf AS leaf LEFT JOIN LATERAL"
    "       (SELECT id FROM account WHERE number BETWEEN leaf.account AND leaf.account"
    "         ORDER BY number DESC LIMIT 1) AS own ON true"
    " WHERE leaf.checkpoint = $1::int8 ORDER BY leaf.position"};

struct maker {
    struct db *db;
    struct arena *arena;
    struct proof *proof;
    uint8_t account[CHAIN_NUMBER_SIZE]; /* its number, in binary */
    bool is_chained;
    int64_t seq;
    int64_t leaf_seq;
};

static bool no_memory(struct err *err)
{
    return err_set(err, ERR_REJECT, "could not make a proof: it is too large");
}

/* --- the entry --- */

static bool keep_entry(struct maker *maker, const PGresult *rows, int row, struct err *err)
{
    struct entry_row read;

    entry_read(rows, row, FIELDS, &read);
    for (uint32_t i = 0; i < CHAIN_FIELDS_COUNT; i++) {
        struct bytes field = read.entry.fields[i];
        if (field.data == NULL) continue;
        maker->proof->entry.fields[i] = arena_copy(maker->arena, field.data, field.size);
        if (maker->proof->entry.fields[i].data == NULL) return no_memory(err);
    }
    maker->is_chained = !cell_is_null(rows, row, NUMBER);
    if (!maker->is_chained) return true;
    (void)chain_number(maker->account, cell_int64(rows, row, NUMBER));
    maker->seq = cell_int64(rows, row, FIELDS + CHAIN_SEQ);
    return true;
}

static bool find_entry(struct maker *maker, const struct uuid *transaction, struct text account,
                       struct err *err)
{
    const struct param param = {transaction->bytes, sizeof transaction->bytes};
    PGresult *rows;
    int found = -1;

    if (!query_one(maker->db, &entries, &param, 1, &rows, err)) return false;
    for (int row = PQntuples(rows) - 1; row >= 0; row--)
        if (account.length == 0 ||
            text_equal(account, cell_text(rows, row, FIELDS + CHAIN_ACCOUNT)))
            found = row;
    bool ok = found >= 0
                  ? keep_entry(maker, rows, found, err)
                  : err_set(err, ERR_REJECT, "no such transaction is applied%s",
                            account.length > 0 ? ", or not as an entry of this account" : "");
    PQclear(rows);
    return ok;
}

/* --- the checkpoint --- */

static bool bytes_cell(const PGresult *row, int column, void *to, size_t size)
{
    struct bytes cell = cell_bytes(row, 0, column);

    if (cell.size != size) return false;
    memcpy(to, cell.data, size);
    return true;
}

static bool keep_checkpoint(struct maker *maker, const PGresult *row, struct err *err)
{
    struct checkpoint *point = &maker->proof->checkpoint;

    if (PQntuples(row) == 0)
        return err_set(err, ERR_REJECT, "not covered yet: try again after the next checkpoint");
    maker->proof->position = cell_int64(row, 0, POSITION);
    if (maker->is_chained) maker->leaf_seq = cell_int64(row, 0, LEAF_SEQ);
    point->number = cell_int64(row, 0, POINT);
    point->leaves = cell_int64(row, 0, LEAVES);
    point->created_us = cell_time_us(row, 0, CREATED_AT);
    return (bytes_cell(row, PREVIOUS, &point->previous, SHA256_SIZE) &&
            bytes_cell(row, ROOT, &point->root, SHA256_SIZE) &&
            bytes_cell(row, KEY, point->key, KEY_ID_SIZE) &&
            bytes_cell(row, SIGNATURE, point->signature, SIGNATURE_SIZE)) ||
           err_set(err, ERR_FATAL, "checkpoint %" PRId64 " is none", point->number);
}

static bool find_checkpoint(struct maker *maker, const struct uuid *transaction, struct err *err)
{
    uint8_t seq[CHAIN_NUMBER_SIZE];
    const struct param by_account[] = {{maker->account, sizeof maker->account},
                                       {chain_number(seq, maker->seq).data, sizeof seq}};
    const struct param by_transaction[] = {{transaction->bytes, sizeof transaction->bytes}};
    PGresult *row;

    if (!query_one(maker->db, maker->is_chained ? &cover_account : &cover_transaction,
                   maker->is_chained ? by_account : by_transaction, maker->is_chained ? 2 : 1, &row,
                   err))
        return false;
    bool ok = keep_checkpoint(maker, row, err);
    PQclear(row);
    return ok;
}

/* --- along the chain --- */

static bool find_before(struct maker *maker, struct err *err)
{
    uint8_t seq[CHAIN_NUMBER_SIZE];
    const struct param params[] = {{maker->account, sizeof maker->account},
                                   {chain_number(seq, maker->seq - 1).data, sizeof seq}};
    PGresult *row;

    if (!maker->is_chained || maker->seq == 0) return true;
    if (!query_one(maker->db, &before, params, 2, &row, err)) return false;
    bool ok = PQntuples(row) == 1 && bytes_cell(row, 0, &maker->proof->previous, SHA256_SIZE);
    PQclear(row);
    return ok || err_set(err, ERR_FATAL, "the entry before it has no hash; run ledgerctl verify");
}

static bool find_following(struct maker *maker, struct err *err)
{
    uint8_t first[CHAIN_NUMBER_SIZE], last[CHAIN_NUMBER_SIZE];
    const struct param params[] = {{maker->account, sizeof maker->account},
                                   {chain_number(first, maker->seq).data, sizeof first},
                                   {chain_number(last, maker->leaf_seq).data, sizeof last}};
    uint64_t wanted = (uint64_t)(maker->leaf_seq - maker->seq);
    struct sha256 *contents;
    struct entry_row entry;
    PGresult *row;

    if (!maker->is_chained || wanted == 0) return true;
    if (wanted > maker->arena->size / sizeof *contents) return no_memory(err);
    contents = arena_take(maker->arena, wanted * sizeof *contents);
    if (contents == NULL) return no_memory(err);
    maker->proof->following = contents;
    if (!query_rows_begin(maker->db, &following, params, 3, err)) return false;
    while (query_rows_next(maker->db, &row, err)) {
        if (row == NULL)
            return maker->proof->following_count == wanted ||
                   err_set(err, ERR_FATAL, "entries are missing; run ledgerctl verify");
        if (maker->proof->following_count < wanted) {
            entry_read(row, 0, 1, &entry);
            chain_content(&entry.entry, &contents[maker->proof->following_count++]);
        }
        PQclear(row);
    }
    return false;
}

/* --- up the tree --- */

static bool hash_leaf(const PGresult *row, struct sha256 *leaf)
{
    struct sha256 hash;

    if (cell_is_null(row, 0, 3)) {
        if (!bytes_cell(row, 1, &hash, sizeof hash)) return false;
        merkle_account(cell_text(row, 0, 2), cell_int64(row, 0, 0), &hash, leaf);
        return true;
    }
    struct uuid id = cell_uuid(row, 0, 3);
    if (!bytes_cell(row, 4, &hash, sizeof hash)) return false;
    merkle_transaction(&id, &hash, leaf);
    return true;
}

static bool find_path(struct maker *maker, struct err *err)
{
    struct proof *proof = maker->proof;
    uint64_t wanted = (uint64_t)proof->checkpoint.leaves, count = 0;
    uint8_t number[CHAIN_NUMBER_SIZE];
    const struct param params[] = {
        {chain_number(number, proof->checkpoint.number).data, sizeof number}};
    struct sha256 *hashes;
    bool ok = true;
    PGresult *row;

    if (wanted > maker->arena->size / sizeof *hashes) return no_memory(err);
    hashes = arena_take(maker->arena, wanted * sizeof *hashes);
    if (hashes == NULL) return no_memory(err);
    if (!query_rows_begin(maker->db, &leaves, params, 1, err)) return false;
    while (query_rows_next(maker->db, &row, err)) {
        if (row == NULL) {
            if (!ok || count != wanted || (uint64_t)proof->position >= count)
                return err_set(err, ERR_FATAL, "the checkpoint lacks leaves; run ledgerctl verify");
            proof->path_count = merkle_path(hashes, count, (uint64_t)proof->position, proof->path);
            return true;
        }
        ok = ok && count < wanted && hash_leaf(row, &hashes[count]);
        count++;
        PQclear(row);
    }
    return false;
}

static bool run(struct db *db, const struct statement *statement, struct err *err)
{
    PGresult *result;

    if (!query_one(db, statement, NULL, 0, &result, err)) return false;
    PQclear(result);
    return true;
}

bool proof_make(struct db *db, const struct uuid *transaction, struct text account,
                struct arena *arena, struct proof *out, struct err *err)
{
    struct maker maker = {.db = db, .arena = arena, .proof = out};

    *out = (struct proof){0};
    if (run(db, &begin, err) && find_entry(&maker, transaction, account, err) &&
        find_checkpoint(&maker, transaction, err) && find_before(&maker, err) &&
        find_following(&maker, err) && find_path(&maker, err) && run(db, &commit, err))
        return true;
    query_abandon(db);
    return false;
}
