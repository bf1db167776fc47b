/*
 * store_save_pg.c - what a batch decided: a handful of statements over arrays, queued one behind
 * the other.
 *
 * Rows are written in an order that does not depend on the batch (users and accounts by id, the
 * journal by key), so that two batches which meet wait for each other in one direction only.
 */
#include "ledger/store_save_internal_pg.h"

#include <assert.h>

bool save_too_large(struct err *err)
{
    return err_set(err, ERR_REJECT, "could not build parameters: batch too large");
}

bool save_add_param(struct save *save, struct bytes binary, struct err *err)
{
    if (binary.data == NULL) return save_too_large(err);
    assert(save->params_count < SAVE_PARAMS_MAX);
    save->params[save->params_count++] = store_param(binary);
    return true;
}

bool save_add_array(struct save *save, struct bytes binary, struct err *err)
{
    assert(save->arrays_count == save->params_count);
    save->arrays_count++;
    return save_add_param(save, binary, err);
}

bool save_add_columns(struct save *save, const enum array_type *types, uint32_t count,
                      void (*add)(struct array *, const void *row, uint32_t column),
                      struct err *err)
{
    struct array array;
    struct bytes binary;

    for (uint32_t column = 0; column < count; column++) {
        array_begin(&array, save->batch->arena, types[column]);
        for (uint32_t i = 0; i < save->rows_count; i++) add(&array, save->rows[i], column);
        if (!array_end(&array, &binary, err) || !save_add_array(save, binary, err)) return false;
    }
    return true;
}

bool save_send(struct save *save, const struct statement *statement, uint64_t rows, struct err *err)
{
    struct answers *answers = save->answers;
    uint32_t count = save->params_count;

    assert(answers->count < sizeof answers->rows / sizeof answers->rows[0]);
    answers->rows[answers->count++] = rows;
    save->params_count = save->arrays_count = 0;
    return query_send(save->db, statement, save->params, count, err);
}

bool save_send_either(struct save *save, const struct statement *many, const struct statement *one,
                      uint64_t rows, struct err *err)
{
    if (save->rows_count > 1) return save_send(save, many, rows, err);
    for (uint32_t i = 0; i < save->arrays_count; i++) save->params[i] = store_only(save->params[i]);
    return save_send(save, one, rows, err);
}

bool save_is_decided(const struct work *work)
{
    return work->origin == ORIGIN_DECIDED && ledger_is_kept(work);
}

void save_add_bytes_or_null(struct array *array, struct bytes value)
{
    if (value.size > 0)
        array_add_bytes(array, value);
    else
        array_add_null(array);
}

void save_add_hash(struct array *array, const struct sha256 *hash)
{
    array_add_bytes(array, (struct bytes){hash->bytes, SHA256_SIZE});
}

bool save_is_system(const struct side *side)
{
    if (side->account == NULL) return side->number != 0; /* an asset's world */
    return side->account->kind == ACCOUNT_SYSTEM;
}

/* --- daily limits --- */

static bool save_usages(struct save *save, struct err *err)
{
    uint64_t changed;

    if (!store_usages_params(save->batch, save->params, &changed, err)) return false;
    if (changed == 0) return true;
    save->params_count = 4;
    return save_send(save, &store_update_usages, changed, err);
}

bool store_save(struct store *store, struct db *db, const struct batch *batch,
                struct answers *answers, struct err *err)
{
    struct save save = {.store = store, .db = db, .batch = batch, .answers = answers};

    assert(store->batch == batch);
    /* Enough for each list: an account is named by some work, a work moves at most two. */
    save.rows = arena_take(batch->arena, 2 * sizeof *save.rows * (batch->works_count + 1U));
    if (save.rows == NULL) return save_too_large(err);
    return save_users(&save, err) && save_changed_users(&save, err) && save_opened(&save, err) &&
           save_changed(&save, err) && save_deltas(&save, err) && save_placed_holds(&save, err) &&
           save_changed_holds(&save, err) && save_scheduled(&save, err) && save_ended(&save, err) &&
           save_usages(&save, err) && save_journal(&save, err);
}
