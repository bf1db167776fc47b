/*
 * test_compose.c - the messages that a decided batch owes: which, in which order, and what is in
 * them. The batch is decided by the ledger itself, from messages as callers send them.
 */
#include "base/clock.h"
#include "outbox/compose.h"
#include "protocol/event.h"
#include "protocol/properties_wire.h"
#include "tests/wire.h"

enum { LARGE_SIZE = 125 * 1024, SPEED_WORKS = 1000, SPEED_ROUNDS = 20 };

#define NOW_US (WIRE_NOON_US + 250000)
#define TRACEPARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static struct codec *codec;
static struct arena arena;
static struct names names;
static struct asset euro = {.code = WIRE_TEXT("EUR"), .scale = 2, .world = 1};

static struct request requests[SPEED_WORKS];
static struct work works[SPEED_WORKS];
static struct batch batch;
static struct outbox_row rows[OUTBOX_ROWS_PER_WORK * SPEED_WORKS];
static uint32_t rows_count;

/* The accounts that there are. */
static const struct account ACCOUNTS[] = {
    {.id = WIRE_TEXT("alice"),
     .user_id = WIRE_TEXT("u-alice"),
     .number = 10,
     .balance = 1000,
     .held = 100,
     .seq = 7},
    {.id = WIRE_TEXT("bob"), .user_id = WIRE_TEXT("u-bob"), .number = 11, .balance = 50, .seq = 3},
    {.id = WIRE_TEXT("fees"), .user_id = WIRE_TEXT("system"), .number = 12, .kind = ACCOUNT_SYSTEM},
    {.id = WIRE_TEXT("lost"), .user_id = WIRE_TEXT("system"), .number = 13, .kind = ACCOUNT_SYSTEM},
    {.id = WIRE_TEXT("world:EUR"),
     .user_id = WIRE_TEXT("system"),
     .number = 1,
     .kind = ACCOUNT_SYSTEM},
};

/* --- a batch ----------------------------------------------------------------------------- */

static const struct properties_out USUAL = {.content_type = WIRE_TEXT("application/msgpack"),
                                            .message_id = WIRE_TEXT("key-1"),
                                            .correlation_id = WIRE_TEXT("corr-1"),
                                            .reply_to = WIRE_TEXT("replies"),
                                            .app_id = WIRE_TEXT("shop")};

static void begin(void)
{
    arena_reset(&arena);
    batch = (struct batch){.arena = &arena, .works = works};
    rows_count = 0;
}

static struct work *add_raw(struct bytes properties, struct bytes body)
{
    uint32_t i = batch.works_count++;
    struct incoming incoming = {.exchange = WIRE_TEXT("ledger.commands"),
                                .routing_key = WIRE_TEXT("alice"),
                                .queue = WIRE_TEXT("ledger.commands.3"),
                                .properties = properties,
                                .body = body,
                                .body_size = body.size};
    uint8_t random[TRACE_RANDOM_SIZE] = {(uint8_t)(i + 1), 2, 3, [TRACE_RANDOM_SIZE - 1] = 9};

    request_decode(codec, &incoming, random, &arena, &requests[i]);
    works[i] =
        (struct work){.request = &requests[i],
                      .id = WIRE_TRANSACTION,
                      .origin = requests[i].fault == RESULT_APPLIED ? ORIGIN_NONE : ORIGIN_FAULT};
    works[i].id.bytes[15] = (uint8_t)i;
    return &works[i];
}

static struct work *add(const struct properties_out *given, const struct command *command)
{
    struct properties_out wanted = *given;
    struct bytes properties, body;
    enum encoding encoding;

    assert_true(encoding_parse(given->content_type, &encoding));
    wanted.type = text_of(command_word(command->type));
    assert_true(properties_write(&wanted, &arena, &properties));
    assert_true(command_encode(codec, command, encoding, &arena, &body));
    return add_raw(properties, body);
}

static void decide(void)
{
    struct err err = {0};

    assert_true(ledger_collect_targets(&batch, &err));
    assert_true(ledger_collect(&batch, &err));
    batch.assets = &euro;
    batch.assets_count = 1;
    batch.now_us = NOW_US;
    for (uint32_t i = 0; i < batch.accounts_count; i++)
        for (size_t a = 0; a < sizeof ACCOUNTS / sizeof ACCOUNTS[0]; a++) {
            struct account *account = &batch.accounts[i];
            if (!account->exists) account->number = 99;
            if (!text_equal(account->id, ACCOUNTS[a].id)) continue;
            *account = ACCOUNTS[a];
            account->exists = true;
            account->asset = &euro;
        }
    assert_true(ledger_apply(&batch, &err));
}

