/*
 * store_answer_pg.c - what the journal already knows: the first reply to a key, and what queries
 * ask for besides accounts.
 *
 * Invariant: a reply made from a journal row is, byte for byte, the one that ledger_apply made when
 * the row was written.
 */
#include "base/broken.h"
#include "ledger/store_internal_pg.h"

#include <assert.h>

/* --- keys --- */

enum key_column {
    KEY_AT,
    KEY_ID,
    KEY_FINGERPRINT,
    KEY_TRACE_ID,
    KEY_CREATED_AT,
    KEY_COMMAND,
    KEY_RESULT,
    KEY_DEBIT,
    KEY_CREDIT = KEY_DEBIT + 5,
    KEY_LEG = KEY_CREDIT + 5,
};

static void add_key(struct array *array, const struct request *request)
{
    array_add_uuid(array, &request->key_digest);
}

static bool ask_keys(const struct store_load *load, struct store_question *question,
                     struct err *err)
{
    if (load->batch->keys_are_new) return true;
    if (!store_ask_works(load, ledger_is_kept, ARRAY_UUID, add_key, question, err)) return false;
    if (BROKEN("no_unique_key") || BROKEN("redis_authority")) question->asked = false;
    return true;
}

/* seq, balance, held, account, asset: from this column on. */
static bool fill_balance(const struct store_load *load, const PGresult *rows, int row, int column,
                         struct reply *reply)
{
    struct balance_view *view = &reply->balances[reply->balances_count];

    if (cell_is_null(rows, row, column)) return true; /* no such side, or a system account */
    reply->balances_count++;
    view->has_seq = true;
    view->seq = cell_int64(rows, row, column);
    view->balance = cell_int64(rows, row, column + 1);
    view->held = cell_int64(rows, row, column + 2);
    return store_keep_text(load, cell_text(rows, row, column + 3), &view->account) &&
           store_keep_text(load, cell_text(rows, row, column + 4), &view->asset);
}

/* The one that an atomic batch was refused by. A leg that was refused has a place too, but is none.
 */
static void fill_failed_leg(const PGresult *rows, int row, struct reply *reply)
{
    reply->has_failed_leg = cell_int16(rows, row, KEY_COMMAND) == command_number(COMMAND_BATCH) &&
                            !cell_is_null(rows, row, KEY_LEG);
    if (reply->has_failed_leg) reply->failed_leg = (uint32_t)cell_int16(rows, row, KEY_LEG);
}

/* The same payload was asked for the same time; of another one the reply is not given. */
static void fill_scheduled(const PGresult *rows, int row, const struct work *work,
                           struct reply *reply)
{
    if (reply->result != RESULT_SCHEDULED) return;
    reply->has_transaction = true;
    reply->transaction = cell_uuid(rows, row, KEY_ID);
    reply->scheduled_us = work->request->command.conditions.not_before_us;
}

static bool fill_reply(const struct store_load *load, const PGresult *rows, int row,
                       struct work *work, struct err *err)
{
    struct reply *reply = &work->reply;

    *reply = (struct reply){.result = RESULT_APPLIED,
                            .timestamp_us = cell_time_us(rows, row, KEY_CREATED_AT),
                            .trace_id = cell_uuid(rows, row, KEY_TRACE_ID)};
    if (!cell_is_null(rows, row, KEY_RESULT)) {
        struct text word = cell_text(rows, row, KEY_RESULT);
        fill_failed_leg(rows, row, reply);
        if (!result_parse(word, &reply->result))
            return err_set(err, ERR_FATAL, "could not read the journal: no result is called %.*s",
                           TEXT_ARGS(word));
        fill_scheduled(rows, row, work, reply);
        return true;
    }
    reply->has_transaction = true;
    reply->transaction = cell_uuid(rows, row, KEY_ID);
    reply->created = cell_int16(rows, row, KEY_COMMAND) == command_number(COMMAND_OPEN_ACCOUNT);
    if (!fill_balance(load, rows, row, KEY_DEBIT, reply) ||
        !fill_balance(load, rows, row, KEY_CREDIT, reply))
        return store_too_large(err);
    return true;
}

