/*
 * outbox_rotate_pg.c - when the next partition of the outbox is begun. Invariant: a partition is
 * emptied only while nobody else can touch it, and only when every row in it is visible to every
 * sink's saved snapshot. Whoever inserts into it afterwards does so into the empty one, and is read
 * from there.
 */
#include "outbox/outbox_pg.h"

#include <assert.h>
#include <stdio.h>

enum { SLOTS = 3, SQL_SIZE = 1024 };

/* How many rows the partition has is the distance of the ids at both ends of its file, near enough,
 * and costs a few page reads however large it is. Some pages, as those at the very end may be under
 * way. */
static const struct statement ROTATION = {
    "outbox_rotation",
    "SELECT slot, extract(epoch FROM now() - rotated_at)::bigint, pages.count,"
    "       COALESCE(newest.id - oldest.id, 0), whole.size"
    "  FROM outbox_rotation AS rotation,"
    "       LATERAL (SELECT pg_relation_size(format('outbox_%s', slot)::regclass)"
    "                       / current_setting('block_size')::bigint) AS pages (count),"
    "       LATERAL (SELECT max(id) FROM outbox WHERE outbox.slot = rotation.slot"
    "                   AND ctid >= format('(%s,0)', GREATEST(pages.count - 64, 0))::tid) AS "
    "newest (id),"
    "       LATERAL (SELECT min(id) FROM outbox WHERE outbox.slot = rotation.slot"
    "                   AND ctid < '(64,0)'::tid) AS oldest (id),"
    "       (SELECT sum(pg_total_relation_size(format('outbox_%s', n)::regclass))::bigint"
    "          FROM generate_series(0, 2) AS n) AS whole (size)"};

/* Which sink has not passed all of a partition; the one that was saved least lately. */
static const struct statement HOLDER = {
    "outbox_holder",
    "SELECT sink FROM outbox_cursor AS cursor"
    " WHERE EXISTS (SELECT FROM outbox WHERE slot = $1::smallint"
    "                  AND xid >= pg_snapshot_xmax(cursor.snapshot))"
    "    OR EXISTS (SELECT FROM outbox WHERE slot = $1::smallint"
    "                  AND xid = ANY (ARRAY(SELECT pg_snapshot_xip(cursor.snapshot))))"
    " ORDER BY saved_at LIMIT 1"};

struct filling { /* the partition that is filled; size: of all of them, in bytes */
    int16_t slot;
    int64_t age_s, pages, rows, size;
};

static bool filling_read(struct db *db, struct filling *out, struct err *err)
{
    PGresult *result;

    if (!query_one(db, &ROTATION, NULL, 0, &result, err)) return false;
    bool found = PQntuples(result) == 1;
    if (found)
        *out = (struct filling){.slot = cell_int16(result, 0, 0),
                                .age_s = cell_int64(result, 0, 1),
                                .pages = cell_int64(result, 0, 2),
                                .rows = cell_int64(result, 0, 3),
                                .size = cell_int64(result, 0, 4)};
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

/* Told for people: without the lock, so it may have changed since. */
static bool find_holder(struct db *db, int next, char *out, size_t out_size, struct err *err)
{
    struct param params[] = {{"", 0}};
    uint8_t slot[2] = {0, (uint8_t)next};
    PGresult *result;

    params[0] = (struct param){slot, sizeof slot};
    if (!query_one(db, &HOLDER, params, 1, &result, err)) return false;
    bool found = PQntuples(result) == 1;
    bool copied = text_copy(found ? cell_text(result, 0, 0) : (struct text){0}, out, out_size);
    PQclear(result);
    if (copied) return true;
    return err_set(err, ERR_FATAL, "could not read the outbox cursors: a sink's name is too long");
}

bool outbox_rotate(struct db *db, uint64_t rows_max, uint32_t age_max_s, struct rotation *out,
                   struct err *err)
{
    struct filling before = {0}, after = {0};

    *out = (struct rotation){0};
    if (!filling_read(db, &before, err)) return false;
    out->size = (uint64_t)before.size;
    bool is_full = before.rows > 0 && (uint64_t)before.rows > rows_max;
    bool is_old = before.pages > 0 && before.age_s > (int64_t)age_max_s;
    if (!is_full && !is_old) return true;
    int next = (before.slot + 1) % SLOTS;
    if (!empty_next(db, before.slot, next, err)) return false;
    if (!filling_read(db, &after, err)) return false;
    out->is_done = after.slot != before.slot;
    out->is_held = !out->is_done;
    return out->is_done || find_holder(db, next, out->holder, sizeof out->holder, err);
}
