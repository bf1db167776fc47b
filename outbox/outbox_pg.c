/*
 * outbox_pg.c - rows in, rows out, the cursor saved. Invariants:
 *  1. rows get their ids in the order they are given, in the transaction's last statement, so under
 *     every lock it has: id order is commit order for each account;
 *  2. a read looks at all partitions: which one a row is in says nothing about whether it is new.
 * So a transaction that inserts late into a partition that is filled no more loses nothing;
 *  3. the cursor is saved on the connection that holds the sink's lock: who has lost the lead with
 * its connection cannot save.
 */
#include "outbox/outbox_pg.h"

#include "base/array.h"
#include "base/broken.h"

#include <assert.h>
#include <string.h>

static const struct statement APPEND = {
    "outbox_append", "INSERT INTO outbox (slot, kind, destination, properties, body)"
                     " SELECT (SELECT slot FROM outbox_rotation), row.kind, row.destination, "
                     "row.properties, row.body"
                     "   FROM unnest($1::smallint[], $2::text[], $3::bytea[], $4::bytea[])"
                     "        WITH ORDINALITY AS row (kind, destination, properties, body, number)"
                     "  ORDER BY row.number"};

static const struct statement APPEND_ONE = {
    "outbox_append_one",
    "INSERT INTO outbox (slot, kind, destination, properties, body)"
    " VALUES ((SELECT slot FROM outbox_rotation), $1::smallint, $2::text, $3::bytea, $4::bytea)"};

/* What was not yet begun at the snapshot, or was under way, and is committed by now. */
#define SELECT_BEYOND                                                                              \
    "SELECT id, kind, destination, properties, body"                                               \
    "  FROM outbox"                                                                                \
    " WHERE (xid >= (SELECT pg_snapshot_xmax($1::text::pg_snapshot))"                              \
    "        OR xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot))))"
static const struct statement READ = {
    "outbox_read",
    SELECT_BEYOND "   AND pg_visible_in_snapshot(xid, (SELECT $2::text::pg_snapshot))"
                  "   AND id > $3::bigint"
                  " ORDER BY id"};

/* One statement sees one snapshot: the one it tells in its first row, and the rest of it by. The
 * tables are not looked at when nothing has happened. */
#define SNAPSHOT_AND(rows)                                                                         \
    "SELECT 0::bigint, 0::smallint, pg_current_snapshot()::text, NULL::bytea, NULL::bytea"         \
    " UNION ALL SELECT * FROM (" rows " ORDER BY id) AS new"
static const struct statement READ_NEW = {
    "outbox_read_new", SNAPSHOT_AND(SELECT_BEYOND " AND pg_current_snapshot()::text <> $1::text")};

/* What a naive relay reads. */
static const struct statement READ_AFTER_LAST = {
    "outbox_read_after_last",
    SNAPSHOT_AND(
        "SELECT id, kind, destination, properties, body FROM outbox WHERE id > $1::bigint")};
static int64_t broken_last_id;

static const struct statement SAVE = {
    "outbox_save",
    "UPDATE outbox_cursor"
    "   SET snapshot = $2::text::pg_snapshot, target = NULLIF($3::text, '')::pg_snapshot,"
    "       position = $4::bigint, saved_at = now()"
    " WHERE sink = $1::text"};

static struct param param_text(const char *text)
{
    return (struct param){text, (uint32_t)strlen(text)};
}

static struct param param_bytes(struct bytes bytes)
{
    return (struct param){bytes.data, bytes.size};
}

struct int8 {
    uint8_t bytes[sizeof(int64_t)];
};

static struct param param_int8(struct int8 *memory, int64_t value)
{
    struct writer writer = writer_over(memory->bytes, sizeof memory->bytes);

    write_u64(&writer, (uint64_t)value);
    return (struct param){memory->bytes, sizeof memory->bytes};
}

/* --- writing ----------------------------------------------------------------------------- */

static bool append_arrays(const struct outbox_row *rows, uint32_t count, struct arena *arena,
                          struct bytes out[static 4], struct err *err)
{
    struct array array;

    array_begin(&array, arena, ARRAY_INT2);
    for (uint32_t i = 0; i < count; i++) array_add_int(&array, ARRAY_INT2, rows[i].kind);
    if (!array_end(&array, &out[0], err)) return false;
    array_begin(&array, arena, ARRAY_TEXT);
    for (uint32_t i = 0; i < count; i++) array_add_text(&array, rows[i].destination);
    if (!array_end(&array, &out[1], err)) return false;
    array_begin(&array, arena, ARRAY_BYTEA);
    for (uint32_t i = 0; i < count; i++) array_add_bytes(&array, rows[i].properties);
    if (!array_end(&array, &out[2], err)) return false;
    array_begin(&array, arena, ARRAY_BYTEA);
    for (uint32_t i = 0; i < count; i++) array_add_bytes(&array, rows[i].body);
    return array_end(&array, &out[3], err);
}

bool outbox_append(struct db *db, const struct outbox_row *rows, uint32_t count,
                   struct arena *arena, struct answers *answers, struct err *err)
{
    struct bytes arrays[4];
    struct param params[4];

