/*
 * sinks_pg.c - see sinks_pg.h. The lock is that of outbox_lead_pg.c: who holds it, leads.
 */
#include "outbox/sinks_pg.h"

#include <string.h>

#define LOCK_KEY(sink) "hashtextextended('ledger outbox ' || " sink ", 0)"

static const struct statement ADD = {
    "sinks_add", "INSERT INTO outbox_cursor (sink, snapshot, system_identifier)"
                 " SELECT $1::text, CASE WHEN $2::bool THEN '1:1:' ELSE pg_current_snapshot() END,"
                 "        system_identifier FROM pg_control_system()"
                 " ON CONFLICT (sink) DO NOTHING RETURNING true"};
static const struct statement LOCK = {"sinks_lock",
                                      "SELECT pg_try_advisory_lock(" LOCK_KEY("$1::text") ")"};
static const struct statement UNLOCK = {"sinks_unlock",
                                        "SELECT pg_advisory_unlock(" LOCK_KEY("$1::text") ")"};
static const struct statement DROP = {
    "sinks_drop", "DELETE FROM outbox_cursor WHERE sink = $1::text RETURNING true"};
/* An advisory lock on a bigint shows as its halves. */
static const struct statement LIST = {
    "sinks_list",
    "SELECT sink,"
    "       EXISTS (SELECT FROM pg_locks"
    "                WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    "                  AND database = (SELECT oid FROM pg_database"
    "                                   WHERE datname = current_database())"
    "                  AND (classid::bigint << 32 | objid::bigint) = " LOCK_KEY(
        "sink") "),"
                "       epoch, GREATEST(extract(epoch FROM now() - saved_at), 0)::bigint,"
                "       (SELECT count(*) FROM outbox"
                "         WHERE xid >= pg_snapshot_xmax(cursor.snapshot)"
                "            OR xid = ANY (ARRAY(SELECT pg_snapshot_xip(cursor.snapshot))))"
                "  FROM outbox_cursor AS cursor ORDER BY sink LIMIT 16"};
_Static_assert(SINKS_MAX == 16, "said in the query");

static struct param param_text(const char *text)
{
    return (struct param){text, (uint32_t)strlen(text)};
}

/* A cursor that no relay will ever move would keep the outbox from being emptied. */
static bool is_known(const char *name)
{
    static const char *const names[] = {"amqp", "kafka"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0) return true;
    return false;
}

bool sinks_add(struct db *db, const char *name, bool from_start, bool *added, struct err *err)
{
    uint8_t flag = from_start;
    struct param params[] = {param_text(name), {&flag, sizeof flag}};
    PGresult *result;

    if (!is_known(name))
        return err_set(err, ERR_REJECT, "could not add sink %s: there is amqp, and kafka", name);
    if (!query_one(db, &ADD, params, 2, &result, err)) return false;
    *added = PQntuples(result) == 1;
    PQclear(result);
    return true;
}

static bool drop_locked(struct db *db, const char *name, bool *dropped, struct err *err)
{
    struct param params[] = {param_text(name)};
    PGresult *result;

    if (!query_one(db, &DROP, params, 1, &result, err)) return false;
    *dropped = PQntuples(result) == 1;
    PQclear(result);
    if (!query_one(db, &UNLOCK, params, 1, &result, err)) return false;
    PQclear(result);
    return true;
}

bool sinks_drop(struct db *db, const char *name, bool *dropped, struct err *err)
{
    struct param params[] = {param_text(name)};
    PGresult *result;

    if (strcmp(name, "amqp") == 0)
        return err_set(err, ERR_REJECT, "could not drop sink amqp: replies are its");
    if (!query_one(db, &LOCK, params, 1, &result, err)) return false;
    bool is_locked = cell_bool(result, 0, 0);
    PQclear(result);
    if (is_locked) return drop_locked(db, name, dropped, err);
    return err_set(err, ERR_RETRY, "could not drop sink %s: its relay is running; stop it first",
                   name);
}

bool sinks_list(struct db *db, struct sink_state out[static SINKS_MAX], uint32_t *count,
                struct err *err)
{
    PGresult *result;
    bool ok = true;

    if (!query_one(db, &LIST, NULL, 0, &result, err)) return false;
    *count = (uint32_t)PQntuples(result);
    for (int i = 0; ok && i < (int)*count; i++) {
        struct sink_state *state = &out[i];
        ok = text_copy(cell_text(result, i, 0), state->name, sizeof state->name);
        state->leads = cell_bool(result, i, 1);
        state->epoch = (uint64_t)cell_int64(result, i, 2);
        state->saved_s = (uint64_t)cell_int64(result, i, 3);
        state->rows = (uint64_t)cell_int64(result, i, 4);
    }
    PQclear(result);
    return ok || err_set(err, ERR_FATAL, "could not list the sinks: a name is too long");
}
