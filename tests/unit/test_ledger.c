/*
 * test_ledger.c - the money rules, by tables: one row per condition, each row breaking every later
 * rule too, so that precedence itself is tested; and that a refusal leaves every account
 * byte-equal.
 */
#include "ledger/ledger.h"
#include "protocol/fingerprint.h"
#include "tests/test.h"

#include <string.h>

enum { NOW = 1000000 };

static const struct asset ASSETS[] = {
    {.code = TEXT_CONSTANT("BTC"), .world = 901, .scale = 8},
    {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2},
    {.code = TEXT_CONSTANT("USD"), .world = 903, .scale = 2},
};

static struct arena arena;

/* alice 100.00 EUR, bob 0, carol 5.00 EUR of which 3.00 held, full at the top of int64, usd in
 * dollars, fees a system account, world:EUR named. */
static const struct account OPEN[] = {
    {.id = TEXT_CONSTANT("alice"),
     .number = 1,
     .exists = true,
     .asset = &ASSETS[1],
     .balance = 10000,
     .seq = 7},
    {.id = TEXT_CONSTANT("bob"), .number = 2, .exists = true, .asset = &ASSETS[1]},
    {.id = TEXT_CONSTANT("carol"),
     .number = 3,
     .exists = true,
     .asset = &ASSETS[1],
     .balance = 500,
     .held = 300},
    {.id = TEXT_CONSTANT("fees"),
     .number = 4,
     .exists = true,
     .asset = &ASSETS[1],
     .kind = ACCOUNT_SYSTEM},
    {.id = TEXT_CONSTANT("full"),
     .number = 5,
     .exists = true,
     .asset = &ASSETS[1],
     .balance = INT64_MAX},
    {.id = TEXT_CONSTANT("usd"), .number = 6, .exists = true, .asset = &ASSETS[2], .balance = 50},
    {.id = TEXT_CONSTANT("world:EUR"),
     .number = 902,
     .exists = true,
     .asset = &ASSETS[1],
     .kind = ACCOUNT_SYSTEM},
};
enum { OPEN_COUNT = sizeof OPEN / sizeof OPEN[0] };

static void fill_accounts(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        struct text id = batch->accounts[i].id;
        batch->accounts[i].number = 50 + i; /* for accounts that may be opened */
        for (uint32_t o = 0; o < OPEN_COUNT; o++)
            if (text_equal(OPEN[o].id, id)) batch->accounts[i] = OPEN[o];
    }
}

static struct request request_of(struct command command, uint32_t key)
{
    struct request request = {.fault = RESULT_APPLIED,
                              .has_type = true,
                              .has_key = command_changes(command.type),
                              .command = command};
    memcpy(request.key_digest.bytes, &key, sizeof key);
    request.fingerprint = command_fingerprint(&command);
    request.trace.trace_id.bytes[0] = 1;
    return request;
}

static struct batch collected(struct work *works, uint32_t count)
{
    struct batch batch = {.arena = &arena, .works = works, .works_count = count};
    struct err err = {0};

    arena_reset(&arena);
    assert_true(ledger_collect_targets(&batch, &err));
    assert_true(ledger_collect(&batch, &err));
    fill_accounts(&batch);
    batch.assets = ASSETS;
    batch.assets_count = 3;
    batch.now_us = NOW;
    return batch;
}

static void apply(struct batch *batch)
{
    struct err err = {0};

    assert_true(ledger_apply(batch, &err));
}

static struct batch run(struct work *works, uint32_t count)
{
    struct batch batch = collected(works, count);

    apply(&batch);
    return batch;
}

static struct text text(const char *terminated)
{
    return text_of(terminated);
}