static bool compose(enum encoding event_encoding)
{
    struct compose_options options = {&names, event_encoding};
    struct err err = {0};

    if (compose_rows(&batch, &options, codec, rows, &rows_count, &err)) return true;
    assert_int_equal(err.kind, ERR_REJECT);
    return false;
}

static void run(uint32_t expected)
{
    decide();
    assert_true(compose(ENCODING_MSGPACK));
    assert_int_equal(rows_count, expected);
}

/* --- what is in a row -------------------------------------------------------------------- */

static struct event event_of(const struct outbox_row *row, enum encoding encoding)
{
    struct event event;
    char problem[PROBLEM_SIZE];

    assert_int_equal(row->kind, OUTBOX_EVENT);
    if (!event_decode(codec, row->body, encoding, &arena, &event, problem)) fail_msg("%s", problem);
    assert_true(text_equal(row->destination, text_of(event_word(event.type))));
    assert_int_equal(event.timestamp_us, NOW_US);
    return event;
}

static struct reply reply_of(const struct outbox_row *row, enum encoding encoding)
{
    struct reply reply;
    char problem[PROBLEM_SIZE];

    assert_int_equal(row->kind, OUTBOX_REPLY);
    assert_true(text_equal(row->destination, text_of("replies")));
    if (!reply_decode(codec, row->body, encoding, &arena, &reply, problem)) fail_msg("%s", problem);
    return reply;
}

static struct properties properties_of(const struct outbox_row *row)
{
    struct properties properties;

    assert_true(properties_parse(row->properties, &properties));
    return properties;
}

/* The empty text when it is absent, a number as a decimal. */
static struct text header_of(const struct outbox_row *row, const char *name)
{
    static char number[24];
    struct parts parts;
    struct entry entry;

    assert_true(parts_take(row->properties, &parts));
    while (parts.part[PROPERTY_HEADERS].size > 0) {
        assert_true(entry_take(&parts.part[PROPERTY_HEADERS], &entry));
        if (!text_equal(entry.name, text_of(name))) continue;
        if (entry.type == FIELD_LONG_TEXT)
            return (struct text){(const char *)entry.value.data, entry.value.size};
        assert_int_equal(entry.type, FIELD_INT64);
        (void)snprintf(number, sizeof number, "%u", entry.value.data[7]);
        return text_of(number);
    }
    return (struct text){0};
}

#define assert_text(actual, expected)                                                              \
    do {                                                                                           \
        struct text text_ = (actual);                                                              \
        if (!text_equal(text_, text_of(expected)))                                                 \
            fail_msg("'%.*s' is not '%s'", TEXT_ARGS(text_), expected);                            \
    } while (0)

static int64_t timestamp_of(const struct outbox_row *row)
{
    struct parts parts;
    int64_t seconds = 0;

    assert_true(parts_take(row->properties, &parts));
    assert_int_equal(parts.part[PROPERTY_TIMESTAMP].size, 8);
    for (uint32_t i = 0; i < 8; i++)
        seconds = seconds << 8 | parts.part[PROPERTY_TIMESTAMP].data[i];
    return seconds;
}

/* --- events ------------------------------------------------------------------------------ */

static const struct command DEPOSIT = {
    .type = COMMAND_DEPOSIT, .account = WIRE_TEXT("alice"), .amount = {.value = 250}};
static const struct command TOO_MUCH = {
    .type = COMMAND_WITHDRAW, .account = WIRE_TEXT("alice"), .amount = {.value = 901}};
static const struct command BALANCE = {.type = COMMAND_GET_BALANCE, .account = WIRE_TEXT("alice")};

