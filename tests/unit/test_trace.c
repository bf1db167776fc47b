/*
 * test_trace.c - a valid traceparent is continued and nothing else is; what is not printable goes
 * nowhere.
 */
#include "protocol/trace.h"
#include "tests/wire.h"

#define TRACE_ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define OTHER_ID "00112233445566778899aabbccddeeff"
#define SPAN_ID "00f067aa0ba902b7"
#define FRESH_ID "0102030405060708090a0b0c0d0e0f10"
#define OUR_SPAN "1112131415161718"
#define PARENT "00-" TRACE_ID "-" SPAN_ID "-01"

/* clang-format off */
static const struct {
    const char *why;
    struct text traceparent, tracestate, trace_id;
    const char *formatted;
    bool has_parent, was_malformed;
    struct text state_kept, verbatim;
} rows[] = {
    {"nothing",                {0}, {0}, {0}, "00-" FRESH_ID "-" OUR_SPAN "-01", false, false, {0}, {0}},
    {"a parent",               WIRE_TEXT(PARENT), WIRE_TEXT("a=b"), {0},
                               "00-" TRACE_ID "-" OUR_SPAN "-01", true, false, WIRE_TEXT("a=b"), {0}},
    {"not sampled",            WIRE_TEXT("00-" TRACE_ID "-" SPAN_ID "-00"), {0}, {0},
                               "00-" TRACE_ID "-" OUR_SPAN "-00", true, false, {0}, {0}},
    {"unknown flags dropped",  WIRE_TEXT("00-" TRACE_ID "-" SPAN_ID "-ff"), {0}, {0},
                               "00-" TRACE_ID "-" OUR_SPAN "-03", true, false, {0}, {0}},
    {"a later version",        WIRE_TEXT("cc-" TRACE_ID "-" SPAN_ID "-01"), {0}, {0},
                               "00-" TRACE_ID "-" OUR_SPAN "-01", true, false, {0}, {0}},
    {"a later, longer version", WIRE_TEXT("01-" TRACE_ID "-" SPAN_ID "-01-more"), {0}, {0},
                               "00-" TRACE_ID "-" OUR_SPAN "-01", true, false, {0}, {0}},
    {"the parent wins",        WIRE_TEXT(PARENT), {0}, WIRE_TEXT(OTHER_ID),
                               "00-" TRACE_ID "-" OUR_SPAN "-01", true, false, {0}, WIRE_TEXT(OTHER_ID)},
    {"both the same",          WIRE_TEXT(PARENT), {0}, WIRE_TEXT(TRACE_ID),
                               "00-" TRACE_ID "-" OUR_SPAN "-01", true, false, {0}, {0}},
    {"a trace id alone",       {0}, WIRE_TEXT("a=b"), WIRE_TEXT(OTHER_ID),
                               "00-" OTHER_ID "-" OUR_SPAN "-01", false, false, {0}, {0}},
    {"a trace id of zeros",    {0}, {0}, WIRE_TEXT("00000000000000000000000000000000"),
                               "00-" FRESH_ID "-" OUR_SPAN "-01", false, false, {0},
                               WIRE_TEXT("00000000000000000000000000000000")},
    {"any other trace id",     {0}, {0}, WIRE_TEXT("order 17"),
                               "00-" FRESH_ID "-" OUR_SPAN "-01", false, false, {0}, WIRE_TEXT("order 17")},
    {"not printable",          WIRE_TEXT(PARENT), WIRE_TEXT("a=\n"), WIRE_TEXT("x\x1b[31m"),
                               "00-" TRACE_ID "-" OUR_SPAN "-01", true, false, {0}, {0}},
    {"malformed, with an id",  WIRE_TEXT("x"), WIRE_TEXT("a=b"), WIRE_TEXT(OTHER_ID),
                               "00-" OTHER_ID "-" OUR_SPAN "-01", false, true, {0}, {0}},
};

