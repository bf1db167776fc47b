/*
 * test_records.c - outbox rows as Kafka records: a single event goes as it is, those of a batch one
 * by one as each reads alone, in both encodings; and what is no event is refused, and told of.
 */
#include "outbox/records.h"
#include "protocol/event_list.h"
#include "tests/wire.h"

enum { EVENTS = 3 };

#define TRACEPARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define must(call) assert_true(call)

static struct arena arena, taking;
static struct codec *codec;
static struct records records;
static struct err err;

static struct event event_of(const char *account, int64_t amount)
{
    return (struct event){.type = EVENT_TRANSACTION_CREATED,
                          .command = COMMAND_TRANSFER,
                          .result = RESULT_APPLIED,
                          .transaction = WIRE_TRANSACTION,
                          .account = text_of(account),
                          .asset = TEXT_LITERAL("EUR"),
                          .amount = amount,
                          .caller = TEXT_LITERAL("shop"),
                          .key = TEXT_LITERAL("k1"),
                          .timestamp_us = WIRE_NOON_US,
                          .trace_id = WIRE_TRACE_ID};
}

static struct outbox_row row_of(const char *type, const char *message_id, enum encoding encoding,
                                struct bytes body)
{
    struct outbox_row row = {.id = 77, .kind = OUTBOX_EVENT, .destination = text_of(type)};
    struct header headers[] = {
        {.name = TEXT_LITERAL("traceparent"), .text = TEXT_LITERAL(TRACEPARENT)},
        {.name = TEXT_LITERAL("x-trace-id"), .text = TEXT_LITERAL("mine")}};
    struct properties_out properties = {.content_type = text_of(encoding_content_type(encoding)),
                                        .type = text_of(type),
                                        .message_id = text_of(message_id),
                                        .headers = headers,
                                        .headers_count = 2};

    row.body = body;
    must(properties_write(&properties, &arena, &row.properties));
    return row;
}

static void assert_header(const struct record *record, const char *name, const char *wanted)
{
    for (uint32_t i = 0; i < record->headers_count; i++) {
        if (strcmp(record->headers[i].name, name) != 0) continue;
        if (wanted == NULL) fail_msg("header %s is there", name);
        if (!text_equal(record->headers[i].value, text_of(wanted)))
            fail_msg("header %s is %.*s, not %s", name, TEXT_ARGS(record->headers[i].value),
                     wanted);
        return;
    }
    if (wanted != NULL) fail_msg("header %s is not there", name);
}

static void assert_common(const struct record *record, enum encoding encoding)
{
    assert_header(record, "content_type", encoding_content_type(encoding));
    assert_header(record, "traceparent", TRACEPARENT);
    assert_header(record, "tracestate", NULL);
    assert_header(record, "x-trace-id", "mine");
    assert_header(record, "x-ledger-epoch", "5");
    assert_header(record, "x-ledger-position", "77");
}

static void a_single_event_goes_as_it_is(void **state)
{
    (void)state;
    for (enum encoding encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
        struct event event = event_of("a1", 12);
        struct record record = {0};
        struct bytes body;
        arena_reset(&arena);
        must(event_encode(codec, &event, encoding, &arena, &body));
        struct outbox_row row = row_of("transaction.created", "t:0", encoding, body);
        must(records_open(&records, codec, &row, 5, &arena, &err));
        assert_int_equal(records.count, 1);
        must(records_take(&records, &arena, &record, &err));
        assert_true(text_equal(record.key, text_of("a1")));
        assert_true(wire_bytes_equal(record.body, body));
        assert_header(&record, "message_id", "t:0");
        assert_header(&record, "type", "transaction.created");
        assert_header(&record, "x-ledger-batch", NULL);
        assert_common(&record, encoding);
    }
}

static void those_of_a_batch_go_one_by_one(void **state)
{
    static const char *const accounts[EVENTS] = {"a1", "b2", "a1"};
    static const char *const ids[EVENTS] = {"t:1:0", "t:1:1", "t:1:2"};

    (void)state;
    for (enum encoding encoding = ENCODING_MSGPACK; encoding <= ENCODING_JSON; encoding++) {
        struct event events[EVENTS];
        struct event_list list = {.batch = WIRE_TRANSACTION,
                                  .trace_id = WIRE_TRACE_ID,
                                  .timestamp_us = WIRE_NOON_US,
                                  .key = TEXT_LITERAL("all"),
                                  .events = events,
                                  .count = EVENTS};
        struct record record = {0};
        struct bytes body, alone;
        uint32_t taken;
        arena_reset(&arena);
        for (uint32_t i = 0; i < EVENTS; i++) events[i] = event_of(accounts[i], 1 + i);
        must(event_list_encode(&list, encoding, &arena, &body, &taken));
        struct outbox_row row = row_of(EVENT_LIST_WORD, "t:1", encoding, body);
        must(records_open(&records, codec, &row, 5, &arena, &err));
        assert_int_equal(records.count, EVENTS);
        for (uint32_t i = 0; i < EVENTS; i++) {
            arena_reset(&taking);
            must(records_take(&records, &taking, &record, &err));
            must(event_encode(codec, &events[i], encoding, &arena, &alone));
            assert_true(text_equal(record.key, text_of(accounts[i])));
            assert_true(wire_bytes_equal(record.body, alone));
            assert_header(&record, "message_id", ids[i]);
            assert_header(&record, "type", "transaction.created");
            assert_header(&record, "x-ledger-batch", "019aaf11-2233-7444-8555-66778899aabb");
            assert_common(&record, encoding);
        }
    }
}