static void a_deposit_owes_a_reply_and_then_an_event(void **state)
{
    static const uint8_t metadata[] = {0x81, 0xa1, 'k', 0x07};
    struct command command = DEPOSIT;

    (void)state;
    begin();
    command.metadata = (struct bytes){metadata, sizeof metadata};
    (void)add(&USUAL, &command);
    run(2);

    struct event event = event_of(&rows[1], ENCODING_MSGPACK);
    assert_int_equal(event.type, EVENT_TRANSACTION_CREATED);
    assert_int_equal(event.command, COMMAND_DEPOSIT);
    assert_true(wire_uuid_equal(event.transaction, works[0].id));
    assert_true(wire_uuid_equal(event.trace_id, requests[0].trace.trace_id));
    assert_text(event.user_id, "u-alice");
    assert_text(event.account, "alice");
    assert_text(event.asset, "EUR");
    assert_text(event.counterparty, "world:EUR");
    assert_text(event.caller, "shop");
    assert_text(event.key, "key-1");
    assert_true(event.is_credit);
    assert_int_equal(event.amount, 250);
    assert_true(event.has_balance);
    assert_int_equal(event.new_balance, 1250);
    assert_int_equal(event.held, 100);
    assert_int_equal(event.seq, 8);
    assert_true(wire_bytes_equal(event.metadata, command.metadata));

    struct reply reply = reply_of(&rows[0], ENCODING_MSGPACK);
    assert_int_equal(reply.result, RESULT_APPLIED);
    assert_int_equal(reply.balances[0].balance, 1250);
    assert_false(reply.replayed);
}

static void properties_say_whose_answer_it_is_and_go_on_with_the_trace(void **state)
{
    static const struct header headers[] = {
        {.name = WIRE_TEXT("traceparent"), .text = WIRE_TEXT(TRACEPARENT)},
        {.name = WIRE_TEXT("tracestate"), .text = WIRE_TEXT("vendor=1")},
        {.name = WIRE_TEXT("x-trace-id"), .text = WIRE_TEXT("order 17")},
        {.name = WIRE_TEXT("x-other"), .text = WIRE_TEXT("is nobody's business")}};
    static const char *const types[] = {"reply", "transaction.created"};
    struct properties_out given = USUAL;
    char traceparent[TRACEPARENT_SIZE];

    (void)state;
    begin();
    given.headers = headers;
    given.headers_count = 4;
    (void)add(&given, &DEPOSIT);
    run(2);
    traceparent_format(&requests[0].trace, traceparent);
    assert_memory_equal(traceparent, TRACEPARENT, 35);     /* the same trace ... */
    assert_memory_not_equal(traceparent, TRACEPARENT, 54); /* ... another span */
    for (uint32_t i = 0; i < 2; i++) {
        struct properties properties = properties_of(&rows[i]);
        assert_text(properties.content_type, "application/msgpack");
        assert_text(properties.type, types[i]);
        assert_text(properties.correlation_id, "corr-1");
        assert_text(properties.traceparent, traceparent);
        assert_text(properties.tracestate, "vendor=1");
        assert_text(properties.trace_id, "order 17");
        assert_text(properties.reply_to, "");
        assert_text(properties.app_id, "");
        assert_text(header_of(&rows[i], "x-other"), "");
        assert_int_equal(timestamp_of(&rows[i]), NOW_US / 1000000);
    }
    assert_text(properties_of(&rows[1]).message_id, "019aaf11-2233-7444-8555-66778899aa00:0");
    assert_text(properties_of(&rows[0]).message_id, "019aaf11-2233-7444-8555-66778899aa00:r");
}

/* Which sides of a movement are told of. System accounts have no balance to tell: it is rolled up
 * later. */
