/*
 * test_properties.c - basic properties against golden bytes, every field type of RabbitMQ, every
 * truncation; what is extended keeps all that was there.
 */
#include "protocol/properties.h"
#include "tests/wire.h"

static struct arena arena;

/* All fourteen properties; all field types among the headers. */
#define HEADERS                                                                                    \
    "\x0fIdempotency-Key"                                                                          \
    "S\x00\x00\x00\x03k-1"                                                                         \
    "\x0btraceparent"                                                                              \
    "x\x00\x00\x00\x02tp"                                                                          \
    "\x0atracestate"                                                                               \
    "S\x00\x00\x00\x02ts"                                                                          \
    "\x0ax-trace-id"                                                                               \
    "S\x00\x00\x00\x02ti"                                                                          \
    "\x0ax-deadline"                                                                               \
    "S\x00\x00\x00\x02"                                                                            \
    "dl"                                                                                           \
    "\x10x-delivery-count"                                                                         \
    "l\x00\x00\x00\x00\x00\x00\x00\x02"                                                            \
    "\x01tt\x01"                                                                                   \
    "\x01"                                                                                         \
    "bb\xff"                                                                                       \
    "\x01"                                                                                         \
    "BB\xff"                                                                                       \
    "\x01ss\xff\xff"                                                                               \
    "\x01uu\xff\xff"                                                                               \
    "\x01II\xff\xff\xff\xff"                                                                       \
    "\x01ii\xff\xff\xff\xff"                                                                       \
    "\x01"                                                                                         \
    "ff\x3f\x80\x00\x00"                                                                           \
    "\x01"                                                                                         \
    "dd\x3f\xf0\x00\x00\x00\x00\x00\x00"                                                           \
    "\x01"                                                                                         \
    "DD\x02\x00\x00\x00\x64"                                                                       \
    "\x01TT\x00\x00\x00\x00\x69\x2a\x00\x00"                                                       \
    "\x01"                                                                                         \
    "AA\x00\x00\x00\x07S\x00\x00\x00\x02in"                                                        \
    "\x01"                                                                                         \
    "FF\x00\x00\x00\x06\x01nt\x01\x01m"                                                            \
    "\x00V"
#define BEFORE_HEADERS                                                                             \
    "\x10"                                                                                         \
    "application/json"                                                                             \
    "\x04gzip"
#define AFTER_HEADERS                                                                              \
    "\x02\x09\x01"                                                                                 \
    "c\x02rt\x05"                                                                                  \
    "60000\x03m-1"                                                                                 \
    "\x00\x00\x00\x00\x69\x2a\x00\x00"                                                             \
    "\x07"                                                                                         \
    "deposit"
#define AFTER_HEADERS_DEAD /* no expiration */                                                     \
    "\x02\x09\x01"                                                                                 \
    "c\x02rt\x03m-1"                                                                               \
    "\x00\x00\x00\x00\x69\x2a\x00\x00"                                                             \
    "\x07"                                                                                         \
    "deposit"
#define USER_ID "\x05guest"
#define LAST                                                                                       \
    "\x04shop"                                                                                     \
    "\x02xx"
enum { HEADERS_SIZE = sizeof(HEADERS) - 1 };
_Static_assert(HEADERS_SIZE == 0xe1, "as the length below says");
#define FULL "\xff\xfc" BEFORE_HEADERS "\x00\x00\x00\xe1" HEADERS AFTER_HEADERS USER_ID LAST

static const struct bytes full = WIRE_BYTES(FULL);

static void check_text(struct text found, const char *wanted)
{
    if (!text_equal(found, text_of(wanted))) fail_msg("%.*s is not %s", TEXT_ARGS(found), wanted);
}

static void all_properties_are_read(void **state)
{
    struct properties properties;

    (void)state;
    assert_true(properties_parse(full, &properties));
    check_text(properties.content_type, "application/json");
    check_text(properties.type, "deposit");
    check_text(properties.message_id, "m-1");
    check_text(properties.correlation_id, "c");
    check_text(properties.reply_to, "rt");
    check_text(properties.expiration, "60000");
    check_text(properties.app_id, "shop");
    check_text(properties.user_id, "guest");
    check_text(properties.idempotency_key, "k-1");
    check_text(properties.traceparent, "tp");
    check_text(properties.tracestate, "ts");
    check_text(properties.trace_id, "ti");
    check_text(properties.deadline, "dl");
    assert_true(properties.has_idempotency_key);
    assert_int_equal(properties.delivery_count, 2);
    assert_int_equal(properties.timestamp_s, 0x692a0000);
    assert_null(properties.wrong_header);
}

