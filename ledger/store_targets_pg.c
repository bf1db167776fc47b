/*
 * store_targets_pg.c - what a batch's targets are. Their types, accounts and amounts never change,
 * so they are read before the transaction, and tell which accounts it is to lock. Whether they are
 * settled, and what remains of a hold, is read under those locks.
 */
#include "ledger/store_internal_pg.h"

#include <string.h>

/* $1 the places of the targets, $2 their ids. */
static bool ask_targets(const struct store_load *load, struct store_question *question,
                        struct err *err)
{
    const struct batch *batch = load->batch;
    struct bytes places, ids;
    struct array array;

    question->asked = batch->targets_count > 0;
    array_begin(&array, batch->arena, ARRAY_INT4);
    for (uint32_t i = 0; i < batch->targets_count; i++) array_add_int(&array, ARRAY_INT4, i);
    if (!array_end(&array, &places, err)) return false;
    array_begin(&array, batch->arena, ARRAY_UUID);
    for (uint32_t i = 0; i < batch->targets_count; i++)
        array_add_uuid(&array, &batch->targets[i].id);
    if (!array_end(&array, &ids, err)) return false;
    store_add_param(question, places);
    store_add_param(question, ids);
    return true;
}

bool store_parse_command(int16_t number, enum command_type *out, struct err *err)
{
    return command_type_of_number(number, out) ||
           err_set(err, ERR_FATAL, "could not read the journal: no command has number %d", number);
}

/* --- what never changes ------------------------------------------------------------------ */

enum resolve_column {
    RESOLVE_AT,
    RESOLVE_COMMAND,
    RESOLVE_RESULT,
    RESOLVE_AMOUNT,
    RESOLVE_DEBIT,
    RESOLVE_CREDIT,
    RESOLVE_PROPERTIES, /* of what was scheduled */
};

static const struct statement resolve = {
    "store_resolve", "SELECT wanted.at, command, result, amount, debited.id, credited.id,"
                     "       pending.properties"
                     "  FROM unnest($1::int4[], $2::uuid[]) AS wanted (at, id)"
                     " CROSS JOIN LATERAL"
                     "       (SELECT * FROM journal WHERE id = wanted.id"
                     "           AND (result IS NULL OR result = 'scheduled') OFFSET 0)"
                     "    AS journal" JOIN_SIDES "  LEFT JOIN LATERAL"
                     "       (SELECT properties FROM scheduled"
                     "         WHERE id = wanted.id AND result IS NOT NULL OFFSET 0) AS pending"
                     "    ON true"};

/* An asset's world is found by its number; nothing is to be locked. */
static bool keep_id(const struct store_load *load, struct text id, struct text *out)
{
    bool is_world = id.length > 6 && memcmp(id.bytes, "world:", 6) == 0;

    *out = (struct text){0};
    return is_world || id.length == 0 || store_keep_text(load, id, out);
}

static bool fill_resolved(const struct store_load *load, const PGresult *rows, struct err *err)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        struct target *target = &load->batch->targets[cell_int32(rows, row, RESOLVE_AT)];

        target->exists = true;
        target->scheduled = !cell_is_null(rows, row, RESOLVE_RESULT);
        if (!cell_is_null(rows, row, RESOLVE_AMOUNT))
            target->amount = cell_int64(rows, row, RESOLVE_AMOUNT);
        if (!store_parse_command(cell_int16(rows, row, RESOLVE_COMMAND), &target->type, err))
            return false;
        if (!keep_id(load, cell_text(rows, row, RESOLVE_DEBIT), &target->debit) ||
            !keep_id(load, cell_text(rows, row, RESOLVE_CREDIT), &target->credit))
            return store_too_large(err);
        if (target->scheduled &&
            !store_keep_scheduler(load, cell_bytes(rows, row, RESOLVE_PROPERTIES), &target->user_id,
                                  err))
            return false;
    }
    return true;
}

bool store_resolve(struct store *store, struct db *db, struct batch *batch, struct err *err)
{
    struct store_load load = {.store = store, .batch = batch};
    struct store_question question = {0};
    PGresult *rows = NULL;

    if (!ask_targets(&load, &question, err)) return false;
    if (!question.asked) return true;
    bool ok = query_one(db, &resolve, question.params, question.count, &rows, err) &&
              fill_resolved(&load, rows, err);
    PQclear(rows); /* NULL is fine */
    return ok;
}

/* --- what does --------------------------------------------------------------------------- */

enum target_column { TARGET_AT, TARGET_SETTLED_BY, TARGET_REMAINING, TARGET_EXPIRES_AT };

static bool fill_targets(const struct store_load *load, const PGresult *rows, struct err *err)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        struct target *target = &load->batch->targets[cell_int32(rows, row, TARGET_AT)];

        bool settled = !cell_is_null(rows, row, TARGET_SETTLED_BY);
        target->settled |= settled; /* or it has ended: see store_schedule_pg.c */
        if (settled && !store_parse_command(cell_int16(rows, row, TARGET_SETTLED_BY),
                                            &target->settled_by, err))
            return false;
        if (!cell_is_null(rows, row, TARGET_REMAINING))
            target->remaining = cell_int64(rows, row, TARGET_REMAINING);
        if (!cell_is_null(rows, row, TARGET_EXPIRES_AT))
            target->expires_us = cell_time_us(rows, row, TARGET_EXPIRES_AT);
    }
    return true;
}

const struct store_part store_part_targets = {
    .statement = {"store_targets",
                  "SELECT wanted.at, settler.command, hold.remaining, hold.expires_at"
                  "  FROM unnest($1::int4[], $2::uuid[]) AS wanted (at, id)" JOIN_SETTLED},
    .ask = ask_targets,
    .fill = fill_targets};
