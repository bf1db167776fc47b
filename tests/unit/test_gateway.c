/*
 * test_gateway.c - what a path names, what becomes of a body on its way to the ledger, and of a
 * reply on its way back.
 */
#include "gateway/answer.h"
#include "gateway/ask.h"
#include "protocol/reply.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

enum { ARENA_SIZE = 8 << 20 };

static struct arena arena;
static struct codec *codec;
static struct trace trace;

static struct bytes bytes_of(const char *text)
{
    return (struct bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

static bool holds(struct bytes body, const char *part)
{
    return memmem(body.data, body.size, part, strlen(part)) != NULL;
}

static void test_routes(void **state)
{
    static const struct {
        const char *method, *path, *word, *id, *allow;
    } rows[] = {
        {"POST", "/accounts", "open_account", "", NULL},
        {"GET", "/accounts", "other", "", "POST"},
        {"GET", "/accounts/", "other", "", NULL},
        {"GET", "/accounts/ada:eur", "get_account", "ada:eur", NULL},
        {"HEAD", "/accounts/ada:eur", "get_account", "ada:eur", NULL},
        {"POST", "/accounts/ada:eur", "other", "", "GET, HEAD"},
        {"GET", "/accounts/ada:eur/balance", "get_account_balance", "ada:eur", NULL},
        {"GET", "/accounts/ada:eur/balance/", "other", "", NULL},
        {"GET", "/accounts//balance", "other", "", NULL},
        {"GET", "/accounts/a/transactions", "list_transactions", "a", NULL},
        {"GET", "/users/u/balance", "get_user_balance", "u", NULL},
        {"GET", "/transactions/x", "get_transaction", "x", NULL},
        {"GET", "/health/live", "get_live", "", NULL},
        {"DELETE", "/health", "other", "", "GET, HEAD"},
        {"GET", "/", "other", "", NULL},
        {"GET", "", "other", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct route_match match = route_find(rows[i].method, rows[i].path);
        assert_string_equal(route_word(match.route), rows[i].word);
        assert_true(text_equal(match.id, text_of(rows[i].id)));
        if (rows[i].allow == NULL) assert_null(match.allow);
        if (rows[i].allow != NULL) assert_string_equal(match.allow, rows[i].allow);
    }
}

static enum result ask_json(const char *json, struct message *message, char *problem)
{
    struct ask ask = {.codec = codec,
                      .arena = &arena,
                      .exchange = TEXT_LITERAL("ledger.commands"),
                      .app_id = TEXT_LITERAL("http"),
                      .key = TEXT_LITERAL("key-1"),
                      .trace = &trace,
                      .reply_to = TEXT_LITERAL("amq.rabbitmq.reply-to"),
                      .correlation_id = TEXT_LITERAL("7")};
    struct text type;
    struct bytes map;

    arena_reset(&arena);
    if (!ask_body(&ask, bytes_of(json), &type, &map, problem)) return RESULT_MALFORMED;
    return ask_message(&ask, type, map, message, problem);
}

static void test_asked(void **state)
{
    static const struct {
        const char *json;
        enum result result;
        const char *said; /* the routing key, or in the sentence */
    } rows[] = {
        {"{\"type\":\"deposit\",\"account\":\"ada\",\"amount\":\"1.50\"}", RESULT_APPLIED, "ada"},
        {"{\"amount\":1,\"from\":\"a\",\"to\":\"b\",\"type\":\"transfer\"}", RESULT_APPLIED, "a"},
        {"{\"type\":\"release\",\"hold\":\"019aaf11-2233-7444-8555-66778899aabd\"}", RESULT_APPLIED,
         "019aaf11-2233-7444-8555-66778899aabd"},
        {"{\"type\":\"batch\",\"commands\":[{\"type\":\"deposit\",\"idempotency_key\":\"k\","
         "\"account\":\"a\",\"amount\":1}]}",
         RESULT_APPLIED, "key-1"},
        {"{\"type\":\"batch\",\"commands\":[{\"type\":\"set_floor\",\"idempotency_key\":\"k\","
         "\"account\":\"a\",\"floor\":-1}]}",
         RESULT_UNKNOWN_TYPE, "commands[0]: set_floor"},
        {"{\"type\":\"batch\",\"commands\":[{\"type\":\"deposit\",\"idempotency_key\":\"key-1\","
         "\"account\":\"a\",\"amount\":1}]}",
         RESULT_MALFORMED, "given twice"},
        {"{\"type\":\"deposit\",\"account\":\"ada\",\"amount\":1.5}", RESULT_MALFORMED, "a float"},
        {"{\"type\":\"deposit\",\"account\":\"ada\",\"amount\":1,\"x\":1}", RESULT_MALFORMED, "x:"},
        {"{\"type\":\"deposit\",\"account\":\"ada\"}", RESULT_MALFORMED, "amount"},
        {"{\"type\":\"pay\",\"account\":\"ada\"}", RESULT_UNKNOWN_TYPE, "pay"},
        {"{\"type\":\"freeze_account\",\"account\":\"ada\"}", RESULT_UNKNOWN_TYPE, "not for HTTP"},
        {"{\"account\":\"ada\",\"amount\":1}", RESULT_MALFORMED, "type: missing"},
        {"{\"type\":7,\"account\":\"ada\"}", RESULT_MALFORMED, "type: must be text"},
        {"[1]", RESULT_MALFORMED, "one JSON object"},
        {"", RESULT_MALFORMED, "body"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char problem[PROBLEM_SIZE] = "";
        struct message message = {0};
        assert_int_equal(ask_json(rows[i].json, &message, problem), rows[i].result);
        if (rows[i].result == RESULT_APPLIED)
            assert_true(text_equal(message.routing_key, text_of(rows[i].said)));
        else if (strstr(problem, rows[i].said) == NULL)
            fail_msg("\"%s\" lacks \"%s\"", problem, rows[i].said);
    }
}

/* The type goes into the property, not the body. */
static void test_message(void **state)
{
    char problem[PROBLEM_SIZE];
    struct message message;
    struct properties properties;

    (void)state;
    assert_int_equal(
        ask_json("{\"type\":\"deposit\",\"account\":\"ada\",\"amount\":5}", &message, problem),
        RESULT_APPLIED);
    assert_true(properties_parse(message.properties, &properties));
    assert_true(text_equal(properties.type, TEXT_LITERAL("deposit")));
    assert_true(text_equal(properties.message_id, TEXT_LITERAL("key-1")));
    assert_true(text_equal(properties.app_id, TEXT_LITERAL("http")));
    assert_true(text_equal(properties.correlation_id, TEXT_LITERAL("7")));
    assert_int_equal(properties.traceparent.length, TRACEPARENT_SIZE - 1);
    assert_false(holds(message.body, "type"));
    assert_true(holds(message.body, "ada"));
}

static struct bytes reply_bytes(const struct reply *reply)
{
    struct bytes out;

    assert_true(reply_encode(codec, reply, ENCODING_MSGPACK, &arena, &out));
    return out;
}

/* The first answer and a repeat: the same bytes, but for the header. */
static void test_repeat(void **state)
{
    struct reply reply = {.result = RESULT_APPLIED,
                          .has_transaction = true,
                          .transaction = {{1}},
                          .balances = {{TEXT_LITERAL("ada"), TEXT_LITERAL("EUR"), 5, 0, 1, true}},
                          .balances_count = 1,
                          .timestamp_us = 1,
                          .trace_id = {{2}}};
    struct answer first, again;

    (void)state;
    arena_reset(&arena);
    answer_reply(codec, &arena, ROUTE_CREATE_TRANSACTION, reply_bytes(&reply), &first);
    reply.replayed = true;
    answer_reply(codec, &arena, ROUTE_CREATE_TRANSACTION, reply_bytes(&reply), &again);
    assert_int_equal(first.code, 200);
    assert_int_equal(again.code, 200);
    assert_false(first.replayed);
    assert_true(again.replayed);
    assert_int_equal(first.body.size, again.body.size);
    assert_memory_equal(first.body.data, again.body.data, first.body.size);
    assert_true(holds(first.body, "\"balance\":5"));
    reply.created = true;
    answer_reply(codec, &arena, ROUTE_OPEN_ACCOUNT, reply_bytes(&reply), &first);
    assert_int_equal(first.code, 201);
}

static void test_refusals(void **state)
{
    static const struct {
        enum result result;
        unsigned code;
        uint32_t retry_after_s;
    } rows[] = {
        {RESULT_INSUFFICIENT_FUNDS, 400, 0},
        {RESULT_ACCOUNT_NOT_FOUND, 404, 0},
        {RESULT_KEY_REUSED, 409, 0},
        {RESULT_KEY_IN_PROGRESS, 409, 1},
        {RESULT_EXPIRED, 400, 0},
        {RESULT_FORBIDDEN, 403, 0},
        {RESULT_SEQ_MISMATCH, 412, 0},
        {RESULT_INTERNAL, 500, 0},
    };
    struct answer answer;
    char part[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reply reply = {.result = rows[i].result, .timestamp_us = 1, .trace_id = {{2}}};
        arena_reset(&arena);
        answer_reply(codec, &arena, ROUTE_CREATE_TRANSACTION, reply_bytes(&reply), &answer);
        assert_int_equal(answer.code, rows[i].code);
        assert_true(answer.is_problem);
        assert_int_equal(answer.retry_after_s, rows[i].retry_after_s);
        (void)snprintf(part, sizeof part, "\"error\":\"%s\"", result_error(rows[i].result));
        assert_true(holds(answer.body, part));
        (void)snprintf(part, sizeof part, "\"status\":%u", rows[i].code);
        assert_true(holds(answer.body, part));
    }
    answer_reply(codec, &arena, ROUTE_USER, bytes_of("nonsense"), &answer);
    assert_int_equal(answer.code, 500);
    answer_refusal(&arena, REFUSAL_NO_REPLY, NULL, &answer);
    assert_int_equal(answer.code, 503);
    assert_int_equal(answer.retry_after_s, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),   cmocka_unit_test(test_asked),
        cmocka_unit_test(test_message),  cmocka_unit_test(test_repeat),
        cmocka_unit_test(test_refusals),
    };
    struct properties none = {0};
    uint8_t random[TRACE_RANDOM_SIZE] = {1};
    struct err err;

    if (!arena_open(&arena, ARENA_SIZE, &err) || !codec_open(&codec, &err)) return 1;
    trace = trace_begin(&none, random);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    codec_close(codec);
    arena_close(&arena);
    return failed;
}