/* clang-format off */
#define UNITS(n) {.value = (n)}
#define DECIMAL(n, d) {.value = (n), .digits = (d), .is_decimal = true}
static const struct movement_row {
    const char *why;
    enum command_type type;
    const char *account, *from, *to, *asset;
    struct amount amount;
    int64_t deadline_us;
    enum result want;
} MOVEMENTS[] = {
    {"deadline first",              COMMAND_TRANSFER, NULL, "nobody", "nobody", "USD", UNITS(0), NOW - 1, RESULT_EXPIRED},
    {"then a zero amount",          COMMAND_TRANSFER, NULL, "nobody", "nobody", "USD", UNITS(0), NOW, RESULT_INVALID_AMOUNT},
    {"or a negative one",           COMMAND_TRANSFER, NULL, "nobody", "nobody", "USD", UNITS(-5), 0, RESULT_INVALID_AMOUNT},
    {"then self transfer",          COMMAND_TRANSFER, NULL, "nobody", "nobody", "USD", UNITS(1), 0, RESULT_SAME_ACCOUNT},
    {"then unknown payer",          COMMAND_TRANSFER, NULL, "nobody", "usd", "USD", UNITS(1), 0, RESULT_ACCOUNT_NOT_FOUND},
    {"then unknown payee",          COMMAND_TRANSFER, NULL, "alice", "nobody", "USD", UNITS(20000), 0, RESULT_ACCOUNT_NOT_FOUND},
    {"then another asset named",    COMMAND_TRANSFER, NULL, "alice", "full", "USD", UNITS(20000), 0, RESULT_ASSET_MISMATCH},
    {"then payee in another",       COMMAND_TRANSFER, NULL, "alice", "usd", "EUR", DECIMAL(1, 3), 0, RESULT_ASSET_MISMATCH},
    {"then too many decimals",      COMMAND_TRANSFER, NULL, "alice", "full", "EUR", DECIMAL(999999, 3), 0, RESULT_INVALID_AMOUNT},
    {"then funds",                  COMMAND_TRANSFER, NULL, "alice", "full", "EUR", UNITS(10001), 0, RESULT_INSUFFICIENT_FUNDS},
    {"then overflow",               COMMAND_TRANSFER, NULL, "alice", "full", NULL, UNITS(1), 0, RESULT_OVERFLOW},
    {"all there is",                COMMAND_TRANSFER, NULL, "alice", "bob", NULL, UNITS(10000), 0, RESULT_APPLIED},
    {"at the deadline",             COMMAND_TRANSFER, NULL, "alice", "bob", NULL, UNITS(1), NOW, RESULT_APPLIED},
    {"held money is not there",     COMMAND_TRANSFER, NULL, "carol", "bob", NULL, UNITS(201), 0, RESULT_INSUFFICIENT_FUNDS},
    {"what is not held is",         COMMAND_TRANSFER, NULL, "carol", "bob", NULL, UNITS(200), 0, RESULT_APPLIED},
    {"a system account has no floor", COMMAND_TRANSFER, NULL, "fees", "bob", NULL, UNITS(77), 0, RESULT_APPLIED},
    {"between system accounts",     COMMAND_TRANSFER, NULL, "fees", "world:EUR", NULL, UNITS(77), 0, RESULT_APPLIED},
    {"deposit to nobody",           COMMAND_DEPOSIT, "nobody", NULL, NULL, "USD", UNITS(1), 0, RESULT_ACCOUNT_NOT_FOUND},
    {"deposit, asset named wrong",  COMMAND_DEPOSIT, "alice", NULL, NULL, "USD", UNITS(1), 0, RESULT_ASSET_MISMATCH},
    {"deposit over the top",        COMMAND_DEPOSIT, "full", NULL, NULL, "EUR", UNITS(1), 0, RESULT_OVERFLOW},
    {"deposit in decimals",         COMMAND_DEPOSIT, "alice", NULL, NULL, "EUR", DECIMAL(125, 1), 0, RESULT_APPLIED},
    {"deposit that cannot scale",   COMMAND_DEPOSIT, "alice", NULL, NULL, NULL, DECIMAL(INT64_MAX, 0), 0, RESULT_INVALID_AMOUNT},
    {"the world to itself",         COMMAND_DEPOSIT, "world:EUR", NULL, NULL, "USD", DECIMAL(1, 3), 0, RESULT_SAME_ACCOUNT},
    {"withdraw from nobody",        COMMAND_WITHDRAW, "nobody", NULL, NULL, NULL, UNITS(1), 0, RESULT_ACCOUNT_NOT_FOUND},
    {"withdraw one too many",       COMMAND_WITHDRAW, "alice", NULL, NULL, NULL, UNITS(10001), 0, RESULT_INSUFFICIENT_FUNDS},
    {"withdraw from nothing",       COMMAND_WITHDRAW, "bob", NULL, NULL, NULL, UNITS(1), 0, RESULT_INSUFFICIENT_FUNDS},
    {"withdraw all",                COMMAND_WITHDRAW, "alice", NULL, NULL, NULL, UNITS(10000), 0, RESULT_APPLIED},
    {"withdraw the most there is",  COMMAND_WITHDRAW, "full", NULL, NULL, NULL, UNITS(INT64_MAX), 0, RESULT_APPLIED},
    {"the world withdraws",         COMMAND_WITHDRAW, "world:EUR", NULL, NULL, NULL, UNITS(1), 0, RESULT_SAME_ACCOUNT},
};

