/*
 * test_request.c - what a message says of itself, and the faults in their order: each row breaks
 * every later rule too, so that the precedence itself is tested.
 */
#include "protocol/fingerprint.h"
#include "protocol/request.h"
#include "tests/wire.h"

#include <time.h>

static struct arena arena;
static struct codec *codec;
static const uint8_t random_bytes_given[TRACE_RANDOM_SIZE] = {1, 2, 3};

#define DEPOSIT "{\"account\":\"a\",\"amount\":1}"
#define JSON "application/json"
#define KEY_128                                                                                    \
    "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"                             \
    "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define KEY_RULE "must be 1 to 128 bytes of UTF-8 text without NUL"
#define TEXT_RULE "must be UTF-8 text without NUL"

/* clang-format off */
static const struct row {
    const char *why;
    const char *content_type, *type, *message_id, *header_key, *deadline;
    struct text app_id;
    bool key_is_number, oversized;
    const char *body;
    enum result fault;
    const char *problem;
} rows[] = {
    {"a command", JSON, "deposit", "m", NULL, NULL, {0}, false, false, DEPOSIT, RESULT_APPLIED, ""},
    {"a query needs no key", JSON, "get_account", NULL, NULL, NULL, {0}, false, false, "{\"account\":\"a\"}", RESULT_APPLIED, ""},
    {"the longest key", JSON, "deposit", KEY_128, NULL, NULL, {0}, false, false, DEPOSIT, RESULT_APPLIED, ""},
    {"a deadline", JSON, "deposit", "m", NULL, "2026-11-23T12:00:00Z", {0}, false, false, DEPOSIT, RESULT_APPLIED, ""},
    {"too large first", "text/plain", "foo", NULL, NULL, "soon", WIRE_TEXT("\xff"), true, true, "",
     RESULT_BODY_TOO_LARGE, "body: 2000000 bytes; at most 1048576 are accepted"},
    {"then the content type", "text/plain", "foo", NULL, NULL, "soon", WIRE_TEXT("\xff"), true, false, "x",
     RESULT_MALFORMED, "content_type: must be application/msgpack or application/json"},
    {"then the type", JSON, "foo", NULL, NULL, "soon", WIRE_TEXT("\xff"), true, false, "x",
     RESULT_UNKNOWN_TYPE, "type: 'foo' is not a command"},
    {"no type", JSON, NULL, NULL, NULL, "soon", WIRE_TEXT("\xff"), true, false, "x",
     RESULT_UNKNOWN_TYPE, "type: missing; it names the command"},
    {"a type that is not text", JSON, "\xff\n", NULL, NULL, NULL, {0}, false, false, "x",
     RESULT_UNKNOWN_TYPE, "type: '?" "?' is not a command"},
    {"then headers of the wrong kind", JSON, "deposit", NULL, NULL, "soon", WIRE_TEXT("\xff"), true, false, "x",
     RESULT_MALFORMED, "idempotency-key: of a wrong type, or given twice"},
    {"then the caller", JSON, "deposit", NULL, "", "soon", WIRE_TEXT("\xff"), false, false, "x",
     RESULT_MALFORMED, "app_id: " TEXT_RULE},
    {"NUL in the caller", JSON, "deposit", NULL, "", "soon", WIRE_TEXT("a\0b"), false, false, "x",
     RESULT_MALFORMED, "app_id: " TEXT_RULE},
    {"then the deadline", JSON, "deposit", NULL, "", "soon", {0}, false, false, "x",
     RESULT_MALFORMED, "x-deadline: must be an RFC 3339 time with a zone, as 2026-11-23T07:00:00Z"},
    {"then the key: empty, and the header wins", JSON, "deposit", "m", "", NULL, {0}, false, false, "x",
     RESULT_MALFORMED, "idempotency-key: " KEY_RULE},
    {"a key too long", JSON, "deposit", KEY_128 "k", NULL, NULL, {0}, false, false, "x",
     RESULT_MALFORMED, "message_id: " KEY_RULE},
    {"a key that is not text", JSON, "deposit", NULL, "\xff", NULL, {0}, false, false, "x",
     RESULT_MALFORMED, "idempotency-key: " KEY_RULE},
    {"no key", JSON, "deposit", NULL, NULL, NULL, {0}, false, false, "x",
     RESULT_KEY_MISSING, "idempotency-key: missing; this command needs the header, or message_id"},
    {"then the body", JSON, "deposit", "m", NULL, NULL, {0}, false, false, "{\"account\":\"a\",\"amuont\":1}",
     RESULT_MALFORMED, "amuont: unknown key for deposit"},
    {"an empty body", JSON, "deposit", "m", NULL, NULL, {0}, false, false, "",
     RESULT_MALFORMED, "body: not JSON: unexpected token near end of file (line 1, column 0)"},
    {"JSON sent as msgpack", NULL, "deposit", "m", NULL, NULL, {0}, false, false, DEPOSIT,
     RESULT_MALFORMED, "body: bytes after the value"},
};
/* clang-format on */

