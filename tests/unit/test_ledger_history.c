/*
 * test_ledger_history.c - the time in an account's history never runs backwards, whatever the clock
 * does; what is late and what is due goes by the clock. And what is said of the past, by tables.
 */
#include "ledger/ledger.h"
#include "protocol/fingerprint.h"
#include "tests/test.h"

#include <string.h>

enum { NOW = 1000000, WORKS_MAX = 16 };

static const struct asset EUR = {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2};

static struct arena arena;
static struct batch batch;
static struct work works[WORKS_MAX];
static struct request requests[WORKS_MAX];

static void begin(void)
{
    arena_reset(&arena);
    batch = (struct batch){
        .arena = &arena, .works = works, .assets = &EUR, .assets_count = 1, .now_us = NOW};
}

static void add(struct command command)
{
    uint32_t at = batch.works_count++;
    struct request *request = &requests[at];

    *request = (struct request){.fault = RESULT_APPLIED,
                                .has_type = true,
                                .has_key = command_changes(command.type),
                                .command = command};
    request->key_digest.bytes[0] = (uint8_t)(at + 1);
    works[at] = (struct work){.request = request};
}

static void collect(void)
{
    struct err err = {0};

    assert_true(ledger_collect_targets(&batch, &err));
    assert_true(ledger_collect(&batch, &err));
}

static struct account *put(const char *id, int64_t number, enum account_kind kind,
                           int64_t changed_us)
{
    struct account *account = ledger_account(&batch, text_of(id));

    assert_non_null(account);
    *account = (struct account){.id = account->id,
                                .number = number,
                                .exists = true,
                                .kind = kind,
                                .asset = &EUR,
                                .balance = 100,
                                .created_us = 1,
                                .changed_us = changed_us};
    return account;
}

static void apply(void)
{
    struct err err = {0};

    assert_true(ledger_apply(&batch, &err));
}

static struct command transfer(const char *from, const char *to)
{
    return (struct command){
        .type = COMMAND_TRANSFER, .from = text_of(from), .to = text_of(to), .amount.value = 1};
}

static void a_time_never_goes_back(void **state)
{
    (void)state;
    begin();
    add(transfer("a", "b"));     /* as is */
    add(transfer("b", "ahead")); /* catches up */
    add(transfer("b", "a"));     /* stays there */
    add((struct command){.type = COMMAND_FREEZE_ACCOUNT, .account = text_of("far")}); /* one side */
    add((struct command){.type = COMMAND_GET_BALANCE, .account = text_of("far")});
    add(transfer("far", "a")); /* refused */
    collect();
    struct account *a = put("a", 1, ACCOUNT_USER, NOW - 5), *b = put("b", 2, ACCOUNT_USER, 0);
    (void)put("ahead", 3, ACCOUNT_USER, NOW + 10);
    struct account *far = put("far", 4, ACCOUNT_USER, NOW + 99);
    apply();
    const int64_t want[] = {NOW, NOW + 10, NOW + 10, NOW + 99, NOW, NOW};
    for (uint32_t i = 0; i < batch.works_count; i++)
        if (works[i].reply.timestamp_us != want[i])
            fail_msg("%u: %jd, wanted %jd", i, (intmax_t)works[i].reply.timestamp_us,
                     (intmax_t)want[i]);
    assert_int_equal(works[5].reply.result, RESULT_ACCOUNT_FROZEN);
    assert_int_equal(a->changed_us, NOW + 10);
    assert_int_equal(b->changed_us, NOW + 10);
    assert_int_equal(far->changed_us, NOW + 99);
    assert_int_equal(batch.now_us, NOW);
}

static void what_is_due_goes_by_the_clock(void **state)
{
    (void)state;
    begin();
    add((struct command){.type = COMMAND_WITHDRAW,
                         .account = text_of("ahead"),
                         .amount.value = 1,
                         .conditions.not_after_us = NOW});
    add((struct command){
        .type = COMMAND_HOLD, .account = text_of("ahead"), .amount.value = 1, .expires_in_s = 2});
    collect();
    (void)put("ahead", 3, ACCOUNT_USER, NOW + 10);
    apply();
    assert_int_equal(works[0].reply.result, RESULT_APPLIED);
    assert_int_equal(works[0].reply.timestamp_us, NOW + 10);
    assert_int_equal(works[1].outcome.expires_us, NOW + 2000000);
}

/* What is undone leaves no trace of a time either. */
static void a_dry_run_moves_no_time(void **state)
{
    (void)state;
    begin();
    add(transfer("b", "ahead"));
    requests[0].command.dry_run = true;
    add(transfer("a", "b"));
    collect();
    (void)put("a", 1, ACCOUNT_USER, 0);
    struct account *b = put("b", 2, ACCOUNT_USER, 0);
    (void)put("ahead", 3, ACCOUNT_USER, NOW + 10);
    apply();
    assert_int_equal(works[0].reply.timestamp_us, NOW + 10);
    assert_int_equal(works[1].reply.timestamp_us, NOW);
    assert_int_equal(b->changed_us, NOW);
}