static void each_side_but_the_world_is_told_of(void **state)
{
    struct told {
        const char *account, *counterparty;
        bool is_credit, has_balance;
        int64_t balance, seq;
    };
    /* clang-format off */
    static const struct {
        enum command_type type;
        const char *from, *to; /* of a deposit or a withdrawal the account is from */
        struct told told[2];
    } cases[] = {
        {COMMAND_WITHDRAW, "alice", NULL, {{"alice", "world:EUR", false, true, 990, 8}}},
        {COMMAND_TRANSFER, "alice", "bob", {{"alice", "bob", false, true, 990, 8}, {"bob", "alice", true, true, 60, 4}}},
        {COMMAND_TRANSFER, "alice", "fees", {{"alice", "fees", false, true, 990, 8}, {"fees", "alice", true, false, 0, 0}}},
        {COMMAND_TRANSFER, "fees", "lost", {{"fees", "lost", false, false, 0, 0}, {"lost", "fees", true, false, 0, 0}}},
        {COMMAND_TRANSFER, "world:EUR", "bob", {{"bob", "world:EUR", true, true, 60, 4}}},
        {COMMAND_TRANSFER, "fees", "world:EUR", {{"fees", "world:EUR", false, false, 0, 0}}},
        {COMMAND_DEPOSIT, "fees", NULL, {{"fees", "world:EUR", true, false, 0, 0}}},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool transfers = cases[i].type == COMMAND_TRANSFER;
        struct command command = {.type = cases[i].type, .amount = {.value = 10}};
        struct properties_out given = USUAL;
        uint32_t told = 0;
        if (transfers) command.from = text_of(cases[i].from);
        if (transfers) command.to = text_of(cases[i].to);
        if (!transfers) command.account = text_of(cases[i].from);
        given.reply_to = (struct text){0};
        begin();
        (void)add(&given, &command);
        decide();
        assert_true(compose(ENCODING_MSGPACK));
        for (; told < 2 && cases[i].told[told].account != NULL; told++) {
            struct event event = event_of(&rows[told], ENCODING_MSGPACK);
            const struct told *want = &cases[i].told[told];
            assert_text(event.account, want->account);
            assert_text(event.counterparty, want->counterparty);
            assert_int_equal(event.is_credit, want->is_credit);
            assert_int_equal(event.has_balance, want->has_balance);
            assert_int_equal(event.new_balance, want->balance);
            assert_int_equal(event.seq, want->seq);
            assert_int_equal(event.amount, 10);
            struct text message_id = properties_of(&rows[told]).message_id;
            assert_int_equal(message_id.bytes[message_id.length - 1], '0' + told);
        }
        assert_int_equal(rows_count, told);
    }
}

static void events_tell_their_own_outcome_not_the_last_one(void **state)
{
    struct properties_out given = USUAL;

    (void)state;
    begin();
    (void)add(&given, &DEPOSIT);
    given.message_id = text_of("key-2");
    (void)add(&given, &DEPOSIT);
    run(4);
    for (uint32_t i = 0; i < 2; i++) {
        struct event event = event_of(&rows[2 + i], ENCODING_MSGPACK);
        assert_int_equal(event.new_balance, 1250 + 250 * i);
        assert_int_equal(event.seq, 8 + i);
    }
}

static void an_opened_account_is_told_of_in_json(void **state)
{
    struct command command = {.type = COMMAND_OPEN_ACCOUNT,
                              .account = WIRE_TEXT("carol"),
                              .user_id = WIRE_TEXT("u-carol"),
                              .asset = WIRE_TEXT("EUR")};
    struct properties_out given = USUAL;

    (void)state;
    begin();
    given.content_type = text_of("application/json");
    (void)add(&given, &command);
    decide();
    assert_true(compose(ENCODING_JSON));
    assert_int_equal(rows_count, 2);
    struct event event = event_of(&rows[1], ENCODING_JSON);
    assert_int_equal(event.type, EVENT_ACCOUNT_OPENED);
    assert_text(event.account, "carol");
    assert_text(event.user_id, "u-carol");
    assert_true(event.has_balance);
    assert_int_equal(event.seq, 0);
    assert_text(properties_of(&rows[1]).content_type, "application/json");
    struct reply reply = reply_of(&rows[0], ENCODING_JSON);
    assert_true(reply.created);
    assert_text(properties_of(&rows[0]).content_type, "application/json");
}

static void a_refusal_is_told_of(void **state)
{
    (void)state;
    begin();
    (void)add(&USUAL, &TOO_MUCH);
    run(2);
    struct event event = event_of(&rows[1], ENCODING_MSGPACK);
    assert_int_equal(event.type, EVENT_COMMAND_REJECTED);
    assert_int_equal(event.result, RESULT_INSUFFICIENT_FUNDS);
    assert_text(event.account, "alice");
    assert_int_equal(event.amount, 901);
    assert_false(event.has_balance);
    assert_int_equal(reply_of(&rows[0], ENCODING_MSGPACK).result, RESULT_INSUFFICIENT_FUNDS);
}

