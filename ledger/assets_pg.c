/*
 * assets_pg.c - see assets_pg.h. An asset and its world are inserted by one statement, so there is
 * never one without the other.
 */
#include "ledger/assets_pg.h"

#include "base/query_pg.h"

/* Two who add at once take turns, so that the limit holds; accounts are opened meanwhile. */
static const struct statement begin = {"assets_begin", "BEGIN"};
static const struct statement take_turns = {"assets_lock",
                                            "LOCK TABLE asset IN SHARE ROW EXCLUSIVE MODE"};
static const struct statement commit = {"assets_commit", "COMMIT"};
static const struct statement add = {
    "assets_add",
    "WITH added AS (INSERT INTO asset (code, scale) SELECT $1::text, $2::int2"
    "                WHERE (SELECT count(*) FROM asset) < 4096"
    "               ON CONFLICT (code) DO NOTHING RETURNING code)"
    " INSERT INTO account (number, created_at, kind, id, user_id, asset)"
    " SELECT nextval('account_number'), now(), 1, 'world:' || code, 'system', code FROM added"};
_Static_assert(ASSETS_MAX == 4096, "as it says");
static const struct statement scale_of = {"assets_scale",
                                          "SELECT scale FROM asset WHERE code = $1::text"};
static const struct statement list = {"assets_list", "SELECT code, scale FROM asset ORDER BY code"};

static bool check_scale(const PGresult *rows, struct text code, uint8_t scale, struct err *err)
{
    if (PQntuples(rows) == 0)
        return err_set(err, ERR_REJECT, "could not register %.*s: there are %d assets already",
                       TEXT_ARGS(code), ASSETS_MAX);
    int there = cell_int16(rows, 0, 0);
    if (there == scale) return true;
    return err_set(err, ERR_REJECT,
                   "could not register %.*s with scale %d: it has scale %d, for ever",
                   TEXT_ARGS(code), scale, there);
}

bool assets_add(struct db *db, struct text code, uint8_t scale, bool *added, struct err *err)
{
    const uint8_t number[] = {0, scale};
    const struct param params[] = {{code.bytes, code.length}, {number, sizeof number}};
    PGresult *rows = NULL;
    uint64_t inserted = 0;

    *added = false;
    bool ok = query_send(db, &begin, NULL, 0, err) && query_send(db, &take_turns, NULL, 0, err) &&
              query_send(db, &add, params, 2, err) && query_send(db, &scale_of, params, 1, err) &&
              query_send(db, &commit, NULL, 0, err) && query_sync(db, err) &&
              query_done_rows(db, NULL, err) && query_done_rows(db, NULL, err) &&
              query_done_rows(db, &inserted, err) && query_next(db, &rows, err) &&
              query_done_rows(db, NULL, err) && query_done(db, err);
    if (!ok) query_abandon(db);
    *added = inserted > 0;
    ok = ok && check_scale(rows, code, scale, err);
    PQclear(rows); /* NULL is fine */
    return ok;
}

bool assets_list(struct db *db, void (*each)(void *context, struct text code, uint8_t scale),
                 void *context, struct err *err)
{
    PGresult *rows;

    if (!query_one(db, &list, NULL, 0, &rows, err)) return false;
    for (int row = 0; row < PQntuples(rows); row++)
        each(context, cell_text(rows, row, 0), (uint8_t)cell_int16(rows, row, 1));
    PQclear(rows);
    return true;
}
