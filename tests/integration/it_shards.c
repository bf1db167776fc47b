/*
 * it_shards.c - the locks that share the shards out, on a real PostgreSQL: who holds what is what
 * every connection sees, and what a connection held ends with it.
 *
 * Needs LEDGER_DATABASE_URL; no table of the ledger's is touched.
 */
#include "base/clock.h"
#include "tests/test.h"
#include "worker/shards_pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 3, SHARDS = 16, WAIT_MS = 10000, PREFIX_SIZE = 32 };

static const char *url;
static struct err err;
static char prefix[PREFIX_SIZE]; /* of this test alone, so that runs side by side do not meet */
static struct db *db[WORKERS];
static int32_t self[WORKERS];
static struct survey survey;

#define must(call)                                                                                 \
    do {                                                                                           \
        if (!(call)) fail_msg("%s", err.text);                                                     \
    } while (0)

static struct db *open_db(void)
{
    struct db_options options = {.url = url,
                                 .application_name = "it_shards",
                                 .connect_timeout_ms = WAIT_MS,
                                 .answer_timeout_ms = WAIT_MS};
    struct db *opened = NULL;

    must(db_open(&opened, &options, &err));
    return opened;
}

static int set_up(void **state)
{
    uint32_t random = 0;

    (void)state;
    random_bytes(&random, sizeof random);
    (void)snprintf(prefix, sizeof prefix, "it.shards.%08x", random);
    for (int i = 0; i < WORKERS; i++) {
        db[i] = open_db();
        must(shards_register(db[i], prefix, &self[i], &err));
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < WORKERS; i++) db_close(db[i]);
    return 0;
}

/* --- small steps ----------------------------------------------------------------------------- */

static bool lock(int worker, uint32_t shard)
{
    bool locked = false;

    must(shards_lock(db[worker], prefix, shard, &locked, &err));
    return locked;
}

static void look(struct db *from, const char *at_prefix, uint32_t shards)
{
    survey = (struct survey){.shards = shards};
    must(shards_survey(from, at_prefix, &survey, &err));
}

static bool is_worker(int32_t pid)
{
    uint32_t times = 0;

    for (uint32_t i = 0; i < survey.workers_count; i++) times += survey.workers[i] == pid;
    assert_in_range(times, 0, 1);
    return times == 1;
}

static uint32_t owned_by(int32_t pid)
{
    uint32_t owned = 0;

    for (uint32_t i = 0; i < survey.shards; i++) owned += survey.owner[i] == pid;
    return owned;
}

/* A backend whose client has gone takes a moment to end. */
static void await_workers(uint32_t count)
{
    for (uint64_t end_ms = clock_monotonic_ms() + WAIT_MS;; clock_sleep_ms(10)) {
        look(db[0], prefix, SHARDS);
        if (survey.workers_count == count) return;
        if (clock_monotonic_ms() > end_ms)
            fail_msg("%u workers instead of %u", survey.workers_count, count);
    }
}

/* --- tests ----------------------------------------------------------------------------------- */

static void every_worker_sees_all(void **state)
{
    (void)state;
    assert_true(lock(0, 0));
    assert_true(lock(1, 7));
    assert_true(lock(2, SHARDS - 1));
    for (int from = 0; from < WORKERS; from++) {
        look(db[from], prefix, SHARDS);
        assert_int_equal(survey.workers_count, WORKERS);
        for (int i = 0; i < WORKERS; i++) assert_true(is_worker(self[i]));
        for (uint32_t i = 0; i < SHARDS; i++)
            assert_int_equal(survey.owner[i], i == 0            ? self[0]
                                              : i == 7          ? self[1]
                                              : i == SHARDS - 1 ? self[2]
                                                                : 0);
    }
}

static void one_shard_has_one_holder(void **state)
{
    (void)state;
    assert_true(lock(0, 3));
    assert_false(lock(1, 3)); /* without waiting */
    assert_false(lock(2, 3));
    must(shards_unlock(db[0], prefix, 3, &err));
    look(db[1], prefix, SHARDS);
    assert_int_equal(survey.owner[3], 0);
    assert_true(lock(1, 3));
    assert_false(lock(0, 3));
    must(shards_unlock(db[1], prefix, 3, &err));
}

static void locks_end_with_their_connection(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SHARDS; i++) assert_true(lock(1 + (int)i % 2, i));
    int32_t left = self[1];
    db_close(db[1]);
    db[1] = NULL;
    await_workers(WORKERS - 1);
    assert_false(is_worker(left));
    assert_int_equal(owned_by(left), 0);
    assert_int_equal(owned_by(0), SHARDS / 2);
    assert_int_equal(owned_by(self[2]), SHARDS / 2);
    assert_true(lock(0, 0));
}

