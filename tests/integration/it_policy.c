/*
 * it_policy.c - the policy through a real database, in the worker's role: rules that change while a
 * worker runs, refusals that are remembered, and one daily limit that many spend from at once.
 */
#include "ledger/policy_pg.h"
#include "tests/books.h"

#include <sys/wait.h>
#include <unistd.h>

static uint64_t now_us = 1;

static int set_up(void **state)
{
    (void)books_of_two(state);
    expect(bench, "fund-a", deposit("a", 100000), RESULT_APPLIED);
    return 0;
}

static int64_t allow(const char *caller, const char *commands, const char *account, int64_t most,
                     int64_t daily)
{
    struct rule_text rule = {.caller = text_of(caller),
                             .commands = text_of(commands),
                             .account = text_of(account),
                             .max_amount = most,
                             .daily_limit = daily};
    int64_t id = 0;

    if (most != NO_LIMIT || daily != NO_LIMIT) rule.asset = TEXT_LITERAL("EUR");
    must(policy_allow(owner, &rule, &id, &err));
    return id;
}

/* As a worker does before each batch; later looks for so long. */
static void look(uint64_t later_us)
{
    now_us += later_us;
    must(store_look_at_policy(bench->store, bench->db, now_us, &err));
}

static struct work *add_as(const char *caller, const char *key, struct command command)
{
    struct work *work = batch_add(bench, key, command);

    bench->requests[work - bench->works].user_id = text_of(caller);
    return work;
}

static const struct reply *try_as(const char *caller, const char *key, struct command command)
{
    struct work *work;

    batch_begin(bench);
    work = add_as(caller, key, command);
    batch_run(bench);
    return &work->reply;
}

static void expect_as(const char *caller, const char *key, struct command command,
                      enum result result)
{
    const struct reply *reply = try_as(caller, key, command);

    if (reply->result != result)
        fail_msg("%s: '%s' instead of '%s'", key, result_word(reply->result), result_word(result));
}

/* --- rules -------------------------------------------------------------------------------- */

static void off_until_it_is_enabled(void **state)
{
    (void)state;
    look(POLICY_LOOK_US);
    expect_as("", "off", withdraw("a", 1), RESULT_APPLIED);
    assert_false(policy_enable(owner, true, &err)); /* it would lock everybody out */
    assert_int_equal(err.kind, ERR_REJECT);
    (void)allow("shop", "withdraw,get_balance", "a", NO_LIMIT, NO_LIMIT);
    look(POLICY_LOOK_US);
    expect_as("", "still-off", withdraw("a", 1), RESULT_APPLIED);
    must(policy_enable(owner, true, &err));
    look(POLICY_LOOK_US);
    expect_as("", "on", withdraw("a", 1), RESULT_FORBIDDEN);
    expect_as("shop", "mine", withdraw("a", 1), RESULT_APPLIED);
    expect_as("shop", "yours", withdraw("b", 1), RESULT_FORBIDDEN);
    expect_as("shop", NULL, query(COMMAND_GET_BALANCE, "a"), RESULT_APPLIED);
    expect_as("shop", NULL, query(COMMAND_GET_BALANCE, "b"), RESULT_FORBIDDEN);
    expect_as("shop", NULL, query(COMMAND_GET_ACCOUNT, "a"), RESULT_FORBIDDEN);
    must(policy_enable(owner, false, &err));
    look(POLICY_LOOK_US);
    expect_as("", "off-again", withdraw("a", 1), RESULT_APPLIED);
    expect_clean_books();
}

/* Whatever has become of the rules: the first answer is the answer. */
static void a_refusal_is_remembered(void **state)
{
    const struct reply *reply;

    (void)state;
    (void)allow("boss", "*", "*", NO_LIMIT, NO_LIMIT);
    must(policy_enable(owner, true, &err));
    look(POLICY_LOOK_US);
    expect_as("shop", "k", withdraw("a", 1), RESULT_FORBIDDEN);
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE result = 'forbidden'"), 1);
    int64_t rule = allow("shop", "*", "*", NO_LIMIT, NO_LIMIT);
    look(POLICY_LOOK_US);
    reply = try_as("shop", "k", withdraw("a", 1));
    assert_int_equal(reply->result, RESULT_FORBIDDEN);
    assert_true(reply->replayed);
    expect_as("shop", "k2", withdraw("a", 1), RESULT_APPLIED);
    bool found = false;
    must(policy_remove(owner, rule, &found, &err));
    assert_true(found);
    must(policy_remove(owner, rule, &found, &err));
    assert_false(found);
    look(POLICY_LOOK_US);
    reply = try_as("shop", "k2", withdraw("a", 1));
    assert_int_equal(reply->result, RESULT_APPLIED);
    assert_true(reply->replayed);
    expect_as("shop", "k3", withdraw("a", 1), RESULT_FORBIDDEN);
}

