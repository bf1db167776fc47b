/*
 * store_save_accounts_pg.c - users, accounts, and what moved on system accounts.
 */
#include "ledger/store_save_internal_pg.h"

#include <assert.h>
#include <stdlib.h>

/* --- users --- */

static const struct statement insert_users = {
    "store_insert_users",
    "INSERT INTO ledger_user (id, name, created_at)"
    " SELECT unnest($1::text[]), unnest($2::text[]), unnest($3::timestamptz[])"
    " ON CONFLICT (id) DO UPDATE SET name = excluded.name"
    "  WHERE ledger_user.name IS NULL AND excluded.name IS NOT NULL"};

enum user_column { USER_ID, USER_NAME, USER_CREATED_AT, USER_COLUMNS };
static const enum array_type user_types[USER_COLUMNS] = {ARRAY_TEXT, ARRAY_TEXT, ARRAY_TIME};

static void add_user(struct array *array, const void *row, uint32_t column)
{
    const struct work *work = row;
    const struct command *command = &work->request->command;

    if (column == USER_ID)
        array_add_text(array, command->user_id);
    else if (column == USER_CREATED_AT)
        array_add_time(array, work->reply.timestamp_us);
    else if (command->name.length > 0)
        array_add_text(array, command->name);
    else
        array_add_null(array);
}

/* By user; those of one user that give a name first, in the batch's order. */
static int compare_users(const void *a, const void *b)
{
    const struct work *one = *(const struct work *const *)a;
    const struct work *other = *(const struct work *const *)b;
    const struct command *left = &one->request->command, *right = &other->request->command;
    int order = text_compare(left->user_id, right->user_id);

    if (order != 0) return order;
    if ((left->name.length > 0) != (right->name.length > 0)) return left->name.length > 0 ? -1 : 1;
    return one < other ? -1 : one > other;
}

bool save_users(struct save *save, struct err *err)
{
    uint32_t unique = 0;

    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++) {
        const struct work *work = &save->batch->works[i];
        if (save_is_decided(work) && work->request->command.type == COMMAND_OPEN_ACCOUNT &&
            work->outcome.result == RESULT_APPLIED)
            save->rows[save->rows_count++] = work;
    }
    if (save->rows_count == 0) return true;
    qsort(save->rows, save->rows_count, sizeof *save->rows, compare_users);
    for (uint32_t i = 0; i < save->rows_count; i++) {
        const struct work *work = save->rows[i], *last = unique > 0 ? save->rows[unique - 1] : NULL;
        if (last == NULL ||
            !text_equal(work->request->command.user_id, last->request->command.user_id))
            save->rows[unique++] = work;
    }
    save->rows_count = unique;
    return save_add_columns(save, user_types, USER_COLUMNS, add_user, err) &&
           save_send(save, &insert_users, ANSWER_ANY, err);
}

/* After those that are made: whoever changes a user is later, or another's account made him. What
 * is not given stays. In the order of their ids, so that two batches wait in one direction only. */
static const struct statement update_users = {
    "store_update_users",
    "UPDATE ledger_user SET name = coalesce(new.name, ledger_user.name),"
    "                       metadata = coalesce(new.metadata, ledger_user.metadata)"
    "  FROM unnest($1::text[], $2::text[], $3::bytea[]) AS new (id, name, metadata)"
    " WHERE ledger_user.id = new.id"};

struct user_change { /* all of a batch's for one user; of each field the last that is given */
    struct text user_id, name;
    struct bytes metadata;
};

enum change_column { CHANGE_ID, CHANGE_NAME, CHANGE_METADATA, CHANGE_COLUMNS };
static const enum array_type change_types[CHANGE_COLUMNS] = {ARRAY_TEXT, ARRAY_TEXT, ARRAY_BYTEA};

static void add_change(struct array *array, const void *row, uint32_t column)
{
    const struct user_change *change = row;

    if (column == CHANGE_ID)
        array_add_text(array, change->user_id);
    else if (column == CHANGE_NAME && change->name.length > 0)
        array_add_text(array, change->name);
    else if (column == CHANGE_METADATA && change->metadata.size > 0)
        array_add_bytes(array, change->metadata);
    else
        array_add_null(array);
}

static int compare_changes(const void *a, const void *b)
{
    const struct work *one = *(const struct work *const *)a;
    const struct work *other = *(const struct work *const *)b;
    int order = text_compare(one->request->command.user_id, other->request->command.user_id);

    if (order != 0) return order;
    return one < other ? -1 : one > other;
}

