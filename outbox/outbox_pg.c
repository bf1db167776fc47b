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
#include "base/columns.h"

#include <assert.h>
#include <stdlib.h>
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

/* Rows come GROUP_ROWS at a time, as arrays: see columns.h. The ids of a group differ in their last
 * bits alone, so one sort serves the order and the groups. What is larger than LARGE_SIZE is left
 * out of the arrays and read by itself: a group has a bound in bytes. */
enum { GROUP_ROWS = 128, LARGE_SIZE = 8192 };
_Static_assert(GROUP_ROWS == 128 && LARGE_SIZE == 8192, "said in the query");
enum column {
    COLUMN_ID,
    COLUMN_KIND,
    COLUMN_XID,
    COLUMN_DESTINATION,
    COLUMN_PROPERTIES,
    COLUMN_BODY,
    COLUMNS
};
#define ROWS                                                                                       \
    "SELECT id / 128 AS part, id, kind, xid, destination, properties, body,"                       \
    "       octet_length(properties) + octet_length(body) <= 8192 AS is_small"                     \
    "  FROM outbox"
#define IN_GROUPS(rows)                                                                            \
    "SELECT array_agg(id), array_agg(kind), array_agg(xid), array_agg(destination),"               \
    "       array_agg(CASE WHEN is_small THEN properties END),"                                    \
    "       array_agg(CASE WHEN is_small THEN body END)"                                           \
    "  FROM (" rows " ORDER BY part, id) AS row GROUP BY part ORDER BY part"

/* What was not yet begun at the snapshot, or was under way, and is committed by now. */
#define ROWS_BEYOND                                                                                \
    ROWS " WHERE (xid >= (SELECT pg_snapshot_xmax($1::text::pg_snapshot))"                         \
         "        OR xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot))))"
static const struct statement READ = {
    "outbox_read",
    IN_GROUPS(ROWS_BEYOND " AND pg_visible_in_snapshot(xid, (SELECT $2::text::pg_snapshot))"
                          " AND id > $3::bigint")};

/* One statement sees one snapshot: the one it tells in its first row, and the rest of it by. The
 * tables are not looked at when nothing has happened. */
#define SNAPSHOT_AND(groups)                                                                       \
    "SELECT NULL::bigint[], NULL::smallint[], NULL::xid8[], ARRAY[pg_current_snapshot()::text],"   \
    "       NULL::bytea[], NULL::bytea[]"                                                          \
    " UNION ALL SELECT * FROM (" groups ") AS new"
static const struct statement READ_NEW = {
    "outbox_read_new",
    SNAPSHOT_AND(IN_GROUPS(ROWS_BEYOND " AND pg_current_snapshot()::text <> $1::text"))};

static const struct statement READ_LARGE = {
    "outbox_read_large",
    "SELECT properties, body FROM outbox WHERE xid = $1::xid8 AND id = $2::bigint"};

/* What a naive relay reads. */
static const struct statement READ_AFTER_LAST = {
    "outbox_read_after_last", SNAPSHOT_AND(IN_GROUPS(ROWS " WHERE id > $1::bigint"))};
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
                  "SET enable_seqscan TO off; SET enable_hashagg TO off;"
                  "SET plan_cache_mode TO force_generic_plan;"
                  "SET work_mem TO '32MB'; SET statement_timeout TO 0",
                  err);
}

struct outbox_reader {
    struct db *stream, *other;
    PGresult *group; /* NULL before the first, and behind the last */
    struct columns columns;
    uint32_t next; /* of its rows */
    struct bytes cells[GROUP_ROWS * COLUMNS];
};

bool outbox_reader_open(struct outbox_reader **out, struct db *stream, struct db *other,
                        struct err *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL) return err_set(err, ERR_FATAL, "could not open reader: out of memory");
    (*out)->stream = stream;
    (*out)->other = other;
    return true;
}

static void drop_group(struct outbox_reader *reader)
{
    PQclear(reader->group); /* NULL is fine */
    reader->group = NULL;
    reader->columns = (struct columns){0};
    reader->next = 0;
}

void outbox_reader_close(struct outbox_reader *reader)
{
    if (reader == NULL) return;
    drop_group(reader);
    free(reader);
}

