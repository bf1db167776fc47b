/*
 * checkpoint_pg.c - see checkpoint_pg.h. Everything is read in one snapshot. The leaves are written
 * by the server first and read back in their order, so memory does not grow with them.
 */
#include "notary/checkpoint_pg.h"

#include "base/array.h"
#include "ledger/entry_pg.h"
#include "ledger/merkle.h"
#include "outbox/outbox_pg.h"
#include "protocol/properties.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How far the ids of the journal may be behind the clock: a batch's take as long as it is tried. */
enum { OVERLAP_S = 120, FULL_OVERLAP_S = 2 * 86400, UNCHAINED_PAGE = 500, MESSAGE_ID_SIZE = 40 };

static const struct statement lock = {
    "checkpoint_lock", "SELECT pg_try_advisory_lock(hashtextextended('ledger notary', 0))"};
static const struct statement begin = {"checkpoint_begin", "BEGIN ISOLATION LEVEL REPEATABLE READ"};
static const struct statement rollback = {"checkpoint_rollback", "ROLLBACK"};

static const struct statement last = {
    "checkpoint_last",
    "SELECT clock_timestamp(), number, previous, root, leaves, created_at, key, signature"
    "  FROM (SELECT) AS one LEFT JOIN LATERAL"
    "       (SELECT * FROM checkpoint ORDER BY number DESC LIMIT 1) AS last ON true"};
enum last_column { NOW, NUMBER, PREVIOUS, ROOT, LEAVES, CREATED_AT, KEY, SIGNATURE };

/* $1 the checkpoint. What was notarised of an account last: one look into an index. */
#define INSERT_ACCOUNTS(candidates)                                                                \
    "INSERT INTO checkpoint_leaf (checkpoint, position, account, seq, head)"                       \
    " SELECT $1::int8, row_number() OVER (ORDER BY account.id) - 1, number, account.seq, head"     \
    "   FROM " candidates "  WHERE kind = 0 AND account.seq > coalesce("                           \
    "        (SELECT leaf.seq FROM checkpoint_leaf AS leaf WHERE leaf.account = number"            \
    "          ORDER BY leaf.seq DESC LIMIT 1), -1)"

static const struct statement insert_accounts = {
    "checkpoint_accounts",
    INSERT_ACCOUNTS("(SELECT DISTINCT side.number"
                    "   FROM journal, LATERAL (VALUES (debit, debit_seq), (credit, credit_seq))"
                    "        AS side (number, seq)"
                    "  WHERE journal.id >= $2::uuid AND side.seq IS NOT NULL) AS changed"
                    "  JOIN account USING (number)")};
static const struct statement insert_all_accounts = {"checkpoint_all_accounts",
                                                     INSERT_ACCOUNTS("account")};

/* $1: ids from this one on, $2: beyond this one, $3: how many. */
#define UNCHAINED(condition)                                                                       \
    "SELECT step.id, " ENTRY_COLUMNS "  FROM " ENTRY_UNCHAINED(                                    \
        condition "id >= $1::uuid AND id > $2::uuid"                                               \
                  " AND NOT EXISTS (SELECT FROM checkpoint_leaf WHERE transaction = journal.id)"   \
                  " ORDER BY id LIMIT $3::int8) AS step") ENTRY_JOIN_OWN ENTRY_JOIN_OTHER          \
        " ORDER BY step.id"
static const struct statement unchained = {"checkpoint_unchained", UNCHAINED("")};
static const struct statement unchained_imported = {"checkpoint_imported",
                                                    UNCHAINED("import IS NOT NULL AND ")};
static const struct statement insert_unchained = {
    "checkpoint_insert_unchained",
    "INSERT INTO checkpoint_leaf (checkpoint, position, transaction, content)"
    " SELECT $1::int8, $2::int8 + row.ordinal - 1, row.id, row.content"
    "   FROM unnest($3::uuid[], $4::bytea[]) WITH ORDINALITY AS row (id, content, ordinal)"};

