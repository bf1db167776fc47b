/*
 * store_schedule_pg.c - commands that wait for their time end once, by their execution or by being
 * cancelled.
 *
 * Whoever would end one locks its row, after all accounts and in the order of their ids, and only
 * then asks the journal whether it has ended. Behind that stands a unique index on what journal
 * rows say they end.
 */
#include "ledger/store_internal_pg.h"

bool store_keep_scheduler(const struct store_load *load, struct bytes properties, struct text *out,
                          struct err *err)
{
    struct properties parsed;

    if (!properties_parse(properties, &parsed))
        return err_set(err, ERR_FATAL, "could not read who scheduled a command");
    return store_keep_text(load, parsed.user_id, out) || store_too_large(err);
}

/* $1 the places of the targets, $2 their ids. */
static bool ask_scheduled(const struct store_load *load, struct store_question *question,
                          struct err *err)
{
    const struct batch *batch = load->batch;
    struct bytes places, ids;
    struct array array;

    array_begin(&array, batch->arena, ARRAY_INT4);
    for (uint32_t i = 0; i < batch->targets_count; i++)
        if (batch->targets[i].scheduled) array_add_int(&array, ARRAY_INT4, i);
    question->asked = array.count > 0;
    if (!question->asked) return true;
    if (!array_end(&array, &places, err)) return false;
    array_begin(&array, batch->arena, ARRAY_UUID);
    for (uint32_t i = 0; i < batch->targets_count; i++)
        if (batch->targets[i].scheduled) array_add_uuid(&array, &batch->targets[i].id);
    if (!array_end(&array, &ids, err)) return false;
    store_add_param(question, places);
    store_add_param(question, ids);
    return true;
}

static bool fill_nothing(const struct store_load *load, const PGresult *rows, struct err *err)
{
    (void)load;
    (void)rows;
    (void)err;
    return true;
}

const struct store_part store_part_scheduled = {
    .statement = {"store_lock_scheduled",
                  "SELECT wanted.at FROM unnest($1::int4[], $2::uuid[]) AS wanted (at, id)"
                  " CROSS JOIN LATERAL"
                  "       (SELECT id FROM scheduled WHERE id = wanted.id OFFSET 0"
                  "           FOR NO KEY UPDATE) AS scheduled"},
    .ask = ask_scheduled,
    .fill = fill_nothing};

static bool fill_ends(const struct store_load *load, const PGresult *rows, struct err *err)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        struct target *target = &load->batch->targets[cell_int32(rows, row, 0)];

        target->settled = true;
        if (!store_parse_command(cell_int16(rows, row, 1), &target->settled_by, err)) return false;
    }
    return true;
}

/* A statement of its own: it sees what committed while the rows were waited for. */
const struct store_part store_part_ends = {
    .statement = {"store_ends",
                  "SELECT wanted.at, ender.command"
                  "  FROM unnest($1::int4[], $2::uuid[]) AS wanted (at, id) CROSS JOIN LATERAL"
                  "       (SELECT command FROM journal WHERE scheduled = wanted.id OFFSET 0)"
                  "    AS ender"},
    .ask = ask_scheduled,
    .fill = fill_ends};
