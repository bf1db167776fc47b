/*
 * store_load_pg.c - all that a batch needs to know, in one round trip. Invariants:
 *  1. accounts are locked in id order, so no two batches deadlock, and before the keys are looked
 *     up, so a concurrent repeat finds what it waited for;
 *  2. what only queries name is read without a lock: they never wait, and cost no flush at commit;
 *  3. each look-up is a loop over what was asked with an index scan inside: LATERAL with ORDER BY
 *     or OFFSET 0 leaves the planner nothing else, however little it knows of the tables;
 *  4. an account is looked for from the youngest row of its id on, see ACCOUNT_OF.
 *
 * All answers are read before the first one is used. So an unknown asset costs one more round trip,
 * and so does a system account that was not met before, or an account that does not exist: to ask
 * both ways about each account would cost each batch more.
 */
#include "base/columns.h"
#include "ledger/permission.h"
#include "ledger/store_internal_pg.h"

#include <assert.h>
#include <string.h>

/* What an account is named for, if not for queries alone; and whether it is a user's, and locked.
 */
enum { USE_CHANGES = 1, USE_OPENS = 2, USE_LOCKED = 4 };

/* Of the three statements that read accounts. */
enum account_column {
    COLUMN_AT,
    COLUMN_NUMBER,
    COLUMN_KIND,
    COLUMN_HELD,
    COLUMN_SEQ,
    COLUMN_CREATED_AT,
    COLUMN_ASSET,
    COLUMN_USER_ID,
    COLUMN_METADATA,
    COLUMN_STATE,
    COLUMN_CHANGED_AT,
    COLUMN_FLOOR,
    COLUMN_BALANCE,
    COLUMN_PLACE, /* this and what follows: only where it is locked */
    COLUMN_HEAD
};
enum { OID_INT4 = 23 }; /* of PostgreSQL's pg_type */

static const struct statement begin = {"store_begin", "BEGIN ISOLATION LEVEL READ COMMITTED"};

/* --- accounts --- */

static void use(const struct store_load *load, struct text id, uint8_t how)
{
    const struct account *account;

    account = ledger_account(load->batch, id);
    assert(account != NULL); /* by ledger_collect */
    load->uses[account - load->batch->accounts] |= how;
}

static bool uses_find(struct store_load *load, struct err *err)
{
    const struct batch *batch = load->batch;

    load->uses = arena_take(batch->arena, batch->accounts_count);
    if (load->uses == NULL) return store_too_large(err);
    memset(load->uses, 0, batch->accounts_count);
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        struct text ids[WORK_ACCOUNTS_MAX];
        uint8_t how = 0;

        if (work->origin != ORIGIN_NONE) continue;
        if (ledger_is_kept(work)) how = USE_CHANGES;
        if (work->request->command.type == COMMAND_OPEN_ACCOUNT) how |= USE_OPENS;
        for (uint32_t ids_count = ledger_ids_of(batch, work, ids); ids_count > 0; ids_count--)
            use(load, ids[ids_count - 1], how);
    }
    return true;
}

static bool batch_asks(const struct batch *batch, enum command_type type)
{
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].origin == ORIGIN_NONE && batch->works[i].request->command.type == type)
            return true;
    return false;
}

static void add_bool(struct store_question *question, bool value)
{
    static const uint8_t binary[] = {false, true};
    store_add_param(question, (struct bytes){&binary[value], 1});
}

static bool is_changed(const struct store_load *load, uint32_t i)
{
    return (load->uses[i] & USE_CHANGES) != 0;
}

static bool is_queried(const struct store_load *load, uint32_t i)
{
    return !is_changed(load, i);
}

static bool is_known_system(const struct store_load *load, uint32_t i)
{
    return met_before(&load->store->met, load->batch->accounts[i].id);
}

static bool may_be_user(const struct store_load *load, uint32_t i)
{
    return is_changed(load, i) && !is_known_system(load, i);
}

/* Of one that is to be opened all is asked at once, as it mostly does not exist. */
static bool may_be_system(const struct store_load *load, uint32_t i)
{
    return is_changed(load, i) && (is_known_system(load, i) || (load->uses[i] & USE_OPENS) != 0);
}

static bool is_missing(const struct store_load *load, uint32_t i)
{
    return may_be_user(load, i) && !may_be_system(load, i) && (load->uses[i] & USE_LOCKED) == 0;
}