/* The same when the server ends it: the worker is told by its next call. */
static void a_terminated_worker_holds_nothing(void **state)
{
    char kill[64];
    bool locked = false;

    (void)state;
    assert_true(lock(2, 5));
    (void)snprintf(kill, sizeof kill, "SELECT pg_terminate_backend(%d)", self[2]);
    must(db_run(db[0], kill, &err));
    await_workers(WORKERS - 1);
    assert_int_equal(survey.owner[5], 0);
    assert_false(shards_lock(db[2], prefix, 6, &locked, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_false(db_usable(db[2]));
}

static void ledgers_do_not_meet(void **state)
{
    static const char *const others[] = {"it.shards.other", "it.shards.Other", "a"};
    bool locked = false;

    (void)state;
    assert_true(lock(0, 1));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct db *stranger = open_db();
        int32_t pid = 0;
        must(shards_register(stranger, others[i], &pid, &err));
        must(shards_lock(stranger, others[i], 1, &locked, &err));
        assert_true(locked);
        look(stranger, others[i], SHARDS);
        assert_int_equal(survey.workers_count, 1);
        assert_true(is_worker(pid));
        assert_int_equal(survey.owner[1], pid);
        look(db[1], prefix, SHARDS);
        assert_int_equal(survey.workers_count, WORKERS);
        assert_int_equal(survey.owner[1], self[0]);
        db_close(stranger);
    }
    /* Nor do locks that others take for themselves, of either form. */
    must(db_run(db[0],
                "SELECT pg_advisory_lock(42), pg_advisory_lock(1, 1), pg_advisory_lock(2, 2)",
                &err));
    look(db[1], prefix, SHARDS);
    assert_int_equal(survey.workers_count, WORKERS);
    assert_int_equal(owned_by(0), SHARDS - 1);
}

/* The number of shards is the asker's: one who knows fewer does not see the rest. */
static void shards_past_the_last_are_not_reported(void **state)
{
    (void)state;
    assert_true(lock(0, 2));
    assert_true(lock(0, SHARDS_MAX - 1));
    look(db[1], prefix, 3);
    assert_int_equal(survey.owner[2], self[0]);
    look(db[1], prefix, SHARDS_MAX);
    assert_int_equal(survey.owner[SHARDS_MAX - 1], self[0]);
    assert_int_equal(owned_by(self[0]), 2);
}

/* Each follows its plan until nothing is left to do: all shards are held, fairly. */
static void follow_plan(int worker)
{
    static struct plan plan;

    look(db[worker], prefix, SHARDS);
    survey.self = self[worker];
    uint32_t own = owned_by(self[worker]);
    shards_plan(&survey, &plan);
    for (uint32_t i = 0; i < plan.release_count; i++)
        must(shards_unlock(db[worker], prefix, plan.release[i], &err));
    for (uint32_t i = 0; i < plan.acquire_count && own < plan.quota; i++)
        own += lock(worker, plan.acquire[i]);
}

static void plans_come_to_rest_fairly(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SHARDS; i++) assert_true(lock(0, i)); /* as the first one there does */
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < WORKERS; i++) follow_plan(i);
    look(db[0], prefix, SHARDS);
    assert_int_equal(owned_by(0), 0);
    for (int i = 0; i < WORKERS; i++)
        assert_in_range(owned_by(self[i]), SHARDS / WORKERS, SHARDS / WORKERS + 1);
    struct survey before = survey;
    for (int i = 0; i < WORKERS; i++) follow_plan(i);
    look(db[0], prefix, SHARDS);
    assert_memory_equal(survey.owner, before.owner, sizeof survey.owner);
    db_close(db[2]);
    db[2] = NULL;
    await_workers(WORKERS - 1);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < WORKERS - 1; i++) follow_plan(i);
    look(db[0], prefix, SHARDS);
    assert_int_equal(owned_by(self[0]), SHARDS / 2);
    assert_int_equal(owned_by(self[1]), SHARDS / 2);
}

#define ON_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_SERVER(every_worker_sees_all),
        ON_SERVER(one_shard_has_one_holder),
        ON_SERVER(locks_end_with_their_connection),
        ON_SERVER(a_terminated_worker_holds_nothing),
        ON_SERVER(ledgers_do_not_meet),
        ON_SERVER(shards_past_the_last_are_not_reported),
        ON_SERVER(plans_come_to_rest_fairly),
    };

    url = getenv("LEDGER_DATABASE_URL");
    if (url == NULL) {
        print_error("LEDGER_DATABASE_URL is not set\n");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
