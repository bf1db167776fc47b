/*
 * test_codec.c - the guards refuse what is too large, too deep, too many or cut short; JSON and
 * msgpack translate to each other exactly; equal metadata gets equal bytes.
 */
#include "tests/wire.h"

static struct arena arena;
static struct codec *codec;
static char problem[200];

/* clang-format off */
static const struct {
    const char *content_type;
    bool accepted;
    enum encoding encoding;
} content_types[] = {
    {"",                                  true,  ENCODING_MSGPACK},
    {"application/msgpack",               true,  ENCODING_MSGPACK},
    {"application/x-msgpack",             true,  ENCODING_MSGPACK},
    {"application/vnd.msgpack",           true,  ENCODING_MSGPACK},
    {"application/json",                  true,  ENCODING_JSON},
    {"Application/JSON",                  true,  ENCODING_JSON},
    {"application/json; charset=utf-8",   true,  ENCODING_JSON},
    {"application/json ;q=1",             true,  ENCODING_JSON},
    {";charset=utf-8",                    true,  ENCODING_MSGPACK},
    {"application/jsonx",                 false, ENCODING_MSGPACK},
    {"application/jso",                   false, ENCODING_MSGPACK},
    {" application/json",                 false, ENCODING_MSGPACK},
    {"text/plain",                        false, ENCODING_MSGPACK},
    {"application/octet-stream",          false, ENCODING_MSGPACK},
};

static const struct {
    const char *why;
    struct bytes body;
    const char *problem; /* NULL: fine */
} guarded[] = {
    {"nil",                     WIRE_BYTES("\xc0"),                     NULL},
    {"small numbers",           WIRE_BYTES("\x92\x7f\xe0"),             NULL},
    {"every number",            WIRE_BYTES("\x9a\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff"
                                           "\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xd0\x80\xd1\x80\x00"
                                           "\xd2\x80\x00\x00\x00\xd3\x80\x00\x00\x00\x00\x00\x00\x00"
                                           "\xca\x7f\xc0\x00\x00\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"), NULL},
    {"every text",              WIRE_BYTES("\x94\xa1""a\xd9\x01""b\xda\x00\x01""c\xdb\x00\x00\x00\x01""d"), NULL},
    {"binary and extension",    WIRE_BYTES("\x93\xc4\x01\xff\xc7\x01\x05\xff\xd6\x01\x01\x02\x03\x04"), NULL},
    {"wide heads, few values",  WIRE_BYTES("\xdd\x00\x00\x00\x01\xdf\x00\x00\x00\x01\xc2\xc3"), NULL},
    {"eight levels",            WIRE_BYTES("\x91\x91\x91\x91\x91\x91\x91\x90"), NULL},
    {"nothing",                 WIRE_BYTES(""),                         "cut short, or not msgpack"},
    {"the unused head",         WIRE_BYTES("\xc1"),                     "cut short, or not msgpack"},
    {"a second value",          WIRE_BYTES("\xc0\xc0"),                 "bytes after the value"},
    {"2^32 elements",           WIRE_BYTES("\xdd\xff\xff\xff\xff"),     "cut short: a claimed length is not covered"},
    {"2^32 pairs",              WIRE_BYTES("\xdf\xff\xff\xff\xff"),     "cut short: a claimed length is not covered"},
    {"2^31 pairs",              WIRE_BYTES("\xdf\x80\x00\x00\x00"),     "cut short: a claimed length is not covered"},
    {"2^32 bytes of text",      WIRE_BYTES("\xdb\xff\xff\xff\xff""a"),  "cut short, or not msgpack"},
    {"2^32 bytes of binary",    WIRE_BYTES("\xc6\xff\xff\xff\xff""a"),  "cut short, or not msgpack"},
    {"2^32 bytes of extension", WIRE_BYTES("\xc9\xff\xff\xff\xff\x01"), "cut short, or not msgpack"},
    {"half a pair",             WIRE_BYTES("\x81\xc0"),                 "cut short: a claimed length is not covered"},
    {"nine levels",             WIRE_BYTES("\x91\x91\x91\x91\x91\x91\x91\x91\x90"), "nested deeper than 8 levels"},
    {"nine levels, the inner a map", WIRE_BYTES("\x91\x91\x91\x91\x91\x91\x91\x91\x80"), "nested deeper than 8 levels"},
    {"not UTF-8",               WIRE_BYTES("\xa1\xff"),                 "a text is not UTF-8"},
    {"a key that is not UTF-8", WIRE_BYTES("\x81\xa1\x80\xc0"),         "a text is not UTF-8"},
};