static const struct open_row {
    const char *why, *account, *asset;
    int64_t deadline_us;
    enum result want;
} OPENINGS[] = {
    {"deadline first",       "world:XXX", "XXX", 1, RESULT_EXPIRED},
    {"then a reserved id",   "world:XXX", "XXX", 0, RESULT_ACCOUNT_RESERVED},
    {"the prefix alone",     "world:", "XXX", 0, RESULT_ACCOUNT_RESERVED},
    {"and one byte more",    "world:X", "XXX", 0, RESULT_ACCOUNT_RESERVED},
    {"even one that exists", "world:EUR", "EUR", 0, RESULT_ACCOUNT_RESERVED},
    {"then no such asset",   "alice", "XXX", 0, RESULT_ASSET_NOT_FOUND},
    {"then an open account", "alice", "EUR", 0, RESULT_ACCOUNT_EXISTS},
    {"a new one",            "zoe", "EUR", 0, RESULT_APPLIED},
    {"worldly but not it",   "worldly", "BTC", 0, RESULT_APPLIED},
};

static const struct query_row {
    const char *why;
    enum command_type type;
    const char *account;
    int64_t deadline_us;
    enum result want;
} QUERIES[] = {
    {"late",              COMMAND_GET_BALANCE, "alice", 1, RESULT_EXPIRED},
    {"nobody's balance",  COMMAND_GET_BALANCE, "nobody", 0, RESULT_ACCOUNT_NOT_FOUND},
    {"a balance",         COMMAND_GET_BALANCE, "alice", 0, RESULT_APPLIED},
    {"nobody's account",  COMMAND_GET_ACCOUNT, "nobody", 0, RESULT_ACCOUNT_NOT_FOUND},
    {"an account",        COMMAND_GET_ACCOUNT, "alice", 0, RESULT_APPLIED},
    {"no user",           COMMAND_GET_USER, NULL, 0, RESULT_USER_NOT_FOUND},
    {"no transaction",    COMMAND_GET_TRANSACTION, NULL, 0, RESULT_TRANSACTION_NOT_FOUND},
};
/* clang-format on */

static bool account_equal(const struct account *a, const struct account *b)
{
    return text_equal(a->id, b->id) && a->number == b->number && a->exists == b->exists &&
           a->opened == b->opened && a->changed == b->changed && a->kind == b->kind &&
           a->asset == b->asset && text_equal(a->user_id, b->user_id) && a->balance == b->balance &&
           a->held == b->held && a->seq == b->seq && a->created_us == b->created_us;
}

static void check(const char *why, struct command command, int64_t deadline_us, enum result want)
{
    struct request request = request_of(command, 1);
    struct work work = {.request = &request};

    request.deadline_us = deadline_us;
    struct batch batch = run(&work, 1);
    if (work.outcome.result != want || work.reply.result != want)
        fail_msg("%s: %s, wanted %s", why, result_word(work.outcome.result), result_word(want));
    if (want == RESULT_APPLIED) return;
    struct account before[2] = {{.id = {0}}};
    struct batch fresh = {
        .arena = &arena, .accounts = before, .accounts_count = batch.accounts_count};
    assert_in_range(batch.accounts_count, 0, 2);
    for (uint32_t i = 0; i < batch.accounts_count; i++) before[i].id = batch.accounts[i].id;
    fill_accounts(&fresh);
    for (uint32_t i = 0; i < batch.accounts_count; i++)
        if (!account_equal(&before[i], &batch.accounts[i]))
            fail_msg("%s: the refusal changed %.*s", why, TEXT_ARGS(before[i].id));
}

