/*
 * store_history_pg.c - what queries ask of an account's past: what it was at a time or after a
 * transaction, and its entries, a page at a time.
 *
 * Nothing here grows with the history (schema/010_history.sql). What one batch may read is shared
 * out among its lists, so that no number of them keeps the commands beside them waiting for long,
 * or needs more memory than there is: a page is shorter than it might be, and has a cursor.
 */
#include "ledger/store_internal_pg.h"

#include <assert.h>

enum {
    SCAN_MAX = 1000,        /* entries that a page with a filter looks at */
    BATCH_SCAN_MAX = 16384, /* and all pages of a batch */
    BATCH_BYTES_MAX = 16 << 20,
    REPLY_BYTES_MAX = BODY_SIZE_MAX - (64 << 10), /* of entries, see ENTRY_BYTES */
};
_Static_assert(BATCH_SCAN_MAX / BATCH_WORKS_MAX > 0, "each page gets on");

/* --- what is asked ----------------------------------------------------------------------- */

static bool wants_past(const struct work *work)
{
    return command_asks_past(&work->request->command);
}

static bool wants_page(const struct work *work)
{
    return work->request->command.type == COMMAND_LIST_TRANSACTIONS;
}

static uint32_t count_works(const struct batch *batch, bool (*wants)(const struct work *))
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < batch->works_count; i++)
        count += batch->works[i].origin == ORIGIN_NONE && wants(&batch->works[i]);
    return count;
}

struct column {
    enum array_type type;
    void (*add)(struct array *array, const struct command *command);
};

/* $1 the places of the works that want it, then an array for each column. */
static bool ask_columns(const struct store_load *load, bool (*wants)(const struct work *),
                        const struct column *columns, uint32_t count,
                        struct store_question *question, struct err *err)
{
    const struct batch *batch = load->batch;
    struct bytes binary;
    struct array array;

    array_begin(&array, batch->arena, ARRAY_INT4);
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].origin == ORIGIN_NONE && wants(&batch->works[i]))
            array_add_int(&array, ARRAY_INT4, i);
    if (!array_end(&array, &binary, err)) return false;
    store_add_param(question, binary);
    for (uint32_t column = 0; column < count; column++) {
        array_begin(&array, batch->arena, columns[column].type);
        for (uint32_t i = 0; i < batch->works_count; i++)
            if (batch->works[i].origin == ORIGIN_NONE && wants(&batch->works[i]))
                columns[column].add(&array, &batch->works[i].request->command);
        if (!array_end(&array, &binary, err)) return false;
        store_add_param(question, binary);
    }
    return true;
}

static void add_account(struct array *array, const struct command *command)
{
    array_add_text(array, command->account);
}

static void add_time(struct array *array, int64_t wall_us)
{
    if (wall_us != 0)
        array_add_time(array, wall_us);
    else
        array_add_null(array);
}

static void add_id(struct array *array, const struct uuid *id)
{
    if (!uuid_is_zero(id))
        array_add_uuid(array, id);
    else
        array_add_null(array);
}

/* --- at a time --------------------------------------------------------------------------- */

enum past_column {
    PAST_AT,
    PAST_TIME,
    PAST_SEQ,
    PAST_BALANCE,
    PAST_HELD,
    PAST_TRANSACTION,
    PAST_TIMESTAMP,
};

static void add_as_of_time(struct array *array, const struct command *command)
{
    add_time(array, command->as_of.time_us);
}

static void add_as_of_transaction(struct array *array, const struct command *command)
{
    add_id(array, &command->as_of.transaction);
}

static const struct column past_columns[] = {
    {ARRAY_TEXT, add_account}, {ARRAY_TIME, add_as_of_time}, {ARRAY_UUID, add_as_of_transaction}};
enum { PAST_COLUMNS = sizeof past_columns / sizeof *past_columns };

static bool ask_past(const struct store_load *load, struct store_question *question,
                     struct err *err)
{
    question->asked = count_works(load->batch, wants_past) > 0;
    return !question->asked ||
           ask_columns(load, wants_past, past_columns, PAST_COLUMNS, question, err);
}