bool save_changed_users(struct save *save, struct err *err)
{
    struct user_change *changes, *last = NULL;
    uint32_t count = 0, unique = 0;

    for (uint32_t i = 0; i < save->batch->works_count; i++) {
        const struct work *work = &save->batch->works[i];
        if (save_is_decided(work) && work->request->command.type == COMMAND_UPDATE_USER &&
            work->outcome.result == RESULT_APPLIED)
            save->rows[count++] = work;
    }
    if (count == 0) return true;
    changes = arena_take(save->batch->arena, count * sizeof *changes);
    if (changes == NULL) return save_too_large(err);
    qsort(save->rows, count, sizeof *save->rows, compare_changes);
    for (uint32_t i = 0; i < count; i++) {
        const struct command *command = &((const struct work *)save->rows[i])->request->command;
        if (last == NULL || !text_equal(last->user_id, command->user_id)) {
            last = &changes[unique++];
            *last = (struct user_change){.user_id = command->user_id};
        }
        if (command->name.length > 0) last->name = command->name;
        if (command->metadata.size > 0) last->metadata = command->metadata;
    }
    for (uint32_t i = 0; i < unique; i++) save->rows[i] = &changes[i];
    save->rows_count = unique;
    return save_add_columns(save, change_types, CHANGE_COLUMNS, add_change, err) &&
           save_send(save, &update_users, unique, err);
}

/* --- accounts --- */

static const struct statement insert_accounts = {
    "store_insert_accounts",
    "INSERT INTO account (number, balance, held, seq, state, changed_at, floor, head, kind, id,"
    "                     user_id, asset, metadata, created_at)"
    " SELECT unnest($1::int8[]), unnest($2::int8[]), unnest($3::int8[]), unnest($4::int8[]),"
    "        unnest($5::int2[]), unnest($6::timestamptz[]), unnest($7::int8[]),"
    "        unnest($8::bytea[]), unnest($9::int2[]), unnest($10::text[]), unnest($11::text[]),"
    "        unnest($12::text[]), unnest($13::bytea[]), unnest($14::timestamptz[])"};

/* The rows are locked, so they are where they were found, and a row that is not as it was read
 * means a bug; then nothing may be stored. */
static const struct statement update_accounts = {
    "store_update_accounts",
    "WITH changed AS ("
    " UPDATE account SET balance = new.balance, held = new.held, seq = new.seq, state = new.state,"
    "                    changed_at = new.changed_at, floor = new.floor, head = new.head,"
    "                    room = NULL"
    "   FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int2[], $6::timestamptz[],"
    "               $7::int8[], $8::bytea[], $9::tid[])"
    "        AS new (number, balance, held, seq, state, changed_at, floor, head, place)"
    "  WHERE account.ctid = new.place AND account.number = new.number AND account.seq < new.seq"
    " RETURNING 1)"
    " SELECT CASE WHEN count(*) <> cardinality($1) THEN assert_rows(count(*), cardinality($1)) END"
    "   FROM changed"};

static const struct statement update_account = {
    "store_update_account",
    "WITH changed AS ("
    " UPDATE account SET balance = $2::int8, held = $3::int8, seq = $4::int8, state = $5::int2,"
    "                    changed_at = $6::timestamptz, floor = $7::int8, head = $8::bytea,"
    "                    room = NULL"
    "  WHERE ctid = $9::tid AND number = $1::int8 AND seq < $4::int8 RETURNING 1)"
    " SELECT CASE WHEN NOT EXISTS (SELECT FROM changed) THEN assert_rows(0, 1) END"};

enum account_column {
    ACCOUNT_NUMBER,
    ACCOUNT_BALANCE,
    ACCOUNT_HELD,
    ACCOUNT_SEQ,
    ACCOUNT_STATE,
    ACCOUNT_CHANGED_AT,
    ACCOUNT_FLOOR,
    ACCOUNT_HEAD,
    ACCOUNT_UPDATE_COLUMNS,
    ACCOUNT_KIND = ACCOUNT_UPDATE_COLUMNS,
    ACCOUNT_ID,
    ACCOUNT_USER_ID,
    ACCOUNT_ASSET,
    ACCOUNT_METADATA,
    ACCOUNT_CREATED_AT,
    ACCOUNT_COLUMNS
};
static const enum array_type account_types[ACCOUNT_COLUMNS] = {
    ARRAY_INT8,  ARRAY_INT8, ARRAY_INT8, ARRAY_INT8, ARRAY_INT2, ARRAY_TIME,  ARRAY_INT8,
    ARRAY_BYTEA, ARRAY_INT2, ARRAY_TEXT, ARRAY_TEXT, ARRAY_TEXT, ARRAY_BYTEA, ARRAY_TIME};