    if (count == 0) return true;
    if (!append_arrays(rows, count, arena, arrays, err)) return false;
    for (uint32_t i = 0; i < 4; i++)
        params[i] = param_bytes(count == 1 ? array_only(arrays[i]) : arrays[i]);
    if (!query_send(db, count == 1 ? &APPEND_ONE : &APPEND, params, 4, err)) return false;
    assert(answers->count < sizeof answers->rows / sizeof answers->rows[0]);
    answers->rows[answers->count++] = count;
    return true;
}

/* --- reading ----------------------------------------------------------------------------- */

/* The planner knows neither how few rows are new nor that there is one reader: left alone it
 * compiles the query, and starts parallel workers for ten rows. A stream lasts as long as the
 * backlog does. */
bool outbox_tune(struct db *db, struct err *err)
{
    return db_run(db,
                  "SET jit TO off; SET max_parallel_workers_per_gather TO 0;"
                  "SET enable_seqscan TO off; SET plan_cache_mode TO force_generic_plan;"
                  "SET work_mem TO '32MB'; SET statement_timeout TO 0",
                  err);
}

/* Everything up to now, which the first row says. */
static bool read_new_begin(struct db *db, struct cursor *cursor, struct err *err)
{
    const struct statement *statement = &READ_NEW;
    struct param beyond = param_text(cursor->snapshot);
    struct int8 last;
    PGresult *result;

    assert(cursor->position == 0);
    if (BROKEN("id_after_last") && broken_last_id > 0) {
        statement = &READ_AFTER_LAST;
        beyond = param_int8(&last, broken_last_id);
    }
    if (!query_rows_begin(db, statement, &beyond, 1, err) || !query_rows_next(db, &result, err))
        return false;
    if (result == NULL) return err_set(err, ERR_RETRY, "could not read the outbox: no snapshot");
    bool fits = text_copy(cell_text(result, 0, 2), cursor->target, SNAPSHOT_TEXT_SIZE);
    PQclear(result);
    if (fits) return true;
    return err_set(err, ERR_RETRY, "could not keep a snapshot: too many transactions are open");
}

bool outbox_read_begin(struct db *db, struct cursor *cursor, struct err *err)
{
    struct int8 position;
    struct param params[] = {param_text(cursor->snapshot), param_text(cursor->target),
                             param_int8(&position, cursor->position)};

    if (cursor->target[0] == '\0') return read_new_begin(db, cursor, err);
    return query_rows_begin(db, &READ, params, 3, err);
}

static bool row_copy(const PGresult *result, struct arena *arena, struct outbox_row *out,
                     struct err *err)
{
    struct bytes destination = cell_bytes(result, 0, 2);
    struct bytes properties = cell_bytes(result, 0, 3), body = cell_bytes(result, 0, 4);
    int64_t id = cell_int64(result, 0, 0);
    int16_t kind = cell_int16(result, 0, 1);

    if (kind < OUTBOX_EVENT || kind > OUTBOX_DEAD_LETTER)
        return err_set(err, ERR_FATAL, "could not read outbox row %jd: unknown kind %d",
                       (intmax_t)id, kind);
    *out = (struct outbox_row){.id = id, .kind = (enum outbox_kind)kind};
    destination = arena_copy(arena, destination.data, destination.size);
    out->destination = (struct text){(const char *)destination.data, destination.size};
    out->properties = arena_copy(arena, properties.data, properties.size);
    out->body = arena_copy(arena, body.data, body.size);
    if ((destination.data != NULL || destination.size == 0) &&
        (out->properties.data != NULL || out->properties.size == 0) &&
        (out->body.data != NULL || out->body.size == 0))
        return true;
    return err_set(err, ERR_FATAL, "could not read outbox row %jd: it is larger than %d bytes",
                   (intmax_t)id, OUTBOX_ROW_SIZE_MAX);
}

bool outbox_read(struct db *db, struct arena *arena, struct outbox_row *rows, uint32_t max,
                 uint32_t *count, bool *end, struct err *err)
{
    *count = 0;
    *end = false;
    assert(arena->size - arena->used >= OUTBOX_ROW_SIZE_MAX);
    while (*count < max && arena->size - arena->used >= OUTBOX_ROW_SIZE_MAX) {
        PGresult *result;
        if (!query_rows_next(db, &result, err)) return false;
        *end = result == NULL;
        if (*end) return true;
        bool copied = row_copy(result, arena, &rows[*count], err);
        PQclear(result);
        if (!copied) return false;
        if (*count > 0) assert(rows[*count - 1].id < rows[*count].id);
        if (BROKEN("id_after_last")) broken_last_id = rows[*count].id;
        (*count)++;
    }
    return true;
}

bool outbox_save(struct db *db, const char *sink, const struct cursor *cursor, struct err *err)
{
    struct int8 position;
    struct param params[] = {param_text(sink), param_text(cursor->snapshot),
                             param_text(cursor->target), param_int8(&position, cursor->position)};
    uint64_t rows = 0;

    if (!query_send(db, &SAVE, params, 4, err) || !query_sync(db, err) ||
        !query_done_rows(db, &rows, err) || !query_done(db, err))
        return false;
    if (rows == 1) return true;
    return err_set(err, ERR_FATAL, "could not save the cursor of sink %s: it is gone", sink);
}
