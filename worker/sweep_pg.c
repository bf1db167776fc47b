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