static void a_change_is_seen_in_time(void **state)
{
    (void)state;
    (void)allow("shop", "withdraw", "b", NO_LIMIT, NO_LIMIT);
    must(policy_enable(owner, true, &err));
    look(POLICY_LOOK_US);
    expect_as("shop", "k1", withdraw("a", 1), RESULT_FORBIDDEN);
    (void)allow("shop", "withdraw", "a", NO_LIMIT, NO_LIMIT);
    look(POLICY_LOOK_US - 1);
    expect_as("shop", "k2", withdraw("a", 1), RESULT_FORBIDDEN); /* not looked at yet */
    look(1);
    expect_as("shop", "k3", withdraw("a", 1), RESULT_APPLIED);
    sql(owner, "UPDATE policy_rule SET commands = '{deposit}' WHERE account = 'a'"); /* by hand */
    look(POLICY_LOOK_US);
    expect_as("shop", "k4", withdraw("a", 1), RESULT_FORBIDDEN);
    sql(owner, "UPDATE policy_rule SET commands = '{teleport,withdraw}' WHERE account = 'a'");
    look(POLICY_LOOK_US); /* of a later version, which has one command more */
    expect_as("shop", "k5", withdraw("a", 1), RESULT_APPLIED);
    sql(owner, "UPDATE policy SET enabled = false");
    look(POLICY_LOOK_US);
    expect_as("nobody", "k6", withdraw("a", 1), RESULT_APPLIED);

    /* Another database may have the same version: a new connection looks at once. */
    sql(owner, "UPDATE policy SET enabled = true");
    must(store_tune(bench->store, bench->db, &err));
    look(0);
    expect_as("nobody", "k7", withdraw("a", 1), RESULT_FORBIDDEN);
    sql(owner, "DELETE FROM policy");
    now_us += POLICY_LOOK_US;
    assert_false(store_look_at_policy(bench->store, bench->db, now_us, &err));
    assert_int_equal(err.kind, ERR_FATAL); /* and not: everything is allowed */
    sql(owner, "INSERT INTO policy DEFAULT VALUES");
}

static uint32_t listed;

static void hear_rule(void *context, const struct rule_text *rule)
{
    (void)context;
    listed++;
    if (rule->asset.length == 0) return;
    assert_int_equal(rule->max_amount, 5);
    assert_int_equal(rule->daily_limit, NO_LIMIT);
    assert_int_equal(rule->scale, 2);
}

static void the_table_takes_no_nonsense(void **state)
{
    static const char *const broken[] = {
        "INSERT INTO policy_rule (caller, commands, account) VALUES ('', '{*}', '*')",
        "INSERT INTO policy_rule (caller, commands, account) VALUES ('a', '{}', '*')",
        "INSERT INTO policy_rule (caller, commands, account) VALUES ('a', '{*}', 'a*b')",
        "INSERT INTO policy_rule (caller, commands, account) VALUES ('a', '{*}', '')",
        "INSERT INTO policy_rule (caller, commands, account, max_amount)"
        " VALUES ('a', '{*}', '*', 1)",
        "INSERT INTO policy_rule (caller, commands, account, asset, daily_limit)"
        " VALUES ('a', '{*}', '*', 'EUR', 0)",
    };
    const struct rule_text rule = {.caller = TEXT_LITERAL("a"),
                                   .commands = TEXT_LITERAL("*"),
                                   .account = TEXT_LITERAL("*"),
                                   .asset = TEXT_LITERAL("NONE"),
                                   .max_amount = NO_LIMIT,
                                   .daily_limit = NO_LIMIT};
    int64_t id;

    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        assert_false(db_run(owner, broken[i], &err));
    assert_false(policy_allow(owner, &rule, &id, &err));
    assert_int_equal(err.kind, ERR_REJECT);
    (void)allow("a", "*", "*", NO_LIMIT, NO_LIMIT);
    (void)allow("a", "deposit,hold", "x:*", 5, NO_LIMIT);
    listed = 0;
    must(policy_list(owner, hear_rule, NULL, &err));
    assert_int_equal(listed, 2);
    sql(owner,
        "INSERT INTO policy_rule (caller, commands, account)"
        " SELECT 'many', '{*}', '*' FROM generate_series(1, %d)",
        RULES_MAX - 2);
    assert_false(policy_allow(owner, &rule, &id, &err));
    must(policy_enable(owner, true, &err));
    look(POLICY_LOOK_US);
    expect_as("many", "k1", withdraw("a", 1), RESULT_APPLIED);
    expect_as("a", "k2", withdraw("a", 1), RESULT_APPLIED);
    expect_as("b", "k3", withdraw("a", 1), RESULT_FORBIDDEN);
}

