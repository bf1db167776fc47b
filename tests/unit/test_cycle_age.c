/*
 * test_cycle_age.c - for how long what a worker holds has waited: which timestamps are believed,
 * that it grows while nothing can be decided, and that what is settled does not count. And that a
 * transaction's id is of the time when it is committed.
 */
#include "base/clock.h"
#include "tests/test.h"
#include "worker/cycle.h"

#include <stdio.h>

enum { DELIVERIES_MAX = 4, DAY_S = 86400, LIMIT_S = 30 * DAY_S, US_PER_S = 1000000 };

static struct {
    struct arena arena;
    struct delivery deliveries[DELIVERIES_MAX];
    uint32_t count, fetches;
    uint32_t commits_left; /* then they fail */
    struct uuid id;        /* of the first, when it was tried last */
} world;
static struct names names;
static struct cycle *cycle;
static struct err err;

/* --- a broker that has these, and a database that now and then is away ------------------------ */

static bool fetch(void *context, uint32_t wait_ms, struct delivery *out, uint32_t max,
                  struct arena *arena, uint32_t *count, struct err *error)
{
    (void)context, (void)wait_ms, (void)arena, (void)error;
    assert_true(world.count <= max);
    for (uint32_t i = 0; i < world.count; i++) out[i] = world.deliveries[i];
    *count = world.count;
    world.count = 0;
    world.fetches++;
    return true;
}

static bool load(void *context, struct batch *batch, struct err *error)
{
    (void)context;
    world.id = batch->works[0].id;
    batch->now_us = 1;
    return world.commits_left > 0 || err_set(error, ERR_RETRY, "away");
}

static bool commit(void *context, const struct batch *batch, const struct outbox_row *rows,
                   uint32_t rows_count, struct err *error)
{
    (void)context, (void)batch, (void)rows, (void)rows_count, (void)error;
    world.commits_left--;
    return true;
}

static uint32_t none(void *context)
{
    (void)context;
    return 0;
}

static void ignore_batch(void *context, struct batch *batch)
{
    (void)context, (void)batch;
}

static void ignore_report(void *context, const struct batch *batch)
{
    (void)context, (void)batch;
}

static void abandon(void *context)
{
    (void)context;
}

static bool ack(void *context, uint64_t tag, struct err *error)
{
    (void)context, (void)tag, (void)error;
    return true;
}

static bool suspect(void *context, const struct uuid *digest, uint32_t *times, struct err *error)
{
    (void)context, (void)digest, (void)error;
    *times = 1;
    return true;
}

static void ignore_digest(void *context, const struct uuid *digest)
{
    (void)context, (void)digest;
}

static const struct cycle_io io = {.fetch = fetch,
                                   .lookup = ignore_batch,
                                   .remember = ignore_batch,
                                   .direct = none,
                                   .load = load,
                                   .commit = commit,
                                   .abandon = abandon,
                                   .ack = ack,
                                   .reject = ack,
                                   .suspect = suspect,
                                   .give_back = ignore_digest,
                                   .acquit = ignore_digest,
                                   .report = ignore_report};

/* --- small steps ------------------------------------------------------------------------------ */

static int64_t now_s(void)
{
    return clock_wall_us() / US_PER_S;
}

static void arrive(int64_t timestamp_s, bool is_suspect)
{
    struct header header = {TEXT_LITERAL("x-delivery-count"), {0}, 2, true};
    struct properties_out out = {
        .timestamp_s = timestamp_s, .headers = &header, .headers_count = is_suspect};
    struct delivery *delivery = &world.deliveries[world.count++];

    *delivery = (struct delivery){.tag = world.count, .redelivered = is_suspect};
    assert_true(properties_write(&out, &world.arena, &delivery->properties));
}

static void assert_waited(double least_s, double most_s, const char *what)
{
    double waited_s = (double)cycle_oldest_us(cycle) / US_PER_S;

    if (waited_s < least_s || waited_s > most_s) fail_msg("%s: %f s", what, waited_s);
}

static bool turn(void)
{
    uint32_t taken;

    return cycle_turn(cycle, 0, &taken, &err);
}