static bool fill_past(const struct store_load *load, const PGresult *rows, struct err *err)
{
    for (int row = 0; row < PQntuples(rows); row++) {
        struct work *work = &load->batch->works[cell_int32(rows, row, PAST_AT)];
        struct past *past = arena_take(load->batch->arena, sizeof *past);

        if (past == NULL) return store_too_large(err);
        *past = (struct past){.at_us = cell_time_us(rows, row, PAST_TIME)};
        work->past = past;
        if (cell_is_null(rows, row, PAST_TRANSACTION)) continue;
        past->seq = cell_int64(rows, row, PAST_SEQ);
        past->balance = cell_int64(rows, row, PAST_BALANCE);
        past->held = cell_int64(rows, row, PAST_HELD);
        past->transaction = cell_uuid(rows, row, PAST_TRANSACTION);
        past->timestamp_us = cell_time_us(rows, row, PAST_TIMESTAMP);
    }
    return true;
}

#define NUMBER_OF_WANTED                                                                           \
    "  LEFT JOIN LATERAL"                                                                          \
    "       (SELECT number FROM account_identity WHERE id = wanted.account OFFSET 0)"              \
    "    AS identity ON true"

/* A transaction that did not touch the account stands for its time. One that is not known has no
 * row. */
const struct store_part store_part_past = {
    .statement =
        {"store_past",
         "SELECT wanted.at, moment.time, place.seq, entry.balance, entry.held, entry.id,"
         "       entry.created_at"
         "  FROM unnest($1::int4[], $2::text[], $3::timestamptz[], $4::uuid[])"
         "       AS wanted (at, account, time, transaction)" NUMBER_OF_WANTED " CROSS JOIN LATERAL"
         "       (SELECT wanted.time, NULL::int8 AS seq WHERE wanted.transaction IS NULL"
         "         UNION ALL"
         "        SELECT created_at, CASE number WHEN debit THEN debit_seq"
         "                                       WHEN credit THEN credit_seq END"
         "          FROM journal WHERE id = wanted.transaction AND result IS NULL) AS moment"
         " CROSS JOIN LATERAL"
         "       (SELECT coalesce(moment.seq, seq_as_of(number, moment.time)) AS seq OFFSET 0) AS "
         "place"
         "  LEFT JOIN LATERAL"
         "       (SELECT id, created_at, debit_balance AS balance, debit_held AS held"
         "          FROM journal WHERE debit = number AND debit_seq = place.seq"
         "         UNION ALL"
         "        SELECT id, created_at, credit_balance, credit_held"
         "          FROM journal WHERE credit = number AND credit_seq = place.seq AND place.seq > "
         "0)"
         "    AS entry ON true"},
    .ask = ask_past,
    .fill = fill_past};

/* --- pages ------------------------------------------------------------------------------- */

enum entry_column {
    ENTRY_AT,
    ENTRY_LOW,
    ENTRY_HIGH,
    ENTRY_BEYOND,
    ENTRY_MATCHES,
    ENTRY_ID,
    ENTRY_COMMAND,
    ENTRY_MOVES,
    ENTRY_IS_CREDIT,
    ENTRY_COUNTERPARTY,
    ENTRY_AMOUNT,
    ENTRY_BALANCE,
    ENTRY_HELD,
    ENTRY_SEQ,
    ENTRY_CREATED_AT,
    ENTRY_TRACE_ID,
    ENTRY_REFERS,
    ENTRY_FLOOR,
    ENTRY_CALLER,
    ENTRY_KEY,
    ENTRY_METADATA,
};

static uint32_t limit_of(const struct page *page)
{
    return page->limit == 0 ? (uint32_t)PAGE_ENTRIES : page->limit;
}

static void add_since(struct array *array, const struct command *command)
{
    add_time(array, command->page.from_us);
}

static void add_until(struct array *array, const struct command *command)
{
    add_time(array, command->page.until_us);
}

static void add_behind(struct array *array, const struct command *command)
{
    int64_t seq;
    bool resumes = page_resumes(&command->page, command->account, &seq);

    assert(resumes); /* by command_decode */
    array_add_int(array, ARRAY_INT8, seq);
}

static void add_ascending(struct array *array, const struct command *command)
{
    array_add_bool(array, command->page.ascending);
}

static void add_limit(struct array *array, const struct command *command)
{
    array_add_int(array, ARRAY_INT4, limit_of(&command->page));
}

