/*
 * test_shards.c - fair shares: workers come and go, each acting on its own survey; after a few
 * rounds every shard has one owner, the shares differ by at most one, and nothing moves any more.
 */
#include "tests/test.h"
#include "worker/shards.h"

#include <string.h>

static struct survey survey;

static void check_shares(uint32_t shards, const int32_t *workers, uint32_t count, uint32_t round)
{
    uint32_t least = shards, most = 0;

    for (uint32_t w = 0; w < count; w++) {
        uint32_t held = 0;
        for (uint32_t i = 0; i < shards; i++) held += survey.owner[i] == workers[w];
        if (held < least) least = held;
        if (held > most) most = held;
    }
    for (uint32_t i = 0; i < shards; i++)
        if (survey.owner[i] == 0) fail_msg("shard %u is free in round %u", i, round);
    if (most - least > 1) fail_msg("shares from %u to %u in round %u", least, most, round);
}

/* One worker looks and acts; returns how many shards changed hands. */
static uint32_t act(int32_t self, const int32_t *workers, uint32_t count, uint32_t shards)
{
    struct plan plan;
    uint32_t moves = 0, own = 0;

    survey.self = self;
    survey.shards = shards;
    survey.workers_count = count;
    memcpy(survey.workers, workers, sizeof *workers * count);
    shards_plan(&survey, &plan);
    for (uint32_t i = 0; i < plan.release_count; i++, moves++) {
        assert_int_equal(survey.owner[plan.release[i]], self);
        survey.owner[plan.release[i]] = 0;
    }
    for (uint32_t i = 0; i < shards; i++) own += survey.owner[i] == self;
    for (uint32_t i = 0; i < plan.acquire_count && own < plan.quota; i++, moves++, own++) {
        assert_int_equal(survey.owner[plan.acquire[i]], 0);
        survey.owner[plan.acquire[i]] = self;
    }
    return moves;
}

static uint32_t settle(const int32_t *workers, uint32_t count, uint32_t shards)
{
    uint32_t moves = 0;

    for (uint32_t round = 0; round < 4; round++)
        for (uint32_t w = 0; w < count; w++) moves += act(workers[w], workers, count, shards);
    check_shares(shards, workers, count, 4);
    for (uint32_t w = 0; w < count; w++)
        assert_int_equal(act(workers[w], workers, count, shards), 0);
    return moves;
}

static void forget_others(const int32_t *workers, uint32_t count, uint32_t shards)
{
    for (uint32_t i = 0; i < shards; i++) {
        bool alive = false;
        for (uint32_t w = 0; w < count; w++) alive = alive || survey.owner[i] == workers[w];
        if (!alive) survey.owner[i] = 0; /* its locks went with it */
    }
}

static void shares_are_fair_as_workers_come_and_go(void **state)
{
    (void)state;
    static const int32_t workers[] = {400, 17, 93, 5000, 2, 61, 7, 8, 9, 10, 11, 12};
    static const uint32_t counts[] = {1, 2, 3, 5, 12, 4, 3, 1, 7, 2};

    for (uint32_t shards = 1; shards <= 16; shards++) {
        memset(survey.owner, 0, sizeof survey.owner);
        for (uint32_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            forget_others(workers, counts[i], shards);
            (void)settle(workers, counts[i], shards);
        }
    }
}

static void nothing_moves_without_need(void **state)
{
    (void)state;
    static const int32_t workers[] = {10, 20, 30};

    memset(survey.owner, 0, sizeof survey.owner);
    assert_int_equal(settle(workers, 2, 8), 8);
    /* A third worker takes two shards: two released, two acquired, no more. */
    assert_int_equal(settle(workers, 3, 8), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_fair_as_workers_come_and_go),
        cmocka_unit_test(nothing_moves_without_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