static void a_repeat_a_conflict_and_a_query_owe_a_reply_alone(void **state)
{
    struct command other = DEPOSIT;

    (void)state;
    begin();
    other.amount.value = 251;
    (void)add(&USUAL, &DEPOSIT);
    (void)add(&USUAL, &DEPOSIT);
    (void)add(&USUAL, &other);
    (void)add(&USUAL, &BALANCE);
    run(5);
    assert_true(reply_of(&rows[1], ENCODING_MSGPACK).replayed);
    assert_true(wire_uuid_equal(reply_of(&rows[1], ENCODING_MSGPACK).transaction, works[0].id));
    assert_int_equal(reply_of(&rows[2], ENCODING_MSGPACK).result, RESULT_KEY_REUSED);
    assert_int_equal(reply_of(&rows[3], ENCODING_MSGPACK).balances[0].balance, 1250);
    for (uint32_t i = 1; i < 5; i++) /* no two messages have one id */
        for (uint32_t j = 0; j < i; j++)
            assert_false(
                text_equal(properties_of(&rows[i]).message_id, properties_of(&rows[j]).message_id));
}

static void who_asks_for_no_reply_gets_none(void **state)
{
    static const char *const nobody[] = {"", "ledger.dlq", "ledger.commands.0",
                                         "ledger.commands.77"};
    struct properties_out given = USUAL;

    (void)state;
    for (size_t i = 0; i < sizeof nobody / sizeof nobody[0]; i++) {
        begin();
        given.reply_to = text_of(nobody[i]);
        (void)add(&given, &DEPOSIT);
        run(1);
        assert_int_equal(rows[0].kind, OUTBOX_EVENT);
    }
    begin();
    add(&USUAL, &DEPOSIT)->answered = true;
    run(1);
    assert_int_equal(rows[0].kind, OUTBOX_EVENT);
}

static void a_reply_alone_is_the_same(void **state)
{
    struct compose_options options = {&names, ENCODING_MSGPACK};
    struct outbox_row row;
    struct err err = {0};
    bool owed = false;

    (void)state;
    begin();
    (void)add(&USUAL, &DEPOSIT);
    run(2);
    assert_true(compose_reply(&batch, &works[0], &options, codec, &row, &owed, &err));
    assert_true(owed);
    assert_true(text_equal(row.destination, rows[0].destination));
    assert_true(wire_bytes_equal(row.properties, rows[0].properties));
    assert_true(wire_bytes_equal(row.body, rows[0].body));
    works[0].answered = true;
    assert_true(compose_reply(&batch, &works[0], &options, codec, &row, &owed, &err));
    assert_false(owed);
}

/* --- dead letters ------------------------------------------------------------------------ */

static void what_is_no_command_owes_a_dead_letter_and_a_reply(void **state)
{
    static const struct header headers[] = {
        {.name = WIRE_TEXT("x-other"), .text = WIRE_TEXT("stays")},
        {.name = WIRE_TEXT("x-ledger-reason"), .text = WIRE_TEXT("forged")}};
    static const uint8_t body[] = {0xc1, 0x00, 0xff};
    struct properties_out given = USUAL;
    struct bytes properties;
    char now[TIME_TEXT_SIZE];

    (void)state;
    begin();
    time_format(NOW_US, now);
    given.type = text_of("deposit");
    given.user_id = text_of("guest");
    given.headers = headers;
    given.headers_count = 2;
    assert_true(properties_write(&given, &arena, &properties));
    (void)add_raw(properties, (struct bytes){body, sizeof body});
    run(2);
    assert_int_equal(rows[1].kind, OUTBOX_DEAD_LETTER);
    assert_text(rows[1].destination, "alice");
    assert_int_equal(rows[1].body.size, sizeof body);
    assert_memory_equal(rows[1].body.data, body, sizeof body);

    struct properties found = properties_of(&rows[1]);
    assert_text(found.message_id, "key-1");
    assert_text(found.correlation_id, "corr-1");
    assert_text(found.reply_to, "replies");
    assert_text(found.app_id, "shop");
    assert_text(found.user_id, "");
    assert_text(header_of(&rows[1], "x-other"), "stays");
    assert_text(header_of(&rows[1], "x-ledger-reason"), "malformed");
    assert_text(header_of(&rows[1], "x-ledger-error"), requests[0].problem);
    assert_text(header_of(&rows[1], "x-ledger-queue"), "ledger.commands.3");
    assert_text(header_of(&rows[1], "x-ledger-exchange"), "ledger.commands");
    assert_text(header_of(&rows[1], "x-ledger-routing-key"), "alice");
    assert_text(header_of(&rows[1], "x-ledger-first-death"), now);
    assert_text(header_of(&rows[1], "x-ledger-last-death"), now);
    assert_text(header_of(&rows[1], "x-ledger-attempts"), "1");
    assert_text(header_of(&rows[1], "x-ledger-user-id"), "guest");
    assert_text(header_of(&rows[1], "x-ledger-headers-lost"), "");

    struct reply reply = reply_of(&rows[0], ENCODING_MSGPACK);
    assert_int_equal(reply.result, RESULT_MALFORMED);
    assert_text(reply.message, requests[0].problem);
}

