/*
 * test_health.c - which states are live, ready and degraded. The clock is this file's own: the
 * linker takes it instead of the real one.
 */
#include "base/clock.h"
#include "base/health.h"
#include "tests/test.h"

#include <jansson.h>
#include <string.h>

enum { TEXT_SIZE = 2048, STUCK_AFTER_MS = 30000 };

static uint64_t now_ms = 1000000;
static char text[TEXT_SIZE];

uint64_t clock_monotonic_ms(void)
{
    return now_ms;
}

/* The answer's text as JSON; what was asked before is gone. */
static json_t *parsed(void)
{
    static json_t *json;

    json_decref(json);
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (json == NULL) fail_msg("%s", text);
    return json;
}

static void assert_status(int (*ask)(char *out, size_t out_size), int code, const char *status)
{
    assert_int_equal(ask(text, sizeof text), code);
    assert_string_equal(json_string_value(json_object_get(parsed(), "status")), status);
}

/* Live: before the loop begins to turn, and then as long as it turns; no server matters. */
static void live_is_a_loop_that_turns(void **state)
{
    (void)state;
    assert_status(health_live, 200, "live");
    now_ms += 10 * STUCK_AFTER_MS;
    assert_status(health_live, 200, "live");
    health_beat();
    now_ms += STUCK_AFTER_MS;
    assert_status(health_live, 200, "live");
    now_ms++;
    assert_status(health_live, 503, "stuck");
    assert_status(health_ready, 200, "ready");
    (void)health_report(text, sizeof text);
    assert_true(json_is_false(json_object_get(parsed(), "live")));
    health_beat();
    assert_status(health_live, 200, "live");
    (void)health_report(text, sizeof text);
    assert_true(json_is_true(json_object_get(parsed(), "live")));
}

static void ready_is_all_that_is_required(void **state)
{
    static const enum health_status D = HEALTH_DOWN, U = HEALTH_UP;
    const struct {
        enum health_status postgres, rabbitmq, redis; /* the last is optional */
        int code;
        const char *status;
    } rows[] = {
        {D, D, D, 503, "unavailable"}, {U, D, D, 503, "unavailable"}, {D, U, D, 503, "unavailable"},
        {D, D, U, 503, "unavailable"}, {U, U, D, 200, "degraded"},    {U, D, U, 503, "unavailable"},
        {D, U, U, 503, "unavailable"}, {U, U, U, 200, "ready"},
    };

    (void)state;
    health_require(HEALTH_POSTGRES);
    assert_status(health_ready, 503, "unavailable"); /* down until it is known */
    health_require(HEALTH_RABBITMQ);
    health_optional(HEALTH_REDIS);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        health_set(HEALTH_POSTGRES, rows[i].postgres);
        health_set(HEALTH_RABBITMQ, rows[i].rabbitmq);
        health_set(HEALTH_REDIS, rows[i].redis);
        assert_status(health_ready, rows[i].code, rows[i].status);
        const char *redis =
            json_string_value(json_object_get(json_object_get(parsed(), "components"), "redis"));
        assert_string_equal(redis, rows[i].redis == HEALTH_UP ? "up" : "down");
        assert_status(health_report, rows[i].code, rows[i].status);
        assert_status(health_live, 200, "live");
    }
}

static void an_optional_one_alone_only_degrades(void **state)
{
    (void)state;
    health_optional(HEALTH_POSTGRES);
    health_optional(HEALTH_RABBITMQ);
    health_optional(HEALTH_REDIS);
    assert_status(health_ready, 200, "degraded");
}

static json_int_t since_ms(const char *component)
{
    (void)health_report(text, sizeof text);
    const json_t *found = json_object_get(json_object_get(parsed(), "components"), component);
    return json_integer_value(json_object_get(found, "since_ms"));
}

static void the_report_says_since_when(void **state)
{
    (void)state;
    health_require(HEALTH_POSTGRES);
    now_ms += 500;
    assert_int_equal(since_ms("postgres"), 500);
    health_set(HEALTH_POSTGRES, HEALTH_DOWN); /* as it was */
    now_ms += 200;
    assert_int_equal(since_ms("postgres"), 700);
    health_set(HEALTH_POSTGRES, HEALTH_UP);
    now_ms += 50;
    assert_int_equal(since_ms("postgres"), 50);
}

static void details_are_shown_up_to_eight(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i"};

    (void)state;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 9; i++) health_detail(names[i], INT64_MIN + i + round);
    (void)health_report(text, sizeof text);
    for (int i = 0; i < 8; i++)
        assert_true(json_integer_value(json_object_get(parsed(), names[i])) == INT64_MIN + i + 1);
    (void)health_report(text, sizeof text);
    assert_null(json_object_get(parsed(), names[8]));
    (void)health_ready(text, sizeof text);
    assert_null(json_object_get(parsed(), names[0]));
}

/* A buffer that is too small cuts the text; it is never written past. */
static void a_small_buffer_is_not_overrun(void **state)
{
    (void)state;
    for (size_t size = 1; size < 600; size++) {
        memset(text, 'x', sizeof text);
        (void)health_report(text, size);
        assert_true(memchr(text, '\0', size) != NULL);
        for (size_t i = size; i < sizeof text; i++) assert_int_equal(text[i], 'x');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_is_a_loop_that_turns),
        cmocka_unit_test(ready_is_all_that_is_required),
        cmocka_unit_test(an_optional_one_alone_only_degrades),
        cmocka_unit_test(the_report_says_since_when),
        cmocka_unit_test(details_are_shown_up_to_eight),
        cmocka_unit_test(a_small_buffer_is_not_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
