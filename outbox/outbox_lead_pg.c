/*
 * outbox_lead_pg.c - who reads the outbox for a sink, and from where.
 * Invariants:
 *  1. one leader a sink: a session's advisory lock. It ends with the connection, so no clock is
 * involved; what a broker still gets from a leader that was cut off carries an older epoch;
 *  2. a cursor is used only in the database that it was made in: elsewhere its transaction ids mean
 *     nothing, and rows would be lost without a sign;
 *  3. a sink that has no cursor is not led, but for the one that every ledger has: a cursor that
 *     nobody moves would keep the outbox from being emptied.
 */
#include "outbox/outbox_pg.h"

#include <string.h>

/* A snapshot that sees nothing, as transaction ids begin at 3. */
#define SNAPSHOT_NOTHING "1:1:"
#define LOCK_KEY "hashtextextended('ledger outbox ' || $1::text, 0)"

static const struct statement LOCK = {"outbox_lock", "SELECT pg_try_advisory_lock(" LOCK_KEY ")"};
static const struct statement UNLOCK = {"outbox_unlock", "SELECT pg_advisory_unlock(" LOCK_KEY ")"};

/* No row comes back when the cursor was made elsewhere. A restored database of the same cluster
 * keeps the system identifier, but its transaction ids went back. */
static const struct statement LEAD = {
    "outbox_lead",
    "INSERT INTO outbox_cursor AS cursor (sink, snapshot, epoch, system_identifier)"
    " SELECT $1::text, '" SNAPSHOT_NOTHING "', 1, system_identifier FROM pg_control_system()"
    "  WHERE $1::text = 'amqp' OR EXISTS (SELECT FROM outbox_cursor WHERE sink = $1::text)"
    " ON CONFLICT (sink) DO UPDATE SET epoch = cursor.epoch + 1"
    "  WHERE cursor.system_identifier = EXCLUDED.system_identifier"
    "    AND pg_snapshot_xmax(COALESCE(cursor.target, cursor.snapshot))"
    "        <= pg_snapshot_xmax(pg_current_snapshot())"
    " RETURNING epoch, snapshot::text, COALESCE(target::text, ''), position"};

static const struct statement IS_REGISTERED = {
    "outbox_is_registered", "SELECT EXISTS (SELECT FROM outbox_cursor WHERE sink = $1::text)"};

/* Rows that were restored from a dump bear ids of transactions of another cluster, which may be
 * still to come in this one: they would be new then, once more or for the first time. */
static const struct statement REBASE_ROWS = {
    "outbox_rebase_rows", "UPDATE outbox SET xid = pg_current_xact_id()"
                          " WHERE xid >= (SELECT pg_snapshot_xmax(pg_current_snapshot()))"};
static const struct statement REBASE_CURSOR = {
    "outbox_rebase_cursor",
    "INSERT INTO outbox_cursor AS cursor (sink, snapshot, system_identifier)"
    " SELECT $1::text, CASE WHEN $2::bool THEN '" SNAPSHOT_NOTHING
    "' ELSE pg_current_snapshot() END,"
    "        system_identifier"
    "   FROM pg_control_system()"
    " ON CONFLICT (sink) DO UPDATE"
    "  SET snapshot = EXCLUDED.snapshot, target = NULL, position = 0, saved_at = now(),"
    "      system_identifier = EXCLUDED.system_identifier"};

static struct param param_text(const char *text)
{
    return (struct param){text, (uint32_t)strlen(text)};
}

static bool lock(struct db *db, const char *sink, bool *locked, struct err *err)
{
    struct param params[] = {param_text(sink)};
    PGresult *result;

    *locked = false;
    if (!query_one(db, &LOCK, params, 1, &result, err)) return false;
    *locked = cell_bool(result, 0, 0);
    PQclear(result);
    return true;
}

static bool cursor_copy(const PGresult *result, struct leadership *out, struct err *err)
{
    out->epoch = (uint64_t)cell_int64(result, 0, 0);
    out->cursor.position = cell_int64(result, 0, 3);
    if (text_copy(cell_text(result, 0, 1), out->cursor.snapshot, SNAPSHOT_TEXT_SIZE) &&
        text_copy(cell_text(result, 0, 2), out->cursor.target, SNAPSHOT_TEXT_SIZE))
        return true;
    return err_set(err, ERR_FATAL, "could not read the outbox cursor: its snapshot is too long");
}

/* Why no cursor came back. */
static bool explain(struct db *db, const char *sink, struct err *err)
{
    struct param params[] = {param_text(sink)};
    PGresult *result;

    if (!query_one(db, &IS_REGISTERED, params, 1, &result, err)) return false;
    bool is_registered = cell_bool(result, 0, 0);
    PQclear(result);
    if (!is_registered)
        return err_set(err, ERR_REJECT,
                       "could not lead sink %s: it is not registered; run ledgerctl sink add %s",
                       sink, sink);
    return err_set(err, ERR_FATAL,
                   "could not use the cursor of sink %s: it was made in another database, or "
                   "this one was restored; run ledgerctl rebase",
                   sink);
}

bool outbox_lead(struct db *db, const char *sink, bool *led, struct leadership *out,
                 struct err *err)
{
    struct param params[] = {param_text(sink)};
    PGresult *result;

    if (!lock(db, sink, led, err)) return false;
    if (!*led) return true;
    if (!query_one(db, &LEAD, params, 1, &result, err)) return false;
    bool is_ours = PQntuples(result) == 1;
    bool ok = is_ours && cursor_copy(result, out, err);
    PQclear(result);
    return is_ours ? ok : explain(db, sink, err);
}

static bool rebase(struct db *db, const char *sink, bool from_start, struct err *err)
{
    uint8_t flag = from_start;
    struct param params[] = {param_text(sink), {&flag, sizeof flag}};
    PGresult *result;

    if (!query_one(db, &REBASE_ROWS, NULL, 0, &result, err)) return false;
    PQclear(result);
    /* A transaction of its own, whose snapshot sees the rows above. */
    if (!query_one(db, &REBASE_CURSOR, params, 2, &result, err)) return false;
    PQclear(result);
    if (!query_one(db, &UNLOCK, params, 1, &result, err)) return false;
    PQclear(result);
    return true;
}

bool outbox_rebase(struct db *db, const char *sink, bool from_start, struct err *err)
{
    bool locked;

    if (!lock(db, sink, &locked, err)) return false;
    if (locked) return rebase(db, sink, from_start, err);
    return err_set(err, ERR_RETRY, "could not rebase sink %s: its relay is running; stop it first",
                   sink);
}
