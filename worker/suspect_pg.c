/*
 * suspect_pg.c - see suspect_pg.h. One row a suspect; few, and short-lived.
 */
#include "worker/suspect_pg.h"

static const struct statement BEGIN = {
    "suspect_begin",
    "INSERT INTO suspect AS known (digest, process, times) VALUES ($1::uuid, $2::uuid, 1)"
    " ON CONFLICT (digest) DO UPDATE SET process = excluded.process, seen_at = now(),"
    "   times = known.times + CASE WHEN known.process = excluded.process THEN 0 ELSE 1 END"
    " RETURNING times"};
static const struct statement GIVE_BACK = {
    "suspect_give_back",
    "UPDATE suspect SET times = greatest(times - 1, 0), process = CASE WHEN process = $2::uuid"
    "   THEN '00000000-0000-0000-0000-000000000000' ELSE process END WHERE digest = $1::uuid"};
static const struct statement SETTLE = {"suspect_settle",
                                        "DELETE FROM suspect WHERE digest = $1::uuid"};
static const struct statement CLEAN = {
    "suspect_clean", "DELETE FROM suspect WHERE seen_at < now() - interval '7 days'"};

bool suspect_begin(struct db *db, const struct uuid *process, const struct uuid *digest,
                   uint32_t *times, struct err *err)
{
    struct param params[] = {{digest->bytes, sizeof digest->bytes},
                             {process->bytes, sizeof process->bytes}};
    PGresult *result;

    if (!query_one(db, &BEGIN, params, 2, &result, err)) return false;
    *times = (uint32_t)cell_int32(result, 0, 0);
    PQclear(result);
    return true;
}

static bool run(struct db *db, const struct statement *statement, const struct param *params,
                uint32_t count, struct err *err)
{
    PGresult *result;

    if (!query_one(db, statement, params, count, &result, err)) return false;
    PQclear(result);
    return true;
}

bool suspect_give_back(struct db *db, const struct uuid *process, const struct uuid *digest,
                       struct err *err)
{
    struct param params[] = {{digest->bytes, sizeof digest->bytes},
                             {process->bytes, sizeof process->bytes}};

    return run(db, &GIVE_BACK, params, 2, err);
}

bool suspect_settle(struct db *db, const struct uuid *digest, struct err *err)
{
    struct param param = {digest->bytes, sizeof digest->bytes};

    return run(db, &SETTLE, &param, 1, err);
}

bool suspect_clean(struct db *db, struct err *err)
{
    return run(db, &CLEAN, NULL, 0, err);
}
