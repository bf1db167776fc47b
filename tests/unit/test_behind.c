/*
 * test_behind.c - how old the oldest unpublished row is said to be, against a model that knows when
 * each row was committed: for many seeds, never too little, and never much too much.
 */
#include "outbox/behind.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEEDS = 300,
    STEPS = 600,
    ROWS_MAX = 4 * STEPS,
    TEXT_SIZE = 64,
    UNDER_WAY = 4,
    PER_STEP = 2,
    LAG_MAX = UNDER_WAY + PER_STEP + 2
};

static void nothing_is_nothing(void **state)
{
    struct behind behind;

    (void)state;
    behind_begin(&behind, 1000);
    assert_int_equal(behind_ms(&behind, 1500), 500); /* nobody has looked yet */
    behind_look(&behind, false, 0, 2000);
    assert_int_equal(behind_ms(&behind, 2600), 0);
    behind_fail(&behind); /* and now nobody can */
    assert_int_equal(behind_ms(&behind, 2600), 600);
    behind_turn(&behind, "1:1:", true, 3000);
    assert_int_equal(behind_ms(&behind, 3700), 0);
    behind_turn(&behind, "1:1:", false, 3800);
    assert_int_equal(behind_ms(&behind, 4000), 1000);
}

/* Who begins while nobody leads knows only the saved cursor; it may be older than this machine. */
static void a_saved_cursor_is_a_hint(void **state)
{
    struct behind behind;

    (void)state;
    behind_begin(&behind, 5000);
    behind_look(&behind, true, -60000, 5010);
    assert_int_equal(behind_ms(&behind, 6000), 66000);
    behind_look(&behind, true, -60000, 5510); /* it stands by, and nobody leads */
    assert_int_equal(behind_ms(&behind, 6000), 66000);
    behind_look(&behind, true, 5900, 6000); /* somebody leads, and saves */
    assert_int_equal(behind_ms(&behind, 6000), 100);
    behind_look(&behind, false, 5900, 7000);
    behind_look(&behind, true, 5900, 9000); /* of after 7000, when there was nothing */
    assert_int_equal(behind_ms(&behind, 9000), 2000);
}

static void a_lead_that_ended_is_not_followed(void **state)
{
    struct behind behind;

    (void)state;
    behind_begin(&behind, 0);
    behind_look(&behind, true, 0, 0);
    behind_follow(&behind, "10:10:", 900);
    behind_look(&behind, true, 100, 1000);
    behind_turn(&behind, "20:20:", false, 1100);
    assert_int_equal(behind_ms(&behind, 1100), 1000);
}

static void later_snapshots_are_known(void **state)
{
    static const struct {
        const char *followed, *confirmed;
        bool reached;
    } rows[] = {
        {"5:9:5,7", "5:9:5,7", true},
        {"5:9:5,7", "7:9:7", true},
        {"5:9:5,7", "9:9:", true},
        {"5:9:5,7", "5:10:5,7,9", true},
        {"5:9:5,7", "5:9:5,6,7", false},
        {"5:9:5,7", "5:8:5", false},
        {"9:9:", "8:9:8", false},
        {"9:9:", "1:1:", false},
        {"99:100:99", "9:99:9", false},
        {"9:99:9", "100:100:", true},
        {"4294967296:4294967299:4294967296", "4294967298:4294967298:", false},
        {"4294967296:4294967299:4294967296", "4294967299:4294967299:", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct behind behind;
        behind_begin(&behind, 0);
        behind_look(&behind, true, 0, 0);
        behind_follow(&behind, rows[i].followed, 700);
        behind_turn(&behind, rows[i].confirmed, false, 900);
        uint64_t wanted_ms = rows[i].reached ? 300 : 1000;
        if (behind_ms(&behind, 1000) != wanted_ms)
            fail_msg("%s after %s", rows[i].confirmed, rows[i].followed);
    }
}

/* --- a relay and its rows --------------------------------------------------------------------- */

/* Row n is of transaction n. A relay that, now and then, takes a snapshot, and confirms it some
 * while later, several being under way; and that is blocked at times. */
static struct {
    int64_t committed_ms[ROWS_MAX];
    uint32_t committed, confirmed;
    uint32_t taken[STEPS];
    int64_t taken_ms[STEPS];
    uint32_t taken_count, confirmed_count;
} model;

static const char *snapshot_of(uint32_t rows)
{
    static char text[TEXT_SIZE];

    (void)snprintf(text, sizeof text, "%u:%u:", rows + 3, rows + 3);
    return text;
}

static void confirm_some(uint32_t most)
{
    for (; most > 0 && model.confirmed_count < model.taken_count; most--)
        model.confirmed = model.taken[model.confirmed_count++];
}

/* The snapshot that is followed is confirmed, and replaced by the next one that is taken, with so
 * many others between them. */
static void check(uint32_t seed, const struct behind *behind, int64_t now_ms)
{
    bool is_behind = model.confirmed < model.committed;
    uint64_t said_ms = behind_ms(behind, now_ms);
    uint64_t oldest_ms = is_behind ? (uint64_t)(now_ms - model.committed_ms[model.confirmed]) : 0;

    if (said_ms < oldest_ms)
        fail_msg("seed %u: %ju ms, not %ju", seed, (uintmax_t)said_ms, (uintmax_t)oldest_ms);
    if (model.confirmed_count < LAG_MAX) return;
    int64_t most_ms = now_ms - model.taken_ms[model.confirmed_count - LAG_MAX];
    if (said_ms > (uint64_t)most_ms)
        fail_msg("seed %u: %ju ms, over %jd", seed, (uintmax_t)said_ms, (intmax_t)most_ms);
}

static void run_model(uint32_t seed)
{
    struct behind behind;
    int64_t now_ms = 1000;
    uint32_t blocked_for = 0;

    srand(seed);
    memset(&model, 0, sizeof model);
    behind_begin(&behind, now_ms);
    behind_look(&behind, false, 0, now_ms);
    for (uint32_t step = 0; step < STEPS; step++) {
        int64_t began_ms = now_ms;
        uint32_t rows = (uint32_t)rand() % 4;
        if (step % 100 > 80) rows = 0; /* so that it catches up at times */
        if (blocked_for == 0 && rand() % 60 == 0) blocked_for = (uint32_t)rand() % 20;
        bool can_take = model.taken_count - model.confirmed_count < UNDER_WAY && blocked_for == 0;
        if (can_take) {
            model.taken[model.taken_count] = model.committed;
            model.taken_ms[model.taken_count++] = now_ms;
            behind_follow(&behind, snapshot_of(model.committed), now_ms);
        }
        if (blocked_for > 0) blocked_for--;
        if (blocked_for == 0) confirm_some((uint32_t)rand() % (PER_STEP + 1));
        bool idle = can_take && model.confirmed == model.committed &&
                    model.confirmed_count == model.taken_count;
        behind_turn(&behind, snapshot_of(model.confirmed), idle, began_ms);
        check(seed, &behind, now_ms);
        for (; rows > 0; rows--) model.committed_ms[model.committed++] = now_ms;
        now_ms += 1 + rand() % 10;
    }
}

static void the_model_agrees(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) run_model(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_nothing),
        cmocka_unit_test(a_saved_cursor_is_a_hint),
        cmocka_unit_test(a_lead_that_ended_is_not_followed),
        cmocka_unit_test(later_snapshots_are_known),
        cmocka_unit_test(the_model_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
