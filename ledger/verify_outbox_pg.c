/*
 * verify_outbox_pg.c - the events that are still in the outbox against the journal. They are bytes
 * to the server, so they come here, a page at a time, to be decoded; each page asks once for the
 * journal rows that it tells of.
 *
 * What must be remembered of each account (the first and last sequence number that an event told)
 * has a fixed place: more accounts than fit mean more passes, each over its share of the accounts.
 */
#include "base/array.h"
#include "ledger/verify_internal_pg.h"
#include "protocol/event_list.h"
#include "protocol/properties.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Half full, on average. */
enum {
    PAGE_ROWS = 256,
    PAGE_EVENTS = PAGE_ROWS + EVENT_LIST_MAX,
    SLOTS = 1 << 18,
    SHARE_ACCOUNTS = SLOTS / 2,
    ARENA_SIZE = 32 << 20
};

struct span {       /* of one account's events */
    int64_t number; /* 0: a free slot */
    int64_t first, last;
};

struct events {
    const struct verify *verify;
    struct codec *codec;
    struct arena arena;
    struct span *spans;
    uint32_t spans_count;
    uint64_t share, shares;
    PGresult *rows; /* that are being read */
    struct event page[PAGE_EVENTS];
    bool waits[PAGE_EVENTS]; /* for its journal row */
    uint32_t count;
};

static const struct statement declare = {"verify_events_declare",
                                         "DECLARE verify_events NO SCROLL CURSOR FOR"
                                         " SELECT id, properties, body FROM outbox"
                                         "  WHERE kind = 0 AND destination <> '" CHECKPOINT_EVENT
                                         "' ORDER BY id"};
static const struct statement fetch = {"verify_events_fetch", "FETCH 256 FROM verify_events"};
static const struct statement close_cursor = {"verify_events_close", "CLOSE verify_events"};
_Static_assert(PAGE_ROWS == 256, "as FETCH says");

enum fact_column {
    FACT_AT,
    FACT_COMMAND,
    FACT_RESULT,
    FACT_AMOUNT,
    FACT_CREATED_AT,
    FACT_TRACE_ID,
    FACT_CALLER,
    FACT_KEY,
    FACT_METADATA,
    FACT_REFERS,
    FACT_FLOOR,
    FACT_SCHEDULED,
    FACT_DEBIT,
    FACT_CREDIT = FACT_DEBIT + 7, /* number, id, user, asset, seq, balance, held */
};

static const struct statement facts = {
    "verify_events_facts",
    "SELECT wanted.at, command, result, amount, journal.created_at, trace_id, caller, key,"
    "       journal.metadata, refers, journal.floor, scheduled,"
    "       debit, debited.id, debited.user_id, debited.asset, debit_seq, debit_balance, "
    "debit_held,"
    "       credit, credited.id, credited.user_id, credited.asset,"
    "       credit_seq, credit_balance, credit_held"
    "  FROM unnest($1::int4[], $2::uuid[]) AS wanted (at, id)"
    "  JOIN journal ON journal.id = wanted.id"
    "  LEFT JOIN account AS debited ON debited.number = debit"
    "  LEFT JOIN account AS credited ON credited.number = credit"
    " ORDER BY wanted.at"};

/* What was imported without events: of no row of the journal that a caller made. */
#define IS_SILENT "coalesce(import IN (SELECT id FROM import WHERE NOT events), false)"

/* Each account's last sequence number, and the first one since the partition that is filled now was
 * begun: from then on every event is still there. */
static const struct statement declare_lasts = {
    "verify_lasts_declare",
    "DECLARE verify_lasts NO SCROLL CURSOR FOR"
    " WITH since AS ("
    " SELECT debit, debit_seq, credit, credit_seq FROM journal"
    "  WHERE result IS NULL AND created_at > (SELECT rotated_at FROM outbox_rotation)"
    "    AND NOT " IS_SILENT ")"
    " SELECT number, id, account.seq, since.seq"
    "   FROM account LEFT JOIN"
    "        (SELECT number, min(seq) AS seq"
    "           FROM (SELECT debit AS number, debit_seq AS seq FROM since"
    "                 UNION ALL SELECT credit, credit_seq FROM since) AS told"
    "          WHERE seq > 0 GROUP BY number) AS since USING (number)"
    "  WHERE kind = 0 AND account.seq > 0"};