static struct bytes properties_of(const struct row *row)
{
    struct header headers[3];
    uint32_t count = 0;
    struct bytes out;

    if (row->header_key != NULL)
        headers[count++] =
            (struct header){text_of("idempotency-key"), text_of(row->header_key), 0, false};
    if (row->key_is_number)
        headers[count++] = (struct header){.name = text_of("Idempotency-Key"), .is_number = true};
    if (row->deadline != NULL)
        headers[count++] = (struct header){text_of("x-deadline"), text_of(row->deadline), 0, false};
    struct properties_out in = {.content_type = text_of(row->content_type),
                                .type = text_of(row->type),
                                .message_id = text_of(row->message_id),
                                .app_id = row->app_id,
                                .reply_to = text_of("replies"),
                                .correlation_id = text_of("7"),
                                .user_id = text_of("guest"),
                                .headers = headers,
                                .headers_count = count};
    assert_true(properties_write(&in, &arena, &out));
    return out;
}

static struct request decode(const struct incoming *incoming)
{
    struct request request;

    memset(&request, 0xa5, sizeof request); /* nothing of this may be left */
    request_decode(codec, incoming, random_bytes_given, &arena, &request);
    return request;
}

static void faults_in_order_of_precedence(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        arena_reset(&arena);
        struct bytes body = wire_bytes(text_of(rows[i].body));
        struct incoming incoming = {.properties = properties_of(&rows[i]),
                                    .body = body,
                                    .body_size = rows[i].oversized ? 2000000 : body.size,
                                    .oversized = rows[i].oversized};
        struct request request = decode(&incoming);

        if (request.fault != rows[i].fault || strcmp(request.problem, rows[i].problem) != 0)
            fail_msg("%s: %s %s", rows[i].why, result_word(request.fault), request.problem);

        /* Whatever is wrong, it can be answered. */
        assert_true(text_equal(request.properties.reply_to, text_of("replies")));
        assert_true(text_equal(request.properties.correlation_id, text_of("7")));
        assert_false(uuid_is_zero(&request.trace.trace_id));
        enum command_type type;
        assert_int_equal(request.has_type, command_type_parse(text_of(rows[i].type), &type));
        if (request.has_type) assert_int_equal(request.command.type, type);
        assert_int_equal(request.command.account.length, request.fault == RESULT_APPLIED ? 1 : 0);
        assert_int_equal(request.encoding,
                         rows[i].content_type != NULL && strcmp(rows[i].content_type, JSON) == 0
                             ? ENCODING_JSON
                             : ENCODING_MSGPACK);
        assert_int_equal(uuid_is_zero(&request.fingerprint), request.fault != RESULT_APPLIED);
        assert_int_equal(uuid_is_zero(&request.key_digest), !request.has_key);
    }
}

static void a_body_over_the_limit_is_refused_however_it_came(void **state)
{
    static uint8_t large[BODY_SIZE_MAX + 1];
    struct incoming incoming = {.body = {large, sizeof large}, .body_size = sizeof large};

    (void)state;
    arena_reset(&arena);
    incoming.properties = properties_of(&rows[0]);
    struct request request = decode(&incoming);
    assert_int_equal(request.fault, RESULT_BODY_TOO_LARGE);
    assert_string_equal(request.problem, "body: 1048577 bytes; at most 1048576 are accepted");
    assert_true(text_equal(request.key, text_of("m")));
}

/* clang-format off */
static const struct {
    const char *why;
    struct text app_id, user_id, message_id, header_key, caller, key;
    bool has_header;
} callers[] = {
    {"app_id",              WIRE_TEXT("app"), WIRE_TEXT("u"), WIRE_TEXT("m"), {0}, WIRE_TEXT("app"), WIRE_TEXT("m"), false},
    {"user_id",             {0},              WIRE_TEXT("u"), WIRE_TEXT("m"), {0}, WIRE_TEXT("u"),   WIRE_TEXT("m"), false},
    {"nobody",              {0},              {0},            WIRE_TEXT("m"), {0}, {0},              WIRE_TEXT("m"), false},
    {"the header wins",     {0}, {0}, WIRE_TEXT("m"), WIRE_TEXT("h"), {0}, WIRE_TEXT("h"), true},
    {"the header alone",    {0}, {0}, {0},            WIRE_TEXT("h"), {0}, WIRE_TEXT("h"), true},
};
/* clang-format on */