static const char *const malformed[] = {
    "0", "00-", "00-" TRACE_ID "-" SPAN_ID, "00-" TRACE_ID "-" SPAN_ID "-0", PARENT "0", PARENT "-more",
    "ff-" TRACE_ID "-" SPAN_ID "-01", "0g-" TRACE_ID "-" SPAN_ID "-01", "01-" TRACE_ID "-" SPAN_ID "-01x",
    "00-00000000000000000000000000000000-" SPAN_ID "-01", "00-" TRACE_ID "-0000000000000000-01",
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN_ID "-01", "00-" TRACE_ID "-" SPAN_ID "-0g",
    "00_" TRACE_ID "-" SPAN_ID "-01", "00-" TRACE_ID "_" SPAN_ID "-01", "00-" TRACE_ID "-" SPAN_ID "_01",
    "00-" TRACE_ID "-00f067aa0ba902bX-01",
};
/* clang-format on */

static const uint8_t random_bytes_given[TRACE_RANDOM_SIZE] = {
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c,
    0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18};

static void traces_are_continued_or_begun(void **state)
{
    static const uint8_t none[8], span[8] = {0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7};
    char text[TRACEPARENT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct properties properties = {.traceparent = rows[i].traceparent,
                                        .tracestate = rows[i].tracestate,
                                        .trace_id = rows[i].trace_id};
        struct trace trace = trace_begin(&properties, random_bytes_given);
        traceparent_format(&trace, text);
        if (strcmp(text, rows[i].formatted) != 0) fail_msg("%s: %s", rows[i].why, text);
        if (memcmp(trace.parent_id, rows[i].has_parent ? span : none, 8) != 0 ||
            trace.was_malformed != rows[i].was_malformed ||
            !text_equal(trace.tracestate, rows[i].state_kept) ||
            !text_equal(trace.verbatim, rows[i].verbatim))
            fail_msg("%s", rows[i].why);
    }
}

static void malformed_parents_begin_anew(void **state)
{
    uint8_t *block;
    char text[TRACEPARENT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        struct bytes whole = wire_bytes(text_of(malformed[i]));
        struct bytes copy = wire_cut(whole, whole.size, &block);
        struct properties properties = {.traceparent = {(const char *)copy.data, copy.size}};
        struct trace trace = trace_begin(&properties, random_bytes_given);
        free(block);
        traceparent_format(&trace, text);
        if (!trace.was_malformed || strcmp(text, "00-" FRESH_ID "-" OUR_SPAN "-01") != 0)
            fail_msg("%s", malformed[i]);
    }
}

static void long_texts_are_dropped(void **state)
{
    static char longest[TRACESTATE_MAX + 1];
    struct properties properties = {.traceparent = WIRE_TEXT(PARENT)};

    (void)state;
    memset(longest, 'a', sizeof longest);
    properties.tracestate = (struct text){longest, TRACESTATE_MAX};
    properties.trace_id = (struct text){longest, TRACE_VERBATIM_MAX};
    struct trace trace = trace_begin(&properties, random_bytes_given);
    assert_int_equal(trace.tracestate.length, TRACESTATE_MAX);
    assert_int_equal(trace.verbatim.length, TRACE_VERBATIM_MAX);

    properties.tracestate.length++;
    properties.trace_id.length++;
    trace = trace_begin(&properties, random_bytes_given);
    assert_int_equal(trace.tracestate.length, 0);
    assert_int_equal(trace.verbatim.length, 0);
}

static void ids_are_never_zero(void **state)
{
    static const uint8_t zeros[TRACE_RANDOM_SIZE];
    char text[TRACEPARENT_SIZE];
    struct properties properties = {0};

    (void)state;
    struct trace trace = trace_begin(&properties, zeros);
    traceparent_format(&trace, text);
    assert_string_equal(text, "00-01000000000000000000000000000000-0100000000000000-01");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traces_are_continued_or_begun),
        cmocka_unit_test(malformed_parents_begin_anew),
        cmocka_unit_test(long_texts_are_dropped),
        cmocka_unit_test(ids_are_never_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