static int set_up(void **state)
{
    struct cycle_options options = {
        .io = &io, .names = &names, .batch_max = DELIVERIES_MAX, .crash_limit = 3};

    (void)state;
    world.count = world.fetches = world.commits_left = 0;
    assert_true(names_make(&names, "ledger", 4, &err));
    assert_true(arena_open(&world.arena, 64 * 1024, &err));
    assert_true(cycle_open(&cycle, &options, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cycle_close(cycle);
    arena_close(&world.arena);
    return 0;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void only_plausible_timestamps_are_believed(void **state)
{
    int64_t now = now_s();
    const struct {
        const char *what;
        int64_t timestamp_s;
        double waited_s;
    } rows[] = {
        {"none", 0, 0},
        {"this second", now, 0},
        {"a moment ago", now - 5, 5},
        {"a day ago", now - DAY_S, DAY_S},
        {"just young enough", now - LIMIT_S + 10, LIMIT_S - 10},
        {"too old", now - LIMIT_S - 10, 0},
        {"of the future", now + 10, 0},
        {"of 1970", 1, 0},
        {"milliseconds", now * 1000, 0},
        {"the last one", INT64_MAX, 0},
        {"before 1970", -1, 0},
        {"the first one", INT64_MIN, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        arena_reset(&world.arena);
        arrive(rows[i].timestamp_s, false);
        assert_true(cycle_take(cycle, &err));
        assert_waited(rows[i].waited_s, rows[i].waited_s + 3, rows[i].what);
        cycle_drop(cycle);
        assert_waited(0, 0, "dropped");
    }
}

static void unreadable_properties_count_from_when_they_were_taken(void **state)
{
    (void)state;
    arrive(now_s() - 100, false);
    world.deliveries[0].properties.size--;
    assert_true(cycle_take(cycle, &err));
    assert_waited(0, 3, "unreadable");
}

static void it_grows_while_nothing_can_be_decided(void **state)
{
    double before_s;

    (void)state;
    assert_waited(0, 0, "nothing");
    arrive(now_s() - 7, false);
    for (int i = 0; i < 3; i++) {
        assert_false(turn());
        assert_true(cycle_take(cycle, &err)); /* takes no more while it holds something */
        before_s = (double)cycle_oldest_us(cycle) / US_PER_S;
        clock_sleep_ms(30);
        assert_waited(before_s + 0.029, before_s + 3, "growing");
    }
    assert_int_equal(world.fetches, 1);
    world.commits_left = 1;
    assert_true(turn());
    assert_waited(0, 0, "settled");
}

/* Else the age would fall back when the time has come that it bore. */
static void what_was_not_believed_is_not_believed_later(void **state)
{
    (void)state;
    arrive(now_s() + 1, false);
    assert_true(cycle_take(cycle, &err));
    clock_sleep_ms(2100);
    assert_waited(2.1, 3, "of the future");
}

static void what_is_settled_does_not_count(void **state)
{
    (void)state;
    arrive(now_s() - 1000, true); /* a suspect is decided alone, and first */
    arrive(now_s() - 20, false);
    arrive(now_s() - 50, false);
    world.commits_left = 1;
    assert_true(cycle_take(cycle, &err));
    assert_waited(1000, 1003, "all");
    assert_false(turn());
    assert_true(cycle_holds(cycle));
    assert_waited(50, 53, "all but the first");
    world.commits_left = 1;
    assert_true(turn());
    assert_waited(0, 0, "none");
}

static int64_t ms_of(const struct uuid *id)
{
    int64_t ms = 0;

    for (uint32_t i = 0; i < 6; i++) ms = ms << 8 | id->bytes[i]; /* RFC 9562, section 5.7 */
    return ms;
}

/* The notary looks for new ones by their ids, and not far back. */
static void an_id_is_of_when_it_is_committed(void **state)
{
    static const uint8_t body[] = {0x81, 0xa7, 'a', 'c', 'c', 'o', 'u', 'n', 't', 0xa1, 'a'};
    struct properties_out out = {.type = TEXT_LITERAL("get_balance")};
    struct delivery *delivery = &world.deliveries[0];
    struct uuid first;

    (void)state;
    arrive(now_s(), false);
    assert_true(properties_write(&out, &world.arena, &delivery->properties));
    delivery->body = (struct bytes){body, sizeof body};
    delivery->body_size = sizeof body;
    uint64_t begun_ms = clock_monotonic_ms();
    assert_false(turn());
    first = world.id;
    assert_false(turn());
    if (clock_monotonic_ms() < begun_ms + 1900) /* else this stood still */
        assert_int_equal(uuid_compare(&first, &world.id), 0);
    clock_sleep_ms(2100);
    int64_t before_ms = clock_wall_us() / 1000;
    world.commits_left = 1;
    assert_true(turn());
    assert_in_range(ms_of(&world.id), before_ms, before_ms + 1000);
}

int main(void)
{
#define WITH_CYCLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_CYCLE(only_plausible_timestamps_are_believed),
        WITH_CYCLE(unreadable_properties_count_from_when_they_were_taken),
        WITH_CYCLE(it_grows_while_nothing_can_be_decided),
        WITH_CYCLE(what_was_not_believed_is_not_believed_later),
        WITH_CYCLE(what_is_settled_does_not_count),
        WITH_CYCLE(an_id_is_of_when_it_is_committed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