static const struct statement fetch_lasts = {"verify_lasts_fetch", "FETCH 256 FROM verify_lasts"};
static const struct statement close_lasts = {"verify_lasts_close", "CLOSE verify_lasts"};

/* How many of an account's entries after one and up to another were to have no event. */
static const struct statement silent = {
    "verify_events_silent", "SELECT count(*)"
                            "  FROM (SELECT import FROM journal WHERE debit = $1::int8 AND "
                            "debit_seq > $2::int8 AND debit_seq <= $3::int8"
                            "        UNION ALL"
                            "        SELECT import FROM journal WHERE credit = $1::int8 AND "
                            "credit_seq > $2::int8 AND credit_seq <= $3::int8)"
                            "       AS entry"
                            " WHERE " IS_SILENT};

/* --- what is remembered of each account --- */

static uint64_t spread(int64_t number)
{
    uint64_t hash = (uint64_t)number * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 32;
}

static bool is_shared_here(const struct events *events, int64_t number)
{
    return spread(number) % events->shares == events->share;
}

/* The account's place, or the free one where it belongs. */
static struct span *span_of(const struct events *events, int64_t number)
{
    uint64_t at = spread(number) / events->shares;

    assert(number != 0);
    while (true) {
        struct span *span = &events->spans[at++ % SLOTS];
        if (span->number == number || span->number == 0) return span;
    }
}

/* Whether none of the account's entries between the two had an event to begin with. */
static bool is_silent(const struct events *events, int64_t number, int64_t after, int64_t until,
                      bool *out, struct err *err)
{
    const int64_t values[] = {number, after, until};
    uint8_t binary[3][sizeof(int64_t)];
    struct param params[3];
    PGresult *row;

    *out = until <= after;
    if (*out) return true;
    for (uint32_t i = 0; i < 3; i++) {
        struct writer writer = writer_over(binary[i], sizeof binary[i]);
        write_u64(&writer, (uint64_t)values[i]);
        params[i] = (struct param){binary[i], sizeof binary[i]};
    }
    if (!query_one(events->verify->db, &silent, params, 3, &row, err)) return false;
    *out = cell_int64(row, 0, 0) == until - after;
    PQclear(row);
    return true;
}

static bool span_add(struct events *events, const struct event *event, int64_t number,
                     struct err *err)
{
    struct span *span = span_of(events, number);
    bool follows;

    if (span->number == 0) {
        if (++events->spans_count == SLOTS)
            return err_set(err, ERR_FATAL, "could not remember accounts: too many in one share");
        *span = (struct span){number, event->seq, event->seq};
        return true;
    }
    if (!is_silent(events, number, span->last, event->seq - 1, &follows, err)) return false;
    if (event->seq <= span->last || !follows)
        verify_differ(events->verify,
                      "account %.*s: in the outbox its event with sequence number %" PRId64
                      " is followed by %" PRId64,
                      TEXT_ARGS(event->account), span->last, event->seq);
    span->last = event->seq;
    return true;
}

/* --- one event against its journal row --- */

struct fact {
    const char *field;
    bool told_right;
};

static bool is_number(const PGresult *rows, int row, int column, int64_t value)
{
    return !cell_is_null(rows, row, column) && cell_int64(rows, row, column) == value;
}

static bool is_text(const PGresult *rows, int row, int column, struct text value)
{
    return text_equal(cell_text(rows, row, column), value);
}

static bool is_bytes(const PGresult *rows, int row, int column, struct bytes value)
{
    struct bytes cell = cell_bytes(rows, row, column);
    return cell.size == value.size &&
           (cell.size == 0 || memcmp(cell.data, value.data, cell.size) == 0);
}