static void the_reason_is_the_fault(void **state)
{
    static const struct {
        const char *type, *message_id, *reason;
    } cases[] = {{"depsoit", "k", "unknown_type"},
                 {"", "k", "unknown_type"},
                 {"deposit", "", "idempotency_key_missing"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct properties_out given = {.type = text_of(cases[i].type),
                                       .message_id = text_of(cases[i].message_id)};
        struct bytes properties;
        begin();
        assert_true(properties_write(&given, &arena, &properties));
        (void)add_raw(properties, (struct bytes){(const uint8_t *)"\x80", 1});
        run(1);
        assert_text(header_of(&rows[0], "x-ledger-reason"), cases[i].reason);
    }
}

static void a_message_that_died_before_keeps_its_first_death(void **state)
{
    struct header headers[] = {
        {.name = WIRE_TEXT("X-Ledger-First-Death"),
         .text = WIRE_TEXT("2025-01-01T00:00:00.000000Z")},
        {.name = WIRE_TEXT("x-ledger-attempts"), .is_number = true, .number = 4}};
    struct properties_out given = USUAL;
    struct bytes properties;

    (void)state;
    for (uint32_t forged = 0; forged < 2; forged++) {
        begin();
        if (forged == 1) headers[1].number = INT64_MAX;
        given.headers = headers;
        given.headers_count = 2;
        assert_true(properties_write(&given, &arena, &properties));
        (void)add_raw(properties, (struct bytes){0});
        run(2);
        assert_text(header_of(&rows[1], "x-ledger-first-death"), "2025-01-01T00:00:00.000000Z");
        assert_text(header_of(&rows[1], "x-ledger-attempts"), forged == 1 ? "1" : "5");
    }
}

static void what_the_store_refused_alone_is_dead_lettered_as_internal(void **state)
{
    struct work *work;

    (void)state;
    begin();
    work = add(&USUAL, &DEPOSIT);
    work->origin = ORIGIN_FAULT;
    work->isolated = true;
    run(2);
    assert_int_equal(rows[1].kind, OUTBOX_DEAD_LETTER);
    assert_text(header_of(&rows[1], "x-ledger-reason"), "internal");
    assert_int_equal(reply_of(&rows[0], ENCODING_MSGPACK).result, RESULT_INTERNAL);
}

static void an_oversized_message_is_left_to_the_broker(void **state)
{
    struct properties_out given = USUAL;
    struct bytes properties;
    struct work *work;

    (void)state;
    begin();
    assert_true(properties_write(&given, &arena, &properties));
    work = add_raw(properties, (struct bytes){0});
    requests[0].incoming.oversized = true;
    requests[0].fault = RESULT_BODY_TOO_LARGE;
    assert_ptr_equal(work->request, &requests[0]);
    run(1);
    assert_int_equal(reply_of(&rows[0], ENCODING_MSGPACK).result, RESULT_BODY_TOO_LARGE);
}

/* Whatever a stranger sends can be put aside, or its queue would wait for it for ever. */
static void what_cannot_be_kept_is_dead_lettered_without(void **state)
{
    static char large[LARGE_SIZE];
    static const uint8_t garbage[] = {0xff, 0xff, 0xff},
                         torn[] = {0x20, 0x00, 0, 0, 0, 3, 1, 'k', '?'};
    struct header header = {.name = WIRE_TEXT("x-large"), .text = {large, LARGE_SIZE}};
    struct properties_out given = {
        .message_id = WIRE_TEXT("k"), .headers = &header, .headers_count = 1};
    struct bytes properties[3] = {{0}, {garbage, sizeof garbage}, {torn, sizeof torn}};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        begin();
        if (i == 0) assert_true(properties_write(&given, &arena, &properties[0]));
        (void)add_raw(properties[i], (struct bytes){garbage, sizeof garbage});
        requests[0].incoming.routing_key = (struct text){"\xff\x00x", 3};
        run(1);
        assert_int_equal(rows[0].destination.length, 0);
        assert_int_equal(rows[0].body.size, sizeof garbage);
        assert_text(header_of(&rows[0], "x-ledger-headers-lost"), "true");
        assert_int_equal(header_of(&rows[0], "x-ledger-routing-key").length, 3);
        assert_text(properties_of(&rows[0]).message_id, i == 0 ? "k" : "");
        assert_true(rows[0].properties.size < 1024);
    }
}

