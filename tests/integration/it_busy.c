/*
 * it_busy.c - an account whose every version is kept, as somebody holds an old snapshot: it costs
 * no more than any other. And one that somebody else changes while it is waited for.
 */
#include "tests/store.h"

#include <sys/wait.h>
#include <unistd.h>

enum { VERSIONS = 2000, BLOCKS_MOST = 5 };

static struct bench *bench;
static struct db *owner;

static int set_up(void **state)
{
    (void)state;
    bench = bench_open(session_as("ledger_worker"));
    owner = session_as(NULL);
    sql(bench->db, "SET synchronous_commit TO off");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bench_close(bench);
    db_close(owner);
    return 0;
}

static void assert_balance(const char *account, int64_t balance)
{
    const struct reply *reply = run_one(bench, NULL, query(COMMAND_GET_BALANCE, account));

    assert_int_equal(reply->result, RESULT_APPLIED);
    assert_int_equal(reply->balances[0].balance, balance);
}

static const char *next_key(void)
{
    static char key[16];
    static uint32_t keys;

    (void)snprintf(key, sizeof key, "key-%u", keys++);
    return key;
}

/* Pages of the table that one deposit looks at. */
static int64_t blocks_of_a_deposit(const char *account)
{
    static const struct statement blocks = {
        "it_blocks", "SELECT pg_stat_get_xact_blocks_fetched('account'::regclass)"};
    int64_t before = number(bench->db, &blocks);

    batch_begin(bench);
    batch_add(bench, next_key(), deposit(account, 1));
    must(batch_load(bench));
    int64_t after = number(bench->db, &blocks);
    must(batch_save(bench));
    return after - before;
}

static void an_old_snapshot_does_not_slow_a_busy_account(void **state)
{
    static const struct statement pages = {
        "it_pages", "SELECT pg_relation_size('account') / current_setting('block_size')::int8"};
    struct db *reader = session_as(NULL);

    (void)state;
    expect(bench, next_key(), open_account("busy", "ann", "EUR"), RESULT_APPLIED);
    sql(reader, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM journal LIMIT 1");
    for (int i = 0; i < VERSIONS; i++)
        expect(bench, next_key(), deposit("busy", 1), RESULT_APPLIED);
    sql(owner, "ANALYZE account"); /* and so a new plan */
    int64_t blocks = blocks_of_a_deposit("busy");
    print_message("pages looked at: %jd of %jd\n", (intmax_t)blocks,
                  (intmax_t)number(owner, &pages));
    assert_in_range(blocks, 1, BLOCKS_MOST);
    assert_true(number(owner, &pages) > 4 * BLOCKS_MOST); /* so there was something to avoid */
    assert_balance("busy", VERSIONS + 1);
    sql(reader, "ROLLBACK");
    db_close(reader);
}

static void wait_for(int pipe)
{
    char byte;

    assert_int_equal(read(pipe, &byte, 1), 1);
}

/* The version that is visible when we look is no longer the row when we have it. */
static void a_row_that_moves_while_it_is_waited_for(void **state)
{
    int ready[2], status;

    (void)state;
    expect(bench, next_key(), open_account("moving", "ann", "EUR"), RESULT_APPLIED);
    expect(bench, next_key(), deposit("moving", 5), RESULT_APPLIED);
    assert_int_equal(pipe(ready), 0);
    pid_t other = fork();
    assert_true(other >= 0);
    if (other == 0) {
        struct db *db = session_as(NULL);
        sql(db, "BEGIN; UPDATE account SET balance = balance + 70 WHERE id = 'moving'");
        if (write(ready[1], "", 1) != 1) _exit(1);
        sql(db, "SELECT pg_sleep(0.5); COMMIT");
        _exit(0);
    }
    wait_for(ready[0]);
    expect(bench, next_key(), deposit("moving", 900), RESULT_APPLIED);
    assert_balance("moving", 975);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_int_equal(status, 0);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_old_snapshot_does_not_slow_a_busy_account, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_row_that_moves_while_it_is_waited_for, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
