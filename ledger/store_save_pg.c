/*
 * store_save_pg.c - what a batch decided: a handful of statements over arrays, queued one behind
 * the other.
 *
 * Rows are written in an order that does not depend on the batch (users and accounts by id, the
 * journal by key), so that two batches which meet wait for each other in one direction only.
 */
#include "ledger/schedule.h"
#include "ledger/store_internal_pg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { PARAMS_MAX = 32 };

struct save {
    const struct store *store;
    struct db *db;
    const struct batch *batch;
    struct answers *answers;
    struct param params[PARAMS_MAX]; /* of the next statement; the first of them are arrays */
    uint32_t params_count, arrays_count;
    const void **rows; /* of the next statement; room for all works, or all accounts */
    uint32_t rows_count;
};

static bool too_large(struct err *err)
{
    return err_set(err, ERR_REJECT, "could not build parameters: batch too large");
}

static bool add_param(struct save *save, struct bytes binary, struct err *err)
{
    if (binary.data == NULL) return too_large(err);
    assert(save->params_count < PARAMS_MAX);
    save->params[save->params_count++] = store_param(binary);
    return true;
}

static bool add_array(struct save *save, struct bytes binary, struct err *err)
{
    assert(save->arrays_count == save->params_count);
    save->arrays_count++;
    return add_param(save, binary, err);
}

/* One array for each column, over save->rows. */
static bool add_columns(struct save *save, const enum array_type *types, uint32_t count,
                        void (*add)(struct array *, const void *row, uint32_t column),
                        struct err *err)
{
    struct array array;
    struct bytes binary;

    for (uint32_t column = 0; column < count; column++) {
        array_begin(&array, save->batch->arena, types[column]);
        for (uint32_t i = 0; i < save->rows_count; i++) add(&array, save->rows[i], column);
        if (!array_end(&array, &binary, err) || !add_array(save, binary, err)) return false;
    }
    return true;
}

static bool send(struct save *save, const struct statement *statement, uint64_t rows,
                 struct err *err)
{
    struct answers *answers = save->answers;
    uint32_t count = save->params_count;

    assert(answers->count < sizeof answers->rows / sizeof answers->rows[0]);
    answers->rows[answers->count++] = rows;
    save->params_count = save->arrays_count = 0;
    return query_send(save->db, statement, save->params, count, err);
}

/* Of one row its elements, for a statement made for that: it costs the server half. */
static bool send_either(struct save *save, const struct statement *many,
                        const struct statement *one, uint64_t rows, struct err *err)
{
    if (save->rows_count > 1) return send(save, many, rows, err);
    for (uint32_t i = 0; i < save->arrays_count; i++)
        save->params[i] =
            store_param(array_only((struct bytes){save->params[i].data, save->params[i].size}));
    return send(save, one, rows, err);
}

static bool is_decided(const struct work *work)
{
    return work->origin == ORIGIN_DECIDED && ledger_is_kept(work);
}

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

static bool save_users(struct save *save, struct err *err)
{
    uint32_t unique = 0;

    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++) {
        const struct work *work = &save->batch->works[i];
        if (is_decided(work) && work->request->command.type == COMMAND_OPEN_ACCOUNT &&
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
    return add_columns(save, user_types, USER_COLUMNS, add_user, err) &&
           send(save, &insert_users, ANSWER_ANY, err);
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

static bool save_changed_users(struct save *save, struct err *err)
{
    struct user_change *changes, *last = NULL;
    uint32_t count = 0, unique = 0;

    for (uint32_t i = 0; i < save->batch->works_count; i++) {
        const struct work *work = &save->batch->works[i];
        if (is_decided(work) && work->request->command.type == COMMAND_UPDATE_USER &&
            work->outcome.result == RESULT_APPLIED)
            save->rows[count++] = work;
    }
    if (count == 0) return true;
    changes = arena_take(save->batch->arena, count * sizeof *changes);
    if (changes == NULL) return too_large(err);
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
    return add_columns(save, change_types, CHANGE_COLUMNS, add_change, err) &&
           send(save, &update_users, unique, err);
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
    "                    changed_at = new.changed_at, floor = new.floor, head = new.head"
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
    "                    changed_at = $6::timestamptz, floor = $7::int8, head = $8::bytea"
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

static void add_bytes_or_null(struct array *array, struct bytes value)
{
    if (value.size > 0)
        array_add_bytes(array, value);
    else
        array_add_null(array);
}

static void add_hash(struct array *array, const struct sha256 *hash)
{
    array_add_bytes(array, (struct bytes){hash->bytes, SHA256_SIZE});
}

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
            add_hash(array, &account->head);
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
        add_bytes_or_null(array, account->metadata);
        return;
    case ACCOUNT_CREATED_AT:
        array_add_time(array, account->created_us);
        return;
    case ACCOUNT_COLUMNS:
        break;
    }
    assert(false && "a column that is none");
}

static bool save_opened(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->accounts_count; i++)
        if (save->batch->accounts[i].opened)
            save->rows[save->rows_count++] = &save->batch->accounts[i];
    if (save->rows_count == 0) return true;
    return add_columns(save, account_types, ACCOUNT_COLUMNS, add_account, err) &&
           send(save, &insert_accounts, save->rows_count, err);
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
    return array_end(&array, &places, err) && add_array(save, places, err);
}

static bool save_changed(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->accounts_count; i++)
        if (save->batch->accounts[i].changed && !save->batch->accounts[i].opened)
            save->rows[save->rows_count++] = &save->batch->accounts[i];
    if (save->rows_count == 0) return true;
    return add_columns(save, account_types, ACCOUNT_UPDATE_COLUMNS, add_account, err) &&
           add_places(save, err) && send_either(save, &update_accounts, &update_account, 1, err);
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

