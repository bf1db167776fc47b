/*
 * store_save_holds_pg.c - holds, and commands that wait for their time.
 */
#include "ledger/schedule.h"
#include "ledger/store_save_internal_pg.h"

#include <assert.h>

/* --- holds --- */

static const struct statement insert_holds = {
    "store_insert_holds", "INSERT INTO hold (id, account, amount, remaining, expires_at)"
                          " SELECT id, account, amount, amount, expires_at"
                          "   FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::timestamptz[])"
                          "        AS placed (id, account, amount, expires_at)"};

enum hold_column { HOLD_ID, HOLD_ACCOUNT, HOLD_AMOUNT, HOLD_EXPIRES_AT, HOLD_COLUMNS };
static const enum array_type hold_types[HOLD_COLUMNS] = {ARRAY_UUID, ARRAY_INT8, ARRAY_INT8,
                                                         ARRAY_TIME};

static void add_hold(struct array *array, const void *row, uint32_t column)
{
    const struct work *work = row;

    switch ((enum hold_column)column) {
    case HOLD_ID:
        array_add_uuid(array, &work->id);
        return;
    case HOLD_ACCOUNT:
        array_add_int(array, ARRAY_INT8, work->outcome.debit.number);
        return;
    case HOLD_AMOUNT:
        array_add_int(array, ARRAY_INT8, work->outcome.amount);
        return;
    case HOLD_EXPIRES_AT:
        if (work->outcome.expires_us != 0)
            array_add_time(array, work->outcome.expires_us);
        else
            array_add_null(array);
        return;
    case HOLD_COLUMNS:
        break;
    }
    assert(false && "a column that is none");
}

bool save_placed_holds(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++) {
        const struct work *work = &save->batch->works[i];
        if (save_is_decided(work) && work->request->command.type == COMMAND_HOLD &&
            work->outcome.result == RESULT_APPLIED)
            save->rows[save->rows_count++] = work;
    }
    if (save->rows_count == 0) return true;
    return save_add_columns(save, hold_types, HOLD_COLUMNS, add_hold, err) &&
           save_send(save, &insert_holds, save->rows_count, err);
}

/* Under the lock of its account, so what remains can only be less than before. */
static const struct statement update_holds = {
    "store_update_holds", "UPDATE hold SET remaining = new.remaining"
                          "  FROM unnest($1::uuid[], $2::int8[]) AS new (id, remaining)"
                          " WHERE hold.id = new.id AND hold.remaining > new.remaining"};

enum { REMAINING_COLUMNS = 2 };
static const enum array_type remaining_types[REMAINING_COLUMNS] = {ARRAY_UUID, ARRAY_INT8};

static void add_remaining(struct array *array, const void *row, uint32_t column)
{
    const struct target *hold = row;

    if (column == 0)
        array_add_uuid(array, &hold->id);
    else
        array_add_int(array, ARRAY_INT8, hold->remaining);
}

bool save_changed_holds(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->targets_count; i++)
        if (save->batch->targets[i].changed)
            save->rows[save->rows_count++] = &save->batch->targets[i];
    if (save->rows_count == 0) return true;
    return save_add_columns(save, remaining_types, REMAINING_COLUMNS, add_remaining, err) &&
           save_send(save, &update_holds, save->rows_count, err);
}

/* --- what is scheduled, and ends --- */

/* Their numbers are taken in the batch's order: of one account in the order of acceptance. */
static const struct statement insert_scheduled = {
    "store_insert_scheduled",
    "INSERT INTO scheduled (id, due_at, properties, body)"
    " SELECT unnest($1::uuid[]), unnest($2::timestamptz[]), unnest($3::bytea[]), "
    "unnest($4::bytea[])"};

struct kept { /* of a scheduled command */
    const struct work *work;
    struct bytes properties, body;
};

enum scheduled_column {
    SCHEDULED_ID,
    SCHEDULED_DUE_AT,
    SCHEDULED_PROPERTIES,
    SCHEDULED_BODY,
    SCHEDULED_COLUMNS
};
static const enum array_type scheduled_types[SCHEDULED_COLUMNS] = {ARRAY_UUID, ARRAY_TIME,
                                                                   ARRAY_BYTEA, ARRAY_BYTEA};

static void add_scheduled(struct array *array, const void *row, uint32_t column)
{
    const struct kept *kept = row;

    switch ((enum scheduled_column)column) {
    case SCHEDULED_ID:
        array_add_uuid(array, &kept->work->id);
        return;
    case SCHEDULED_DUE_AT:
        array_add_time(array, kept->work->reply.scheduled_us);
        return;
    case SCHEDULED_PROPERTIES:
        array_add_bytes(array, kept->properties);
        return;
    case SCHEDULED_BODY:
        array_add_bytes(array, kept->body);
        return;
    case SCHEDULED_COLUMNS:
        break;
    }
    assert(false && "a column that is none");
}

bool save_scheduled(struct save *save, struct err *err)
{
    struct arena *arena = save->batch->arena;

    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++) {
        const struct work *work = &save->batch->works[i];
        if (!save_is_decided(work) || work->outcome.result != RESULT_SCHEDULED) continue;
        struct kept *kept = arena_take(arena, sizeof *kept);
        if (kept == NULL) return save_too_large(err);
        kept->work = work;
        if (!schedule_keep(save->store->codec, work->request, arena, &kept->properties,
                           &kept->body))
            return save_too_large(err);
        save->rows[save->rows_count++] = kept;
    }
    if (save->rows_count == 0) return true;
    return save_add_columns(save, scheduled_types, SCHEDULED_COLUMNS, add_scheduled, err) &&
           save_send(save, &insert_scheduled, save->rows_count, err);
}

/* Their rows are locked, and were not done. */
static const struct statement update_scheduled = {"store_update_scheduled",
                                                  "UPDATE scheduled SET done = true"
                                                  "  FROM unnest($1::uuid[]) AS ended (id)"
                                                  " WHERE scheduled.id = ended.id AND NOT done"};

static const enum array_type ended_types[] = {ARRAY_UUID};

static void add_ended(struct array *array, const void *row, uint32_t column)
{
    (void)column;
    array_add_uuid(array, ledger_ends(row));
}

bool save_ended(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++)
        if (save_is_decided(&save->batch->works[i]) && ledger_ends(&save->batch->works[i]) != NULL)
            save->rows[save->rows_count++] = &save->batch->works[i];
    if (save->rows_count == 0) return true;
    return save_add_columns(save, ended_types, 1, add_ended, err) &&
           save_send(save, &update_scheduled, save->rows_count, err);
}