/* No worker may change what it is held to. */
static void workers_may_not_write_rules(void **state)
{
    static const char *const tried[] = {
        "UPDATE policy SET enabled = false",
        "INSERT INTO policy_rule (caller, commands, account) VALUES ('a', '{*}', '*')",
        "DELETE FROM policy_rule",
        "DELETE FROM policy_usage",
        "UPDATE policy_usage SET day = '2000-01-01'",
    };
    struct db *worker = session_as("ledger_worker");

    (void)state;
    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
        assert_false(db_run(worker, tried[i], &err));
        assert_non_null(strstr(err.text, "permission denied"));
    }
    db_close(worker);
}

/* --- daily limits ------------------------------------------------------------------------- */

static void a_daily_limit_is_of_a_caller_and_a_day(void **state)
{
    (void)state;
    int64_t rule = allow("*", "withdraw", "a", 60, 100);
    sql(owner,
        "INSERT INTO policy_usage VALUES ((now() AT TIME ZONE 'UTC')::date - 1, %jd,"
        " 'shop', 100)",
        (intmax_t)rule);
    must(policy_enable(owner, true, &err));
    look(POLICY_LOOK_US);
    expect_as("shop", "k1", withdraw("a", 61), RESULT_FORBIDDEN);
    expect_as("shop", "k2", withdraw("a", 60), RESULT_APPLIED);
    expect_as("shop", "k2", withdraw("a", 60), RESULT_APPLIED); /* a repeat counts nothing */
    expect_as("shop", "k3", withdraw("a", 41), RESULT_FORBIDDEN);
    expect_as("shop", "k4", withdraw("a", 40), RESULT_APPLIED);
    expect_as("shop", "k5", withdraw("a", 1), RESULT_FORBIDDEN);
    expect_as("till", "k6", withdraw("a", 60), RESULT_APPLIED);
    expect_as("", "k7", withdraw("a", 60), RESULT_APPLIED); /* whoever gives no name is one */
    assert_int_equal(ask("SELECT used FROM policy_usage WHERE caller = 'shop' AND day ="
                         " (now() AT TIME ZONE 'UTC')::date"),
                     100);
    assert_int_equal(ask("SELECT count(*) FROM policy_usage"), 4);
    sql(owner, "UPDATE policy_usage SET day = day - 2"); /* tomorrow */
    expect_as("shop", "k8", withdraw("a", 60), RESULT_APPLIED);
    expect_clean_books();
}

/* What is not committed has not been spent; a rule may go while its limit is spent from. */
static void what_is_rolled_back_is_not_used(void **state)
{
    struct answers answers = {0};

    (void)state;
    (void)allow("shop", "*", "a", NO_LIMIT, 100);
    must(policy_enable(owner, true, &err));
    look(POLICY_LOOK_US);
    batch_begin(bench);
    add_as("shop", "k1", withdraw("a", 100));
    must(batch_load(bench));
    must(ledger_apply(&bench->batch, &err));
    assert_int_equal(bench->works[0].reply.result, RESULT_APPLIED);
    must(store_save(bench->store, bench->db, &bench->batch, &answers, &err));
    query_abandon(bench->db);
    assert_int_equal(ask("SELECT count(*) FROM policy_usage"), 0);
    ledger_forget(&bench->batch);
    batch_run(bench);
    assert_int_equal(bench->works[0].reply.result, RESULT_APPLIED);
    assert_int_equal(ask("SELECT used FROM policy_usage"), 100);
    sql(owner, "DELETE FROM policy_rule; UPDATE policy_usage SET used = 99");
    expect_as("shop", "k2", withdraw("a", 1), RESULT_APPLIED);
    assert_int_equal(ask("SELECT used FROM policy_usage"), 100);
}