static const struct {
    const char *json;
    struct bytes msgpack;
} translated[] = {
    {"null",                     WIRE_BYTES("\xc0")},
    {"[true,false]",             WIRE_BYTES("\x92\xc3\xc2")},
    {"[0,127,128,-32,-33]",      WIRE_BYTES("\x95\x00\x7f\xcc\x80\xe0\xd0\xdf")},
    {"9223372036854775807",      WIRE_BYTES("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff")},
    {"-9223372036854775808",     WIRE_BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00")},
    {"0.5",                      WIRE_BYTES("\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00")},
    {"0.1",                      WIRE_BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a")},
    {"0.30000000000000004",      WIRE_BYTES("\xcb\x3f\xd3\x33\x33\x33\x33\x33\x34")},
    {"-0.0",                     WIRE_BYTES("\xcb\x80\x00\x00\x00\x00\x00\x00\x00")},
    {"1.0",                      WIRE_BYTES("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00")},
    {"1e+300",                   WIRE_BYTES("\xcb\x7e\x37\xe4\x3c\x88\x00\x75\x9c")},
    {"\"\"",                     WIRE_BYTES("\xa0")},
    {"\"\\\"\\\\\\b\\f\\n\\r\\t\\u001f\"", WIRE_BYTES("\xa8\"\\\b\f\n\r\t\x1f")},
    {"\"a\\nb\"",                WIRE_BYTES("\xa3""a\nb")},
    {"\"\xe2\x82\xac\x7f\"",     WIRE_BYTES("\xa4\xe2\x82\xac\x7f")},
    {"{\"b\":[],\"a\":{}}",      WIRE_BYTES("\x82\xa1""b\x90\xa1""a\x80")},
};

/* What is JSON but comes back in other words, or is none. */
static const struct {
    const char *json, *problem; /* the beginning of it; NULL: accepted */
} parsed[] = {
    {" [ 1 , 2 ] ",                    NULL},
    {"\"\\u20ac\\/\"",                 NULL},
    {"\"[[[[[[[[[{\\\"[[[[[[[[[\"",     NULL},
    {"[[[[[[[[]]]]]]]]",               NULL},
    {"[[[[[[[[[]]]]]]]]]",             "body: nested deeper than 8 levels"},
    {"[[[[[[[[[",                      "body: nested deeper than 8 levels"},
    {"",                               "body: not JSON: "},
    {"{\"a\":1",                       "body: not JSON: "},
    {"{\"a\":1}x",                     "body: not JSON: end of file expected near 'x' (line 1, column 8)"},
    {"{\"a\":1,\"a\":1}",              "body: not JSON: duplicate object key near '\"a\"' (line 1, column 10)"},
    {"9223372036854775808",            "body: not JSON: too big integer"},
    {"1e999",                          "body: not JSON: real number overflow"},
    {"NaN",                            "body: not JSON: "},
    {"'a'",                            "body: not JSON: "},
    {"\"\\u0000\"",                    "body: not JSON: "},
    {"\"\\ud800\"",                    "body: not JSON: "},
    {"\"\xff\"",                       "body: not JSON: "},
    {"\"\\",                           "body: not JSON: "},
};

static const struct {
    const char *why;
    struct bytes in, out;
    const char *problem;
} canonical[] = {
    {"empty",               WIRE_BYTES("\xdf\x00\x00\x00\x00"), WIRE_BYTES("\x80"), NULL},
    {"keys sorted",         WIRE_BYTES("\x83\xa1""b\x01\xa2""ab\x02\xa1""a\x03"),
                            WIRE_BYTES("\x83\xa1""a\x03\xa2""ab\x02\xa1""b\x01"), NULL},
    {"keys sorted inside",  WIRE_BYTES("\x82\xa1""b\x82\xa1""y\x01\xa1""x\x02\xa1""a\x81\xa1""z\xc0"),
                            WIRE_BYTES("\x82\xa1""a\x81\xa1""z\xc0\xa1""b\x82\xa1""x\x02\xa1""y\x01"), NULL},
    {"lists keep order",    WIRE_BYTES("\x81\xa1""l\xdc\x00\x02\x02\x81\xd9\x01k\xc3"),
                            WIRE_BYTES("\x81\xa1""l\x92\x02\x81\xa1k\xc3"), NULL},
    {"shortest numbers",    WIRE_BYTES("\x81\xa1n\x94\xd3\x00\x00\x00\x00\x00\x00\x00\x01\xcf\x00\x00\x00\x00"
                                       "\x00\x00\x00\xff\xd1\xff\xff\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"),
                            WIRE_BYTES("\x81\xa1n\x94\x01\xcc\xff\xff\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), NULL},
    {"shortest floats",     WIRE_BYTES("\x81\xa1n\x92\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"
                                       "\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),
                            WIRE_BYTES("\x81\xa1n\x92\xca\x3f\x00\x00\x00\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), NULL},
    {"4 levels",            WIRE_BYTES("\x81\xa1""1\x81\xa1""2\x91\x81\xa1""4\x05"),
                            WIRE_BYTES("\x81\xa1""1\x81\xa1""2\x91\x81\xa1""4\x05"), NULL},
    {"5 levels",            WIRE_BYTES("\x81\xa1""1\x81\xa1""2\x91\x81\xa1""4\x90"), {0}, "metadata: deeper than 4 levels"},
    {"doubled",             WIRE_BYTES("\x83\xa1""a\x01\xa1""b\x01\xd9\x01""a\x02"), {0}, "metadata: doubled key in it"},
    {"doubled inside",      WIRE_BYTES("\x81\xa1""m\x82\xa1""a\x01\xa1""a\x01"),     {0}, "metadata: doubled key in it"},
    {"a key that is no text", WIRE_BYTES("\x81\x01\x01"),       {0}, "metadata: keys must be text"},
    {"a map as key",        WIRE_BYTES("\x81\x81\x01\x01\x01"), {0}, "metadata: keys must be text"},
    {"binary",              WIRE_BYTES("\x81\xa1""a\xc4\x00"),  {0}, "metadata: binary and extension values are refused"},
    {"extension",           WIRE_BYTES("\x81\xa1""a\xd4\x00\x00"), {0}, "metadata: binary and extension values are refused"},
    {"a large integer",     WIRE_BYTES("\x81\xa1""a\xcf\x80\x00\x00\x00\x00\x00\x00\x00"), {0}, "metadata: integers must fit in 64 signed bits"},
    {"NUL in a key",        WIRE_BYTES("\x81\xa1\0\xc0"),       {0}, "metadata: NUL in a text is refused"},
    {"NUL in a text",       WIRE_BYTES("\x81\xa1""a\xa2""b\0"), {0}, "metadata: NUL in a text is refused"},
    {"NaN",                 WIRE_BYTES("\x81\xa1""a\xca\x7f\xc0\x00\x00"), {0}, "metadata: NaN and the infinities are refused"},
    {"infinity",            WIRE_BYTES("\x81\xa1""a\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"), {0}, "metadata: NaN and the infinities are refused"},
    {"cut short",           WIRE_BYTES("\x82\xa1""a\x01"),      {0}, "metadata: cut short: a claimed length is not covered"},
};

static const struct {
    struct text text;
    bool valid;
} utf8[] = {
    {WIRE_TEXT(""), true},                 {WIRE_TEXT("a\0b"), true},
    {WIRE_TEXT("\x7f\xc2\x80"), true},     {WIRE_TEXT("\xdf\xbf\xe0\xa0\x80"), true},
    {WIRE_TEXT("\xed\x9f\xbf"), true},     {WIRE_TEXT("\xee\x80\x80\xef\xbf\xbf"), true},
    {WIRE_TEXT("\xf0\x90\x80\x80"), true}, {WIRE_TEXT("\xf4\x8f\xbf\xbf"), true},
    {WIRE_TEXT("\x80"), false},            {WIRE_TEXT("\xc2"), false},
    {WIRE_TEXT("\xc0\x80"), false},        {WIRE_TEXT("\xc1\xbf"), false},
    {WIRE_TEXT("\xc2\x41"), false},        {WIRE_TEXT("\xe0\x9f\xbf"), false},
    {WIRE_TEXT("\xed\xa0\x80"), false},    {WIRE_TEXT("\xed\xbf\xbf"), false},
    {WIRE_TEXT("\xf0\x8f\xbf\xbf"), false}, {WIRE_TEXT("\xf4\x90\x80\x80"), false},
    {WIRE_TEXT("\xf5\x80\x80\x80"), false}, {WIRE_TEXT("\xe2\x82"), false},
    {WIRE_TEXT("\xff"), false},            {WIRE_TEXT("\xf0\x9f\x98"), false},
};
/* clang-format on */

#define ROWS(table) (sizeof(table) / sizeof *(table))

static struct bytes literal(const char *text)
{
    return wire_bytes(text_of(text));
}

static void content_types_are_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(content_types); i++) {
        enum encoding encoding = ENCODING_MSGPACK;
        bool accepted = encoding_parse(text_of(content_types[i].content_type), &encoding);
        if (accepted != content_types[i].accepted || encoding != content_types[i].encoding)
            fail_msg("%s", content_types[i].content_type);
    }
    assert_string_equal(encoding_content_type(ENCODING_MSGPACK), "application/msgpack");
    assert_string_equal(encoding_content_type(ENCODING_JSON), "application/json");
}

static void guard_accepts_and_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(guarded); i++) {
        const char *found = msgpack_problem(guarded[i].body), *wanted = guarded[i].problem;
        if ((found == NULL) != (wanted == NULL) || (found != NULL && strcmp(found, wanted) != 0))
            fail_msg("%s: %s", guarded[i].why, found);
    }
}

/* A value that is whole is no longer so without its last bytes. */
static void guard_refuses_every_truncation(void **state)
{
    uint8_t *block;

    (void)state;
    for (size_t i = 0; i < ROWS(guarded); i++) {
        if (guarded[i].problem != NULL) continue;
        for (uint32_t size = 0; size < guarded[i].body.size; size++) {
            struct bytes cut = wire_cut(guarded[i].body, size, &block);
            if (msgpack_problem(cut) == NULL) fail_msg("%s at %u", guarded[i].why, size);
            free(block);
        }
    }
}

static struct bytes filled(uint32_t size, uint8_t byte)
{
    uint8_t *data = arena_take(&arena, size);

    assert_non_null(data);
    memset(data, byte, size);
    return (struct bytes){data, size};
}

static struct bytes list_of_nils(uint32_t count)
{
    struct writer writer = writer_in(&arena);
    struct bytes out;

    pack_array_value(&writer, count);
    for (uint32_t i = 0; i < count; i++) write_u8(&writer, 0xc0);
    assert_true(writer_keep(&writer, &arena, &out));
    return out;
}

static struct bytes list_of_zeros(uint32_t count)
{
    struct bytes out = filled(2 * count + 1, ',');
    uint8_t *data = (uint8_t *)(uintptr_t)out.data;

    for (uint32_t i = 1; i < out.size; i += 2) data[i] = '0';
    data[0] = '[';
    data[2 * count] = ']';
    return out;
}

static void limits_are_exact(void **state)
{
    struct bytes out;

    (void)state;
    arena_reset(&arena);
    assert_null(msgpack_problem(list_of_nils(BODY_ITEMS_MAX - 1)));
    assert_string_equal(msgpack_problem(list_of_nils(BODY_ITEMS_MAX)), "more than 131072 values");
    assert_true(json_to_msgpack(codec, list_of_zeros(BODY_ITEMS_MAX - 1), &arena, &out, problem,
                                sizeof problem));
    assert_null(msgpack_problem(out));
    assert_string_equal(json_problem(list_of_zeros(BODY_ITEMS_MAX)), "more than 131072 values");

    struct bytes large = filled(BODY_SIZE_MAX + 1, ' ');
    assert_null(json_problem((struct bytes){large.data, BODY_SIZE_MAX}));
    assert_string_equal(json_problem(large), "larger than 1 MiB");
    assert_string_equal(msgpack_problem(large), "larger than 1 MiB");

    /* 10,000 levels, and a JSON string that never ends. */
    assert_string_equal(json_problem(filled(10000, '[')), "nested deeper than 8 levels");
    assert_string_equal(msgpack_problem(filled(10000, 0x91)), "nested deeper than 8 levels");
    assert_null(json_problem(filled(10000, '"')));
    assert_null(json_problem(filled(10001, '"')));
}

static void json_and_msgpack_translate(void **state)
{
    struct bytes out;

    (void)state;
    for (size_t i = 0; i < ROWS(translated); i++) {
        arena_reset(&arena);
        assert_true(json_to_msgpack(codec, literal(translated[i].json), &arena, &out, problem,
                                    sizeof problem));
        if (!wire_bytes_equal(out, translated[i].msgpack)) fail_msg("from %s", translated[i].json);
        assert_true(msgpack_to_json(out, &arena, &out));
        if (!wire_bytes_equal(out, literal(translated[i].json)))
            fail_msg("to %s: %.*s", translated[i].json, (int)out.size, (const char *)out.data);
    }
}

static void json_is_refused_with_its_reason(void **state)
{
    struct bytes out;

    (void)state;
    for (size_t i = 0; i < ROWS(parsed); i++) {
        arena_reset(&arena);
        problem[0] = '\0';
        bool accepted =
            json_to_msgpack(codec, literal(parsed[i].json), &arena, &out, problem, sizeof problem);
        if (accepted != (parsed[i].problem == NULL)) fail_msg("%s: %s", parsed[i].json, problem);
        if (!accepted && strncmp(problem, parsed[i].problem, strlen(parsed[i].problem)) != 0)
            fail_msg("%s: %s", parsed[i].json, problem);
    }
}

static void some_msgpack_has_no_json(void **state)
{
    static const struct bytes none[] = {
        WIRE_BYTES("\xc4\x00"),
        WIRE_BYTES("\xd4\x00\x00"),
        WIRE_BYTES("\x81\x01\x01"),
        WIRE_BYTES("\x91\xc4\x00"),
        WIRE_BYTES("\xca\x7f\x80\x00\x00"),
        WIRE_BYTES("\x81\xc0\xc0"),
        WIRE_BYTES("\xa1\xff"),
        WIRE_BYTES("\x92\xc0"),
        WIRE_BYTES(""),
        WIRE_BYTES("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
    };
    struct bytes out;

    (void)state;
    for (size_t i = 0; i < ROWS(none); i++) {
        arena_reset(&arena);
        if (msgpack_to_json(none[i], &arena, &out)) fail_msg("row %zu", i);
    }
    assert_true(msgpack_to_json((struct bytes)WIRE_BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"),
                                &arena, &out));
    assert_true(wire_bytes_equal(out, literal("18446744073709551615")));
    assert_true(msgpack_to_json((struct bytes)WIRE_BYTES("\xa1\0"), &arena, &out));
    assert_true(wire_bytes_equal(out, literal("\"\\u0000\"")));
}

/* Random doubles come back bit for bit. */
static void floats_survive_json(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 5000; seed++) {
        struct bytes in, out;
        struct writer writer;

        srand(seed);
        arena_reset(&arena);
        writer = writer_in(&arena);
        write_u8(&writer, 0xcb);
        write_u64(&writer, (uint64_t)wire_random_int() & ~(UINT64_C(1) << 62)); /* finite */
        assert_true(writer_keep(&writer, &arena, &in));
        assert_true(msgpack_to_json(in, &arena, &out));
        assert_true(json_to_msgpack(codec, out, &arena, &out, problem, sizeof problem));
        if (!wire_bytes_equal(in, out)) fail_msg("seed %u", seed);
    }
}

static void canonical_form_is_one(void **state)
{
    struct bytes out, again;

    (void)state;
    for (size_t i = 0; i < ROWS(canonical); i++) {
        arena_reset(&arena);
        bool accepted =
            msgpack_canonical(codec, canonical[i].in, &arena, &out, problem, sizeof problem);
        if (accepted != (canonical[i].problem == NULL)) fail_msg("%s", canonical[i].why);
        if (!accepted) {
            assert_string_equal(problem, canonical[i].problem);
            continue;
        }
        if (!wire_bytes_equal(out, canonical[i].out)) fail_msg("%s", canonical[i].why);
        assert_true(msgpack_canonical(codec, out, &arena, &again, problem, sizeof problem));
        assert_true(wire_bytes_equal(out, again));
    }
}

/* As many pairs as a body can have, from the last key to the first. */
static void canonical_form_of_the_largest_map(void **state)
{
    enum { PAIRS = (BODY_ITEMS_MAX - 1) / 2 };
    struct writer writer;
    struct bytes in, out;
    char key[8];

    (void)state;
    arena_reset(&arena);
    writer = writer_in(&arena);
    write_u8(&writer, 0xde);
    write_u16(&writer, PAIRS);
    for (uint32_t i = PAIRS; i > 0; i--) {
        (void)snprintf(key, sizeof key, "%05u", i);
        pack_text_value(&writer, text_of(key));
        pack_int_value(&writer, 1);
    }
    assert_true(writer_keep(&writer, &arena, &in));
    assert_true(msgpack_canonical(codec, in, &arena, &out, problem, sizeof problem));
    assert_int_equal(out.size, in.size);
    assert_memory_equal(out.data + 3,
                        "\xa5"
                        "00001\x01\xa5"
                        "00002",
                        13);
}

static void full_arena_is_reported(void **state)
{
    uint8_t memory[16];
    struct arena small = {.base = memory, .size = sizeof memory};
    struct bytes out, body = literal("{\"a\":\"0123456789abcdef\"}");

    (void)state;
    assert_false(json_to_msgpack(codec, body, &small, &out, problem, sizeof problem));
    assert_string_equal(problem, "body: no memory is left for it");
    assert_int_equal(out.size, 0);
    arena_reset(&arena);
    assert_true(json_to_msgpack(codec, body, &arena, &body, problem, sizeof problem));
    assert_false(msgpack_to_json(body, &small, &out));
    assert_false(msgpack_canonical(codec, body, &small, &out, problem, sizeof problem));
    assert_string_equal(problem, "metadata: no memory is left for it");
}

static void utf8_is_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(utf8); i++)
        if (utf8_is_valid(utf8[i].text) != utf8[i].valid) fail_msg("row %zu", i);
}

static void problems_are_printable(void **state)
{
    char small[8];

    (void)state;
    assert_false(problem_set(small, sizeof small, "%s", "a\n\xe2\x82\xac\x7fxyz"));
    assert_string_equal(small, "a?????x");
    assert_int_equal(problem_quote(text_of("abc")).length, 3);
    assert_int_equal(problem_quote((struct text){"", 1000}).length, 40);
}

static int setup(void **state)
{
    struct err err;

    (void)state;
    return codec_open(&codec, &err) && arena_open(&arena, WIRE_ARENA_SIZE, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    codec_close(codec);
    codec_close(NULL);
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(content_types_are_known),
        cmocka_unit_test(guard_accepts_and_refuses),
        cmocka_unit_test(guard_refuses_every_truncation),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(json_and_msgpack_translate),
        cmocka_unit_test(json_is_refused_with_its_reason),
        cmocka_unit_test(some_msgpack_has_no_json),
        cmocka_unit_test(floats_survive_json),
        cmocka_unit_test(canonical_form_is_one),
        cmocka_unit_test(canonical_form_of_the_largest_map),
        cmocka_unit_test(full_arena_is_reported),
        cmocka_unit_test(utf8_is_told_apart),
        cmocka_unit_test(problems_are_printable),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
