/*
 * it_batch.c - batches and holds through a real database, in the worker's role: a thousand legs or
 * none, whenever the process dies; each leg its own row; and holds that many settle at once.
 */
#include "tests/books.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void open_accounts(void)
{
    expect(bench, "open-a", open_account("a", "ann", "EUR"), RESULT_APPLIED);
    expect(bench, "open-b", open_account("b", "ben", "EUR"), RESULT_APPLIED);
    expect(bench, "fund-a", deposit("a", 999), RESULT_APPLIED);
}

/* --- all or none --- */

static struct command legs[LEGS_MAX];

/* As many as there may be; all but the last can be paid. */
static struct work *add_thousand(const char *key)
{
    for (uint32_t i = 0; i < LEGS_MAX; i++) legs[i] = transfer("a", "b", 1);
    return batch_add_legs(bench, key, false, legs, LEGS_MAX);
}

static void a_thousand_legs_or_none(void **state)
{
    int64_t rows = 0, outbox = 0;

    (void)state;
    open_accounts();
    rows = ask("SELECT count(*) FROM journal");
    outbox = ask("SELECT count(*) FROM outbox");
    int64_t before = ask("SELECT sum(hashtext(account::text))::int8 FROM account");
    batch_begin(bench);
    struct work *parent = add_thousand("big");
    batch_run(bench);
    assert_int_equal(parent->reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(parent->reply.failed_leg, LEGS_MAX - 1);
    assert_int_equal(ask("SELECT sum(hashtext(account::text))::int8 FROM account"), before);
    assert_int_equal(ask("SELECT count(*) FROM journal"), rows + 1); /* the refusal */
    assert_int_equal(ask("SELECT leg::int8 FROM journal WHERE command = 13"), LEGS_MAX - 1);
    assert_int_equal(ask("SELECT count(*) FROM outbox"), outbox + 1);

    expect(bench, "one-more", deposit("a", 1), RESULT_APPLIED);
    batch_begin(bench);
    parent = add_thousand("big"); /* what was refused stays refused */
    batch_run(bench);
    assert_int_equal(parent->reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(parent->reply.failed_leg, LEGS_MAX - 1);
    assert_true(parent->reply.replayed);
    batch_begin(bench);
    parent = add_thousand("again");
    batch_run(bench);
    assert_int_equal(parent->reply.result, RESULT_APPLIED);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'b'"), LEGS_MAX);
    assert_int_equal(ask("SELECT count(DISTINCT leg) FROM journal WHERE batch IS NOT NULL"),
                     LEGS_MAX);
    batch_begin(bench);
    parent = add_thousand("again");
    batch_run(bench);
    assert_int_equal(parent->origin, ORIGIN_REPEATED);
    assert_int_equal(parent->reply.legs_count, LEGS_MAX);
    assert_int_equal(parent->reply.legs[LEGS_MAX - 1].reply->balances[1].balance, LEGS_MAX);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'b'"), LEGS_MAX);
    expect_clean_books();
}

enum { KILLS = 40, KILL_STEP_US = 4000 };

/* Moves a thousand there and back until it dies. */
static void move_until_killed(uint32_t round)
{
    bench = bench_open(session_as("ledger_worker"));
    for (uint32_t n = 0;; n++) {
        batch_begin(bench);
        for (uint32_t i = 0; i < LEGS_MAX; i++)
            legs[i] = (round + n) % 2 == 0 ? transfer("a", "b", 1) : transfer("b", "a", 1);
        batch_add_legs(bench, batch_text(bench, "round-%u-%u", round, n), false, legs, LEGS_MAX);
        if (!batch_load(bench) || !batch_save(bench)) _exit(1);
    }
}

static int64_t batches_done(void)
{
    return ask("SELECT count(*) FROM journal WHERE command = 13");
}

static void no_part_of_a_batch_outlives_a_kill(void **state)
{
    (void)state;
    open_accounts();
    expect(bench, "one-more", deposit("a", 1), RESULT_APPLIED);
    /* On a slow machine until one was done at all. */
    for (uint32_t round = 0; round < KILLS || (round < 10 * KILLS && batches_done() == 0);
         round++) {
        pid_t pid = fork();
        int status;
        assert_true(pid >= 0);
        if (pid == 0)
            move_until_killed(
                ask("SELECT balance FROM account WHERE id = 'b'") == 0 ? 2 * round : 2 * round + 1);
        usleep(30000 + round * KILL_STEP_US);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status)); /* it did not end by itself */
        /* The server may still be committing what it was told to. */
        while (ask("SELECT count(*) FROM pg_stat_activity WHERE usename IS NOT NULL"
                   " AND datname = current_database() AND state <> 'idle'"
                   " AND pid <> pg_backend_pid()") > 0)
            usleep(1000);
        assert_int_equal(ask("SELECT balance % 1000 FROM account WHERE id = 'b'"), 0);
        assert_int_equal(ask("SELECT count(*) FROM (SELECT FROM journal WHERE batch IS NOT NULL"
                             " GROUP BY batch HAVING count(*) <> 1000) AS parts"),
                         0);
    }
    assert_true(batches_done() > 0);
    expect_clean_books();
}