static void add_scan(struct array *array, const struct command *command)
{
    bool has_filter = command->page.kind != 0 || !uuid_is_zero(&command->page.trace_id);
    array_add_int(array, ARRAY_INT4, has_filter ? SCAN_MAX : limit_of(&command->page));
}

static void add_kind(struct array *array, const struct command *command)
{
    if (command->page.kind != 0)
        array_add_int(array, ARRAY_INT2, command->page.kind);
    else
        array_add_null(array);
}

static void add_trace(struct array *array, const struct command *command)
{
    add_id(array, &command->page.trace_id);
}

static const struct column page_columns[] = {
    {ARRAY_TEXT, add_account}, {ARRAY_TIME, add_since},     {ARRAY_TIME, add_until},
    {ARRAY_INT8, add_behind},  {ARRAY_BOOL, add_ascending}, {ARRAY_INT4, add_limit},
    {ARRAY_INT4, add_scan},    {ARRAY_INT2, add_kind},      {ARRAY_UUID, add_trace}};
enum { PAGE_COLUMNS = sizeof page_columns / sizeof *page_columns };
_Static_assert(PAGE_COLUMNS + 3 <= STORE_PARAMS_MAX, "places, two shares and these");

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* $11: so many entries may each page look at; $12: so large may it be. */
static bool ask_page(const struct store_load *load, struct store_question *question,
                     struct err *err)
{
    struct arena *arena = load->batch->arena;
    int64_t pages = count_works(load->batch, wants_page);

    question->asked = pages > 0;
    if (!question->asked) return true;
    if (!ask_columns(load, wants_page, page_columns, PAGE_COLUMNS, question, err)) return false;
    struct bytes scan = binary_int64(arena, BATCH_SCAN_MAX / pages);
    struct bytes size = binary_int64(arena, least(REPLY_BYTES_MAX, BATCH_BYTES_MAX / pages));
    if (scan.data == NULL || size.data == NULL) return store_too_large(err);
    store_add_param(question, scan);
    store_add_param(question, size);
    return true;
}

static void fill_links(const PGresult *rows, int row, struct entry_view *view)
{
    if (!cell_is_null(rows, row, ENTRY_AMOUNT)) view->amount = cell_int64(rows, row, ENTRY_AMOUNT);
    if (!cell_is_null(rows, row, ENTRY_REFERS)) view->refers = cell_uuid(rows, row, ENTRY_REFERS);
    if (!cell_is_null(rows, row, ENTRY_FLOOR)) view->floor = cell_int64(rows, row, ENTRY_FLOOR);
}

static bool fill_entry(const struct store_load *load, const PGresult *rows, int row,
                       struct entry_view *view, struct err *err)
{
    int16_t command = cell_int16(rows, row, ENTRY_COMMAND);

    *view = (struct entry_view){.transaction = cell_uuid(rows, row, ENTRY_ID),
                                .moves = cell_bool(rows, row, ENTRY_MOVES),
                                .is_credit = cell_bool(rows, row, ENTRY_IS_CREDIT),
                                .balance = cell_int64(rows, row, ENTRY_BALANCE),
                                .held = cell_int64(rows, row, ENTRY_HELD),
                                .seq = cell_int64(rows, row, ENTRY_SEQ),
                                .timestamp_us = cell_time_us(rows, row, ENTRY_CREATED_AT),
                                .trace_id = cell_uuid(rows, row, ENTRY_TRACE_ID)};
    fill_links(rows, row, view);
    if (!command_type_of_number(command, &view->type))
        return err_set(err, ERR_FATAL, "could not read the journal: no command has number %d",
                       command);
    if (!store_keep_text(load, cell_text(rows, row, ENTRY_COUNTERPARTY), &view->counterparty) ||
        !store_keep_text(load, cell_text(rows, row, ENTRY_CALLER), &view->caller) ||
        !store_keep_text(load, cell_text(rows, row, ENTRY_KEY), &view->key) ||
        !store_keep_bytes(load, cell_bytes(rows, row, ENTRY_METADATA), &view->metadata))
        return store_too_large(err);
    return true;
}

/* Up to where this page has looked; 0: there is nothing behind it. */
static int64_t page_end(const struct page *page, const PGresult *rows, int first, int count)
{
    int64_t matches = count == 0 ? 0 : cell_int64(rows, first, ENTRY_MATCHES);

    if (count < matches) return cell_int64(rows, first + count - 1, ENTRY_SEQ);
    if (!cell_bool(rows, first, ENTRY_BEYOND)) return 0;
    return cell_int64(rows, first, page->ascending ? ENTRY_HIGH : ENTRY_LOW);
}

