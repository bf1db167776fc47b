/*
 * sweep_pg.c - see sweep_pg.h. The database's clock says what is due, as it does when the command
 * is decided.
 */
#include "worker/sweep_pg.h"

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

enum scheduled_column { SCHEDULED_ID, SCHEDULED_PROPERTIES, SCHEDULED_BODY, SCHEDULED_WAITED };

/* The sizes of bodies are known without fetching them. */
static const struct statement scheduled = {
    "sweep_scheduled",
    "SELECT id, properties, body, (extract(epoch FROM now() - due_at) * 1000000)::int8"
    "  FROM (SELECT *, sum(octet_length(body)) OVER (ORDER BY due_at, number) AS bytes"
    "          FROM (SELECT * FROM scheduled WHERE NOT done AND due_at <= now()"
    "                 ORDER BY due_at, number LIMIT 256) AS due) AS counted"
    " WHERE bytes - octet_length(body) < 1048576 ORDER BY due_at, number"};

static bool take_scheduled(const PGresult *rows, int row, struct arena *arena, struct incoming *out)
{
    struct bytes properties = cell_bytes(rows, row, SCHEDULED_PROPERTIES);
    struct bytes body = cell_bytes(rows, row, SCHEDULED_BODY);

    *out = (struct incoming){.scheduled = cell_uuid(rows, row, SCHEDULED_ID),
                             .properties = arena_copy(arena, properties.data, properties.size),
                             .body = arena_copy(arena, body.data, body.size),
                             .body_size = body.size};
    return out->properties.data != NULL && out->body.data != NULL;
}

bool sweep_scheduled(struct db *db, struct arena *arena, struct incoming out[static SWEEP_MOST],
                     uint32_t *count, uint64_t *waited_us, struct err *err)
{
    PGresult *rows;
    bool ok = true;

    *count = 0;
    *waited_us = 0;
    if (!query_one(db, &scheduled, NULL, 0, &rows, err)) return false;
    assert(PQntuples(rows) <= SWEEP_MOST);
    if (PQntuples(rows) > 0) *waited_us = (uint64_t)cell_int64(rows, 0, SCHEDULED_WAITED);
    for (int row = 0; ok && row < PQntuples(rows); row++) {
        ok = take_scheduled(rows, row, arena, &out[row]);
        *count += ok;
    }
    PQclear(rows);
    return *count > 0 || ok || err_set(err, ERR_FATAL, "could not read what is due: no memory");
}