/* Whatever its sender wrote is read as it is; who uses it judges it. */
static void timestamps_are_read(void **state)
{
    static const struct {
        struct bytes raw;
        int64_t timestamp_s;
    } stamped[] = {
        {WIRE_BYTES("\x00\x00"), 0},
        {WIRE_BYTES("\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00"), 0},
        {WIRE_BYTES("\x00\x40\x00\x00\x00\x00\x69\x2a\x01\x02"), 0x692a0102},
        {WIRE_BYTES("\x00\x40\x01\x02\x03\x04\x05\x06\x07\x08"), 0x0102030405060708},
        {WIRE_BYTES("\x00\x40\x7f\xff\xff\xff\xff\xff\xff\xff"), INT64_MAX},
        {WIRE_BYTES("\x00\x40\xff\xff\xff\xff\xff\xff\xff\xff"), -1},
    };
    struct properties properties;

    (void)state;
    for (size_t i = 0; i < sizeof stamped / sizeof *stamped; i++) {
        assert_true(properties_parse(stamped[i].raw, &properties));
        assert_int_equal(properties.timestamp_s, stamped[i].timestamp_s);
    }
}

static void no_truncation_is_read(void **state)
{
    struct properties properties;
    struct bytes out;
    uint8_t *block;

    (void)state;
    for (uint32_t size = 0; size < full.size; size++) {
        struct bytes cut = wire_cut(full, size, &block);
        arena_reset(&arena);
        if (properties_parse(cut, &properties)) fail_msg("%u bytes", size);
        assert_int_equal(properties.content_type.length, 0);
        if (properties_extend(cut, NULL, 0, true, &arena, &out)) fail_msg("%u bytes", size);
        free(block);
    }
}

/* clang-format off */
static const struct {
    const char *why;
    struct bytes raw;
    bool accepted;
    const char *wrong_header;
    int64_t delivery_count;
} rows[] = {
    {"nothing set",        WIRE_BYTES("\x00\x00"),                     true,  NULL, 0},
    {"no bytes",           WIRE_BYTES(""),                             false, NULL, 0},
    {"flags go on",        WIRE_BYTES("\x00\x01\x00\x00"),             false, NULL, 0},
    {"an unknown flag",    WIRE_BYTES("\x00\x02"),                     false, NULL, 0},
    {"bytes after it",     WIRE_BYTES("\x00\x00\x00"),                 false, NULL, 0},
    {"empty table",        WIRE_BYTES("\x20\x00\x00\x00\x00\x00"),     true,  NULL, 0},
    {"table too long",     WIRE_BYTES("\x20\x00\xff\xff\xff\xff"),     false, NULL, 0},
    {"an unknown type",    WIRE_BYTES("\x20\x00\x00\x00\x00\x03\x01""aL"), false, NULL, 0},
    {"value out of table", WIRE_BYTES("\x20\x80\x00\x00\x00\x07\x01""aS\x00\x00\x00\x02""ab"), false, NULL, 0},
    {"2^32 bytes of text", WIRE_BYTES("\x20\x00\x00\x00\x00\x07\x01""aS\xff\xff\xff\xff"), false, NULL, 0},
    {"key is a number",    WIRE_BYTES("\x20\x00\x00\x00\x00\x15\x0fidempotency-keyI\x00\x00\x00\x01"), true, "idempotency-key", 0},
    {"key is void",        WIRE_BYTES("\x20\x00\x00\x00\x00\x11\x0fIDEMPOTENCY-KEYV"), true, "idempotency-key", 0},
    {"deadline is a time", WIRE_BYTES("\x20\x00\x00\x00\x00\x14\x0ax-deadlineT\x00\x00\x00\x00\x00\x00\x00\x00"), true, "x-deadline", 0},
    {"twice",              WIRE_BYTES("\x20\x00\x00\x00\x00\x2a\x0fidempotency-keyS\x00\x00\x00\x00"
                                      "\x0fIdempotency-keyS\x00\x00\x00\x00"), true, "idempotency-key", 0},
    {"count as text",      WIRE_BYTES("\x20\x00\x00\x00\x00\x17\x10x-delivery-countS\x00\x00\x00\x01""2"), true, "x-delivery-count", 0},
    {"count as boolean",   WIRE_BYTES("\x20\x00\x00\x00\x00\x13\x10x-delivery-countt\x01"), true, "x-delivery-count", 0},
    {"count b",            WIRE_BYTES("\x20\x00\x00\x00\x00\x13\x10x-delivery-countb\xff"), true, NULL, -1},
    {"count B",            WIRE_BYTES("\x20\x00\x00\x00\x00\x13\x10x-delivery-countB\xff"), true, NULL, 255},
    {"count s",            WIRE_BYTES("\x20\x00\x00\x00\x00\x14\x10x-delivery-counts\xff\xfe"), true, NULL, -2},
    {"count u",            WIRE_BYTES("\x20\x00\x00\x00\x00\x14\x10x-delivery-countu\xff\xfe"), true, NULL, 65534},
    {"count I",            WIRE_BYTES("\x20\x00\x00\x00\x00\x16\x10x-delivery-countI\xff\xff\xff\xff"), true, NULL, -1},
    {"count i",            WIRE_BYTES("\x20\x00\x00\x00\x00\x16\x10x-delivery-counti\xff\xff\xff\xff"), true, NULL, UINT32_MAX},
    {"count l",            WIRE_BYTES("\x20\x00\x00\x00\x00\x1a\x10x-delivery-countl\x80\x00\x00\x00\x00\x00\x00\x00"), true, NULL, INT64_MIN},
};
/* clang-format on */