static void independent_legs_have_their_own_outcomes(void **state)
{
    const struct command some[] = {transfer("a", "b", 500), transfer("a", "b", 500),
                                   transfer("a", "b", 499)};

    (void)state;
    open_accounts();
    batch_begin(bench);
    struct work *parent = batch_add_legs(bench, "some", true, some, 3);
    batch_add(bench, "after", withdraw("b", 999));
    batch_run(bench);
    assert_int_equal(parent->reply.result, RESULT_APPLIED);
    assert_int_equal(parent->reply.legs[1].reply->result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(bench->works[4].reply.result, RESULT_APPLIED);
    expect(bench, "some/1", some[1], RESULT_INSUFFICIENT_FUNDS); /* its own key's first answer */
    assert_true(bench->works[0].reply.replayed);
    expect(bench, "some/2", some[2], RESULT_APPLIED);
    assert_true(bench->works[0].reply.replayed);
    expect_clean_books();
}

/* --- each hold is settled once --- */

enum { SETTLERS = 4, HOLDS = 400, AT_ONCE = 20 };

static struct uuid holds[HOLDS];

static struct command settle_hold(enum command_type type, uint32_t i)
{
    return (struct command){.type = type, .transaction = holds[i]};
}

static void place_holds(void)
{
    struct command command = {
        .type = COMMAND_HOLD, .account = TEXT_LITERAL("a"), .amount.value = 10};

    for (uint32_t i = 0; i < HOLDS; i += AT_ONCE) {
        batch_begin(bench);
        for (uint32_t k = 0; k < AT_ONCE; k++)
            batch_add(bench, batch_text(bench, "hold-%u", i + k), command);
        batch_run(bench);
        for (uint32_t k = 0; k < AT_ONCE; k++) {
            assert_int_equal(bench->works[k].reply.result, RESULT_APPLIED);
            holds[i + k] = bench->works[k].id;
        }
    }
}

/* Every settler tries every hold, each in its own way and order, in transactions of its own. */
static int settle_all(uint32_t settler)
{
    static const enum command_type ways[] = {COMMAND_CAPTURE, COMMAND_RELEASE, COMMAND_EXPIRE_HOLD};

    uint8_t inherited[256]; /* random bytes that every child of the fork has: none may use them */

    random_bytes(inherited, sizeof inherited);
    bench = bench_open(session_as("ledger_worker"));
    for (uint32_t i = 0; i < HOLDS; i += AT_ONCE) {
        batch_begin(bench);
        for (uint32_t k = 0; k < AT_ONCE; k++) {
            uint32_t at = settler % 2 == 0 ? i + k : HOLDS - 1 - i - k;
            enum command_type way = ways[(settler + at) % 3];
            batch_add(bench, batch_text(bench, "settle-%u-%u", settler, at), settle_hold(way, at));
        }
        for (uint32_t attempts = 0; !(batch_load(bench) && batch_save(bench)); attempts++) {
            if (err.kind != ERR_RETRY || attempts > 100 || strstr(err.text, "deadlock") != NULL) {
                (void)fprintf(stderr, "%s\n", err.text);
                return 1;
            }
            query_abandon(bench->db);
            ledger_forget(&bench->batch);
        }
    }
    bench_close(bench);
    return 0;
}

static void each_hold_is_settled_once_whoever_races(void **state)
{
    (void)state;
    open_accounts();
    expect(bench, "more", deposit("a", 100000), RESULT_APPLIED);
    place_holds();
    assert_int_equal(ask("SELECT held FROM account WHERE id = 'a'"), HOLDS * 10);
    sql(owner, "UPDATE hold SET expires_at = now() WHERE id IN (SELECT id FROM hold LIMIT %d)",
        HOLDS / 2);
    for (uint32_t i = 0; i < SETTLERS; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) _exit(settle_all(i));
    }
    for (uint32_t i = 0; i < SETTLERS; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE command IN (6, 7, 8)"),
                     SETTLERS * HOLDS);
    assert_int_equal(ask("SELECT count(*) FROM (SELECT refers FROM journal WHERE settles"
                         " AND command IN (6, 7, 8) AND result IS NULL GROUP BY refers"
                         " HAVING count(*) = 1) AS settled"),
                     ask("SELECT count(*) FROM journal WHERE settles"));
    /* Each settler went another way: none was left. */
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE settles"), HOLDS);
    assert_int_equal(ask("SELECT count(*) FROM hold WHERE remaining > 0"), 0);
    assert_int_equal(ask("SELECT held FROM account WHERE id = 'a'"), 0);
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE command IN (6, 7, 8)"
                         " AND result NOT IN ('hold_captured', 'hold_released', 'hold_expired',"
                         "                    'hold_not_due')"),
                     0);
    expect_clean_books();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_thousand_legs_or_none, books_empty, books_close),
        cmocka_unit_test_setup_teardown(no_part_of_a_batch_outlives_a_kill, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(independent_legs_have_their_own_outcomes, books_empty,
                                        books_close),
        cmocka_unit_test_setup_teardown(each_hold_is_settled_once_whoever_races, books_empty,
                                        books_close),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
