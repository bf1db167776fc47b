/*
 * store_pg.c - the assets, the commit, the roll-up.
 */
#include "ledger/store_pg.h"
#include "ledger/store_internal_pg.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct statement commit = {"store_commit", "COMMIT"};

/* One statement is one snapshot, so it sees a delta in the account or in account_delta, never in
 * both. What another roll-up takes first is not returned by our DELETE, and the balance is read
 * again under the lock: two at a time are correct. A sum that no bigint holds stays in the deltas.
 */
static const struct statement roll_up = {
    "store_roll_up",
    "WITH pending AS (SELECT account, sum(delta) AS delta FROM account_delta GROUP BY account),"
    " due AS (SELECT number FROM account JOIN pending ON pending.account = number"
    "          WHERE kind = 1"
    "            AND balance + pending.delta BETWEEN -9223372036854775808 AND 9223372036854775807"
    "          ORDER BY number LIMIT $1::int8 FOR NO KEY UPDATE OF account SKIP LOCKED),"
    " taken AS (DELETE FROM account_delta WHERE account = ANY (ARRAY(SELECT number FROM due))"
    "           RETURNING account, delta),"
    " total AS (SELECT account, sum(delta) AS delta FROM taken GROUP BY account)"
    " UPDATE account SET balance = balance + total.delta FROM total WHERE number = total.account"};

/* A plan is made once a connection, perhaps while the tables are empty, and must do for millions of
 * rows. */
bool store_tune(struct store *store, struct db *db, struct err *err)
{
    met_forget(&store->met); /* it may be another database, or one restored */
    store->assets_count = 0;
    store->policy.known = false;
    store->policy_at_us = 0;
    return db_run(
        db,
        "SET plan_cache_mode TO force_generic_plan; SET enable_seqscan TO off;"
        "SET enable_bitmapscan TO off; SET enable_sort TO off;"
        "SET enable_hashjoin TO off; SET enable_mergejoin TO off; SET enable_material TO off",
        err);
}

bool store_open(struct store **out, struct err *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return err_set(err, ERR_FATAL, "could not open store: out of memory");
    if (policy_cache_open(&(*out)->policy, err) && codec_open(&(*out)->codec, err)) return true;
    store_close(*out);
    *out = NULL;
    return false;
}

void store_close(struct store *store)
{
    if (store == NULL) return;
    policy_cache_close(&store->policy);
    codec_close(store->codec);
    free(store);
}

bool store_look_at_policy(struct store *store, struct db *db, uint64_t monotonic_us,
                          struct err *err)
{
    bool is_due = store->policy_at_us == 0 || monotonic_us - store->policy_at_us >= POLICY_LOOK_US;

    if (!is_due) return true;
    bool ok = policy_cache_read(&store->policy, db, err);
    store->policy_at_us = ok ? monotonic_us : 0;
    return ok;
}

struct param store_param(struct bytes binary)
{
    return (struct param){binary.data, binary.size};
}

struct param store_only(struct param array)
{
    return store_param(array_only((struct bytes){array.data, array.size}));
}

void store_add_param(struct store_question *question, struct bytes binary)
{
    assert(question->count < STORE_PARAMS_MAX);
    question->params[question->count++] = store_param(binary);
}

bool store_keep_text(const struct store_load *load, struct text view, struct text *out)
{
    *out = arena_text(load->batch->arena, view);
    return out->bytes != NULL;
}

bool store_keep_bytes(const struct store_load *load, struct bytes view, struct bytes *out)
{
    *out = arena_copy(load->batch->arena, view.data, view.size);
    return out->data != NULL;
}

bool store_too_large(struct err *err)
{
    return err_set(err, ERR_REJECT, "could not keep what was read: batch too large");
}

/* --- assets --- */

/* Also when a new account is to hold one that is not known: it may have been registered since. */
static bool ask_assets(const struct store_load *load, struct store_question *question,
                       struct err *err)
{
    const struct batch *batch = load->batch;

    (void)err;
    question->asked = batch->assets_count == 0;
    for (uint32_t i = 0; i < batch->works_count && !question->asked; i++) {
        const struct command *command = &batch->works[i].request->command;
        question->asked = batch->works[i].origin == ORIGIN_NONE &&
                          command->type == COMMAND_OPEN_ACCOUNT &&
                          ledger_asset(batch, command->asset) == NULL;
    }
    return true;
}

static bool fill_assets(const struct store_load *load, const PGresult *rows, struct err *err)
{
    struct store *store = load->store;
    int count = PQntuples(rows);

    if (count > ASSETS_MAX)
        return err_set(err, ERR_FATAL, "could not read assets: %d are registered, at most %d fit",
                       count, ASSETS_MAX);
    for (int row = 0; row < count; row++) {
        struct text code = cell_text(rows, row, 0);
        assert(code.length <= ASSET_LENGTH_MAX);
        memcpy(store->codes[row], code.bytes, code.length);
        store->assets[row] = (struct asset){.code = {store->codes[row], code.length},
                                            .scale = (uint8_t)cell_int16(rows, row, 1),
                                            .world = cell_int64(rows, row, 2)};
    }
    store->assets_count = load->batch->assets_count = (uint32_t)count;
    return true;
}

const struct store_part store_part_assets = {
    .statement =
        {"store_assets",
         "SELECT code, scale, world.number"
         "  FROM asset CROSS JOIN LATERAL"
         "       (SELECT number FROM account WHERE id = 'world:' || code OFFSET 0) AS world"
         " ORDER BY code"},
    .ask = ask_assets,
    .fill = fill_assets};

/* --- the end of a batch --- */

bool store_read(struct store *store, struct db *db, struct batch *batch, struct err *err)
{
    return ledger_collect_targets(batch, err) &&
           (batch->targets_count == 0 || store_resolve(store, db, batch, err)) &&
           ledger_collect(batch, err) && store_load(store, db, batch, err);
}

static bool check_answers(struct db *db, const struct answers *answers, struct err *err)
{
    for (uint32_t i = 0; i < answers->count; i++) {
        uint64_t rows;
        if (!query_done_rows(db, &rows, err)) return false;
        if (answers->rows[i] != ANSWER_ANY && rows != answers->rows[i])
            return err_set(err, ERR_FATAL,
                           "could not store a batch: statement %" PRIu32 " touched %" PRIu64
                           " rows, not %" PRIu64,
                           i + 1, rows, answers->rows[i]);
    }
    return true;
}

bool store_commit_send(struct db *db, struct err *err)
{
    return query_send(db, &commit, NULL, 0, err) && query_sync(db, err);
}

bool store_commit_read(struct db *db, const struct answers *answers, struct err *err)
{
    return check_answers(db, answers, err) && query_done_rows(db, NULL, err) && query_done(db, err);
}

bool store_commit(struct db *db, const struct answers *answers, struct err *err)
{
    return store_commit_send(db, err) && store_commit_read(db, answers, err);
}

bool store_flush(struct db *db, const struct answers *answers, struct err *err)
{
    return answers->count == 0 ||
           (query_sync(db, err) && check_answers(db, answers, err) && query_done(db, err));
}

bool store_roll_up(struct db *db, uint32_t most, uint32_t *rolled, struct err *err)
{
    uint8_t limit[sizeof(int64_t)];
    struct writer writer = writer_over(limit, sizeof limit);
    const struct param param = {limit, sizeof limit};
    PGresult *result;

    *rolled = 0;
    write_u64(&writer, most);
    if (!query_one(db, &roll_up, &param, 1, &result, err)) return false;
    *rolled = (uint32_t)strtoul(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    return true;
}