static bool is_uuid(const PGresult *rows, int row, int column, const struct uuid *value)
{
    struct uuid cell = cell_uuid(rows, row, column);
    return uuid_compare(&cell, value) == 0;
}

static bool is_target(const PGresult *rows, int row, int column, const struct uuid *target)
{
    if (cell_is_null(rows, row, column)) return uuid_is_zero(target);
    return is_uuid(rows, row, column, target);
}

/* What was refused or put off tells what was asked for, which the journal does not know. */
static bool is_asked(const struct event *event)
{
    return event->type == EVENT_COMMAND_REJECTED || event->type == EVENT_COMMAND_SCHEDULED;
}

static const char *first_wrong(const struct fact *list, size_t list_count)
{
    for (size_t i = 0; i < list_count; i++)
        if (!list[i].told_right) return list[i].field;
    return NULL;
}

static bool is_type(const PGresult *rows, int row, const struct event *event)
{
    if (cell_is_null(rows, row, FACT_RESULT)) return event->type == event_type_of(event->command);
    bool scheduled = is_text(rows, row, FACT_RESULT, text_of(result_word(RESULT_SCHEDULED)));
    return event->type == (scheduled ? EVENT_COMMAND_SCHEDULED : EVENT_COMMAND_REJECTED);
}

/* The first field that tells something else than the journal; NULL when there is none. */
static const char *wrong_outcome(const PGresult *rows, int row, const struct event *event)
{
    const struct fact list[] = {
        {"command", cell_int16(rows, row, FACT_COMMAND) == command_number(event->command)},
        {"event_type", is_type(rows, row, event)},
        {"timestamp", cell_time_us(rows, row, FACT_CREATED_AT) == event->timestamp_us},
        {"trace_id", is_uuid(rows, row, FACT_TRACE_ID, &event->trace_id)},
        {"app_id", is_text(rows, row, FACT_CALLER, event->caller)},
        {"idempotency_key", is_text(rows, row, FACT_KEY, event->key)},
        {"metadata", is_bytes(rows, row, FACT_METADATA, event->metadata)},
        {"floor",
         event->type != EVENT_FLOOR_CHANGED || is_number(rows, row, FACT_FLOOR, event->floor)},
        {"hold", is_asked(event) || is_target(rows, row, FACT_REFERS, &event->refers)},
        {"scheduled", (event->command == COMMAND_CANCEL && is_asked(event)) ||
                          is_target(rows, row, FACT_SCHEDULED, &event->scheduled)},
        {"error", event->type != EVENT_COMMAND_REJECTED ||
                      is_text(rows, row, FACT_RESULT, text_of(result_word(event->result)))},
    };
    return first_wrong(list, sizeof list / sizeof list[0]);
}

static int side_of(const struct event *event)
{
    bool pays = event->type == EVENT_TRANSACTION_CREATED && !event->is_credit;
    return pays || event->type == EVENT_HOLD_PLACED ? FACT_DEBIT : FACT_CREDIT;
}

static const char *wrong_side(const PGresult *rows, int row, const struct event *event)
{
    int side = side_of(event), other = side == FACT_DEBIT ? FACT_CREDIT : FACT_DEBIT;
    bool moves = event->type == EVENT_TRANSACTION_CREATED;
    bool counts = !cell_is_null(rows, row, side + 4);
    const struct fact list[] = {
        {"account", is_text(rows, row, side + 1, event->account)},
        /* Whose name it was is no part of the journal. */
        {"user_id",
         event->type == EVENT_USER_UPDATED || is_text(rows, row, side + 2, event->user_id)},
        {"asset", is_text(rows, row, side + 3, event->asset)},
        {"amount", cell_is_null(rows, row, FACT_AMOUNT)
                       ? event->amount == 0
                       : is_number(rows, row, FACT_AMOUNT, event->amount)},
        {"counterparty", !moves || is_text(rows, row, other + 1, event->counterparty)},
        {"seq",
         event->has_balance == counts && (!counts || is_number(rows, row, side + 4, event->seq))},
        {"new_balance", !counts || is_number(rows, row, side + 5, event->new_balance)},
        {"held", !counts || is_number(rows, row, side + 6, event->held)},
    };
    return first_wrong(list, sizeof list / sizeof list[0]);
}