static void tables_are_bounded_and_typed(void **state)
{
    struct properties properties;
    uint8_t *block;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes raw = wire_cut(rows[i].raw, rows[i].raw.size, &block);
        bool accepted = properties_parse(raw, &properties);
        if (accepted != rows[i].accepted || properties.delivery_count != rows[i].delivery_count)
            fail_msg("%s: %d", rows[i].why, accepted);
        if (rows[i].wrong_header == NULL
                ? properties.wrong_header != NULL
                : properties.wrong_header == NULL ||
                      strcmp(properties.wrong_header, rows[i].wrong_header) != 0)
            fail_msg("%s: %s", rows[i].why, properties.wrong_header);
        free(block);
    }
}

static void properties_are_written(void **state)
{
    static const struct header headers[] = {
        {WIRE_TEXT("traceparent"), WIRE_TEXT("tp"), 0, false},
        {WIRE_TEXT("epoch"), {0}, -2, true},
        {WIRE_TEXT("empty"), {0}, 0, false},
    };
    static const struct properties_out in = {.content_type = WIRE_TEXT("application/json"),
                                             .type = WIRE_TEXT("account.opened"),
                                             .message_id = WIRE_TEXT("m"),
                                             .correlation_id = WIRE_TEXT("c"),
                                             .reply_to = WIRE_TEXT("r"),
                                             .app_id = WIRE_TEXT("a"),
                                             .user_id = WIRE_TEXT("u"),
                                             .timestamp_s = 0x692a0000,
                                             .headers = headers,
                                             .headers_count = 3};
    static const struct bytes golden = WIRE_BYTES("\xb6\xf8\x10"
                                                  "application/json\x00\x00\x00\x2d"
                                                  "\x0btraceparentS\x00\x00\x00\x02tp"
                                                  "\x05"
                                                  "epochl\xff\xff\xff\xff\xff\xff\xff\xfe"
                                                  "\x05"
                                                  "emptyS\x00\x00\x00\x00"
                                                  "\x02\x01"
                                                  "c\x01r\x01m\x00\x00\x00\x00\x69\x2a\x00\x00\x0e"
                                                  "account.opened\x01u\x01"
                                                  "a");
    struct bytes out;
    struct properties properties;

    (void)state;
    arena_reset(&arena);
    assert_true(properties_write(&in, &arena, &out));
    assert_true(wire_bytes_equal(out, golden));
    assert_true(properties_parse(out, &properties));
    check_text(properties.traceparent, "tp");
    assert_true(properties_write(&(struct properties_out){0}, &arena, &out));
    assert_true(wire_bytes_equal(out, (struct bytes)WIRE_BYTES("\x10\x00\x02")));
}