static void refusals_come_in_their_order_and_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof MOVEMENTS / sizeof MOVEMENTS[0]; i++) {
        const struct movement_row *row = &MOVEMENTS[i];
        check(row->why,
              (struct command){.type = row->type,
                               .account = text(row->account),
                               .from = text(row->from),
                               .to = text(row->to),
                               .asset = text(row->asset),
                               .amount = row->amount},
              row->deadline_us, row->want);
    }
    for (size_t i = 0; i < sizeof OPENINGS / sizeof OPENINGS[0]; i++)
        check(OPENINGS[i].why,
              (struct command){.type = COMMAND_OPEN_ACCOUNT,
                               .account = text(OPENINGS[i].account),
                               .user_id = TEXT_LITERAL("user"),
                               .asset = text(OPENINGS[i].asset)},
              OPENINGS[i].deadline_us, OPENINGS[i].want);
    for (size_t i = 0; i < sizeof QUERIES / sizeof QUERIES[0]; i++)
        check(QUERIES[i].why,
              (struct command){.type = QUERIES[i].type, .account = text(QUERIES[i].account)},
              QUERIES[i].deadline_us, QUERIES[i].want);
}

/* What lies behind the batch's accounts is an earlier batch's. */
static void a_user_of_another_batch_is_none(void **state)
{
    struct account behind = {.id = TEXT_LITERAL("new"), .opened = true};
    struct request request = request_of(
        (struct command){.type = COMMAND_UPDATE_USER, .user_id = TEXT_LITERAL("user")}, 1);
    struct work work = {.request = &request};
    struct batch batch = {.arena = &arena, .works = &work, .works_count = 1};
    struct err err = {0};

    (void)state;
    behind.user_id = request.command.user_id;
    arena_reset(&arena);
    assert_true(ledger_collect_targets(&batch, &err));
    assert_true(ledger_collect(&batch, &err));
    assert_int_equal(batch.accounts_count, 0);
    batch.accounts = &behind;
    assert_true(ledger_apply(&batch, &err));
    assert_int_equal(work.outcome.result, RESULT_USER_NOT_FOUND);
}

static void a_transfer_moves_and_counts(void **state)
{
    (void)state;
    struct request request = request_of((struct command){.type = COMMAND_TRANSFER,
                                                         .from = TEXT_LITERAL("alice"),
                                                         .to = TEXT_LITERAL("bob"),
                                                         .amount = {.value = 2500}},
                                        1);
    struct work work = {.request = &request, .id = {{9}}};
    struct batch batch = run(&work, 1);
    const struct account *alice = ledger_account(&batch, TEXT_LITERAL("alice"));
    const struct account *bob = ledger_account(&batch, TEXT_LITERAL("bob"));

    assert_int_equal(alice->balance, 7500);
    assert_int_equal(alice->seq, 8);
    assert_int_equal(bob->balance, 2500);
    assert_int_equal(bob->seq, 1);
    assert_true(alice->changed && bob->changed);
    assert_int_equal(work.outcome.debit.number, 1);
    assert_int_equal(work.outcome.credit.number, 2);
    assert_int_equal(work.outcome.amount, 2500);
    assert_true(work.reply.has_transaction);
    assert_int_equal(work.reply.balances_count, 2);
    assert_int_equal(work.reply.balances[0].balance, 7500);
    assert_int_equal(work.reply.balances[1].balance, 2500);
    assert_int_equal(work.reply.timestamp_us, NOW);
}

static void worlds_and_system_accounts_take_deltas_not_locks(void **state)
{
    (void)state;
    struct request requests[] = {request_of((struct command){.type = COMMAND_DEPOSIT,
                                                             .account = TEXT_LITERAL("bob"),
                                                             .amount = {.value = 5}},
                                            1),
                                 request_of((struct command){.type = COMMAND_TRANSFER,
                                                             .from = TEXT_LITERAL("fees"),
                                                             .to = TEXT_LITERAL("bob"),
                                                             .amount = {.value = 5}},
                                            2)};
    struct work works[] = {{.request = &requests[0]}, {.request = &requests[1]}};
    struct batch batch = run(works, 2);

    assert_int_equal(works[0].outcome.debit.number, 902);
    assert_null(works[0].outcome.debit.account);
    assert_int_equal(works[0].reply.balances_count, 1);
    assert_int_equal(works[1].outcome.debit.number, 4);
    assert_int_equal(works[1].reply.balances_count, 1);
    assert_false(ledger_account(&batch, TEXT_LITERAL("fees"))->changed);
    assert_int_equal(ledger_account(&batch, TEXT_LITERAL("bob"))->balance, 10);
}

