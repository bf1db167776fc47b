/*
 * test_limit.c - a burst, then the rate, for each caller alone; the table stays as large as it is;
 * what the headers say is what happens.
 */
#include "tests/test.h"

#include "gateway/limit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { US = 1000000, CROWD = 20000 };
static const uint64_t NOON = UINT64_C(1000) * US;

static struct limit *open_limit(uint32_t rate, uint32_t burst, uint32_t callers)
{
    const struct limit_options options = {rate, burst, callers};
    struct limit *limit;
    struct err err;

    assert_true(limit_open(&limit, &options, &err));
    return limit;
}

static void a_burst_then_the_rate(void **state)
{
    struct limit *limit = open_limit(10, 5, 100);
    struct limit_verdict verdict;

    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        verdict = limit_take(limit, text_of("ann"), NOON);
        assert_true(verdict.allowed);
        assert_int_equal(verdict.remaining, 4 - i);
    }
    assert_int_equal(verdict.reset_s, 1);
    verdict = limit_take(limit, text_of("ann"), NOON);
    assert_false(verdict.allowed);
    assert_int_equal(verdict.remaining, 0);
    assert_int_equal(verdict.retry_after_s, 1);
    verdict =
        limit_take(limit, text_of("ann"), NOON - 1); /* looked at the clock before the others */
    assert_false(verdict.allowed);
    assert_int_equal(verdict.remaining, 0);
    assert_true(limit_take(limit, text_of("bob"), NOON).allowed); /* each for himself */
    assert_false(limit_take(limit, text_of("ann"), NOON + US / 10 - 1).allowed);
    assert_true(limit_take(limit, text_of("ann"), NOON + US / 10).allowed);
    assert_false(limit_take(limit, text_of("ann"), NOON + US / 10).allowed);
    verdict = limit_take(limit, text_of("ann"), NOON + 100 * (uint64_t)US); /* no more than full */
    assert_int_equal(verdict.remaining, 4);
    limit_close(limit);
}

/* So many in so long, whatever the rhythm. */
static void the_rate_holds(void **state)
{
    static const uint32_t rates[] = {1, 3, 7, 100, 9999};

    (void)state;
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct limit *limit = open_limit(rates[r], 2, 1);
        uint32_t allowed = 0;
        uint64_t now_us = NOON;
        srand(7);
        for (; now_us < NOON + 100 * (uint64_t)US; now_us += 1 + (uint64_t)rand() % 5000)
            allowed += limit_take(limit, text_of("ann"), now_us).allowed;
        uint32_t most = rates[r] * 100 + 3;
        uint32_t least = rates[r] < 200 ? rates[r] * 100 - 100 : 100;
        assert_in_range(allowed, least, most);
        limit_close(limit);
    }
}

static void retrying_when_told_to_is_allowed(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 200; seed++) {
        srand(seed);
        uint32_t rate = 1 + (uint32_t)rand() % 50, burst = 1 + (uint32_t)rand() % 50;
        struct limit *limit = open_limit(rate, burst, 10);
        uint64_t now_us = NOON + (uint64_t)rand();
        struct limit_verdict verdict = {.allowed = true};
        while (verdict.allowed) verdict = limit_take(limit, text_of("ann"), now_us);
        assert_true(verdict.retry_after_s >= 1);
        now_us += (uint64_t)verdict.retry_after_s * US;
        if (!limit_take(limit, text_of("ann"), now_us).allowed) fail_msg("seed %u", seed);
        limit_close(limit);
    }
}

static void a_crowd_does_not_make_it_grow(void **state)
{
    struct limit *limit = open_limit(1, 3, 64);
    char name[16];

    (void)state;
    for (uint32_t i = 0; i < 3; i++) (void)limit_take(limit, text_of("ann"), NOON);
    for (uint32_t i = 0; i < CROWD; i++) {
        (void)snprintf(name, sizeof name, "c%u", i);
        assert_true(limit_take(limit, text_of(name), NOON).allowed);
    }
    /* Those who took one push each other out, not the one who has used all of his. */
    assert_false(limit_take(limit, text_of("ann"), NOON).allowed);
    limit_close(limit);
}

static void off_is_off(void **state)
{
    struct limit *limit = open_limit(0, 0, 1);

    (void)state;
    assert_false(limit_is_on(limit));
    for (uint32_t i = 0; i < 1000; i++) assert_true(limit_take(limit, text_of("a"), NOON).allowed);
    limit_close(limit);
}

static void headers_say_what_happens(void **state)
{
    struct limit *limit = open_limit(10, 25, 1);
    char policy[LIMIT_HEADER_SIZE], now[LIMIT_HEADER_SIZE];

    (void)state;
    struct limit_verdict verdict = limit_take(limit, text_of("a"), NOON);
    limit_headers(limit, &verdict, policy, now);
    assert_string_equal(policy, "\"caller\";q=25;w=3");
    assert_string_equal(now, "\"caller\";r=24;t=1");
    limit_close(limit);
}

static void addresses_of_one_house_are_one(void **state)
{
    static const uint8_t v4[] = {192, 0, 2, 7};
    static const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7};
    static const uint8_t one[] = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 1, 1, 1, 1, 1, 1, 1, 1};
    static const uint8_t two[] = {0x20, 1, 0xd, 0xb8, 0, 1, 0, 2, 9, 9, 9, 9, 9, 9, 9, 9};
    char a[LIMIT_ADDRESS_SIZE], b[LIMIT_ADDRESS_SIZE];

    (void)state;
    assert_true(text_equal(limit_address(v4, 4, a), TEXT_LITERAL("192.0.2.7")));
    assert_true(text_equal(limit_address(mapped, 16, a), TEXT_LITERAL("192.0.2.7")));
    assert_true(text_equal(limit_address(one, 16, a), TEXT_LITERAL("2001:0db8:0001:0002")));
    assert_true(text_equal(limit_address(one, 16, a), limit_address(two, 16, b)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_then_the_rate),
        cmocka_unit_test(the_rate_holds),
        cmocka_unit_test(retrying_when_told_to_is_allowed),
        cmocka_unit_test(a_crowd_does_not_make_it_grow),
        cmocka_unit_test(off_is_off),
        cmocka_unit_test(headers_say_what_happens),
        cmocka_unit_test(addresses_of_one_house_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