static bool fill_keys(const struct store_load *load, const PGresult *rows, struct err *err)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        struct work *work = &load->batch->works[cell_int32(rows, row, KEY_AT)];
        work->stored = true;
        work->stored_fingerprint = cell_uuid(rows, row, KEY_FINGERPRINT);
        if (!fill_reply(load, rows, row, work, err)) return false;
    }
    return true;
}

#define KEY_FOUND                                                                                  \
    ", journal.id, fingerprint, trace_id, journal.created_at, command, result,"                    \
    " debit_seq, debit_balance, debit_held, debited.id, debited.asset,"                            \
    " credit_seq, credit_balance, credit_held, credited.id, credited.asset, leg FROM "
#define KEY_OF(wanted) " (SELECT * FROM journal WHERE key_digest = " wanted " OFFSET 0) AS journal"

const struct store_part store_part_keys = {
    .statement = {"store_keys", "SELECT wanted.at" KEY_FOUND
                                "unnest($1::int4[], $2::uuid[]) AS wanted (at, key_digest)"
                                " CROSS JOIN LATERAL" KEY_OF("wanted.key_digest") JOIN_SIDES},
    .one = {"store_key", "SELECT $1::int4" KEY_FOUND KEY_OF("$2::uuid") JOIN_SIDES},
    .ask = ask_keys,
    .fill = fill_keys};

/* --- users --- */

enum user_column { USER_AT, USER_NAME, USER_CREATED_AT, USER_METADATA, USER_ACCOUNT };

static bool wants_user(const struct work *work)
{
    enum command_type type = work->request->command.type;
    return type == COMMAND_GET_USER || type == COMMAND_UPDATE_USER;
}

static void add_user(struct array *array, const struct request *request)
{
    array_add_text(array, request->command.user_id);
}

/* $3: how many accounts, one more than are told. */
static bool ask_users(const struct store_load *load, struct store_question *question,
                      struct err *err)
{
    struct bytes most = binary_int64(load->batch->arena, USER_ACCOUNTS_MAX + 1);

    if (most.data == NULL) return store_too_large(err);
    if (!store_ask_works(load, wants_user, ARRAY_TEXT, add_user, question, err)) return false;
    store_add_param(question, most);
    return true;
}

/* The rows of one user, one for each account; one with no account when there is none. */
static bool fill_user(const struct store_load *load, const PGresult *rows, int first, int end,
                      struct err *err)
{
    struct work *work = &load->batch->works[cell_int32(rows, first, USER_AT)];
    struct user_view *view = arena_take(load->batch->arena, sizeof *view);
    struct text *accounts = arena_take(load->batch->arena, USER_ACCOUNTS_MAX * sizeof *accounts);

    if (view == NULL || accounts == NULL) return store_too_large(err);
    *view = (struct user_view){.user_id = work->request->command.user_id,
                               .created_us = cell_time_us(rows, first, USER_CREATED_AT),
                               .accounts = accounts};
    if (!store_keep_text(load, cell_text(rows, first, USER_NAME), &view->name) ||
        !store_keep_bytes(load, cell_bytes(rows, first, USER_METADATA), &view->metadata))
        return store_too_large(err);
    for (int row = first; row < end && !cell_is_null(rows, row, USER_ACCOUNT); row++) {
        view->more_accounts = view->accounts_count == USER_ACCOUNTS_MAX;
        if (view->more_accounts) break;
        if (!store_keep_text(load, cell_text(rows, row, USER_ACCOUNT),
                             &accounts[view->accounts_count++]))
            return store_too_large(err);
    }
    work->user = view;
    return true;
}

