/*
 * totals_pg.c - see totals_pg.h. One look at all accounts and all of the journal, once.
 */
#include "import/totals_pg.h"

#include "base/array.h"

enum total_column {
    TOTAL_ASSET,
    TOTAL_SCALE,
    TOTAL_ACCOUNTS,
    TOTAL_IMPORTED,
    TOTAL_BALANCE,
    TOTAL_DECIMAL
};

static const struct statement totals = {
    "import_totals",
    "WITH delta AS (SELECT account, sum(delta) AS delta FROM account_delta GROUP BY account),"
    " held AS (SELECT asset, count(*) AS accounts,"
    "                 sum(balance::numeric + coalesce(delta, 0)) AS balance"
    "            FROM account LEFT JOIN delta ON account = number"
    "           WHERE id <> 'world:' || asset GROUP BY asset),"
    " done AS (SELECT asset, count(*) AS imported"
    "            FROM journal JOIN account ON number = credit"
    "           WHERE import = ANY ($1::int4[]) AND result IS NULL AND amount IS NOT NULL"
    "             AND debit IS NOT NULL AND credit IS NOT NULL GROUP BY asset)"
    " SELECT code, scale, coalesce(accounts, 0), coalesce(imported, 0),"
    "        coalesce(balance, 0)::text,"
    "        round(coalesce(balance, 0) / 10::numeric ^ scale, scale)::text"
    "   FROM asset LEFT JOIN held ON held.asset = code LEFT JOIN done ON done.asset = code"
    "  WHERE accounts > 0 OR imported > 0 ORDER BY code"};

/* After an import's check this is its connection, which is set for look-ups (store_tune). */
static const char untune[] =
    "RESET plan_cache_mode; RESET enable_seqscan; RESET enable_bitmapscan; RESET enable_sort;"
    "RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_material";

static bool read_total(const PGresult *rows, int row, struct total *out, struct err *err)
{
    *out = (struct total){.scale = (uint8_t)cell_int16(rows, row, TOTAL_SCALE),
                          .accounts = (uint64_t)cell_int64(rows, row, TOTAL_ACCOUNTS),
                          .imported = (uint64_t)cell_int64(rows, row, TOTAL_IMPORTED)};
    return (text_copy(cell_text(rows, row, TOTAL_ASSET), out->asset, sizeof out->asset) &&
            text_copy(cell_text(rows, row, TOTAL_BALANCE), out->balance, sizeof out->balance) &&
            text_copy(cell_text(rows, row, TOTAL_DECIMAL), out->decimal, sizeof out->decimal)) ||
           err_set(err, ERR_FATAL, "could not read totals: one is too long");
}

bool totals_read(struct db *db, const int32_t *imports, uint32_t count,
                 bool (*found)(void *context, const struct total *total), void *context,
                 struct err *err)
{
    struct arena arena = {0};
    struct array array;
    struct bytes ids;
    struct total total;
    PGresult *rows = NULL;
    bool ok;

    if (!db_run(db, untune, err) || !arena_open(&arena, 64 * 1024, err)) return false;
    array_begin(&array, &arena, ARRAY_INT4);
    for (uint32_t i = 0; i < count; i++) array_add_int(&array, ARRAY_INT4, imports[i]);
    ok = array_end(&array, &ids, err);
    if (ok) {
        const struct param param = {ids.data, ids.size};
        ok = query_one(db, &totals, &param, 1, &rows, err);
    }
    for (int row = 0; ok && row < PQntuples(rows); row++)
        ok = read_total(rows, row, &total, err) && found(context, &total);
    PQclear(rows); /* NULL is fine */
    arena_close(&arena);
    return ok;
}
