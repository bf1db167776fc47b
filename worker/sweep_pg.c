/*
 * sweep_pg.c - see sweep_pg.h. The database's clock says what is due, as it does when the command
 * is decided.
 */
#include "worker/sweep_pg.h"

#include "base/array.h"
#include "base/clock.h"

#include <assert.h>
#include <stdio.h>

static const struct statement due = {
    "sweep_due", "SELECT id FROM hold WHERE remaining > 0 AND expires_at <= now()"
                 " ORDER BY expires_at LIMIT 256"};
_Static_assert(SWEEP_MOST == 256, "as LIMIT says");

static bool make_command(struct codec *codec, const struct uuid *hold, struct arena *arena,
                         struct incoming *out)
{
    struct command command = {.type = COMMAND_EXPIRE_HOLD, .transaction = *hold};
    char id[UUID_TEXT_SIZE], key[UUID_TEXT_SIZE + 32];
    uint32_t random;

    uuid_format(hold, id);
    random_bytes(&random, sizeof random);
    (void)snprintf(key, sizeof key, "expire:%s:%08x", id, random);
    struct properties_out properties = {.content_type =
                                            text_of(encoding_content_type(ENCODING_MSGPACK)),
                                        .type = text_of(command_word(command.type)),
                                        .message_id = text_of(key)};
    *out = (struct incoming){.is_own = true};
    if (!properties_write(&properties, arena, &out->properties) ||
        !command_encode(codec, &command, ENCODING_MSGPACK, arena, &out->body))
        return false;
    out->body_size = out->body.size;
    return true;
}

bool sweep_find(struct db *db, struct codec *codec, struct arena *arena,
                struct incoming out[static SWEEP_MOST], uint32_t *count, struct err *err)
{
    PGresult *rows;
    bool ok = true;

    *count = 0;
    if (!query_one(db, &due, NULL, 0, &rows, err)) return false;
    assert(PQntuples(rows) <= SWEEP_MOST);
    for (int row = 0; ok && row < PQntuples(rows); row++) {
        struct uuid hold = cell_uuid(rows, row, 0);
        ok = make_command(codec, &hold, arena, &out[row]);
        *count += ok;
    }
    PQclear(rows);
    return ok || err_set(err, ERR_FATAL, "could not expire holds: no memory is left");
}

/* --- what was scheduled -------------------------------------------------------------------- */

enum scheduled_column {
    SCHEDULED_WAITED,
    SCHEDULED_ID, /* null: none is behind the place */
    SCHEDULED_PROPERTIES,
    SCHEDULED_BODY,
    SCHEDULED_DUE_AT,
    SCHEDULED_NUMBER,
};

/* $1 and $2 the place. The sizes of bodies are known without fetching them. */
static const struct statement scheduled = {
    "sweep_scheduled",
    "SELECT (extract(epoch FROM now() - first.due_at) * 1000000)::int8, counted.id, properties,"
    "       body, counted.due_at, number"
    "  FROM (SELECT due_at FROM scheduled WHERE NOT done AND due_at <= now()"
    "         ORDER BY due_at, number LIMIT 1) AS first"
    "  LEFT JOIN LATERAL"
    "       (SELECT *, sum(octet_length(body)) OVER (ORDER BY due_at, number) AS bytes"
    "          FROM (SELECT * FROM scheduled WHERE NOT done AND due_at <= now()"
    "                   AND (due_at, number) > ($1::timestamptz, $2::int8)"
    "                 ORDER BY due_at, number LIMIT 256) AS due) AS counted"
    "    ON bytes - octet_length(body) < 1048576 ORDER BY counted.due_at, number"};

static bool take_scheduled(const PGresult *rows, int row, struct arena *arena, struct sweep *out)
{
    struct bytes properties = cell_bytes(rows, row, SCHEDULED_PROPERTIES);
    struct bytes body = cell_bytes(rows, row, SCHEDULED_BODY);
    struct incoming *incoming = &out->incoming[out->count];

    *incoming = (struct incoming){.scheduled = cell_uuid(rows, row, SCHEDULED_ID),
                                  .properties = arena_copy(arena, properties.data, properties.size),
                                  .body = arena_copy(arena, body.data, body.size),
                                  .body_size = body.size};
    out->places[out->count] = (struct sweep_place){cell_time_us(rows, row, SCHEDULED_DUE_AT),
                                                   cell_int64(rows, row, SCHEDULED_NUMBER)};
    bool ok = incoming->properties.data != NULL && incoming->body.data != NULL;
    out->count += ok;
    return ok;
}

bool sweep_scheduled(struct db *db, struct arena *arena, struct sweep_place behind,
                     struct sweep *out, struct err *err)
{
    struct bytes due_at = binary_time(arena, behind.due_us);
    struct bytes number = binary_int64(arena, behind.number);
    const struct param params[] = {{due_at.data, due_at.size}, {number.data, number.size}};
    PGresult *rows;
    bool ok = true;

    out->count = 0;
    out->waited_us = 0;
    if (due_at.data == NULL || number.data == NULL)
        return err_set(err, ERR_FATAL, "could not ask what is due: no memory");
    if (!query_one(db, &scheduled, params, 2, &rows, err)) return false;
    assert(PQntuples(rows) <= SWEEP_MOST);
    if (PQntuples(rows) > 0) out->waited_us = (uint64_t)cell_int64(rows, 0, SCHEDULED_WAITED);
    for (int row = 0; ok && row < PQntuples(rows); row++)
        ok = cell_is_null(rows, row, SCHEDULED_ID) || take_scheduled(rows, row, arena, out);
    PQclear(rows);
    return out->count > 0 || ok || err_set(err, ERR_FATAL, "could not read what is due: no memory");
}