/* As far as 64 bits go: the sum of its deltas, which is stored, has no end. */
static void a_batch_sees_what_a_system_account_moved(void **state)
{
    static const struct {
        int64_t before, amount;
        bool pays;
        int64_t after;
    } rows[] = {{-3, 5, false, 2},
                {2, 5, true, -3},
                {INT64_MAX - 5, 5, false, INT64_MAX},
                {INT64_MAX - 4, 5, false, INT64_MAX},
                {INT64_MIN + 5, 5, true, INT64_MIN},
                {INT64_MIN + 4, 5, true, INT64_MIN}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct request requests[] = {
            request_of((struct command){.type = COMMAND_TRANSFER,
                                        .from = text(rows[i].pays ? "fees" : "alice"),
                                        .to = text(rows[i].pays ? "alice" : "fees"),
                                        .amount = {.value = rows[i].amount}},
                       1),
            request_of(
                (struct command){.type = COMMAND_GET_BALANCE, .account = TEXT_LITERAL("fees")}, 2)};
        struct work works[] = {{.request = &requests[0]}, {.request = &requests[1]}};
        struct batch batch = collected(works, 2);
        ledger_account(&batch, TEXT_LITERAL("fees"))->balance = rows[i].before;
        apply(&batch);
        assert_int_equal(works[1].reply.balances[0].balance, rows[i].after);
    }
}

static void one_batch_sees_its_own_changes(void **state)
{
    (void)state;
    struct request requests[] = {
        request_of((struct command){.type = COMMAND_DEPOSIT,
                                    .account = TEXT_LITERAL("zoe"),
                                    .amount = {.value = 5}},
                   1),
        request_of((struct command){.type = COMMAND_OPEN_ACCOUNT,
                                    .account = TEXT_LITERAL("zoe"),
                                    .user_id = TEXT_LITERAL("u"),
                                    .asset = TEXT_LITERAL("EUR")},
                   2),
        request_of((struct command){.type = COMMAND_OPEN_ACCOUNT,
                                    .account = TEXT_LITERAL("zoe"),
                                    .user_id = TEXT_LITERAL("u"),
                                    .asset = TEXT_LITERAL("EUR")},
                   3),
        request_of((struct command){.type = COMMAND_DEPOSIT,
                                    .account = TEXT_LITERAL("zoe"),
                                    .amount = {.value = 5}},
                   4),
        request_of((struct command){.type = COMMAND_WITHDRAW,
                                    .account = TEXT_LITERAL("zoe"),
                                    .amount = {.value = 5}},
                   5),
        request_of((struct command){.type = COMMAND_WITHDRAW,
                                    .account = TEXT_LITERAL("zoe"),
                                    .amount = {.value = 1}},
                   6),
        request_of((struct command){.type = COMMAND_GET_BALANCE, .account = TEXT_LITERAL("zoe")},
                   7)};
    static const enum result want[] = {RESULT_ACCOUNT_NOT_FOUND,
                                       RESULT_APPLIED,
                                       RESULT_ACCOUNT_EXISTS,
                                       RESULT_APPLIED,
                                       RESULT_APPLIED,
                                       RESULT_INSUFFICIENT_FUNDS,
                                       RESULT_APPLIED};
    struct work works[7];

    for (uint32_t i = 0; i < 7; i++) works[i] = (struct work){.request = &requests[i]};
    (void)run(works, 7);
    for (uint32_t i = 0; i < 7; i++) assert_int_equal(works[i].reply.result, want[i]);
    assert_true(works[1].reply.created);
    assert_int_equal(works[6].reply.balances[0].balance, 0);
    assert_int_equal(works[6].reply.balances[0].seq, 2);
}