/* The rows of one page, one for each entry; one with no entry when there is none. */
static bool fill_page(const struct store_load *load, const PGresult *rows, int first, int end,
                      struct err *err)
{
    struct work *work = &load->batch->works[cell_int32(rows, first, ENTRY_AT)];
    const struct command *command = &work->request->command;
    struct history_view *view = arena_take(load->batch->arena, sizeof *view);
    int count = cell_is_null(rows, first, ENTRY_ID) ? 0 : end - first;
    struct entry_view *entries =
        arena_take(load->batch->arena, sizeof *entries * ((size_t)count + 1));

    if (view == NULL || entries == NULL) return store_too_large(err);
    *view = (struct history_view){.entries = entries, .count = (uint32_t)count};
    for (int i = 0; i < count; i++)
        if (!fill_entry(load, rows, first + i, &entries[i], err)) return false;
    int64_t seq = page_end(&command->page, rows, first, count);
    if (seq != 0) view->cursor = page_cursor(&command->page, command->account, seq);
    work->history = view;
    return true;
}

static bool fill_pages(const struct store_load *load, const PGresult *rows, struct err *err)
{
    for (int first = 0, end; first < PQntuples(rows); first = end) {
        for (end = first + 1; end < PQntuples(rows); end++)
            if (cell_int32(rows, end, ENTRY_AT) != cell_int32(rows, first, ENTRY_AT)) break;
        if (!fill_page(load, rows, first, end, err)) return false;
    }
    return true;
}

/* What an entry takes in a reply, at most: JSON may need six bytes for one, and each byte may be a
 * value, of which a body has BODY_ITEMS_MAX at most. */
#define ENTRY_BYTES                                                                                \
    "1024 + 8 * (octet_length(caller) + octet_length(key) + coalesce(octet_length(metadata), 0))"
_Static_assert(REPLY_BYTES_MAX / 8 < BODY_ITEMS_MAX, "as said above");

#define SIDE(is_credit, own, other)                                                                \
    "SELECT " is_credit " AS is_credit, " other " AS other, " own "_seq AS seq, " own              \
    "_balance AS balance, " own "_held AS held, id, command, amount, created_at, trace_id,"        \
    "       refers, floor, caller, key, metadata"                                                  \
    "  FROM journal WHERE " own " = number AND " own "_seq BETWEEN low AND high"

const struct store_part store_part_pages = {
    .statement =
        {"store_pages",
         "SELECT wanted.at, low, high, beyond, matches, entry.id, command, other IS NOT NULL,"
         "       is_credit, counterparty.id, amount, balance, held, seq, created_at, trace_id, "
         "refers,"
         "       floor, caller, key, metadata"
         "  FROM unnest($1::int4[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::int8[],"
         "              $6::bool[], $7::int4[], $8::int4[], $9::int2[], $10::uuid[])"
         "       AS wanted (at, account, since, until, behind, ascending, most, scan, kind,"
         "                  trace)" NUMBER_OF_WANTED
         " CROSS JOIN LATERAL page_bounds(number, since, until, behind, ascending,"
         "                                least(scan, $11::int8)::int4)"
         "  LEFT JOIN LATERAL"
         "       (SELECT *, count(*) OVER () AS matches, row_number() OVER nearest AS place,"
         "               sum(" ENTRY_BYTES ") OVER nearest AS size"
         "          FROM (" SIDE("false", "debit", "credit") " UNION ALL " SIDE(
             "true", "credit",
             "debit") ") AS side"
                      "         WHERE (kind IS NULL OR command = kind) AND (trace IS NULL OR "
                      "trace_id "
                      "= trace)"
                      "        WINDOW nearest AS (ORDER BY CASE WHEN ascending THEN seq ELSE -seq "
                      "END))"
                      "    AS entry ON place <= most AND (place = 1 OR size <= $12::int8)"
                      "  LEFT JOIN LATERAL"
                      "       (SELECT id FROM account_identity WHERE number = other OFFSET 0) AS "
                      "counterparty"
                      "    ON true"
                      " ORDER BY wanted.at, place"},
    .ask = ask_page,
    .fill = fill_pages};
