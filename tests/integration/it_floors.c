/*
 * it_floors.c - overdrafts and new assets through a real database, in the worker's role: the floor
 * is stored, counted and told; the table holds it although the code would not; and an asset that is
 * registered while a worker runs is there for it.
 */
#include "ledger/assets_pg.h"
#include "tests/books.h"

static struct command set_floor(const char *account, int64_t floor)
{
    return (struct command){
        .type = COMMAND_SET_FLOOR, .account = text_of(account), .amount.value = floor};
}

static char sentences[4096];

static void hear(const char *sentence)
{
    (void)snprintf(sentences, sizeof sentences, "%s", sentence);
}

static uint64_t differences(void)
{
    const struct verify_ear ear = {.role = "ledger_reader", .hear = hear};
    struct verify_report report;

    sentences[0] = '\0';
    must(verify_try(&ear, 20, &report));
    return report.differences;
}

static void a_floor_is_kept_and_told(void **state)
{
    const struct reply *reply;

    (void)state;
    expect(bench, "too-much", withdraw("a", 1), RESULT_INSUFFICIENT_FUNDS);
    reply = run_one(bench, "floor", set_floor("a", -500));
    assert_int_equal(reply->result, RESULT_APPLIED);
    assert_int_equal(reply->balances[0].seq, 1);
    struct uuid id = reply->transaction;
    expect(bench, "down", transfer("a", "b", 500), RESULT_APPLIED);
    expect(bench, "further", withdraw("a", 1), RESULT_INSUFFICIENT_FUNDS);
    expect(bench, "take-back", set_floor("a", 0), RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(ask("SELECT floor FROM account WHERE id = 'a'"), -500);
    assert_int_equal(ask("SELECT floor FROM journal WHERE command = 14 AND result IS NULL"), -500);
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE floor IS NOT NULL"), 1);

    reply = run_one(bench, NULL, query(COMMAND_GET_ACCOUNT, "a"));
    assert_int_equal(reply->account->floor, -500);
    reply = run_one(bench, NULL, query(COMMAND_GET_BALANCE, "a"));
    assert_int_equal(reply->balances[0].balance, -500);
    struct command find = {.type = COMMAND_GET_TRANSACTION, .transaction = id};
    reply = run_one(bench, NULL, find);
    assert_int_equal(reply->details->type, COMMAND_SET_FLOOR);
    assert_int_equal(reply->details->floor, -500);
    reply = run_one(bench, "floor", set_floor("a", -500)); /* from the journal */
    assert_true(reply->replayed);
    assert_int_equal(reply->balances[0].balance, 0);
    if (differences() != 0) fail_msg("%s", sentences);

    expect(bench, "up", deposit("a", 500), RESULT_APPLIED);
    expect(bench, "none", set_floor("a", 0), RESULT_APPLIED);
    expect(bench, "again", withdraw("a", 1), RESULT_INSUFFICIENT_FUNDS);
    expect(bench, "close", (struct command){.type = COMMAND_CLOSE_ACCOUNT, .account = text_of("a")},
           RESULT_APPLIED);
    expect(bench, "closed", set_floor("a", -1), RESULT_ACCOUNT_CLOSED);
    expect(bench, "world", set_floor("world:EUR", -1), RESULT_SYSTEM_ACCOUNT);
    if (differences() != 0) fail_msg("%s", sentences);
}

/* INT64_MIN and back: the sums in the database do not overflow either. */
static void the_lowest_floor_there_is(void **state)
{
    (void)state;
    expect(bench, "floor", set_floor("a", INT64_MIN), RESULT_APPLIED);
    expect(bench, "all", withdraw("a", INT64_MAX), RESULT_APPLIED);
    expect(bench, "hold",
           (struct command){.type = COMMAND_HOLD, .account = text_of("a"), .amount.value = 1},
           RESULT_APPLIED);
    expect(bench, "more", withdraw("a", 1), RESULT_INSUFFICIENT_FUNDS);
    if (differences() != 0) fail_msg("%s", sentences);
    expect(bench, "back", deposit("a", INT64_MAX), RESULT_APPLIED);
    if (differences() != 0) fail_msg("%s", sentences);
}

static void the_table_is_the_last_line(void **state)
{
    static const char *const broken[] = {
        "UPDATE account SET balance = -501 WHERE id = 'a'",
        "UPDATE account SET held = 501 WHERE id = 'a'",
        "UPDATE account SET floor = 1 WHERE id = 'a'",
        "UPDATE account SET balance = -1, floor = 0 WHERE id = 'a'",
        "UPDATE journal SET floor = NULL WHERE command = 14",
        "UPDATE journal SET floor = 1 WHERE command = 14",
        "UPDATE journal SET floor = 0 WHERE command = 1",
    };

    (void)state;
    expect(bench, "floor", set_floor("a", -500), RESULT_APPLIED);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_false(db_run(owner, broken[i], &err));
        assert_non_null(strstr(err.text, "check constraint"));
    }
    sql(owner, "UPDATE account SET floor = -501 WHERE id = 'a'");
    assert_int_equal(differences(), 1);
    assert_string_equal(sentences, "account a: its floor is -501, but it was last set to -500");
    sql(owner, "UPDATE account SET floor = -1 WHERE id = 'b'");
    assert_int_equal(differences(), 2);
    sql(owner, "UPDATE account SET floor = 0 WHERE id = 'b'; UPDATE account SET floor = -500"
               " WHERE id = 'a'; UPDATE journal SET floor = -499 WHERE command = 14");
    assert_int_equal(differences(), 3); /* the account, what the event tells, the hash */
    sql(owner, "UPDATE journal SET floor = -500 WHERE command = 14");
    if (differences() != 0) fail_msg("%s", sentences);
}

