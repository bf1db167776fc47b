/*
 * outbox_lead_pg.c - who reads the outbox for a sink, from where, and when a partition is emptied.
 * Invariants:
 *  1. one leader a sink: a session's advisory lock. It ends with the connection, so no clock is
 * involved; what a broker still gets from a leader that was cut off carries an older epoch;
 *  2. a cursor is used only in the database that it was made in: elsewhere its transaction ids mean
 *     nothing, and rows would be lost without a sign;
 *  3. a partition is emptied only while nobody else can touch it, and only when every row in it is
 *     visible to every sink's saved snapshot. Whoever inserts into it afterwards does so into the
 * empty one, and is read from there.
 */
#include "outbox/outbox_pg.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SLOTS = 3, SQL_SIZE = 1024 };

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
    " ON CONFLICT (sink) DO UPDATE SET epoch = cursor.epoch + 1"
    "  WHERE cursor.system_identifier = EXCLUDED.system_identifier"
    "    AND pg_snapshot_xmax(COALESCE(cursor.target, cursor.snapshot))"
    "        <= pg_snapshot_xmax(pg_current_snapshot())"
    " RETURNING epoch, snapshot::text, COALESCE(target::text, ''), position"};

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

/* How many rows the partition has is the distance of the ids at both ends of its file, near enough,
 * and costs a few page reads however large it is. Some pages, as those at the very end may be under
 * way. */
static const struct statement ROTATION = {
    "outbox_rotation",
    "SELECT slot, extract(epoch FROM now() - rotated_at)::bigint, pages.count,"
    "       COALESCE(newest.id - oldest.id, 0)"
    "  FROM outbox_rotation AS rotation,"
    "       LATERAL (SELECT pg_relation_size(format('outbox_%s', slot)::regclass)"
    "                       / current_setting('block_size')::bigint) AS pages (count),"
    "       LATERAL (SELECT max(id) FROM outbox WHERE outbox.slot = rotation.slot"
    "                   AND ctid >= format('(%s,0)', GREATEST(pages.count - 64, 0))::tid) AS "
    "newest (id),"
    "       LATERAL (SELECT min(id) FROM outbox WHERE outbox.slot = rotation.slot"
    "                   AND ctid < '(64,0)'::tid) AS oldest (id)"};

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

bool outbox_lead(struct db *db, const char *sink, bool *led, struct leadership *out,
                 struct err *err)
{
    struct param params[] = {param_text(sink)};
    PGresult *result;

    if (!lock(db, sink, led, err)) return false;
    if (!*led) return true;
    if (!query_one(db, &LEAD, params, 1, &result, err)) return false;
    bool ok =
        PQntuples(result) == 1
            ? cursor_copy(result, out, err)
            : err_set(err, ERR_FATAL,
                      "could not use the cursor of sink %s: it was made in another database, or "
                      "this one was restored; run ledgerctl rebase",
                      sink);
    PQclear(result);
    return ok;
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

/* --- rotation ---------------------------------------------------------------------------- */

struct rotation {
    int16_t slot;
    int64_t age_s, pages, rows;
};

static bool rotation_read(struct db *db, struct rotation *out, struct err *err)
{
    PGresult *result;

    if (!query_one(db, &ROTATION, NULL, 0, &result, err)) return false;
    bool found = PQntuples(result) == 1;
    if (found)
        *out = (struct rotation){.slot = cell_int16(result, 0, 0),
                                 .age_s = cell_int64(result, 0, 1),
                                 .pages = cell_int64(result, 0, 2),
                                 .rows = cell_int64(result, 0, 3)};
    PQclear(result);
    if (found) return true;
    return err_set(err, ERR_FATAL, "could not read outbox_rotation: its row is gone");
}

/* The lock first, then the proof: its snapshot is newer than the lock, so it sees every row there
 * is, and who has inserted without having committed would still hold a lock on the partition. */
static bool empty_next(struct db *db, int slot, int next, struct err *err)
{
    char sql[SQL_SIZE];
    int length = snprintf(
        sql, sizeof sql,
        "DO $$ DECLARE seen pg_snapshot;"
        " BEGIN"
        "  LOCK TABLE outbox_%d IN ACCESS EXCLUSIVE MODE NOWAIT;"
        "  FOR seen IN SELECT snapshot FROM outbox_cursor LOOP"
        "   IF EXISTS (SELECT FROM outbox_%d WHERE xid >= pg_snapshot_xmax(seen)"
        "                  OR xid = ANY (ARRAY(SELECT pg_snapshot_xip(seen)))) THEN RETURN; END IF;"
        "  END LOOP;"
        "  TRUNCATE outbox_%d;"
        "  UPDATE outbox_rotation SET slot = %d, rotated_at = now() WHERE slot = %d;"
        " EXCEPTION WHEN lock_not_available THEN NULL;"
        " END $$",
        next, next, next, next, slot);

    assert(length > 0 && length < SQL_SIZE);
    return db_run(db, sql, err);
}

bool outbox_rotate(struct db *db, uint64_t rows_max, uint32_t age_max_s, bool *rotated,
                   struct err *err)
{
    struct rotation before = {0}, after = {0};

    *rotated = false;
    if (!rotation_read(db, &before, err)) return false;
    bool is_full = before.rows > 0 && (uint64_t)before.rows > rows_max;
    bool is_old = before.pages > 0 && before.age_s > (int64_t)age_max_s;
    if (!is_full && !is_old) return true;
    if (!empty_next(db, before.slot, (before.slot + 1) % SLOTS, err)) return false;
    if (!rotation_read(db, &after, err)) return false;
    *rotated = after.slot != before.slot;
    return true;
}