static void add_account(struct array *array, const void *row, uint32_t column)
{
    const struct account *account = row;

    switch ((enum account_column)column) {
    case ACCOUNT_NUMBER:
        array_add_int(array, ARRAY_INT8, account->number);
        return;
    case ACCOUNT_BALANCE:
        /* What a system account moved in this batch is in its deltas. */
        array_add_int(array, ARRAY_INT8, account->kind == ACCOUNT_SYSTEM ? 0 : account->balance);
        return;
    case ACCOUNT_HELD:
        array_add_int(array, ARRAY_INT8, account->held);
        return;
    case ACCOUNT_SEQ:
        array_add_int(array, ARRAY_INT8, account->seq);
        return;
    case ACCOUNT_STATE:
        array_add_int(array, ARRAY_INT2, account->state);
        return;
    case ACCOUNT_CHANGED_AT:
        array_add_time(array, account->changed_us);
        return;
    case ACCOUNT_FLOOR:
        array_add_int(array, ARRAY_INT8, account->floor);
        return;
    case ACCOUNT_HEAD:
        if (account->kind == ACCOUNT_SYSTEM)
            array_add_null(array);
        else
            save_add_hash(array, &account->head);
        return;
    case ACCOUNT_KIND:
        array_add_int(array, ARRAY_INT2, account->kind == ACCOUNT_USER ? 0 : 1);
        return;
    case ACCOUNT_ID:
        array_add_text(array, account->id);
        return;
    case ACCOUNT_USER_ID:
        array_add_text(array, account->user_id);
        return;
    case ACCOUNT_ASSET:
        array_add_text(array, account->asset->code);
        return;
    case ACCOUNT_METADATA:
        save_add_bytes_or_null(array, account->metadata);
        return;
    case ACCOUNT_CREATED_AT:
        array_add_time(array, account->created_us);
        return;
    case ACCOUNT_COLUMNS:
        break;
    }
    assert(false && "a column that is none");
}

bool save_opened(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->accounts_count; i++)
        if (save->batch->accounts[i].opened)
            save->rows[save->rows_count++] = &save->batch->accounts[i];
    if (save->rows_count == 0) return true;
    return save_add_columns(save, account_types, ACCOUNT_COLUMNS, add_account, err) &&
           save_send(save, &insert_accounts, save->rows_count, err);
}

/* Where each of them was found. */
static bool add_places(struct save *save, struct err *err)
{
    struct array array;
    struct bytes places;

    array_begin(&array, save->batch->arena, ARRAY_TID);
    for (uint32_t i = 0; i < save->rows_count; i++) {
        ptrdiff_t at = (const struct account *)save->rows[i] - save->batch->accounts;
        const struct place *place = &save->store->locked[at];
        array_add_bytes(&array, (struct bytes){place->tid, sizeof place->tid});
    }
    return array_end(&array, &places, err) && save_add_array(save, places, err);
}

bool save_changed(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->accounts_count; i++)
        if (save->batch->accounts[i].changed && !save->batch->accounts[i].opened)
            save->rows[save->rows_count++] = &save->batch->accounts[i];
    if (save->rows_count == 0) return true;
    return save_add_columns(save, account_types, ACCOUNT_UPDATE_COLUMNS, add_account, err) &&
           add_places(save, err) &&
           save_send_either(save, &update_accounts, &update_account, 1, err);
}

/* --- system accounts --- */

static const struct statement insert_deltas = {
    "store_insert_deltas",
    "INSERT INTO account_delta (account, delta) SELECT unnest($1::int8[]), unnest($2::int8[])"};

static const struct statement insert_delta = {
    "store_insert_delta", "INSERT INTO account_delta (account, delta) VALUES ($1::int8, $2::int8)"};

struct delta {
    int64_t number, amount;
};

enum { DELTA_COLUMNS = 2 };
static const enum array_type delta_types[DELTA_COLUMNS] = {ARRAY_INT8, ARRAY_INT8};

static void add_delta(struct array *array, const void *row, uint32_t column)
{
    const struct delta *delta = row;
    array_add_int(array, ARRAY_INT8, column == 0 ? delta->number : delta->amount);
}

static int compare_deltas(const void *a, const void *b)
{
    const struct delta *left = a, *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

/* What moved on system accounts, side by side, unsorted. */
static uint32_t deltas_find(const struct batch *batch, struct delta *deltas)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct outcome *outcome = &batch->works[i].outcome;
        if (!save_is_decided(&batch->works[i]) || outcome->amount == 0) continue;
        if (save_is_system(&outcome->debit))
            deltas[count++] = (struct delta){outcome->debit.number, -outcome->amount};
        if (save_is_system(&outcome->credit))
            deltas[count++] = (struct delta){outcome->credit.number, outcome->amount};
    }
    return count;
}

/* One row an account; one more where the sum would not fit in 64 bits. */
bool save_deltas(struct save *save, struct err *err)
{
    struct delta *deltas =
        arena_take(save->batch->arena, 2 * sizeof *deltas * save->batch->works_count);

    save->rows_count = 0;
    if (deltas == NULL) return save_too_large(err);
    uint32_t count = deltas_find(save->batch, deltas);
    if (count == 0) return true;
    qsort(deltas, count, sizeof *deltas, compare_deltas);
    for (uint32_t i = 0, last = 0; i < count; i++) {
        int64_t sum;
        bool joins = save->rows_count > 0 && deltas[last].number == deltas[i].number &&
                     !__builtin_add_overflow(deltas[last].amount, deltas[i].amount, &sum);
        if (joins) {
            deltas[last].amount = sum;
            continue;
        }
        last = i;
        save->rows[save->rows_count++] = &deltas[i];
    }
    return save_add_columns(save, delta_types, DELTA_COLUMNS, add_delta, err) &&
           save_send_either(save, &insert_deltas, &insert_delta, save->rows_count, err);
}