static void legs_spend_together(void **state)
{
    const struct command legs[] = {withdraw("a", 60), withdraw("a", 60)};

    (void)state;
    (void)allow("shop", "*", "a", NO_LIMIT, 100);
    must(policy_enable(owner, true, &err));
    look(POLICY_LOOK_US);
    for (uint32_t independent = 0; independent < 2; independent++) {
        batch_begin(bench);
        struct work *parent =
            batch_add_legs(bench, independent == 1 ? "each" : "all", independent == 1, legs, 2);
        for (uint32_t i = 0; i < 3; i++) bench->requests[i].user_id = TEXT_LITERAL("shop");
        batch_run(bench);
        if (independent == 1) {
            assert_int_equal(parent->reply.result, RESULT_APPLIED);
            assert_int_equal(parent->reply.legs[0].reply->result, RESULT_APPLIED);
            assert_int_equal(parent->reply.legs[1].reply->result, RESULT_FORBIDDEN);
            assert_int_equal(ask("SELECT used FROM policy_usage"), 60);
        } else {
            assert_int_equal(parent->reply.result, RESULT_FORBIDDEN);
            assert_int_equal(parent->reply.failed_leg, 1);
            assert_int_equal(ask("SELECT coalesce(max(used), 0) FROM policy_usage"), 0);
        }
    }
    expect_clean_books();
}

enum { SPENDERS = 4, TRIES = 1500, AT_ONCE = 15, LIMITS = 3, LIMIT = 700 };

/* From accounts of its own, so that nothing but the limits makes them wait for each other; from
 * several limits in all orders, which must not deadlock. */
static int spend_all(uint32_t spender)
{
    static const char *const callers[LIMITS] = {"shop", "till", "kiosk"};

    bench = bench_open(session_as("ledger_worker"));
    look(0);
    for (uint32_t i = 0; i < TRIES; i += AT_ONCE) {
        batch_begin(bench);
        for (uint32_t k = 0; k < AT_ONCE; k++)
            add_as(callers[(spender + i + k) % LIMITS],
                   batch_text(bench, "spend-%u-%u", spender, i + k),
                   withdraw(batch_text(bench, "s%u", spender), 1));
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

static void many_spend_from_one_limit_and_never_more(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SPENDERS; i++) {
        const char *id = i == 0 ? "s0" : i == 1 ? "s1" : i == 2 ? "s2" : "s3";
        expect(bench, id, open_account(id, "ann", "EUR"), RESULT_APPLIED);
        batch_begin(bench);
        batch_add(bench, batch_text(bench, "fund-%u", i), deposit(id, TRIES));
        batch_run(bench);
    }
    (void)allow("*", "withdraw", "s*", NO_LIMIT, LIMIT);
    must(policy_enable(owner, true, &err));
    for (uint32_t i = 0; i < SPENDERS; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) _exit(spend_all(i));
    }
    for (uint32_t i = 0; i < SPENDERS; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    _Static_assert(SPENDERS * TRIES / LIMITS > LIMIT, "more is tried than is allowed");
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE command = 3 AND result IS NULL"),
                     LIMITS * LIMIT);
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE result = 'forbidden'"),
                     SPENDERS * TRIES - LIMITS * LIMIT);
    assert_int_equal(ask("SELECT sum(used)::int8 FROM policy_usage"), LIMITS * LIMIT);
    assert_int_equal(ask("SELECT max(used) FROM policy_usage"), LIMIT);
    expect_clean_books();
}

#define ROUND(test) cmocka_unit_test_setup_teardown(test, set_up, books_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROUND(off_until_it_is_enabled),
        ROUND(a_refusal_is_remembered),
        ROUND(a_change_is_seen_in_time),
        ROUND(the_table_takes_no_nonsense),
        ROUND(workers_may_not_write_rules),
        ROUND(a_daily_limit_is_of_a_caller_and_a_day),
        ROUND(what_is_rolled_back_is_not_used),
        ROUND(legs_spend_together),
        ROUND(many_spend_from_one_limit_and_never_more),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