static bool is_system(const struct side *side)
{
    if (side->account == NULL) return side->number != 0; /* an asset's world */
    return side->account->kind == ACCOUNT_SYSTEM;
}

/* What moved on system accounts, side by side, unsorted. */
static uint32_t deltas_find(const struct batch *batch, struct delta *deltas)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct outcome *outcome = &batch->works[i].outcome;
        if (!is_decided(&batch->works[i]) || outcome->amount == 0) continue;
        if (is_system(&outcome->debit))
            deltas[count++] = (struct delta){outcome->debit.number, -outcome->amount};
        if (is_system(&outcome->credit))
            deltas[count++] = (struct delta){outcome->credit.number, outcome->amount};
    }
    return count;
}

/* One row an account; one more where the sum would not fit in 64 bits. */
static bool save_deltas(struct save *save, struct err *err)
{
    struct delta *deltas =
        arena_take(save->batch->arena, 2 * sizeof *deltas * save->batch->works_count);

    save->rows_count = 0;
    if (deltas == NULL) return too_large(err);
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
    return add_columns(save, delta_types, DELTA_COLUMNS, add_delta, err) &&
           send_either(save, &insert_deltas, &insert_delta, save->rows_count, err);
}

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

static bool save_placed_holds(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++) {
        const struct work *work = &save->batch->works[i];
        if (is_decided(work) && work->request->command.type == COMMAND_HOLD &&
            work->outcome.result == RESULT_APPLIED)
            save->rows[save->rows_count++] = work;
    }
    if (save->rows_count == 0) return true;
    return add_columns(save, hold_types, HOLD_COLUMNS, add_hold, err) &&
           send(save, &insert_holds, save->rows_count, err);
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

static bool save_changed_holds(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->targets_count; i++)
        if (save->batch->targets[i].changed)
            save->rows[save->rows_count++] = &save->batch->targets[i];
    if (save->rows_count == 0) return true;
    return add_columns(save, remaining_types, REMAINING_COLUMNS, add_remaining, err) &&
           send(save, &update_holds, save->rows_count, err);
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

static bool save_scheduled(struct save *save, struct err *err)
{
    struct arena *arena = save->batch->arena;

    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++) {
        const struct work *work = &save->batch->works[i];
        if (!is_decided(work) || work->outcome.result != RESULT_SCHEDULED) continue;
        struct kept *kept = arena_take(arena, sizeof *kept);
        if (kept == NULL) return too_large(err);
        kept->work = work;
        if (!schedule_keep(save->store->codec, work->request, arena, &kept->properties,
                           &kept->body))
            return too_large(err);
        save->rows[save->rows_count++] = kept;
    }
    if (save->rows_count == 0) return true;
    return add_columns(save, scheduled_types, SCHEDULED_COLUMNS, add_scheduled, err) &&
           send(save, &insert_scheduled, save->rows_count, err);
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

static bool save_ended(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++)
        if (is_decided(&save->batch->works[i]) && ledger_ends(&save->batch->works[i]) != NULL)
            save->rows[save->rows_count++] = &save->batch->works[i];
    if (save->rows_count == 0) return true;
    return add_columns(save, ended_types, 1, add_ended, err) &&
           send(save, &update_scheduled, save->rows_count, err);
}

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
    bool known = side->number != 0 && (column == 0 || !is_system(side));

    if (known)
        array_add_int(array, ARRAY_INT8, values[column]);
    else
        array_add_null(array);
}

static void add_side_hash(struct array *array, const struct side *side)
{
    if (side->number == 0 || is_system(side))
        array_add_null(array);
    else
        add_hash(array, &side->head);
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
        add_bytes_or_null(array, request->command.metadata);
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
        return add_param(save, binary_int32(save->batch->arena, save->batch->import), err);
    assert(save->params_count < PARAMS_MAX);
    save->params[save->params_count++] = (struct param){0};
    return true;
}

static bool save_journal(struct save *save, struct err *err)
{
    save->rows_count = 0;
    for (uint32_t i = 0; i < save->batch->works_count; i++)
        if (is_decided(&save->batch->works[i]))
            save->rows[save->rows_count++] = &save->batch->works[i];
    if (save->rows_count == 0) return true;
    qsort(save->rows, save->rows_count, sizeof *save->rows, compare_keys);
    return add_columns(save, journal_types, JOURNAL_COLUMNS, add_work, err) &&
           add_import(save, err) &&
           send_either(save, &insert_journal, &insert_entry, save->rows_count, err);
}

/* --- daily limits --- */

static bool save_usages(struct save *save, struct err *err)
{
    uint64_t changed;

    if (!store_usages_params(save->batch, save->params, &changed, err)) return false;
    if (changed == 0) return true;
    save->params_count = 4;
    return send(save, &store_update_usages, changed, err);
}

bool store_save(struct store *store, struct db *db, const struct batch *batch,
                struct answers *answers, struct err *err)
{
    struct save save = {.store = store, .db = db, .batch = batch, .answers = answers};

    assert(store->batch == batch);
    /* Enough for each list: an account is named by some work, a work moves at most two. */
    save.rows = arena_take(batch->arena, 2 * sizeof *save.rows * (batch->works_count + 1U));
    if (save.rows == NULL) return too_large(err);
    return save_users(&save, err) && save_changed_users(&save, err) && save_opened(&save, err) &&
           save_changed(&save, err) && save_deltas(&save, err) && save_placed_holds(&save, err) &&
           save_changed_holds(&save, err) && save_scheduled(&save, err) && save_ended(&save, err) &&
           save_usages(&save, err) && save_journal(&save, err);
}