/* --- limits ------------------------------------------------------------------------------ */

static void a_full_arena_is_an_answer(void **state)
{
    size_t full = arena.size, needed;
    bool fitted = false;

    (void)state;
    begin();
    (void)add(&USUAL, &DEPOSIT);
    (void)add(&USUAL, &TOO_MUCH);
    (void)add_raw((struct bytes){0}, (struct bytes){0});
    decide();
    needed = arena.used;
    for (size_t room = 0; !fitted; room++) {
        arena.used = needed;
        arena.size = needed + room;
        fitted = compose(room % 2 == 0 ? ENCODING_MSGPACK : ENCODING_JSON);
        assert_true(arena.used <= arena.size);
    }
    arena.size = full;
}

static void composing_is_quick(void **state)
{
    uint64_t best_ns = UINT64_MAX;
    char key[16];

    (void)state;
    begin();
    for (uint32_t i = 0; i < SPEED_WORKS; i++) {
        struct properties_out given = USUAL;
        (void)snprintf(key, sizeof key, "key-%u", i);
        given.message_id = text_of(key);
        (void)add(&given, &DEPOSIT);
    }
    decide();
    size_t used = arena.used;
    for (uint32_t round = 0; round < SPEED_ROUNDS; round++) {
        uint64_t start_us = clock_monotonic_us();
        arena.used = used;
        assert_true(compose(ENCODING_MSGPACK));
        uint64_t ns = (clock_monotonic_us() - start_us) * 1000 / SPEED_WORKS;
        if (ns < best_ns) best_ns = ns;
    }
    assert_int_equal(rows_count, 2 * SPEED_WORKS);
    print_message("a deposit's event and reply: %ju ns, %u bytes\n", (uintmax_t)best_ns,
                  rows[0].properties.size + rows[0].body.size + rows[1].properties.size +
                      rows[1].body.size);
    assert_true(best_ns < 100000);
}

static int open_all(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, WIRE_ARENA_SIZE, &err) && codec_open(&codec, &err) &&
                   names_make(&names, "ledger", 8, &err)
               ? 0
               : -1;
}

static int close_all(void **state)
{
    (void)state;
    arena_close(&arena);
    codec_close(codec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deposit_owes_a_reply_and_then_an_event),
        cmocka_unit_test(properties_say_whose_answer_it_is_and_go_on_with_the_trace),
        cmocka_unit_test(each_side_but_the_world_is_told_of),
        cmocka_unit_test(events_tell_their_own_outcome_not_the_last_one),
        cmocka_unit_test(an_opened_account_is_told_of_in_json),
        cmocka_unit_test(a_refusal_is_told_of),
        cmocka_unit_test(a_repeat_a_conflict_and_a_query_owe_a_reply_alone),
        cmocka_unit_test(who_asks_for_no_reply_gets_none),
        cmocka_unit_test(a_reply_alone_is_the_same),
        cmocka_unit_test(what_is_no_command_owes_a_dead_letter_and_a_reply),
        cmocka_unit_test(the_reason_is_the_fault),
        cmocka_unit_test(a_message_that_died_before_keeps_its_first_death),
        cmocka_unit_test(what_the_store_refused_alone_is_dead_lettered_as_internal),
        cmocka_unit_test(an_oversized_message_is_left_to_the_broker),
        cmocka_unit_test(what_cannot_be_kept_is_dead_lettered_without),
        cmocka_unit_test(a_full_arena_is_an_answer),
        cmocka_unit_test(composing_is_quick),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
