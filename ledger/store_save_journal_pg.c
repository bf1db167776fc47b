/*
 * store_save_journal_pg.c - the journal: a row for each outcome.
 */
#include "ledger/store_save_internal_pg.h"

#include <assert.h>
#include <stdlib.h>

/* --- the journal --- */

#define INTO_JOURNAL                                                                               \
    "INSERT INTO journal (key_digest, id, fingerprint, trace_id, debit, debit_seq, debit_balance," \
    "                     debit_held, credit, credit_seq, credit_balance, credit_held, amount,"    \
    "                     command, result, caller, key, metadata, refers, settles, batch, leg,"    \
    "                     floor, debit_hash, credit_hash, scheduled, created_at, import)"

static const struct statement insert_journal = {
    "store_insert_journal", INTO_JOURNAL
    " SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::uuid[]),"
    "        unnest($5::int8[]), unnest($6::int8[]), unnest($7::int8[]), unnest($8::int8[]),"
    "        unnest($9::int8[]), unnest($10::int8[]), unnest($11::int8[]), unnest($12::int8[]),"
    "        unnest($13::int8[]), unnest($14::int2[]), unnest($15::text[]), unnest($16::text[]),"
    "        unnest($17::text[]), unnest($18::bytea[]), unnest($19::uuid[]), unnest($20::bool[]),"
    "        unnest($21::uuid[]), unnest($22::int2[]), unnest($23::int8[]),"
    "        unnest($24::bytea[]), unnest($25::bytea[]), unnest($26::uuid[]),"
    "        unnest($27::timestamptz[]), $28::int4"};

static const struct statement insert_entry = {
    "store_insert_entry", INTO_JOURNAL
    " VALUES ($1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::int8, $6::int8, $7::int8, $8::int8,"
    "         $9::int8, $10::int8, $11::int8, $12::int8, $13::int8, $14::int2, $15::text,"
    "         $16::text, $17::text, $18::bytea, $19::uuid, $20::bool, $21::uuid, $22::int2,"
    "         $23::int8, $24::bytea, $25::bytea, $26::uuid, $27::timestamptz, $28::int4)"};

enum journal_column {
    JOURNAL_KEY_DIGEST,
    JOURNAL_ID,
    JOURNAL_FINGERPRINT,
    JOURNAL_TRACE_ID,
    JOURNAL_DEBIT, /* and its seq, balance, held */
    JOURNAL_CREDIT = JOURNAL_DEBIT + 4,
    JOURNAL_AMOUNT = JOURNAL_CREDIT + 4,
    JOURNAL_COMMAND,
    JOURNAL_RESULT,
    JOURNAL_CALLER,
    JOURNAL_KEY,
    JOURNAL_METADATA,
    JOURNAL_REFERS,
    JOURNAL_SETTLES,
    JOURNAL_BATCH,
    JOURNAL_LEG,
    JOURNAL_FLOOR,
    JOURNAL_DEBIT_HASH,
    JOURNAL_CREDIT_HASH,
    JOURNAL_SCHEDULED,
    JOURNAL_CREATED_AT,
    JOURNAL_COLUMNS
};
static const enum array_type journal_types[JOURNAL_COLUMNS] = {
    ARRAY_UUID, ARRAY_UUID, ARRAY_UUID,  ARRAY_UUID,  ARRAY_INT8, ARRAY_INT8, ARRAY_INT8,
    ARRAY_INT8, ARRAY_INT8, ARRAY_INT8,  ARRAY_INT8,  ARRAY_INT8, ARRAY_INT8, ARRAY_INT2,
    ARRAY_TEXT, ARRAY_TEXT, ARRAY_TEXT,  ARRAY_BYTEA, ARRAY_UUID, ARRAY_BOOL, ARRAY_UUID,
    ARRAY_INT2, ARRAY_INT8, ARRAY_BYTEA, ARRAY_BYTEA, ARRAY_UUID, ARRAY_TIME};

/* Its number; seq, balance and held only of a user account: those of a system account are not
 * known. */
static void add_side(struct array *array, const struct side *side, uint32_t column)
{
    const int64_t values[] = {side->number, side->seq, side->balance, side->held};
    bool known = side->number != 0 && (column == 0 || !save_is_system(side));

    if (known)
        array_add_int(array, ARRAY_INT8, values[column]);
    else
        array_add_null(array);
}

static void add_side_hash(struct array *array, const struct side *side)
{
    if (side->number == 0 || save_is_system(side))
        array_add_null(array);
    else
        save_add_hash(array, &side->head);
}

/* Its place in its batch, or the leg that a batch failed by. */
static bool has_leg(const struct work *work)
{
    return work->parent != NULL || work->reply.has_failed_leg;
}