static bool compare(struct events *events, const PGresult *rows, int row, struct err *err)
{
    const struct event *event = &events->page[cell_int32(rows, row, FACT_AT)];
    bool asked = is_asked(event);
    const char *wrong = wrong_outcome(rows, row, event);
    char transaction[UUID_TEXT_SIZE];

    events->waits[cell_int32(rows, row, FACT_AT)] = false;
    if (wrong == NULL && !asked) wrong = wrong_side(rows, row, event);
    if (wrong != NULL && events->share == 0) {
        uuid_format(&event->transaction, transaction);
        verify_differ(events->verify,
                      "account %.*s: the event of transaction %s tells another %s than the journal",
                      TEXT_ARGS(event->account), transaction, wrong);
    }
    if (asked || !event->has_balance || event->type == EVENT_ACCOUNT_OPENED) return true;
    if (cell_is_null(rows, row, side_of(event))) return true;
    int64_t number = cell_int64(rows, row, side_of(event));
    return !is_shared_here(events, number) || span_add(events, event, number, err);
}

/* --- a page of events --- */

static bool ask_facts(struct events *events, PGresult **out, struct err *err)
{
    struct bytes places, ids;
    struct array array;

    array_begin(&array, &events->arena, ARRAY_INT4);
    for (uint32_t i = 0; i < events->count; i++) array_add_int(&array, ARRAY_INT4, i);
    if (!array_end(&array, &places, err)) return false;
    array_begin(&array, &events->arena, ARRAY_UUID);
    for (uint32_t i = 0; i < events->count; i++)
        array_add_uuid(&array, &events->page[i].transaction);
    if (!array_end(&array, &ids, err)) return false;
    const struct param params[] = {{places.data, places.size}, {ids.data, ids.size}};
    return query_one(events->verify->db, &facts, params, 2, out, err);
}

/* In the events' order, for the sequence numbers; what is left has no journal row. */
static bool compare_page(struct events *events, struct err *err)
{
    char transaction[UUID_TEXT_SIZE];
    PGresult *rows;
    bool ok = true;

    for (uint32_t i = 0; i < events->count; i++) events->waits[i] = true;
    if (!ask_facts(events, &rows, err)) return false;
    for (int row = 0; ok && row < PQntuples(rows); row++) ok = compare(events, rows, row, err);
    PQclear(rows);
    for (uint32_t i = 0; ok && i < events->count; i++) {
        if (!events->waits[i] || events->share != 0) continue;
        uuid_format(&events->page[i].transaction, transaction);
        verify_differ(
            events->verify,
            "account %.*s: the journal does not hold transaction %s, of which an event tells",
            TEXT_ARGS(events->page[i].account), transaction);
    }
    events->count = 0;
    arena_reset(&events->arena);
    return ok;
}

static void decode(struct events *events, int row)
{
    struct bytes body = cell_bytes(events->rows, row, 2);
    char problem[PROBLEM_SIZE] = "its properties are none";
    struct properties properties;
    enum encoding encoding;
    struct event_list list;

    if (properties_parse(cell_bytes(events->rows, row, 1), &properties) &&
        encoding_parse(properties.content_type, &encoding) &&
        event_list_decode(events->codec, body, encoding, &events->arena, &list, problem)) {
        for (uint32_t i = 0; i < list.count; i++) events->page[events->count++] = list.events[i];
        return;
    }
    if (events->share == 0)
        verify_differ(events->verify,
                      "the event with id %" PRId64 " in the outbox cannot be read: %s",
                      cell_int64(events->rows, row, 0), problem);
}

/* A page is full when another message might not fit. */
static bool compare_rows(struct events *events, struct err *err)
{
    for (int row = 0; row < PQntuples(events->rows); row++) {
        decode(events, row);
        if (events->count > PAGE_EVENTS - EVENT_LIST_MAX && !compare_page(events, err))
            return false;
    }
    return compare_page(events, err);
}