static void one_key_has_one_outcome(void **state)
{
    (void)state;
    struct command five = {
        .type = COMMAND_DEPOSIT, .account = TEXT_LITERAL("bob"), .amount = {.value = 5}};
    struct command six = five, broke = {.type = COMMAND_WITHDRAW,
                                        .account = TEXT_LITERAL("carol"),
                                        .amount = {.value = 300}};
    six.amount.value = 6;
    struct request requests[] = {request_of(five, 1),  request_of(five, 1),  request_of(six, 1),
                                 request_of(broke, 2), request_of(broke, 2), request_of(five, 3),
                                 request_of(six, 4)};
    struct work works[7];

    for (uint32_t i = 0; i < 7; i++)
        works[i] = (struct work){.request = &requests[i], .id = {{(uint8_t)(i + 1)}}};
    works[5].stored = works[6].stored = true; /* the journal has keys 3 and 4, both for five */
    works[5].stored_fingerprint = works[6].stored_fingerprint = requests[0].fingerprint;
    works[5].reply = works[6].reply =
        (struct reply){.result = RESULT_APPLIED, .has_transaction = true, .transaction = {{42}}};
    struct batch batch = run(works, 7);

    assert_int_equal(works[0].origin, ORIGIN_DECIDED);
    assert_int_equal(works[1].origin, ORIGIN_REPEATED);
    assert_true(works[1].reply.replayed);
    assert_int_equal(works[1].reply.transaction.bytes[0], 1);
    assert_int_equal(works[2].origin, ORIGIN_CONFLICT);
    assert_int_equal(works[2].reply.result, RESULT_KEY_REUSED);
    assert_false(works[2].reply.replayed);
    assert_int_equal(works[3].reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(works[4].reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_true(works[4].reply.replayed);
    assert_int_equal(works[5].origin, ORIGIN_REPEATED);
    assert_int_equal(works[5].reply.transaction.bytes[0], 42);
    assert_int_equal(works[6].origin, ORIGIN_CONFLICT);
    assert_int_equal(ledger_account(&batch, TEXT_LITERAL("bob"))->balance, 5);
}

static void a_repeat_past_its_deadline_gets_the_first_answer(void **state)
{
    (void)state;
    struct command five = {
        .type = COMMAND_DEPOSIT, .account = TEXT_LITERAL("bob"), .amount = {.value = 5}};
    struct request request = request_of(five, 1);
    struct work work = {.request = &request,
                        .stored = true,
                        .stored_fingerprint = request.fingerprint,
                        .reply = {.result = RESULT_APPLIED}};

    request.deadline_us = 1;
    (void)run(&work, 1);
    assert_int_equal(work.reply.result, RESULT_APPLIED);
    assert_true(work.reply.replayed);
}

static void faults_are_answered_and_touch_nothing(void **state)
{
    (void)state;
    struct request request = {.fault = RESULT_MALFORMED, .problem = "amount: missing"};
    struct work works[] = {{.request = &request, .origin = ORIGIN_FAULT},
                           {.request = &request, .origin = ORIGIN_FAULT, .isolated = true}};
    struct batch batch = run(works, 2);

    assert_int_equal(batch.accounts_count, 0);
    assert_int_equal(works[0].reply.result, RESULT_MALFORMED);
    assert_true(text_equal(works[0].reply.message, TEXT_LITERAL("amount: missing")));
    assert_int_equal(works[1].reply.result, RESULT_INTERNAL);
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
        cmocka_unit_test(refusals_come_in_their_order_and_change_nothing),
        cmocka_unit_test(a_user_of_another_batch_is_none),
        cmocka_unit_test(a_transfer_moves_and_counts),
        cmocka_unit_test(a_batch_sees_what_a_system_account_moved),
        cmocka_unit_test(worlds_and_system_accounts_take_deltas_not_locks),
        cmocka_unit_test(one_batch_sees_its_own_changes),
        cmocka_unit_test(one_key_has_one_outcome),
        cmocka_unit_test(a_repeat_past_its_deadline_gets_the_first_answer),
        cmocka_unit_test(faults_are_answered_and_touch_nothing),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