/* --- assets --- */

static uint32_t listed;
static char last_listed[ASSET_LENGTH_MAX + 1];

static void count_asset(void *context, struct text code, uint8_t scale)
{
    (void)context;
    (void)scale;
    listed++;
    assert_true(text_copy(code, last_listed, sizeof last_listed));
}

static void a_new_asset_is_there_without_a_restart(void **state)
{
    bool added;

    (void)state;
    expect(bench, "open-gold", open_account("g", "ann", "ZZGOLD"), RESULT_ASSET_NOT_FOUND);
    listed = 0;
    must(assets_list(owner, count_asset, NULL, &err));
    uint32_t before = listed;
    must(assets_add(owner, text_of("ZZGOLD"), 6, &added, &err));
    assert_true(added);
    must(assets_add(owner, text_of("ZZGOLD"), 6, &added, &err));
    assert_false(added);
    assert_false(assets_add(owner, text_of("ZZGOLD"), 5, &added, &err));
    assert_int_equal(err.kind, ERR_REJECT);
    assert_string_equal(err.text,
                        "could not register ZZGOLD with scale 5: it has scale 6, for ever");
    listed = 0;
    must(assets_list(owner, count_asset, NULL, &err));
    assert_int_equal(listed, before + 1);
    assert_string_equal(last_listed, "ZZGOLD");
    assert_int_equal(ask("SELECT count(*) FROM account WHERE id = 'world:ZZGOLD' AND kind = 1"), 1);

    expect(bench, "open-gold-2", open_account("g", "ann", "ZZGOLD"), RESULT_APPLIED);
    struct command pay = {.type = COMMAND_DEPOSIT,
                          .account = text_of("g"),
                          .amount = {.value = 1, .digits = 6, .is_decimal = true}};
    expect(bench, "pay-gold", pay, RESULT_APPLIED);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'g'"), 1);
    if (differences() != 0) fail_msg("%s", sentences);
}

static void there_is_a_limit_of_assets(void **state)
{
    bool added;

    (void)state;
    sql(owner,
        "BEGIN; CREATE TEMP TABLE spare AS SELECT 'ZZZ' || n AS code"
        "  FROM generate_series(1, %d - (SELECT count(*) FROM asset)) AS n;"
        "INSERT INTO asset SELECT code, 0 FROM spare; COMMIT",
        ASSETS_MAX);
    assert_false(assets_add(owner, text_of("ONEMORE"), 0, &added, &err));
    assert_int_equal(err.kind, ERR_REJECT);
    assert_string_equal(err.text, "could not register ONEMORE: there are 4096 assets already");
    sql(owner, "DELETE FROM asset USING spare WHERE asset.code = spare.code");
}

#define ROUND(test) cmocka_unit_test_setup_teardown(test, books_of_two, books_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROUND(a_floor_is_kept_and_told),   ROUND(the_lowest_floor_there_is),
        ROUND(the_table_is_the_last_line), ROUND(a_new_asset_is_there_without_a_restart),
        ROUND(there_is_a_limit_of_assets),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