/* $1 places, $2 ids, $3 whether metadata are wanted. */
static bool ask_accounts(const struct store_load *load,
                         bool (*wants)(const struct store_load *load, uint32_t i),
                         struct store_question *question, struct err *err)
{
    const struct batch *batch = load->batch;
    struct bytes places, ids;
    struct array array;

    array_begin(&array, batch->arena, ARRAY_INT4);
    for (uint32_t i = 0; i < batch->accounts_count; i++)
        if (wants(load, i)) array_add_int(&array, ARRAY_INT4, i);
    question->asked = array.count > 0;
    question->rows = array.count;
    if (!array_end(&array, &places, err)) return false;
    array_begin(&array, batch->arena, ARRAY_TEXT);
    for (uint32_t i = 0; i < batch->accounts_count; i++)
        if (wants(load, i)) array_add_text(&array, batch->accounts[i].id);
    if (!array_end(&array, &ids, err)) return false;
    store_add_param(question, places);
    store_add_param(question, ids);
    add_bool(question, batch_asks(batch, COMMAND_GET_ACCOUNT));
    return true;
}

static bool ask_locked(const struct store_load *load, struct store_question *question,
                       struct err *err)
{
    return ask_accounts(load, may_be_user, question, err);
}

/* $4: whether balances are, and so the deltas of system accounts. */
static bool ask_read(const struct store_load *load,
                     bool (*wants)(const struct store_load *load, uint32_t i),
                     struct store_question *question, struct err *err)
{
    if (!ask_accounts(load, wants, question, err)) return false;
    add_bool(question, batch_asks(load->batch, COMMAND_GET_BALANCE));
    return true;
}

static bool ask_system(const struct store_load *load, struct store_question *question,
                       struct err *err)
{
    return ask_read(load, may_be_system, question, err);
}

static bool ask_queried(const struct store_load *load, struct store_question *question,
                        struct err *err)
{
    return ask_read(load, is_queried, question, err);
}

/* What an answer holds, as rows: of many they come as arrays, see FOR_EACH_WANTED. */
static bool read_accounts(const struct store_load *load, const PGresult *answer,
                          struct columns *out, struct err *err)
{
    struct arena *arena = load->batch->arena;
    uint32_t columns = (uint32_t)PQnfields(answer);
    struct bytes *values = arena_take(arena, columns * sizeof *values);

    *out = (struct columns){0};
    if (values == NULL) return store_too_large(err);
    if (PQntuples(answer) == 0) return true;
    for (uint32_t i = 0; i < columns; i++)
        values[i] =
            cell_is_null(answer, 0, (int)i) ? (struct bytes){0} : cell_bytes(answer, 0, (int)i);
    if (PQftype(answer, COLUMN_AT) != OID_INT4)
        return columns_read(values, columns, arena, out, err);
    *out = (struct columns){values, columns, 1};
    return true;
}

static bool fill_account(const struct store_load *load, const struct columns *rows, uint32_t row,
                         struct err *err)
{
    struct account *account = &load->batch->accounts[columns_int32(rows, row, COLUMN_AT)];
    struct text asset = columns_text(rows, row, COLUMN_ASSET);

    account->exists = true;
    account->number = columns_int64(rows, row, COLUMN_NUMBER);
    account->kind = columns_int16(rows, row, COLUMN_KIND) == 0 ? ACCOUNT_USER : ACCOUNT_SYSTEM;
    account->balance = columns_int64(rows, row, COLUMN_BALANCE);
    account->held = columns_int64(rows, row, COLUMN_HELD);
    account->seq = columns_int64(rows, row, COLUMN_SEQ);
    account->state = (uint8_t)columns_int16(rows, row, COLUMN_STATE);
    account->floor = columns_int64(rows, row, COLUMN_FLOOR);
    account->created_us = columns_time_us(rows, row, COLUMN_CREATED_AT);
    account->changed_us = columns_time_us(rows, row, COLUMN_CHANGED_AT);
    account->asset = ledger_asset(load->batch, asset);
    if (account->asset == NULL)
        return err_set(err, ERR_FATAL, "could not read account %.*s: asset %.*s has no world",
                       TEXT_ARGS(account->id), TEXT_ARGS(asset));
    if (account->kind == ACCOUNT_SYSTEM) met_note(&load->store->met, account->id);
    if (!store_keep_text(load, columns_text(rows, row, COLUMN_USER_ID), &account->user_id) ||
        !store_keep_bytes(load, columns_bytes(rows, row, COLUMN_METADATA), &account->metadata))
        return store_too_large(err);
    return true;
}