static bool run(const struct events *events, const struct statement *statement, struct err *err)
{
    PGresult *result;

    if (!query_one(events->verify->db, statement, NULL, 0, &result, err)) return false;
    PQclear(result);
    return true;
}

static bool compare_all(struct events *events, struct err *err)
{
    bool more = true;

    if (!run(events, &declare, err)) return false;
    while (more) {
        if (!query_one(events->verify->db, &fetch, NULL, 0, &events->rows, err)) return false;
        more = PQntuples(events->rows) == PAGE_ROWS;
        if (events->share == 0)
            atomic_fetch_add(&events->verify->shared->done, (uint_fast64_t)PQntuples(events->rows));
        bool ok = compare_rows(events, err);
        PQclear(events->rows);
        if (!ok) return false;
    }
    return run(events, &close_cursor, err);
}

/* --- what the events do not tell --- */

static bool compare_last(const struct events *events, const PGresult *rows, int row,
                         struct err *err)
{
    int64_t number = cell_int64(rows, row, 0), seq = cell_int64(rows, row, 2);
    struct text id = cell_text(rows, row, 1);
    bool is_told = true, is_new = !cell_is_null(rows, row, 3);

    if (!is_shared_here(events, number)) return true;
    const struct span *span = span_of(events, number);
    if (span->number != 0 && span->last != seq &&
        !is_silent(events, number, span->last, seq, &is_told, err))
        return false;
    if (!is_told || span->last > seq)
        verify_differ(events->verify,
                      "account %.*s: its sequence number is %" PRId64
                      ", but that of its last event in the outbox %" PRId64,
                      TEXT_ARGS(id), seq, span->last);
    if (!is_new) return true;
    int64_t since = cell_int64(rows, row, 3);
    if (span->number == 0 || span->first > since)
        verify_differ(events->verify,
                      "account %.*s: its event with sequence number %" PRId64
                      " is not in the outbox",
                      TEXT_ARGS(id), since);
    return true;
}

static bool compare_lasts(const struct events *events, struct err *err)
{
    bool more = true, ok = true;
    PGresult *rows;

    if (!run(events, &declare_lasts, err)) return false;
    while (more) {
        if (!query_one(events->verify->db, &fetch_lasts, NULL, 0, &rows, err)) return false;
        more = PQntuples(rows) == PAGE_ROWS;
        for (int row = 0; ok && row < PQntuples(rows); row++)
            ok = compare_last(events, rows, row, err);
        PQclear(rows);
        if (!ok) return false;
    }
    return run(events, &close_lasts, err);
}

static bool run_shares(struct events *events, struct err *err)
{
    const struct verify_report *report = events->verify->report;
    uint64_t accounts =
        report->accounts < report->outbox_events ? report->accounts : report->outbox_events;

    events->shares = accounts / SHARE_ACCOUNTS + 1;
    for (events->share = 0; events->share < events->shares; events->share++) {
        memset(events->spans, 0, SLOTS * sizeof *events->spans);
        events->spans_count = 0;
        if (!compare_all(events, err) || !compare_lasts(events, err)) return false;
    }
    return true;
}

static bool events_open(struct events *events, const struct verify *verify, struct err *err)
{
    events->verify = verify;
    events->spans = calloc(SLOTS, sizeof *events->spans);
    if (events->spans == NULL)
        return err_set(err, ERR_FATAL, "could not read events: out of memory");
    return codec_open(&events->codec, err) && arena_open(&events->arena, ARENA_SIZE, err);
}

static void events_close(struct events *events)
{
    codec_close(events->codec);
    arena_close(&events->arena);
    free(events->spans);
}

bool verify_outbox(const struct verify *verify, struct err *err)
{
    static struct events events; /* its page is too large for a stack */

    events = (struct events){0};
    bool ok = events_open(&events, verify, err) && run_shares(&events, err);
    events_close(&events);
    return ok;
}