static const struct statement leaves = {
    "checkpoint_leaves",
    "SELECT leaf.seq, leaf.head, own.id, leaf.transaction, leaf.content"
    "  FROM checkpoint_leaf AS leaf LEFT JOIN LATERAL"
    "       (SELECT id FROM account WHERE number BETWEEN leaf.account AND leaf.account"
    "         ORDER BY number DESC LIMIT 1) AS own ON true"
    " WHERE leaf.checkpoint = $1::int8 ORDER BY leaf.position"};

static const struct statement insert_checkpoint = {
    "checkpoint_insert",
    "INSERT INTO checkpoint (number, previous, root, leaves, created_at, key, signature)"
    " VALUES ($1::int8, $2::bytea, $3::bytea, $4::int8, $5::timestamptz, $6::bytea, $7::bytea)"};

struct maker {
    struct db *db;
    const struct checkpoint_options *options;
    struct checkpoint *checkpoint; /* the one that is made */
    struct uuid since;
    uint8_t number[CHAIN_NUMBER_SIZE]; /* in binary */
};

bool checkpoint_lead(struct db *db, bool *leads, struct err *err)
{
    PGresult *row;

    if (!query_one(db, &lock, NULL, 0, &row, err)) return false;
    *leads = cell_bool(row, 0, 0);
    PQclear(row);
    return true;
}

/* What has changed is little beside what there is, whatever the planner thinks: loops over it, with
 * index scans inside. */
bool checkpoint_tune(struct db *db, struct err *err)
{
    return db_run(db,
                  "SET enable_seqscan TO off; SET enable_hashjoin TO off;"
                  "SET enable_mergejoin TO off; SET enable_material TO off; SET jit TO off;"
                  "SET max_parallel_workers_per_gather TO 0",
                  err);
}

static bool run(struct db *db, const struct statement *statement, const struct param *params,
                uint32_t count, uint64_t *rows, struct err *err)
{
    if (!query_send(db, statement, params, count, err) || !query_sync(db, err)) return false;
    return query_done_rows(db, rows, err) && query_done(db, err);
}

/* --- after which one --- */

static bool hash_cell(const PGresult *row, int column, void *to, size_t size)
{
    struct bytes cell = cell_bytes(row, 0, column);

    if (cell.size != size) return false;
    memcpy(to, cell.data, size);
    return true;
}

static struct uuid first_id(int64_t wall_us, int64_t overlap_s)
{
    static const uint8_t zeros[UUID_RANDOM_SIZE];
    int64_t since_ms = wall_us / 1000 - overlap_s * 1000;
    struct uuid id = uuid_v7(since_ms < 0 ? 0 : (uint64_t)since_ms, zeros);

    id.bytes[6] = id.bytes[8] = 0; /* below any id of this time */
    return id;
}

static bool follow(struct maker *maker, bool full, const PGresult *row, struct err *err)
{
    struct checkpoint *next = maker->checkpoint, before = {0};

    next->created_us = cell_time_us(row, 0, NOW);
    next->number = 1;
    maker->since = (struct uuid){0};
    if (cell_is_null(row, 0, NUMBER)) return true;
    before.number = cell_int64(row, 0, NUMBER);
    before.leaves = cell_int64(row, 0, LEAVES);
    before.created_us = cell_time_us(row, 0, CREATED_AT);
    if (!hash_cell(row, PREVIOUS, &before.previous, SHA256_SIZE) ||
        !hash_cell(row, ROOT, &before.root, SHA256_SIZE) ||
        !hash_cell(row, KEY, before.key, KEY_ID_SIZE))
        return err_set(err, ERR_FATAL, "could not follow checkpoint %" PRId64 ": it is none",
                       before.number);
    next->number = before.number + 1;
    checkpoint_hash(&before, &next->previous);
    maker->since = first_id(before.created_us, full ? FULL_OVERLAP_S : OVERLAP_S);
    return true;
}