static bool fill_locked(const struct store_load *load, const struct columns *rows, uint32_t row,
                        struct err *err)
{
    int32_t at = columns_int32(rows, row, COLUMN_AT);
    struct account *account = &load->batch->accounts[at];
    struct bytes tid = columns_bytes(rows, row, COLUMN_PLACE);
    struct bytes head = columns_bytes(rows, row, COLUMN_HEAD);

    assert(tid.size == PLACE_SIZE);
    memcpy(load->store->locked[at].tid, tid.data, PLACE_SIZE);
    if (head.size != SHA256_SIZE)
        return err_set(err, ERR_FATAL, "could not read account %.*s: its head is no hash",
                       TEXT_ARGS(account->id));
    memcpy(account->head.bytes, head.data, SHA256_SIZE);
    return true;
}

static bool fill_accounts(const struct store_load *load, const struct columns *rows, bool locked,
                          struct err *err)
{
    for (uint32_t row = 0; row < rows->rows; row++)
        if (!fill_account(load, rows, row, err) || (locked && !fill_locked(load, rows, row, err)))
            return false;
    return true;
}

/* Columns as arrays: libpq takes a block of memory for each four or five rows, and few for them. */
#define FOR_EACH_WANTED(columns, account)                                                          \
    "SELECT array_agg(at), array_agg(number), array_agg(kind), array_agg(held), array_agg(seq),"   \
    "       array_agg(created_at), array_agg(asset::text), array_agg(user_id::text),"              \
    "       array_agg(metadata), array_agg(state), array_agg(changed_at), array_agg(floor),"       \
    "       array_agg(balance)" columns "  FROM (SELECT wanted.at, account.*"                      \
    "          FROM unnest($1::int4[], $2::text[]) AS wanted (at, id) CROSS JOIN LATERAL"          \
    "               (" account ") AS account) AS found"
#define FOR_ONE(account) "SELECT $1::int4, account.* FROM (" account ") AS account"
/* While somebody holds an old snapshot, PostgreSQL keeps every version of a balance, and the index
 * leads to each page of them: thousands, of a busy account. The youngest is on one of the last
 * pages, and among equal ids the index is in the order of pages: so it is scanned backwards, and
 * ends at the first row. An equality would make the order not worth a direction. */
#define ACCOUNT_OF(wanted, columns, condition)                                                     \
    "SELECT number, kind, held, seq, created_at, asset, user_id,"                                  \
    "       CASE WHEN $3::bool THEN metadata END AS metadata, state, changed_at, floor, " columns  \
    "  FROM account"                                                                               \
    " WHERE id BETWEEN " wanted " AND " wanted condition " ORDER BY id DESC LIMIT 1"
/* A sum that no bigint holds is told as near as it can be. */
#define WITH_DELTAS                                                                                \
    "CASE WHEN $4::bool AND kind = 1 THEN least(greatest(balance + coalesce("                      \
    "(SELECT sum(delta) FROM account_delta WHERE account = number), 0),"                           \
    " -9223372036854775808), 9223372036854775807)::int8 ELSE balance END AS balance"

#define LOCKED(wanted)                                                                             \
    ACCOUNT_OF(wanted, "balance, account.ctid, head", " AND kind = 0") " FOR NO KEY UPDATE"
#define SYSTEM(wanted) ACCOUNT_OF(wanted, WITH_DELTAS, " AND kind = 1")
#define QUERIED(wanted) ACCOUNT_OF(wanted, WITH_DELTAS, "")

static const struct store_part part_locked = {
    .statement = {"store_lock",
                  FOR_EACH_WANTED(", array_agg(ctid), array_agg(head)", LOCKED("wanted.id"))},
    .one = {"store_lock_one", FOR_ONE(LOCKED("$2::text"))},
    .ask = ask_locked};

static const struct store_part part_system = {
    .statement = {"store_system", FOR_EACH_WANTED("", SYSTEM("wanted.id"))},
    .one = {"store_system_one", FOR_ONE(SYSTEM("$2::text"))},
    .ask = ask_system};

static const struct store_part part_queried = {
    .statement = {"store_read", FOR_EACH_WANTED("", QUERIED("wanted.id"))},
    .one = {"store_read_one", FOR_ONE(QUERIED("$2::text"))},
    .ask = ask_queried};