static void limits_of_writing(void **state)
{
    static char longest[256];
    struct properties_out in = {.type = {longest, 255}};
    struct header header = {.name = {longest, 256}};
    struct bytes out;
    uint8_t memory[64];
    struct arena small = {.base = memory, .size = sizeof memory};

    (void)state;
    arena_reset(&arena);
    memset(longest, 'a', sizeof longest);
    assert_true(properties_write(&in, &arena, &out));
    assert_false(properties_write(&in, &small, &out));
    in.type.length = 256;
    assert_false(properties_write(&in, &arena, &out));
    in = (struct properties_out){.headers = &header, .headers_count = 1};
    assert_false(properties_write(&in, &arena, &out));
    header.name.length = 255;
    assert_true(properties_write(&in, &arena, &out));
    assert_false(properties_write(&in, &small, &out));
}

static void extended_properties_keep_the_rest(void **state)
{
    static const struct header more[] = {
        {WIRE_TEXT("x-reason"), WIRE_TEXT("why"), 0, false},
        {WIRE_TEXT("x-count"), {0}, 3, true},
    };
    static const struct bytes golden = WIRE_BYTES(
        "\xfe\xec" BEFORE_HEADERS "\x00\x00\x01\x03" HEADERS "\x08x-reasonS\x00\x00\x00\x03why"
        "\x07x-countl\x00\x00\x00\x00\x00\x00\x00\x03" AFTER_HEADERS_DEAD LAST);
    struct bytes out, again;

    (void)state;
    arena_reset(&arena);
    assert_true(properties_extend(full, NULL, 0, false, &arena, &out));
    assert_true(wire_bytes_equal(out, full));
    assert_true(properties_extend(full, more, 2, true, &arena, &out));
    assert_true(wire_bytes_equal(out, golden));
    /* Extended once more, nothing is doubled. */
    assert_true(properties_extend(out, more, 2, true, &arena, &again));
    assert_true(wire_bytes_equal(out, again));
}

static void headers_are_replaced_or_begun(void **state)
{
    static const struct header newer = {WIRE_TEXT("TraceParent"), WIRE_TEXT("new"), 0, false};
    static const struct bytes before =
        WIRE_BYTES("\x20\x80\x00\x00\x00\x0f\x0btraceparentV\x00V\x01m");
    static const struct bytes after = WIRE_BYTES("\x20\x80\x00\x00\x00\x16\x00V\x0bTraceParent"
                                                 "S\x00\x00\x00\x03new\x01m");
    static const struct bytes none = WIRE_BYTES("\x00\x80\x01m");
    static const struct bytes begun = WIRE_BYTES("\x20\x80\x00\x00\x00\x14\x0bTraceParent"
                                                 "S\x00\x00\x00\x03new\x01m");
    struct bytes out;

    (void)state;
    arena_reset(&arena);
    assert_true(properties_extend(before, &newer, 1, false, &arena, &out));
    assert_true(wire_bytes_equal(out, after));
    assert_true(properties_extend(none, &newer, 1, true, &arena, &out));
    assert_true(wire_bytes_equal(out, begun));
    assert_true(properties_extend(none, NULL, 0, true, &arena, &out));
    assert_true(wire_bytes_equal(out, none));
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    return arena_open(&arena, WIRE_ARENA_SIZE, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_properties_are_read),
        cmocka_unit_test(timestamps_are_read),
        cmocka_unit_test(no_truncation_is_read),
        cmocka_unit_test(tables_are_bounded_and_typed),
        cmocka_unit_test(properties_are_written),
        cmocka_unit_test(limits_of_writing),
        cmocka_unit_test(extended_properties_keep_the_rest),
        cmocka_unit_test(headers_are_replaced_or_begun),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