static bool find_last(struct maker *maker, bool full, struct err *err)
{
    PGresult *row;

    *maker->checkpoint = (struct checkpoint){0};
    if (!query_one(maker->db, &last, NULL, 0, &row, err)) return false;
    bool ok = follow(maker, full, row, err);
    PQclear(row);
    (void)chain_number(maker->number, maker->checkpoint->number);
    return ok;
}

/* --- leaves --- */

static bool add_accounts(struct maker *maker, bool full, struct err *err)
{
    const struct param params[] = {{maker->number, sizeof maker->number},
                                   {maker->since.bytes, sizeof maker->since.bytes}};
    uint64_t rows = 0;

    if (!run(maker->db, full ? &insert_all_accounts : &insert_accounts, params, full ? 1 : 2, &rows,
             err))
        return false;
    maker->checkpoint->leaves = (int64_t)rows;
    return true;
}

static bool insert_page(struct maker *maker, const PGresult *rows, struct err *err)
{
    struct arena *arena = maker->options->arena;
    uint8_t position[CHAIN_NUMBER_SIZE];
    struct array array;
    struct bytes ids, contents;

    arena_reset(arena);
    array_begin(&array, arena, ARRAY_UUID);
    for (int i = 0; i < PQntuples(rows); i++) {
        struct uuid id = cell_uuid(rows, i, 0);
        array_add_uuid(&array, &id);
    }
    if (!array_end(&array, &ids, err)) return false;
    array_begin(&array, arena, ARRAY_BYTEA);
    for (int i = 0; i < PQntuples(rows); i++) {
        struct entry_row entry;
        struct sha256 content;
        entry_read(rows, i, 1, &entry);
        chain_content(&entry.entry, &content);
        array_add_bytes(&array, (struct bytes){content.bytes, SHA256_SIZE});
    }
    if (!array_end(&array, &contents, err)) return false;
    (void)chain_number(position, maker->checkpoint->leaves);
    const struct param params[] = {{maker->number, sizeof maker->number},
                                   {position, sizeof position},
                                   {ids.data, ids.size},
                                   {contents.data, contents.size}};
    maker->checkpoint->leaves += PQntuples(rows);
    return run(maker->db, &insert_unchained, params, 4, NULL, err);
}

static bool add_unchained(struct maker *maker, const struct statement *which,
                          const struct uuid *since, struct err *err)
{
    uint8_t most[CHAIN_NUMBER_SIZE];
    struct uuid beyond = {0};
    bool more = true;

    (void)chain_number(most, UNCHAINED_PAGE);
    while (more) {
        const struct param params[] = {{since->bytes, sizeof since->bytes},
                                       {beyond.bytes, sizeof beyond.bytes},
                                       {most, sizeof most}};
        PGresult *rows;
        if (!query_one(maker->db, which, params, 3, &rows, err)) return false;
        int count = PQntuples(rows);
        more = count == UNCHAINED_PAGE;
        if (count > 0) beyond = cell_uuid(rows, count - 1, 0);
        bool ok = count == 0 || insert_page(maker, rows, err);
        PQclear(rows);
        if (!ok) return false;
    }
    return true;
}

/* What was imported happened at any time: a full look goes through all of it. */
static bool add_movements(struct maker *maker, bool full, struct err *err)
{
    static const struct uuid first = {{0}};

    return add_unchained(maker, &unchained, &maker->since, err) &&
           (!full || add_unchained(maker, &unchained_imported, &first, err));
}

static bool hash_leaf(const PGresult *row, struct sha256 *leaf, struct err *err)
{
    struct sha256 hash;

    if (!cell_is_null(row, 0, 3)) {
        struct uuid id = cell_uuid(row, 0, 3);
        if (!hash_cell(row, 4, &hash, sizeof hash)) return err_set(err, ERR_FATAL, "no content");
        merkle_transaction(&id, &hash, leaf);
        return true;
    }
    if (!hash_cell(row, 1, &hash, sizeof hash))
        return err_set(err, ERR_FATAL, "the head of account %.*s is no hash",
                       TEXT_ARGS(cell_text(row, 0, 2)));
    merkle_account(cell_text(row, 0, 2), cell_int64(row, 0, 0), &hash, leaf);
    return true;
}