/* --- numbers for new accounts, and the time --- */

static bool ask_numbers(const struct store_load *load, struct store_question *question,
                        struct err *err)
{
    int64_t count = 0;

    for (uint32_t i = 0; i < load->batch->accounts_count; i++)
        count += (load->uses[i] & USE_OPENS) != 0;
    struct bytes binary = binary_int64(load->batch->arena, count);
    if (binary.data == NULL) return store_too_large(err);
    store_add_param(question, binary);
    question->asked = count > 0;
    return true;
}

/* After the accounts: those that exist keep theirs. */
static bool fill_numbers(const struct store_load *load, const PGresult *rows, struct err *err)
{
    int row = 0;

    (void)err;
    for (uint32_t i = 0; i < load->batch->accounts_count; i++) {
        struct account *account = &load->batch->accounts[i];
        if (account->exists || (load->uses[i] & USE_OPENS) == 0) continue;
        account->number = cell_int64(rows, row++, 0);
    }
    return true;
}

static const struct store_part part_numbers = {
    .statement = {"store_numbers",
                  "SELECT nextval('account_number') FROM generate_series(1, $1::int8)"},
    .ask = ask_numbers,
    .fill = fill_numbers};

static bool ask_clock(const struct store_load *load, struct store_question *question,
                      struct err *err)
{
    (void)load;
    (void)err;
    question->asked = true;
    return true;
}

static bool fill_clock(const struct store_load *load, const PGresult *rows, struct err *err)
{
    (void)err;
    load->batch->now_us = cell_time_us(rows, 0, 0);
    return true;
}

static const struct store_part part_clock = {
    .statement = {"store_clock", "SELECT clock_timestamp()"}, .ask = ask_clock, .fill = fill_clock};

/* --- the round trip --- */

enum { PART_LOCKED = 1, PART_SYSTEM, PART_QUERIED, ACCOUNTS_END, PARTS_COUNT = 15 };
enum { ANSWER_MISSING = PARTS_COUNT, ANSWERS_COUNT };
enum { FOUND_MISSING = ACCOUNTS_END, FOUND_COUNT };

/* Locks before what has ended and before keys, and the time when it is no longer waited for. */
static const struct store_part *const parts[PARTS_COUNT] = {&store_part_assets,
                                                            &part_locked,
                                                            &part_system,
                                                            &part_queried,
                                                            &store_part_scheduled,
                                                            &store_part_ends,
                                                            &store_part_targets,
                                                            &store_part_keys,
                                                            &store_part_users,
                                                            &store_part_transactions,
                                                            &store_part_past,
                                                            &store_part_pages,
                                                            &store_part_usages,
                                                            &part_numbers,
                                                            &part_clock};

bool store_ask_works(const struct store_load *load, bool (*wants)(const struct work *),
                     enum array_type type, void (*add)(struct array *, const struct request *),
                     struct store_question *question, struct err *err)
{
    const struct batch *batch = load->batch;
    struct bytes places, asked;
    struct array array;

    array_begin(&array, batch->arena, ARRAY_INT4);
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].origin == ORIGIN_NONE && wants(&batch->works[i]))
            array_add_int(&array, ARRAY_INT4, i);
    question->asked = array.count > 0;
    question->rows = array.count;
    if (!array_end(&array, &places, err)) return false;
    array_begin(&array, batch->arena, type);
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].origin == ORIGIN_NONE && wants(&batch->works[i]))
            add(&array, batch->works[i].request);
    if (!array_end(&array, &asked, err)) return false;
    store_add_param(question, places);
    store_add_param(question, asked);
    return true;
}

static bool send_question(const struct store_part *part, struct store_question *question,
                          struct db *db, struct err *err)
{
    bool is_one = question->rows == 1 && part->one.sql != NULL;

    for (uint32_t i = 0; is_one && i < 2; i++)
        question->params[i] = store_only(question->params[i]);
    return query_send(db, is_one ? &part->one : &part->statement, question->params, question->count,
                      err);
}

static bool send_questions(const struct store_load *load, struct db *db,
                           bool asked[static PARTS_COUNT], struct err *err)
{
    if (!load->batch->goes_on && !query_send(db, &begin, NULL, 0, err)) return false;
    for (uint32_t i = 0; i < PARTS_COUNT; i++) {
        struct store_question question = {0};
        if (!parts[i]->ask(load, &question, err)) return false;
        asked[i] = question.asked;
        if (question.asked && !send_question(parts[i], &question, db, err)) return false;
    }
    return query_sync(db, err);
}