static int64_t leg_of(const struct work *work)
{
    return work->parent != NULL ? work - work->parent - 1 : work->failed_leg;
}

static bool sets_floor(const struct work *work)
{
    return work->request->command.type == COMMAND_SET_FLOOR &&
           work->outcome.result == RESULT_APPLIED;
}

static void add_work(struct array *array, const void *row, uint32_t column)
{
    const struct work *work = row;
    const struct request *request = work->request;
    const struct outcome *outcome = &work->outcome;

    if (column >= JOURNAL_DEBIT && column < JOURNAL_CREDIT) {
        add_side(array, &outcome->debit, column - JOURNAL_DEBIT);
        return;
    }
    if (column >= JOURNAL_CREDIT && column < JOURNAL_AMOUNT) {
        add_side(array, &outcome->credit, column - JOURNAL_CREDIT);
        return;
    }
    if (column == JOURNAL_DEBIT_HASH || column == JOURNAL_CREDIT_HASH) {
        add_side_hash(array, column == JOURNAL_DEBIT_HASH ? &outcome->debit : &outcome->credit);
        return;
    }
    bool is_null = (column == JOURNAL_AMOUNT && outcome->amount == 0) ||
                   (column == JOURNAL_RESULT && outcome->result == RESULT_APPLIED) ||
                   (column == JOURNAL_REFERS && outcome->target == NULL) ||
                   (column == JOURNAL_SETTLES && outcome->target == NULL) ||
                   (column == JOURNAL_BATCH && work->parent == NULL) ||
                   (column == JOURNAL_LEG && !has_leg(work)) ||
                   (column == JOURNAL_FLOOR && !sets_floor(work)) ||
                   (column == JOURNAL_SCHEDULED && ledger_ends(work) == NULL);
    if (is_null)
        array_add_null(array);
    else if (column == JOURNAL_KEY_DIGEST)
        array_add_uuid(array, &request->key_digest);
    else if (column == JOURNAL_ID)
        array_add_uuid(array, &work->id);
    else if (column == JOURNAL_FINGERPRINT)
        array_add_uuid(array, &request->fingerprint);
    else if (column == JOURNAL_TRACE_ID)
        array_add_uuid(array, &request->trace.trace_id);
    else if (column == JOURNAL_AMOUNT)
        array_add_int(array, ARRAY_INT8, outcome->amount);
    else if (column == JOURNAL_COMMAND)
        array_add_int(array, ARRAY_INT2, command_number(request->command.type));
    else if (column == JOURNAL_RESULT)
        array_add_text(array, text_of(result_word(outcome->result)));
    else if (column == JOURNAL_CALLER)
        array_add_text(array, request->caller);
    else if (column == JOURNAL_KEY)
        array_add_text(array, request->key);
    else if (column == JOURNAL_REFERS)
        array_add_uuid(array, &outcome->target->id);
    else if (column == JOURNAL_SETTLES)
        array_add_bool(array, outcome->settles);
    else if (column == JOURNAL_BATCH)
        array_add_uuid(array, &work->parent->id);
    else if (column == JOURNAL_LEG)
        array_add_int(array, ARRAY_INT2, leg_of(work));
    else if (column == JOURNAL_CREATED_AT)
        array_add_time(array, work->reply.timestamp_us);
    else if (column == JOURNAL_FLOOR)
        array_add_int(array, ARRAY_INT8, outcome->floor);
    else if (column == JOURNAL_SCHEDULED)
        array_add_uuid(array, ledger_ends(work));
    else
        save_add_bytes_or_null(array, request->command.metadata);
}

static int compare_keys(const void *a, const void *b)
{
    const struct work *left = *(const struct work *const *)a;
    const struct work *right = *(const struct work *const *)b;
    return uuid_compare(&left->request->key_digest, &right->request->key_digest);
}

/* NULL for what is not imported. */
static bool add_import(struct save *save, struct err *err)
{
    if (save->batch->import != 0)
        return save_add_param(save, binary_int32(save->batch->arena, save->batch->import), err);
    assert(save->params_count < SAVE_PARAMS_MAX);
    save->params[save->params_count++] = (struct param){0};
    return true;
}

bool save_journal(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++)
        if (save_is_decided(&save->batch->works[i]))
            save->rows[save->rows_count++] = &save->batch->works[i];
    if (save->rows_count == 0) return true;
    qsort(save->rows, save->rows_count, sizeof *save->rows, compare_keys);
    return save_add_columns(save, journal_types, JOURNAL_COLUMNS, add_work, err) &&
           add_import(save, err) &&
           save_send_either(save, &insert_journal, &insert_entry, save->rows_count, err);
}