static void an_account_begins_now(void **state)
{
    (void)state;
    begin();
    add((struct command){.type = COMMAND_OPEN_ACCOUNT,
                         .account = text_of("new"),
                         .user_id = text_of("u"),
                         .asset = text_of("EUR")});
    collect();
    ledger_account(&batch, text_of("new"))->number = 9;
    apply();
    assert_int_equal(works[0].reply.timestamp_us, NOW);
    assert_int_equal(ledger_account(&batch, text_of("new"))->changed_us, NOW);
}

/* --- what is imported has its own time --- */

static void add_at(int64_t at_us, struct command command)
{
    add(command);
    requests[batch.works_count - 1].at_us = at_us;
}

static struct command open_account(const char *id)
{
    return (struct command){.type = COMMAND_OPEN_ACCOUNT,
                            .account = text_of(id),
                            .user_id = text_of("u"),
                            .asset = text_of("EUR")};
}

static struct command withdraw(const char *id, int64_t amount, int64_t not_after_us)
{
    return (struct command){.type = COMMAND_WITHDRAW,
                            .account = text_of(id),
                            .amount.value = amount,
                            .conditions.not_after_us = not_after_us};
}

/* Each row may break every later rule too. */
static void what_is_imported_keeps_its_time_or_is_refused(void **state)
{
    const struct {
        const char *why;
        int64_t at_us;
        struct command command;
        enum result want;
    } rows[] = {
        {"late", 500, withdraw("nobody", 999, 499), RESULT_EXPIRED},
        {"of the future", NOW + 1, withdraw("nobody", 999, 0), RESULT_OUT_OF_ORDER},
        {"of nobody", 299, withdraw("nobody", 999, 0), RESULT_ACCOUNT_NOT_FOUND},
        {"before the payer's last", 299, withdraw("early", 999, 0), RESULT_OUT_OF_ORDER},
        {"before the payee's last", 699, transfer("early", "late"), RESULT_OUT_OF_ORDER},
        {"an empty account", 300, withdraw("early", 999, 300), RESULT_INSUFFICIENT_FUNDS},
        {"as late as the last", 300, withdraw("early", 1, 300), RESULT_APPLIED},
        {"before the one above", 299, withdraw("early", 1, 0), RESULT_OUT_OF_ORDER},
        {"later", 700, transfer("early", "late"), RESULT_APPLIED},
        {"a system account has no order", 700, transfer("early", "system"), RESULT_APPLIED},
        {"opened", 400, open_account("new"), RESULT_APPLIED},
        {"before it was opened", 399, transfer("system", "new"), RESULT_OUT_OF_ORDER},
        {"since it was opened", 400, transfer("system", "new"), RESULT_APPLIED},
        {"opened in the future", NOW + 1, open_account("newer"), RESULT_OUT_OF_ORDER},
        {"at its last moment", NOW, open_account("newer"), RESULT_APPLIED},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };

    (void)state;
    _Static_assert((int)ROWS <= (int)WORKS_MAX, "each is a work");
    begin();
    batch.import = 1;
    for (uint32_t i = 0; i < ROWS; i++) add_at(rows[i].at_us, rows[i].command);
    collect();
    (void)put("early", 1, ACCOUNT_USER, 300);
    (void)put("late", 2, ACCOUNT_USER, 700);
    (void)put("system", 3, ACCOUNT_SYSTEM, NOW);
    ledger_account(&batch, text_of("new"))->number = 4;
    ledger_account(&batch, text_of("newer"))->number = 5;
    apply();
    for (uint32_t i = 0; i < ROWS; i++) {
        if (works[i].reply.result != rows[i].want)
            fail_msg("%s: '%s' instead of '%s'", rows[i].why, result_word(works[i].reply.result),
                     result_word(rows[i].want));
        assert_int_equal(works[i].reply.timestamp_us, rows[i].at_us);
    }
    assert_int_equal(ledger_account(&batch, text_of("new"))->created_us, 400);
    assert_int_equal(ledger_account(&batch, text_of("early"))->changed_us, 700);
}

/* Without a time it happens now, as any command does. */
static void what_says_no_time_happens_now(void **state)
{
    (void)state;
    begin();
    batch.import = 1;
    add(transfer("a", "ahead"));
    add_at(400, (struct command){.type = COMMAND_HOLD,
                                 .account = text_of("b"),
                                 .amount.value = 1,
                                 .expires_in_s = 2});
    collect();
    (void)put("a", 1, ACCOUNT_USER, 0);
    (void)put("b", 2, ACCOUNT_USER, 0);
    (void)put("ahead", 3, ACCOUNT_USER, NOW + 10);
    apply();
    assert_int_equal(works[0].reply.timestamp_us, NOW + 10);
    assert_int_equal(works[1].outcome.expires_us, 400 + 2000000);
}

/* --- the past ---------------------------------------------------------------------------- */

