/*
 * progress_pg.c - see progress_pg.h.
 */
#include "import/progress_pg.h"

#include <string.h>

static const struct statement lock = {
    "import_lock", "SELECT pg_try_advisory_lock(hashtext('ledger import'), hashtext($1::text))"};
static const struct statement add = {
    "import_add",
    "INSERT INTO import (name, digest, size, events)"
    " VALUES ($1::text, $2::bytea, $3::int8, $4::bool) ON CONFLICT (name) DO NOTHING"};
static const struct statement find = {
    "import_find", "SELECT id, digest, size, position, line, applied, repeated, refused, events,"
                   "       ended_at IS NOT NULL FROM import WHERE name = $1::text"};
static const struct statement again = {
    "import_again", "UPDATE import SET digest = $2::bytea, size = $3::int8, position = 0, line = 0,"
                    "       applied = 0, repeated = 0, refused = 0, ended_at = NULL"
                    " WHERE id = $1::int4"};
static const struct statement advance = {
    "import_advance", "UPDATE import SET position = $3::int8, line = $4::int8, applied = $5::int8,"
                      "       repeated = $6::int8, refused = $7::int8"
                      " WHERE id = $1::int4 AND position = $2::int8"};
/* What went before was committed without waiting for the disk; this waits for all of it. */
static const struct statement end = {
    "import_end", "UPDATE import SET position = size, ended_at = now()"
                  " WHERE id = $1::int4 AND set_config('synchronous_commit', 'on', true) = 'on'"};

struct number { /* in binary */
    uint8_t bytes[8];
};

static struct param param_int8(struct number *number, uint64_t value)
{
    struct writer writer = writer_over(number->bytes, sizeof number->bytes);

    write_u64(&writer, value);
    return (struct param){number->bytes, 8};
}

static struct param param_int4(struct number *number, int32_t value)
{
    struct writer writer = writer_over(number->bytes, sizeof number->bytes);

    write_u32(&writer, (uint32_t)value);
    return (struct param){number->bytes, 4};
}

static bool run(struct db *db, const struct statement *statement, const struct param *params,
                uint32_t count, struct err *err)
{
    PGresult *result;

    if (!query_one(db, statement, params, count, &result, err)) return false;
    PQclear(result);
    return true;
}

bool progress_lock(struct db *db, struct text name, bool *locked, struct err *err)
{
    const struct param params[] = {{name.bytes, name.length}};
    PGresult *result;

    if (!query_one(db, &lock, params, 1, &result, err)) return false;
    *locked = cell_bool(result, 0, 0);
    PQclear(result);
    return true;
}

static bool read_row(const PGresult *row, struct progress *out, struct err *err)
{
    struct bytes digest;

    if (PQntuples(row) != 1) return err_set(err, ERR_FATAL, "could not find the import's row");
    digest = cell_bytes(row, 0, 1);
    if (digest.size != SHA256_SIZE)
        return err_set(err, ERR_FATAL, "could not read the import's row: its digest is none");
    *out = (struct progress){.id = cell_int32(row, 0, 0),
                             .size = (uint64_t)cell_int64(row, 0, 2),
                             .position = (uint64_t)cell_int64(row, 0, 3),
                             .line = (uint64_t)cell_int64(row, 0, 4),
                             .applied = (uint64_t)cell_int64(row, 0, 5),
                             .repeated = (uint64_t)cell_int64(row, 0, 6),
                             .refused = (uint64_t)cell_int64(row, 0, 7),
                             .events = cell_bool(row, 0, 8),
                             .ended = cell_bool(row, 0, 9)};
    memcpy(out->digest.bytes, digest.data, SHA256_SIZE);
    return true;
}

bool progress_begin(struct db *db, struct text name, struct progress *progress, struct err *err)
{
    const uint8_t events = progress->events;
    struct number size;
    const struct param params[] = {{name.bytes, name.length},
                                   {progress->digest.bytes, SHA256_SIZE},
                                   param_int8(&size, progress->size),
                                   {&events, sizeof events}};
    PGresult *row;

    if (!run(db, &add, params, 4, err) || !query_one(db, &find, params, 1, &row, err)) return false;
    bool ok = read_row(row, progress, err);
    PQclear(row);
    return ok;
}

bool progress_again(struct db *db, struct progress *progress, struct err *err)
{
    struct number id, size;
    const struct param params[] = {param_int4(&id, progress->id),
                                   {progress->digest.bytes, SHA256_SIZE},
                                   param_int8(&size, progress->size)};

    progress->position = progress->line = 0;
    progress->applied = progress->repeated = progress->refused = 0;
    progress->ended = false;
    return run(db, &again, params, 3, err);
}

bool progress_advance(struct db *db, const struct progress *from, const struct progress *to,
                      struct arena *arena, struct answers *answers, struct err *err)
{
    const uint64_t values[] = {from->position, to->position, to->line,
                               to->applied,    to->repeated, to->refused};
    enum { VALUES = sizeof values / sizeof values[0] };
    struct number *numbers = arena_take(arena, (VALUES + 1) * sizeof *numbers);
    struct param params[VALUES + 1];

    if (numbers == NULL)
        return err_set(err, ERR_REJECT, "could not note progress: batch too large");
    params[0] = param_int4(&numbers[0], from->id);
    for (uint32_t i = 0; i < VALUES; i++) params[i + 1] = param_int8(&numbers[i + 1], values[i]);
    answers->rows[answers->count++] = 1;
    return query_send(db, &advance, params, VALUES + 1, err);
}

bool progress_end(struct db *db, struct progress *progress, struct err *err)
{
    struct number id;
    const struct param params[] = {param_int4(&id, progress->id)};

    progress->position = progress->size;
    progress->ended = true;
    return run(db, &end, params, 1, err);
}