static void callers_and_keys_are_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof callers / sizeof *callers; i++) {
        struct header header = {text_of("Idempotency-KEY"), callers[i].header_key, 0, false};
        struct properties_out in = {.type = text_of("deposit"),
                                    .app_id = callers[i].app_id,
                                    .user_id = callers[i].user_id,
                                    .message_id = callers[i].message_id,
                                    .headers = &header,
                                    .headers_count = callers[i].has_header ? 1 : 0};
        struct incoming incoming = {.body = WIRE_BYTES("\x82\xa7"
                                                       "account\xa1"
                                                       "a\xa6"
                                                       "amount\x01"),
                                    .redelivered = true};
        arena_reset(&arena);
        assert_true(properties_write(&in, &arena, &incoming.properties));
        struct request request = decode(&incoming);
        if (request.fault != RESULT_APPLIED || !request.has_key ||
            !text_equal(request.caller, callers[i].caller) ||
            !text_equal(request.key, callers[i].key) ||
            !wire_uuid_equal(request.key_digest,
                             idempotency_digest(callers[i].caller, callers[i].key)) ||
            !wire_uuid_equal(request.fingerprint, command_fingerprint(&request.command)))
            fail_msg("%s", callers[i].why);
        assert_true(request.incoming.redelivered);
    }
}

/* Not even then is a field left as it was. */
static void unreadable_properties_are_a_fault(void **state)
{
    struct incoming incoming = {.properties = WIRE_BYTES("\xff"), .body = WIRE_BYTES("\x80")};

    (void)state;
    struct request request = decode(&incoming);
    assert_int_equal(request.fault, RESULT_MALFORMED);
    assert_string_equal(request.problem, "properties: not basic properties of AMQP 0-9-1");
    assert_false(request.has_type);
    assert_false(request.has_key);
    assert_int_equal(request.caller.length, 0);
    assert_int_equal(request.deadline_us, 0);
    assert_int_equal(request.properties.reply_to.length, 0);
    assert_false(uuid_is_zero(&request.trace.trace_id));
}

static void a_reply_queue_that_is_not_text_gets_nothing(void **state)
{
    struct properties_out in = {.type = text_of("deposit"), .reply_to = text_of("\xff")};
    struct incoming incoming = {0};

    (void)state;
    arena_reset(&arena);
    assert_true(properties_write(&in, &arena, &incoming.properties));
    struct request request = decode(&incoming);
    assert_int_equal(request.fault, RESULT_MALFORMED);
    assert_string_equal(request.problem, "reply_to: " TEXT_RULE);
    assert_int_equal(request.properties.reply_to.length, 0);
}

static void deadlines_are_read(void **state)
{
    struct row row = rows[0];
    struct incoming incoming = {.body = wire_bytes(text_of(DEPOSIT))};

    (void)state;
    arena_reset(&arena);
    row.deadline = "2026-11-23T12:00:00Z";
    incoming.properties = properties_of(&row);
    assert_int_equal(decode(&incoming).deadline_us, WIRE_NOON_US);
    row.deadline = "1970-01-01T00:00:00Z"; /* is past, not absent */
    incoming.properties = properties_of(&row);
    assert_int_equal(decode(&incoming).deadline_us, 1);
    incoming.properties = properties_of(&rows[0]);
    assert_int_equal(decode(&incoming).deadline_us, 0);
}