static bool read_answers(const struct store_load *load, struct db *db,
                         const bool asked[static PARTS_COUNT],
                         PGresult *answers[static PARTS_COUNT], struct err *err)
{
    if (!load->batch->goes_on && !query_done_rows(db, NULL, err)) return false;
    for (uint32_t i = 0; i < PARTS_COUNT; i++)
        if (asked[i] && !query_next(db, &answers[i], err)) return false;
    return query_done(db, err);
}

/* Those that are not among the users' accounts that came, if there are any. */
static bool ask_missing(const struct store_load *load, struct db *db, const struct columns *locked,
                        PGresult **out, struct err *err)
{
    struct store_question question = {0};

    for (uint32_t row = 0; row < locked->rows; row++)
        load->uses[columns_int32(locked, row, COLUMN_AT)] |= USE_LOCKED;
    if (!ask_read(load, is_missing, &question, err)) return false;
    if (!question.asked) return true;
    return send_question(&part_system, &question, db, err) && query_sync(db, err) &&
           query_next(db, out, err) && query_done(db, err);
}

static bool read_all_accounts(const struct store_load *load, struct db *db,
                              PGresult *answers[static ANSWERS_COUNT],
                              struct columns found[static FOUND_COUNT], struct err *err)
{
    PGresult **missing = &answers[ANSWER_MISSING];

    for (uint32_t i = PART_LOCKED; i < ACCOUNTS_END; i++)
        if (answers[i] != NULL && !read_accounts(load, answers[i], &found[i], err)) return false;
    if (!ask_missing(load, db, &found[PART_LOCKED], missing, err)) return false;
    return *missing == NULL || read_accounts(load, *missing, &found[FOUND_MISSING], err);
}

/* Whether every account read is of an asset that was known when the batch began, or came with it.
 */
static bool assets_suffice(const struct store_load *load,
                           const struct columns found[static FOUND_COUNT])
{
    for (uint32_t i = PART_LOCKED; i < FOUND_COUNT; i++)
        for (uint32_t row = 0; row < found[i].rows; row++)
            if (ledger_asset(load->batch, columns_text(&found[i], row, COLUMN_ASSET)) == NULL)
                return false;
    return true;
}

static bool fill(const struct store_load *load, struct db *db,
                 PGresult *answers[static ANSWERS_COUNT], struct err *err)
{
    struct columns found[FOUND_COUNT] = {0};
    PGresult **assets = &answers[0];

    if (!read_all_accounts(load, db, answers, found, err)) return false;
    if (*assets != NULL && !store_part_assets.fill(load, *assets, err)) return false;
    if (!assets_suffice(load, found)) {
        PQclear(*assets);
        if (!query_one(db, &store_part_assets.statement, NULL, 0, assets, err) ||
            !store_part_assets.fill(load, *assets, err))
            return false;
    }
    for (uint32_t i = PART_LOCKED; i < FOUND_COUNT; i++)
        if (!fill_accounts(load, &found[i], i == PART_LOCKED, err)) return false;
    for (uint32_t i = ACCOUNTS_END; i < PARTS_COUNT; i++)
        if (answers[i] != NULL && !parts[i]->fill(load, answers[i], err)) return false;
    return true;
}

bool store_load(struct store *store, struct db *db, struct batch *batch, struct err *err)
{
    struct store_load load = {.store = store, .batch = batch};
    PGresult *answers[ANSWERS_COUNT] = {NULL};
    bool asked[PARTS_COUNT];

    batch->assets = store->assets;
    batch->assets_count = store->assets_count;
    batch->policy = policy_cache_rules(&store->policy);
    if (!permission_collect(batch, err)) return false;
    store->batch = batch;
    store->locked = arena_take(batch->arena, batch->accounts_count * sizeof *store->locked);
    if (store->locked == NULL) return store_too_large(err);
    bool ok = uses_find(&load, err) && send_questions(&load, db, asked, err) &&
              read_answers(&load, db, asked, answers, err) && fill(&load, db, answers, err);
    for (uint32_t i = 0; i < ANSWERS_COUNT; i++) PQclear(answers[i]); /* NULL is fine */
    return ok;
}