/* Everything up to now, which the first row says. */
static bool read_new_begin(struct db *stream, struct cursor *cursor, struct err *err)
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
    if (!query_rows_begin(stream, statement, &beyond, 1, err) ||
        !query_rows_next(stream, &result, err))
        return false;
    if (result == NULL) return err_set(err, ERR_RETRY, "could not read the outbox: no snapshot");
    struct bytes snapshot = array_only(cell_bytes(result, 0, COLUMN_DESTINATION));
    bool fits = text_copy((struct text){(const char *)snapshot.data, snapshot.size}, cursor->target,
                          SNAPSHOT_TEXT_SIZE);
    PQclear(result);
    if (fits) return true;
    return err_set(err, ERR_RETRY, "could not keep a snapshot: too many transactions are open");
}

bool outbox_read_begin(struct outbox_reader *reader, struct cursor *cursor, struct err *err)
{
    struct int8 position;
    struct param params[] = {param_text(cursor->snapshot), param_text(cursor->target),
                             param_int8(&position, cursor->position)};

    drop_group(reader);
    if (cursor->target[0] == '\0') return read_new_begin(reader->stream, cursor, err);
    return query_rows_begin(reader->stream, &READ, params, 3, err);
}

static bool next_group(struct outbox_reader *reader, bool *end, struct err *err)
{
    struct arena cells = {.base = (uint8_t *)reader->cells, .size = sizeof reader->cells};
    struct bytes arrays[COLUMNS];

    drop_group(reader);
    if (!query_rows_next(reader->stream, &reader->group, err)) return false;
    *end = reader->group == NULL;
    if (*end) return true;
    for (int i = 0; i < COLUMNS; i++) arrays[i] = cell_bytes(reader->group, 0, i);
    return columns_read(arrays, COLUMNS, &cells, &reader->columns, err);
}

/* The answer that holds it is the caller's to clear. */
static bool read_large(struct outbox_reader *reader, uint32_t at, PGresult **out, struct err *err)
{
    struct bytes xid = columns_bytes(&reader->columns, at, COLUMN_XID);
    struct bytes id = columns_bytes(&reader->columns, at, COLUMN_ID);
    struct param params[] = {param_bytes(xid), param_bytes(id)};

    if (!query_one(reader->other, &READ_LARGE, params, 2, out, err)) return false;
    if (PQntuples(*out) == 1) return true;
    PQclear(*out);
    *out = NULL;
    return err_set(err, ERR_FATAL, "could not read outbox row %jd: it is gone",
                   (intmax_t)columns_int64(&reader->columns, at, COLUMN_ID));
}

static bool row_copy(const struct columns *columns, uint32_t at, struct bytes properties,
                     struct bytes body, struct arena *arena, struct outbox_row *out,
                     struct err *err)
{
    struct bytes destination = columns_bytes(columns, at, COLUMN_DESTINATION);
    int64_t id = columns_int64(columns, at, COLUMN_ID);
    int16_t kind = columns_int16(columns, at, COLUMN_KIND);

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

static bool take_row(struct outbox_reader *reader, struct arena *arena, struct outbox_row *out,
                     struct err *err)
{
    uint32_t at = reader->next++;
    struct bytes properties = columns_bytes(&reader->columns, at, COLUMN_PROPERTIES);
    struct bytes body = columns_bytes(&reader->columns, at, COLUMN_BODY);
    PGresult *large = NULL;

    if (body.data == NULL) {
        if (!read_large(reader, at, &large, err)) return false;
        properties = cell_bytes(large, 0, 0);
        body = cell_bytes(large, 0, 1);
    }
    bool copied = row_copy(&reader->columns, at, properties, body, arena, out, err);
    PQclear(large); /* NULL is fine */
    return copied;
}

bool outbox_read(struct outbox_reader *reader, struct arena *arena, struct outbox_row *rows,
                 uint32_t max, uint32_t *count, bool *end, struct err *err)
{
    *count = 0;
    *end = false;
    assert(arena->size - arena->used >= OUTBOX_ROW_SIZE_MAX);
    while (*count < max && arena->size - arena->used >= OUTBOX_ROW_SIZE_MAX) {
        if (reader->next == reader->columns.rows && !next_group(reader, end, err)) return false;
        if (*end) return true;
        if (!take_row(reader, arena, &rows[*count], err)) return false;
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
