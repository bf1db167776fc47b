/*
 * store_usages_pg.c - what callers have used of their daily limits: read and locked with the batch,
 * stored with it, and never kept in between. The rows are locked after all accounts, in the order
 * of their keys, so that who waits for one holds nothing that its holder still needs.
 */
#include "ledger/store_internal_pg.h"

#include <assert.h>
#include <stdlib.h>

/* $1 rules, $2 callers. */
static bool ask_usages(const struct store_load *load, struct store_question *question,
                       struct err *err)
{
    const struct batch *batch = load->batch;
    struct bytes rules, callers;
    struct array array;

    question->asked = batch->usages_count > 0;
    array_begin(&array, batch->arena, ARRAY_INT8);
    for (uint32_t i = 0; i < batch->usages_count; i++)
        array_add_int(&array, ARRAY_INT8, batch->usages[i].rule);
    if (!array_end(&array, &rules, err)) return false;
    array_begin(&array, batch->arena, ARRAY_TEXT);
    for (uint32_t i = 0; i < batch->usages_count; i++)
        array_add_text(&array, batch->usages[i].caller);
    if (!array_end(&array, &callers, err)) return false;
    store_add_param(question, rules);
    store_add_param(question, callers);
    return true;
}

static bool fill_usages(const struct store_load *load, const PGresult *rows, struct err *err)
{
    struct batch *batch = load->batch;

    (void)err;
    assert((uint32_t)PQntuples(rows) == batch->usages_count);
    for (int row = 0; row < PQntuples(rows); row++) {
        struct usage key = {.rule = cell_int64(rows, row, 0), .caller = cell_text(rows, row, 1)};
        struct usage *usage =
            bsearch(&key, batch->usages, batch->usages_count, sizeof *batch->usages, usage_compare);
        assert(usage != NULL);
        usage->used = cell_int64(rows, row, 2);
        batch->usages_day = cell_int32(rows, row, 3);
    }
    return true;
}

/* The first of a day makes the row, so that there is one to lock. The day is that of the moment
 * when the accounts are locked. */
const struct store_part store_part_usages = {
    .statement = {"store_usages",
                  "INSERT INTO policy_usage (rule, caller, day, used)"
                  " SELECT rule, caller, (statement_timestamp() AT TIME ZONE 'UTC')::date, 0"
                  "   FROM unnest($1::int8[], $2::text[]) AS wanted (rule, caller)"
                  " ON CONFLICT (day, rule, caller) DO UPDATE SET used = policy_usage.used"
                  " RETURNING rule, caller, used, day - date '2000-01-01'"},
    .ask = ask_usages,
    .fill = fill_usages};

/* $1 rules, $2 callers, $3 what is used now, $4 the day. */
const struct statement store_update_usages = {
    "store_update_usages",
    "UPDATE policy_usage SET used = new.used"
    "  FROM unnest($1::int8[], $2::text[], $3::int8[]) AS new (rule, caller, used)"
    " WHERE policy_usage.day = date '2000-01-01' + $4::int4 AND policy_usage.rule = new.rule"
    "   AND policy_usage.caller = new.caller AND policy_usage.used < new.used"};

bool store_usages_params(const struct batch *batch, struct param params[static 4],
                         uint64_t *changed, struct err *err)
{
    struct array array;
    struct bytes columns[4];

    *changed = 0;
    for (uint32_t i = 0; i < batch->usages_count; i++) *changed += batch->usages[i].changed;
    if (*changed == 0) return true;
    for (uint32_t column = 0; column < 3; column++) {
        array_begin(&array, batch->arena, column == 1 ? ARRAY_TEXT : ARRAY_INT8);
        for (uint32_t i = 0; i < batch->usages_count; i++) {
            const struct usage *usage = &batch->usages[i];
            if (!usage->changed) continue;
            if (column == 1)
                array_add_text(&array, usage->caller);
            else
                array_add_int(&array, ARRAY_INT8, column == 0 ? usage->rule : usage->used);
        }
        if (!array_end(&array, &columns[column], err)) return false;
    }
    columns[3] = binary_int32(batch->arena, batch->usages_day);
    if (columns[3].data == NULL) return store_too_large(err);
    for (uint32_t i = 0; i < 4; i++) params[i] = store_param(columns[i]);
    return true;
}