static const struct past BEFORE = {.at_us = 999}, AT_FIRST = {.at_us = 1000},
                         LATER = {.at_us = 7000,
                                  .balance = 7,
                                  .held = 3,
                                  .seq = 2,
                                  .transaction = {{1}},
                                  .timestamp_us = 6000},
                         BACK = {.at_us = 900, .seq = 1, .timestamp_us = 900};

/* clang-format off */
static const struct {
    const char *why, *account;
    int64_t not_after_us;
    const struct past *past;
    enum result want;
} PASTS[] = {
    {"late first",                "nobody", NOW - 1, NULL,      RESULT_EXPIRED},
    {"then the account",          "nobody", 0,       NULL,      RESULT_ACCOUNT_NOT_FOUND},
    {"then the transaction",      "fees",   0,       NULL,      RESULT_TRANSACTION_NOT_FOUND},
    {"then whether it was open",  "fees",   0,       &BEFORE,   RESULT_ACCOUNT_NOT_FOUND},
    {"then its kind",             "fees",   0,       &LATER,    RESULT_SYSTEM_ACCOUNT},
    {"before it was opened",      "a",      0,       &BEFORE,   RESULT_ACCOUNT_NOT_FOUND},
    {"when it was opened",        "a",      0,       &AT_FIRST, RESULT_APPLIED},
    {"later",                     "a",      0,       &LATER,    RESULT_APPLIED},
    {"an entry of a wrong clock", "a",      0,       &BACK,     RESULT_APPLIED},
};
/* clang-format on */

static struct reply ask_past(size_t i)
{
    begin();
    add((struct command){
        .type = COMMAND_GET_BALANCE, .account = text_of(PASTS[i].account), .as_of.time_us = 1});
    requests[0].deadline_us = PASTS[i].not_after_us;
    works[0].past = PASTS[i].past;
    collect();
    if (strcmp(PASTS[i].account, "nobody") != 0)
        put(PASTS[i].account, 1, PASTS[i].account[0] == 'f' ? ACCOUNT_SYSTEM : ACCOUNT_USER, 0)
            ->created_us = 1000;
    apply();
    return works[0].reply;
}

static void a_past_balance_is_told_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof PASTS / sizeof *PASTS; i++) {
        struct reply reply = ask_past(i);
        const struct past *past = PASTS[i].past;

        if (reply.result != PASTS[i].want)
            fail_msg("%s: %s", PASTS[i].why, result_word(reply.result));
        assert_int_equal(reply.balances_count, PASTS[i].want == RESULT_APPLIED);
        assert_int_equal(reply.as_of != NULL, PASTS[i].want == RESULT_APPLIED);
        if (past == NULL || reply.as_of == NULL) continue;
        assert_int_equal(reply.balances[0].balance, past->balance);
        assert_int_equal(reply.balances[0].held, past->held);
        assert_int_equal(reply.balances[0].seq, past->seq);
        assert_int_equal(reply.as_of->timestamp_us, past->seq == 0 ? 1000 : past->timestamp_us);
        assert_memory_equal(&reply.as_of->transaction, &past->transaction, sizeof(struct uuid));
    }
}

static void entries_are_told_of_user_accounts(void **state)
{
    static const struct history_view page = {.count = 0};

    (void)state;
    begin();
    add((struct command){.type = COMMAND_LIST_TRANSACTIONS, .account = text_of("a")});
    add((struct command){.type = COMMAND_LIST_TRANSACTIONS, .account = text_of("fees")});
    add((struct command){.type = COMMAND_LIST_TRANSACTIONS, .account = text_of("nobody")});
    add((struct command){.type = COMMAND_GET_BALANCE, .account = text_of("a")});
    works[0].history = works[1].history = works[2].history = &page;
    collect();
    (void)put("a", 1, ACCOUNT_USER, 0);
    (void)put("fees", 2, ACCOUNT_SYSTEM, 0);
    apply();
    assert_int_equal(works[0].reply.result, RESULT_APPLIED);
    assert_ptr_equal(works[0].reply.history, &page);
    assert_int_equal(works[1].reply.result, RESULT_SYSTEM_ACCOUNT);
    assert_null(works[1].reply.history);
    assert_int_equal(works[2].reply.result, RESULT_ACCOUNT_NOT_FOUND);
    assert_null(works[3].reply.as_of); /* as it is now */
    assert_int_equal(works[3].reply.balances[0].balance, 100);
    ledger_forget(&batch);
    assert_null(works[0].history);
}

static int open_arena(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, 1 << 20, &err) ? 0 : -1;
}

static int close_arena(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_time_never_goes_back),
        cmocka_unit_test(what_is_due_goes_by_the_clock),
        cmocka_unit_test(a_dry_run_moves_no_time),
        cmocka_unit_test(an_account_begins_now),
        cmocka_unit_test(what_is_imported_keeps_its_time_or_is_refused),
        cmocka_unit_test(what_says_no_time_happens_now),
        cmocka_unit_test(a_past_balance_is_told_or_refused),
        cmocka_unit_test(entries_are_told_of_user_accounts),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