static bool find_root(struct maker *maker, struct err *err)
{
    const struct param params[] = {{maker->number, sizeof maker->number}};
    struct merkle merkle = {0};
    struct sha256 leaf;
    PGresult *row;

    if (!query_rows_begin(maker->db, &leaves, params, 1, err)) return false;
    while (query_rows_next(maker->db, &row, err)) {
        if (row == NULL) {
            assert(merkle.count == (uint64_t)maker->checkpoint->leaves);
            merkle_root(&merkle, &maker->checkpoint->root);
            return true;
        }
        bool ok = hash_leaf(row, &leaf, err);
        PQclear(row);
        if (!ok) return false;
        merkle_add(&merkle, &leaf);
    }
    return false;
}

/* --- the header and its event --- */

static bool insert_header(struct maker *maker, struct err *err)
{
    const struct checkpoint *made = maker->checkpoint;
    struct arena *arena = maker->options->arena;

    arena_reset(arena);
    struct bytes count = binary_int64(arena, made->leaves);
    struct bytes time = binary_time(arena, made->created_us);
    if (count.data == NULL || time.data == NULL)
        return err_set(err, ERR_FATAL, "could not build parameters: no memory");
    const struct param params[] = {{maker->number, sizeof maker->number},
                                   {made->previous.bytes, SHA256_SIZE},
                                   {made->root.bytes, SHA256_SIZE},
                                   {count.data, count.size},
                                   {time.data, time.size},
                                   {made->key, KEY_ID_SIZE},
                                   {made->signature, SIGNATURE_SIZE}};
    return run(maker->db, &insert_checkpoint, params, 7, NULL, err);
}

static bool append_event(struct maker *maker, struct err *err)
{
    const struct checkpoint_options *options = maker->options;
    struct arena *arena = options->arena;
    struct answers answers = {0};
    char message_id[MESSAGE_ID_SIZE];
    struct outbox_row row = {.kind = OUTBOX_EVENT, .destination = TEXT_LITERAL(CHECKPOINT_EVENT)};
    struct properties_out properties = {.content_type =
                                            text_of(encoding_content_type(options->event_encoding)),
                                        .type = TEXT_LITERAL(CHECKPOINT_EVENT),
                                        .timestamp_s = maker->checkpoint->created_us / 1000000};

    (void)snprintf(message_id, sizeof message_id, "checkpoint:%" PRId64, maker->checkpoint->number);
    properties.message_id = text_of(message_id);
    arena_reset(arena);
    if (!checkpoint_encode(maker->checkpoint, options->event_encoding, arena, &row.body) ||
        !properties_write(&properties, arena, &row.properties))
        return err_set(err, ERR_FATAL, "could not write its event: no memory");
    return outbox_append(maker->db, &row, 1, arena, &answers, err) &&
           store_commit(maker->db, &answers, err);
}

static bool make(struct maker *maker, bool full, bool *made, struct err *err)
{
    if (!run(maker->db, &begin, NULL, 0, NULL, err) || !find_last(maker, full, err) ||
        !add_accounts(maker, full, err) || !add_movements(maker, full, err))
        return false;
    *made = maker->checkpoint->leaves > 0;
    if (!*made) return run(maker->db, &rollback, NULL, 0, NULL, err);
    return find_root(maker, err) && checkpoint_sign(maker->checkpoint, maker->options->key, err) &&
           insert_header(maker, err) && append_event(maker, err);
}

bool checkpoint_make(struct db *db, const struct checkpoint_options *options, bool full,
                     struct checkpoint *out, bool *made, struct err *err)
{
    struct maker maker = {.db = db, .options = options, .checkpoint = out};

    *made = false;
    if (make(&maker, full, made, err)) return true;
    query_abandon(db);
    return err_wrap(err, "could not make a checkpoint");
}