/* What names no account has no key; what this version does not know is passed on. */
static void whatever_is_a_map_with_a_type_is_an_event(void **state)
{
    static const struct {
        const char *why, *json, *key;
    } cases[] = {
        {"no account", "{\"event_type\":\"checkpoint.created\",\"number\":1}", ""},
        {"of a newer ledger", "{\"event_type\":\"x.y\",\"account\":\"a\",\"z\":[{}]}", "a"},
        {"an empty batch",
         "{\"event_type\":\"batch.applied\",\"batch\":\"019aaf11-2233-7444-8555-66778899aabb\","
         "\"events\":[]}",
         ""},
        {"events of something else", "{\"event_type\":\"x.y\",\"account\":\"a\",\"events\":[1]}",
         "a"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes body = wire_bytes(text_of(cases[i].json));
        struct record record = {0};
        arena_reset(&arena);
        struct outbox_row row = row_of("x", "m", ENCODING_JSON, body);
        if (!records_open(&records, codec, &row, 5, &arena, &err) || records.count != 1 ||
            !records_take(&records, &arena, &record, &err))
            fail_msg("%s: %s", cases[i].why, err.text);
        if (!text_equal(record.key, text_of(cases[i].key)))
            fail_msg("%s: its key is %.*s", cases[i].why, TEXT_ARGS(record.key));
        assert_true(wire_bytes_equal(record.body, body));
    }
}

static void what_is_no_event_is_told_of(void **state)
{
    static const char *const bodies[] = {
        "",
        "{",
        "7",
        "{}",
        "{\"event_type\":7}",
        "{\"event_type\":\"x\",\"account\":7}",
        "{\"event_type\":\"batch.applied\",\"events\":{}}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct record record = {0};
        arena_reset(&arena);
        struct outbox_row row = row_of("x.y", "m", ENCODING_JSON, wire_bytes(text_of(bodies[i])));
        err.kind = ERR_NONE;
        if (records_open(&records, codec, &row, 5, &arena, &err)) fail_msg("%s", bodies[i]);
        assert_int_equal(err.kind, ERR_REJECT);
        records_remains(&records, &row, 5, err.text, &record);
        assert_int_equal(record.body.size, 0);
        assert_int_equal(record.key.length, 0);
        assert_header(&record, "message_id", "m");
        assert_header(&record, "type", "x.y");
        assert_header(&record, "x-ledger-reason", "unpublishable");
        assert_header(&record, "x-ledger-error", err.text);
        assert_header(&record, "x-ledger-position", "77");
    }
}

static void bad_properties_too(void **state)
{
    static const uint8_t wrong[] = {0xff, 0xff, 1};
    struct outbox_row row = {.id = 9, .properties = {wrong, sizeof wrong}};
    struct record record = {0};

    (void)state;
    assert_false(records_open(&records, codec, &row, 5, &arena, &err));
    assert_int_equal(err.kind, ERR_REJECT);
    records_remains(&records, &row, 5, err.text, &record);
    assert_header(&record, "message_id", "outbox:9");
}

/* The elements are looked at only when each is taken. */
static void one_bad_element_is_told_of_alone(void **state)
{
    struct bytes body =
        wire_bytes(TEXT_LITERAL("{\"event_type\":\"batch.applied\",\"batch\":\"b\",\"events\":["
                                "{\"event_type\":\"x\",\"account\":\"a\"},{\"event_type\":1},"
                                "{\"event_type\":\"x\",\"account\":\"c\"}]}"));
    struct record record = {0};

    (void)state;
    arena_reset(&arena);
    struct outbox_row row = row_of(EVENT_LIST_WORD, "m", ENCODING_JSON, body);
    must(records_open(&records, codec, &row, 5, &arena, &err));
    assert_int_equal(records.count, 3);
    must(records_take(&records, &arena, &record, &err));
    assert_false(records_take(&records, &arena, &record, &err));
    assert_int_equal(err.kind, ERR_REJECT);
    records_remains(&records, &row, 5, err.text, &record);
    assert_header(&record, "message_id", "m:1");
    assert_int_equal(record.key.length, 0);
    must(records_take(&records, &arena, &record, &err));
    assert_header(&record, "message_id", "m:2");
    assert_true(text_equal(record.key, text_of("c")));
}

/* Too large for Kafka: the account is known. */
static void remains_keep_the_key_that_is_known(void **state)
{
    struct bytes body =
        wire_bytes(TEXT_LITERAL("{\"event_type\":\"x\",\"account\":\"a\",\"big\":1}"));
    struct record record = {0};

    (void)state;
    arena_reset(&arena);
    struct outbox_row row = row_of("x", "m", ENCODING_JSON, body);
    must(records_open(&records, codec, &row, 5, &arena, &err));
    must(records_take(&records, &arena, &record, &err));
    records_remains(&records, &row, 5, "too large", &record);
    assert_true(text_equal(record.key, text_of("a")));
    assert_header(&record, "message_id", "m");
    assert_header(&record, "x-ledger-error", "too large");
}

static int open_memory(void **state)
{
    (void)state;
    must(codec_open(&codec, &err));
    must(arena_open(&arena, WIRE_ARENA_SIZE, &err));
    must(arena_open(&taking, WIRE_ARENA_SIZE, &err));
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    arena_close(&taking);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_event_goes_as_it_is),
        cmocka_unit_test(those_of_a_batch_go_one_by_one),
        cmocka_unit_test(whatever_is_a_map_with_a_type_is_an_event),
        cmocka_unit_test(what_is_no_event_is_told_of),
        cmocka_unit_test(bad_properties_too),
        cmocka_unit_test(one_bad_element_is_told_of_alone),
        cmocka_unit_test(remains_keep_the_key_that_is_known),
    };
    return cmocka_run_group_tests(tests, open_memory, close_memory);
}
