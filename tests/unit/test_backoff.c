/*
 * test_backoff.c - delays double up to a limit and are spread over their upper half; the breaker
 * lets one call a period through while it is open.
 */
#include "base/backoff.h"
#include "tests/test.h"

static void delays_double_up_to_the_limit(void **state)
{
    static const uint32_t most_of[] = {100, 200, 400, 800, 1000, 1000};
    struct backoff backoff = {.first_ms = 100, .most_ms = 1000};

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < sizeof most_of / sizeof most_of[0]; i++) {
            assert_int_equal(backoff.attempts, i);
            assert_int_equal(backoff_next_ms(&backoff, 0), most_of[i]);
        }
        backoff_reset(&backoff);
    }
}

/* Over all random values the delay takes every value from half to all, and no other. */
static void jitter_covers_the_upper_half(void **state)
{
    static const uint32_t all_ms[] = {1, 2, 3, 7, 10, 101};

    (void)state;
    for (size_t i = 0; i < sizeof all_ms / sizeof all_ms[0]; i++) {
        bool seen[128] = {false};
        uint32_t least = all_ms[i] - all_ms[i] / 2;
        for (uint32_t random = 0; random < 1000; random++) {
            struct backoff backoff = {.first_ms = all_ms[i], .most_ms = 1000};
            uint32_t delay = backoff_next_ms(&backoff, random);
            assert_in_range(delay, least, all_ms[i]);
            seen[delay] = true;
        }
        for (uint32_t delay = least; delay <= all_ms[i]; delay++) assert_true(seen[delay]);
    }
}

static void it_neither_wraps_nor_exceeds(void **state)
{
    struct backoff backoff = {.first_ms = 3, .most_ms = UINT32_MAX};
    struct backoff narrow = {.first_ms = 500, .most_ms = 20};

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t delay = backoff_next_ms(&backoff, UINT32_MAX);
        if (i > 32) assert_true(delay >= UINT32_MAX / 2);
    }
    backoff.attempts = UINT32_MAX;
    assert_int_equal(backoff_next_ms(&backoff, 0), UINT32_MAX);
    assert_int_equal(backoff.attempts, UINT32_MAX);
    assert_int_equal(backoff_next_ms(&narrow, 0), 20);
}

static void the_breaker_opens_after_failures_in_a_row(void **state)
{
    struct breaker breaker = {.threshold = 3, .probe_ms = 1000};

    (void)state;
    for (uint32_t i = 0; i < 2; i++) breaker_report(&breaker, false, 5000);
    breaker_report(&breaker, true, 5000); /* no longer in a row */
    for (uint32_t i = 0; i < 3; i++) {
        assert_false(breaker_is_open(&breaker));
        assert_true(breaker_allows(&breaker, 5000));
        breaker_report(&breaker, false, 5000);
    }
    assert_true(breaker_is_open(&breaker));
    assert_false(breaker_allows(&breaker, 5000));
    assert_false(breaker_allows(&breaker, 5999));
}

static void an_open_breaker_lets_one_probe_through(void **state)
{
    struct breaker breaker = {.threshold = 1, .probe_ms = 1000};

    (void)state;
    breaker_report(&breaker, false, 0);
    assert_true(breaker_allows(&breaker, 1000));
    assert_false(breaker_allows(&breaker, 1000)); /* the probe is under way */
    breaker_report(&breaker, false, 1300);        /* it took 300 ms to fail */
    assert_false(breaker_allows(&breaker, 2299));
    assert_true(breaker_allows(&breaker, 2300));
    assert_true(breaker_allows(&breaker, 3300)); /* one whose outcome nobody told */
    breaker_report(&breaker, true, 3400);
    assert_false(breaker_is_open(&breaker));
    for (int i = 0; i < 3; i++) assert_true(breaker_allows(&breaker, 3400));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delays_double_up_to_the_limit),
        cmocka_unit_test(jitter_covers_the_upper_half),
        cmocka_unit_test(it_neither_wraps_nor_exceeds),
        cmocka_unit_test(the_breaker_opens_after_failures_in_a_row),
        cmocka_unit_test(an_open_breaker_lets_one_probe_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