static bool fill_users(const struct store_load *load, const PGresult *rows, struct err *err)
{
    for (int first = 0, end; first < PQntuples(rows); first = end) {
        for (end = first + 1; end < PQntuples(rows); end++)
            if (cell_int32(rows, end, USER_AT) != cell_int32(rows, first, USER_AT)) break;
        if (!fill_user(load, rows, first, end, err)) return false;
    }
    return true;
}

const struct store_part store_part_users = {
    .statement = {"store_users",
                  "SELECT wanted.at, name, created_at, owner.metadata, account.id"
                  "  FROM unnest($1::int4[], $2::text[]) AS wanted (at, id)"
                  " CROSS JOIN LATERAL"
                  "       (SELECT * FROM ledger_user WHERE id = wanted.id OFFSET 0) AS owner"
                  "  LEFT JOIN LATERAL"
                  "       (SELECT id FROM account WHERE user_id = wanted.id"
                  "         ORDER BY id USING ~<~ LIMIT $3::int8) AS account ON true"
                  " ORDER BY wanted.at, account.id"},
    .ask = ask_users,
    .fill = fill_users};

/* --- transactions --- */

enum transaction_column {
    TRANSACTION_AT,
    TRANSACTION_COMMAND,
    TRANSACTION_AMOUNT,
    TRANSACTION_CREATED_AT,
    TRANSACTION_TRACE_ID,
    TRANSACTION_CALLER,
    TRANSACTION_KEY,
    TRANSACTION_METADATA,
    TRANSACTION_DEBIT,
    TRANSACTION_CREDIT,
    TRANSACTION_ASSET,
    TRANSACTION_REFERS,
    TRANSACTION_SETTLED,
    TRANSACTION_REMAINING,
    TRANSACTION_EXPIRES_AT,
    TRANSACTION_FLOOR,
    TRANSACTION_SCHEDULED,
    TRANSACTION_DUE_AT,
    TRANSACTION_PROPERTIES,
    TRANSACTION_ENDED,
    TRANSACTION_ENDED_COMMAND,
    TRANSACTION_ENDED_RESULT,
};

static bool wants_transaction(const struct work *work)
{
    return work->request->command.type == COMMAND_GET_TRANSACTION;
}

static void add_transaction(struct array *array, const struct request *request)
{
    array_add_uuid(array, &request->command.transaction);
}

static bool ask_transactions(const struct store_load *load, struct store_question *question,
                             struct err *err)
{
    return store_ask_works(load, wants_transaction, ARRAY_UUID, add_transaction, question, err);
}

static bool fill_texts(const struct store_load *load, const PGresult *rows, int row,
                       struct transaction_view *view)
{
    return store_keep_text(load, cell_text(rows, row, TRANSACTION_DEBIT), &view->debit) &&
           store_keep_text(load, cell_text(rows, row, TRANSACTION_CREDIT), &view->credit) &&
           store_keep_text(load, cell_text(rows, row, TRANSACTION_ASSET), &view->asset) &&
           store_keep_text(load, cell_text(rows, row, TRANSACTION_CALLER), &view->caller) &&
           store_keep_text(load, cell_text(rows, row, TRANSACTION_KEY), &view->key) &&
           store_keep_bytes(load, cell_bytes(rows, row, TRANSACTION_METADATA), &view->metadata);
}

static void fill_links(const PGresult *rows, int row, struct transaction_view *view)
{
    if (!cell_is_null(rows, row, TRANSACTION_REFERS))
        view->refers = cell_uuid(rows, row, TRANSACTION_REFERS);
    if (!cell_is_null(rows, row, TRANSACTION_SETTLED))
        view->settled = cell_uuid(rows, row, TRANSACTION_SETTLED);
    if (!cell_is_null(rows, row, TRANSACTION_REMAINING))
        view->remaining = cell_int64(rows, row, TRANSACTION_REMAINING);
    if (!cell_is_null(rows, row, TRANSACTION_EXPIRES_AT))
        view->expires_us = cell_time_us(rows, row, TRANSACTION_EXPIRES_AT);
    if (!cell_is_null(rows, row, TRANSACTION_FLOOR))
        view->floor = cell_int64(rows, row, TRANSACTION_FLOOR);
}