/* clang-format off */
static const struct {
    struct text text;
    bool accepted;
    int64_t wall_us;
} times[] = {
    {WIRE_TEXT("1970-01-01T00:00:00Z"),              true, 0},
    {WIRE_TEXT("1970-01-01t00:00:00z"),              true, 0},
    {WIRE_TEXT("2026-11-23T12:00:00Z"),              true, WIRE_NOON_US},
    {WIRE_TEXT("2026-11-23T13:00:00.123456+01:00"),  true, WIRE_NOON_US + 123456},
    {WIRE_TEXT("2026-11-23T06:30:00.5-05:30"),       true, WIRE_NOON_US + 500000},
    {WIRE_TEXT("2026-11-23T12:00:00.1234569Z"),      true, WIRE_NOON_US + 123456},
    {WIRE_TEXT("2026-11-23T12:00:00-00:00"),         true, WIRE_NOON_US},
    {WIRE_TEXT("2000-02-29T00:00:00Z"),              true, 951782400000000},
    {WIRE_TEXT("2024-02-29T23:59:59Z"),              true, 1709251199000000},
    {WIRE_TEXT("2016-12-31T23:59:60Z"),              true, 1483228799999999},
    {WIRE_TEXT("2017-01-01T00:59:60.5+01:00"),       true, 1483228799999999},
    {WIRE_TEXT("9999-12-31T23:59:59.999999Z"),       true, 253402300799999999},
    {WIRE_TEXT("1969-12-31T23:59:59-01:00"),         true, 3599000000},
    {WIRE_TEXT("1969-12-31T23:59:59Z"),              false, 0},
    {WIRE_TEXT("1970-01-01T00:00:00+00:01"),         false, 0},
    {WIRE_TEXT("9999-12-31T23:59:59-00:01"),         false, 0},
    {WIRE_TEXT("0000-01-01T00:00:00Z"),              false, 0},
    {WIRE_TEXT("2100-02-29T00:00:00Z"),              false, 0},
    {WIRE_TEXT("2026-02-29T00:00:00Z"),              false, 0},
    {WIRE_TEXT("2026-04-31T00:00:00Z"),              false, 0},
    {WIRE_TEXT("2026-00-01T00:00:00Z"),              false, 0},
    {WIRE_TEXT("2026-13-01T00:00:00Z"),              false, 0},
    {WIRE_TEXT("2026-01-00T00:00:00Z"),              false, 0},
    {WIRE_TEXT("2026-01-01T24:00:00Z"),              false, 0},
    {WIRE_TEXT("2026-01-01T00:60:00Z"),              false, 0},
    {WIRE_TEXT("2026-01-01T00:00:61Z"),              false, 0},
    {WIRE_TEXT("2026-01-01T00:00:60Z"),              false, 0}, /* no leap second ends this minute */
    {WIRE_TEXT("2026-01-01T23:59:60+01:00"),         false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00+24:00"),         false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00+01:60"),         false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00+0100"),          false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00+01"),            false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00"),               false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00.Z"),             false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00,5Z"),            false, 0},
    {WIRE_TEXT("2026-01-01T00:00Z"),                 false, 0},
    {WIRE_TEXT("2026-01-01 00:00:00Z"),              false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00ZZ"),             false, 0},
    {WIRE_TEXT("2026-01-01T00:00:00Z\0"),            false, 0},
    {WIRE_TEXT("2026-1-1T00:00:00Z"),                false, 0},
    {WIRE_TEXT("+2026-01-01T00:00:00Z"),             false, 0},
    {WIRE_TEXT("2026-01-01"),                        false, 0},
    {WIRE_TEXT(""),                                  false, 0},
};
/* clang-format on */

static void times_are_read_strictly(void **state)
{
    uint8_t *block;

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        for (uint32_t size = 0; size <= times[i].text.length; size++) {
            bool is_whole = size == times[i].text.length;
            int64_t wall_us = 0;
            struct bytes cut = wire_cut(wire_bytes(times[i].text), size, &block);
            bool accepted = time_parse((struct text){(const char *)cut.data, size}, &wall_us);
            free(block);
            if (is_whole && (accepted != times[i].accepted || wall_us != times[i].wall_us))
                fail_msg("%.*s: %jd", TEXT_ARGS(times[i].text), (intmax_t)wall_us);
            if (!is_whole && accepted && times[i].accepted)
                fail_msg("%.*s cut at %u", TEXT_ARGS(times[i].text), size);
        }
    }
}

/* Every day of 8030 years follows the day before it, by the C library's calendar. */
static void every_day_is_counted(void **state)
{
    char text[40];
    int64_t wall_us;

    (void)state;
    for (time_t day = 0; day < 2932897; day++) {
        time_t seconds = day * 86400;
        struct tm tm;
        assert_non_null(gmtime_r(&seconds, &tm));
        assert_true(strftime(text, sizeof text, "%Y-%m-%dT00:00:00Z", &tm) > 0);
        if (!time_parse(text_of(text), &wall_us) || wall_us != (int64_t)day * 86400000000)
            fail_msg("%s", text);
    }
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
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_in_order_of_precedence),
        cmocka_unit_test(a_body_over_the_limit_is_refused_however_it_came),
        cmocka_unit_test(callers_and_keys_are_found),
        cmocka_unit_test(unreadable_properties_are_a_fault),
        cmocka_unit_test(a_reply_queue_that_is_not_text_gets_nothing),
        cmocka_unit_test(deadlines_are_read),
        cmocka_unit_test(times_are_read_strictly),
        cmocka_unit_test(every_day_is_counted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