/* Of a command that was scheduled: when it is due, whose it is, and what ended it. */
static bool fill_schedule(const struct store_load *load, const PGresult *rows, int row,
                          struct transaction_view *view, struct err *err)
{
    view->ended_result = RESULT_APPLIED;
    if (!cell_is_null(rows, row, TRANSACTION_SCHEDULED))
        view->scheduled = cell_uuid(rows, row, TRANSACTION_SCHEDULED);
    if (cell_is_null(rows, row, TRANSACTION_DUE_AT)) return true;
    view->scheduled_us = cell_time_us(rows, row, TRANSACTION_DUE_AT);
    if (!store_keep_scheduler(load, cell_bytes(rows, row, TRANSACTION_PROPERTIES), &view->user_id,
                              err))
        return false;
    if (cell_is_null(rows, row, TRANSACTION_ENDED)) return true;
    view->ended = cell_uuid(rows, row, TRANSACTION_ENDED);
    view->cancelled =
        cell_int16(rows, row, TRANSACTION_ENDED_COMMAND) == command_number(COMMAND_CANCEL);
    struct text word = cell_text(rows, row, TRANSACTION_ENDED_RESULT);
    return word.length == 0 || result_parse(word, &view->ended_result) ||
           err_set(err, ERR_FATAL, "could not read the journal: no result is called %.*s",
                   TEXT_ARGS(word));
}

static bool fill_transactions(const struct store_load *load, const PGresult *rows, struct err *err)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        struct work *work = &load->batch->works[cell_int32(rows, row, TRANSACTION_AT)];
        struct transaction_view *view = arena_take(load->batch->arena, sizeof *view);
        int16_t command = cell_int16(rows, row, TRANSACTION_COMMAND);

        if (view == NULL) return store_too_large(err);
        *view =
            (struct transaction_view){.transaction = work->request->command.transaction,
                                      .created_us = cell_time_us(rows, row, TRANSACTION_CREATED_AT),
                                      .trace_id = cell_uuid(rows, row, TRANSACTION_TRACE_ID)};
        fill_links(rows, row, view);
        if (!fill_schedule(load, rows, row, view, err)) return false;
        if (!cell_is_null(rows, row, TRANSACTION_AMOUNT))
            view->amount = cell_int64(rows, row, TRANSACTION_AMOUNT);
        if (!command_type_of_number(command, &view->type))
            return err_set(err, ERR_FATAL, "could not read the journal: no command has number %d",
                           command);
        if (!fill_texts(load, rows, row, view)) return store_too_large(err);
        work->transaction = view;
    }
    return true;
}

const struct store_part store_part_transactions = {
    .statement =
        {"store_transactions",
         "SELECT wanted.at, journal.command, amount, created_at, trace_id, caller, key, metadata,"
         "       debited.id, credited.id, coalesce(credited.asset, debited.asset),"
         "       refers, settler.id, hold.remaining, hold.expires_at, floor,"
         "       journal.scheduled, pending.due_at, pending.properties, ender.id, ender.command, "
         "ender.result"
         "  FROM unnest($1::int4[], $2::uuid[]) AS wanted (at, id)"
         " CROSS JOIN LATERAL"
         "       (SELECT * FROM journal WHERE id = wanted.id"
         "           AND (result IS NULL OR result = 'scheduled') OFFSET 0)"
         "    AS journal" JOIN_SIDES JOIN_SETTLED "  LEFT JOIN LATERAL"
         "       (SELECT due_at, properties FROM scheduled WHERE id = wanted.id OFFSET 0) AS "
         "pending "
         "ON true"
         "  LEFT JOIN LATERAL"
         "       (SELECT id, command, result FROM journal WHERE scheduled = wanted.id OFFSET 0)"
         "    AS ender ON true"},
    .ask = ask_transactions,
    .fill = fill_transactions};
