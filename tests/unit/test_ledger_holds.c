/*
 * test_ledger_holds.c - what is about a hold, a transaction or an account's state, by tables: one
 * row a condition, each breaking later rules too, so that precedence itself is tested; that a
 * refusal changes nothing; and what each command leaves behind when it is applied.
 */
#include "tests/core.h"

#include <string.h>

enum { NOW = 1000000 };

static const struct asset ASSETS[] = {
    {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2},
    {.code = TEXT_CONSTANT("USD"), .world = 903, .scale = 2},
};

static struct arena arena;

/* clang-format off */
#define ACCOUNT(name, n, ...) {.id = TEXT_CONSTANT(name), .number = (n), .exists = true, __VA_ARGS__}
static const struct account OPEN[] = {
    ACCOUNT("a", 1, .asset = &ASSETS[0], .balance = 10000, .held = 3000, .seq = 5),
    ACCOUNT("b", 2, .asset = &ASSETS[0], .balance = 0),
    ACCOUNT("closed", 3, .asset = &ASSETS[0], .state = STATE_CLOSED),
    ACCOUNT("in", 4, .asset = &ASSETS[0], .balance = 500, .held = 400, .state = STATE_FROZEN_IN),
    ACCOUNT("out", 5, .asset = &ASSETS[0], .balance = 500, .held = 400, .state = STATE_FROZEN_OUT),
    ACCOUNT("fees", 6, .asset = &ASSETS[0], .kind = ACCOUNT_SYSTEM),
    ACCOUNT("full", 7, .asset = &ASSETS[0], .balance = INT64_MAX),
    ACCOUNT("usd", 8, .asset = &ASSETS[1], .balance = 500),
    ACCOUNT("world:EUR", 902, .asset = &ASSETS[0], .kind = ACCOUNT_SYSTEM),
};

enum { NONE, OPEN_HOLD, CAPTURED, RELEASED, EXPIRED, DUE, LATER, MOVED, REVERSED, REVERSAL, SPENT, CASHED, OF_OUT, OF_CLOSED, OF_FULL, TARGETS };

#define HOLD_OF(name, n, ...) {.exists = true, .type = COMMAND_HOLD, .debit = TEXT_CONSTANT(name), .amount = 3000, .remaining = (n), __VA_ARGS__}
#define MOVED_FROM(from, to, n, ...) {.exists = true, .type = COMMAND_TRANSFER, .debit = TEXT_CONSTANT(from), .credit = TEXT_CONSTANT(to), .amount = (n), __VA_ARGS__}
static const struct target KNOWN[TARGETS] = {
    [OPEN_HOLD] = HOLD_OF("a", 3000, .expires_us = 0),
    [CAPTURED]  = HOLD_OF("a", 0, .settled = true, .settled_by = COMMAND_CAPTURE),
    [RELEASED]  = HOLD_OF("a", 0, .settled = true, .settled_by = COMMAND_RELEASE),
    [EXPIRED]   = HOLD_OF("a", 0, .settled = true, .settled_by = COMMAND_EXPIRE_HOLD),
    [DUE]       = HOLD_OF("a", 3000, .expires_us = NOW),
    [LATER]     = HOLD_OF("a", 3000, .expires_us = NOW + 1),
    [MOVED]     = MOVED_FROM("b", "a", 500, .settled = false),
    [REVERSED]  = MOVED_FROM("b", "a", 500, .settled = true, .settled_by = COMMAND_REVERSE),
    [REVERSAL]  = {.exists = true, .type = COMMAND_REVERSE, .debit = TEXT_CONSTANT("a"), .credit = TEXT_CONSTANT("b"), .amount = 5},
    [SPENT]     = MOVED_FROM("a", "b", 500, .settled = false),
    [CASHED]    = {.exists = true, .type = COMMAND_WITHDRAW, .debit = TEXT_CONSTANT("a"), .amount = 700},
    [OF_OUT]    = HOLD_OF("out", 400, .expires_us = 0),
    [OF_CLOSED] = MOVED_FROM("a", "closed", 500, .settled = false),
    [OF_FULL]   = MOVED_FROM("full", "a", 500, .settled = false),
};

#define UNITS(n) .amount = {.value = (n)}, .has_amount = true
#define MILLS(n) .amount = {.value = (n), .digits = 3, .is_decimal = true}, .has_amount = true
#define IF_SEQ(n) .conditions = {.has_if_seq = true, .if_seq = (n)}
#define IF_BALANCE(n) .conditions = {.has_if_balance = true, .if_balance.value = (n)}
#define LATE .conditions = {.not_after_us = NOW - 1}
#define T(literal) TEXT_CONSTANT(literal)
static const struct row {
    const char *why;
    uint32_t target;
    struct command command;
    enum result want;
} ROWS[] = {
    {"hold: late first",         NONE, {.type = COMMAND_HOLD, .account = T("nobody"), LATE}, RESULT_EXPIRED},
    {"at not_after it is time",  NONE, {.type = COMMAND_HOLD, .account = T("a"), UNITS(1), .conditions = {.not_after_us = NOW}}, RESULT_APPLIED},
    {"then a zero amount",       NONE, {.type = COMMAND_HOLD, .account = T("nobody"), UNITS(0)}, RESULT_INVALID_AMOUNT},
    {"or a negative one",        NONE, {.type = COMMAND_HOLD, .account = T("nobody"), UNITS(-1)}, RESULT_INVALID_AMOUNT},
    {"then the account",         NONE, {.type = COMMAND_HOLD, .account = T("nobody"), .asset = T("USD"), UNITS(1)}, RESULT_ACCOUNT_NOT_FOUND},
    {"then the asset",           NONE, {.type = COMMAND_HOLD, .account = T("closed"), .asset = T("USD"), MILLS(1)}, RESULT_ASSET_MISMATCH},
    {"then the scale",           NONE, {.type = COMMAND_HOLD, .account = T("closed"), .asset = T("EUR"), MILLS(1)}, RESULT_INVALID_AMOUNT},
    {"then its kind",            NONE, {.type = COMMAND_HOLD, .account = T("fees"), UNITS(1), IF_SEQ(1)}, RESULT_SYSTEM_ACCOUNT},
    {"then its state",           NONE, {.type = COMMAND_HOLD, .account = T("closed"), UNITS(1), IF_SEQ(1)}, RESULT_ACCOUNT_CLOSED},
    {"frozen out",               NONE, {.type = COMMAND_HOLD, .account = T("out"), UNITS(101), IF_SEQ(1)}, RESULT_ACCOUNT_FROZEN},
    {"frozen in does not matter", NONE, {.type = COMMAND_HOLD, .account = T("in"), UNITS(100)}, RESULT_APPLIED},
    {"then if_seq",              NONE, {.type = COMMAND_HOLD, .account = T("a"), UNITS(7001), .conditions = {.has_if_seq = true, .if_seq = 4, .has_if_balance = true, .if_balance.value = 10001}}, RESULT_SEQ_MISMATCH},
    {"then if_balance_at_least", NONE, {.type = COMMAND_HOLD, .account = T("a"), UNITS(7001), .conditions = {.has_if_seq = true, .if_seq = 5, .has_if_balance = true, .if_balance.value = 10001}}, RESULT_BALANCE_TOO_LOW},
    {"which must fit the scale", NONE, {.type = COMMAND_HOLD, .account = T("a"), UNITS(7001), .conditions = {.has_if_balance = true, .if_balance = {.value = 1, .digits = 3, .is_decimal = true}}}, RESULT_INVALID_AMOUNT},
    {"then funds",               NONE, {.type = COMMAND_HOLD, .account = T("a"), UNITS(7001), IF_BALANCE(10000)}, RESULT_INSUFFICIENT_FUNDS},
    {"all there is",             NONE, {.type = COMMAND_HOLD, .account = T("a"), UNITS(7000), IF_SEQ(5)}, RESULT_APPLIED},

    {"capture: amount first",    NONE, {.type = COMMAND_CAPTURE, UNITS(0), .to = T("nobody")}, RESULT_INVALID_AMOUNT},
    {"then who receives",        NONE, {.type = COMMAND_CAPTURE, .to = T("nobody")}, RESULT_ACCOUNT_NOT_FOUND},
    {"then the hold",            NONE, {.type = COMMAND_CAPTURE, .to = T("closed")}, RESULT_HOLD_NOT_FOUND},
    {"which is one",             MOVED, {.type = COMMAND_CAPTURE, .to = T("closed")}, RESULT_HOLD_NOT_FOUND},
    {"then itself",              CAPTURED, {.type = COMMAND_CAPTURE, .to = T("a"), MILLS(1)}, RESULT_SAME_ACCOUNT},
    {"then the asset",           CAPTURED, {.type = COMMAND_CAPTURE, .to = T("usd"), MILLS(1)}, RESULT_ASSET_MISMATCH},
    {"then the scale",           CAPTURED, {.type = COMMAND_CAPTURE, .to = T("closed"), MILLS(1)}, RESULT_INVALID_AMOUNT},
    {"then who was first",       CAPTURED, {.type = COMMAND_CAPTURE, .to = T("closed"), UNITS(3001)}, RESULT_HOLD_CAPTURED},
    {"a release",                RELEASED, {.type = COMMAND_CAPTURE, .to = T("closed")}, RESULT_HOLD_RELEASED},
    {"an expiry",                EXPIRED, {.type = COMMAND_CAPTURE, .to = T("closed")}, RESULT_HOLD_EXPIRED},
    {"that only has to come",    DUE, {.type = COMMAND_CAPTURE, .to = T("closed"), UNITS(3001)}, RESULT_HOLD_EXPIRED},
    {"then more than is held",   LATER, {.type = COMMAND_CAPTURE, .to = T("closed"), UNITS(3001)}, RESULT_AMOUNT_TOO_LARGE},
    {"then the receiver's state", OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("closed"), IF_SEQ(1)}, RESULT_ACCOUNT_CLOSED},
    {"frozen in",                OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("in"), IF_SEQ(1)}, RESULT_ACCOUNT_FROZEN},
    {"and the payer's",          OF_OUT, {.type = COMMAND_CAPTURE, .to = T("b"), IF_SEQ(1)}, RESULT_ACCOUNT_FROZEN},
    {"then if_seq",              OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("full"), IF_SEQ(1)}, RESULT_SEQ_MISMATCH},
    {"then overflow",            OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("full"), IF_SEQ(5)}, RESULT_OVERFLOW},
    {"to the world",             LATER, {.type = COMMAND_CAPTURE}, RESULT_APPLIED},
    {"all of it",                LATER, {.type = COMMAND_CAPTURE, UNITS(3000), .to = T("b")}, RESULT_APPLIED},
    {"to who is frozen out",     OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("out")}, RESULT_APPLIED},

    {"release: no such hold",    NONE, {.type = COMMAND_RELEASE}, RESULT_HOLD_NOT_FOUND},
    {"not one",                  SPENT, {.type = COMMAND_RELEASE}, RESULT_HOLD_NOT_FOUND},
    {"captured",                 CAPTURED, {.type = COMMAND_RELEASE, IF_SEQ(1)}, RESULT_HOLD_CAPTURED},
    {"released",                 RELEASED, {.type = COMMAND_RELEASE, IF_SEQ(1)}, RESULT_HOLD_RELEASED},
    {"expired",                  EXPIRED, {.type = COMMAND_RELEASE, IF_SEQ(1)}, RESULT_HOLD_EXPIRED},
    {"if_seq",                   OPEN_HOLD, {.type = COMMAND_RELEASE, IF_SEQ(1)}, RESULT_SEQ_MISMATCH},
    {"although it is due",       DUE, {.type = COMMAND_RELEASE}, RESULT_APPLIED},
    {"although it is frozen",    OF_OUT, {.type = COMMAND_RELEASE}, RESULT_APPLIED},
    {"expiry: no such hold",     NONE, {.type = COMMAND_EXPIRE_HOLD}, RESULT_HOLD_NOT_FOUND},
    {"who was first",            CAPTURED, {.type = COMMAND_EXPIRE_HOLD}, RESULT_HOLD_CAPTURED},
    {"never due",                OPEN_HOLD, {.type = COMMAND_EXPIRE_HOLD, IF_SEQ(1)}, RESULT_HOLD_NOT_DUE},
    {"not yet",                  LATER, {.type = COMMAND_EXPIRE_HOLD, IF_SEQ(1)}, RESULT_HOLD_NOT_DUE},
    {"now",                      DUE, {.type = COMMAND_EXPIRE_HOLD}, RESULT_APPLIED},

    {"reverse: amount first",    NONE, {.type = COMMAND_REVERSE, UNITS(0)}, RESULT_INVALID_AMOUNT},
    {"then the transaction",     NONE, {.type = COMMAND_REVERSE, MILLS(1)}, RESULT_TRANSACTION_NOT_FOUND},
    {"then what it is",          REVERSAL, {.type = COMMAND_REVERSE, MILLS(1)}, RESULT_NOT_REVERSIBLE},
    {"a hold is not",            OPEN_HOLD, {.type = COMMAND_REVERSE, MILLS(1)}, RESULT_NOT_REVERSIBLE},
    {"then the scale",           REVERSED, {.type = COMMAND_REVERSE, MILLS(1)}, RESULT_INVALID_AMOUNT},
    {"then whether it was",      REVERSED, {.type = COMMAND_REVERSE, UNITS(501)}, RESULT_ALREADY_REVERSED},
    {"then too much",            OF_CLOSED, {.type = COMMAND_REVERSE, UNITS(501)}, RESULT_AMOUNT_TOO_LARGE},
    {"then conditions of none",  CASHED, {.type = COMMAND_REVERSE, IF_SEQ(1)}, RESULT_SYSTEM_ACCOUNT},
    {"then the state",           OF_CLOSED, {.type = COMMAND_REVERSE, IF_SEQ(1)}, RESULT_ACCOUNT_CLOSED},
    {"then if_seq",              SPENT, {.type = COMMAND_REVERSE, IF_SEQ(1)}, RESULT_SEQ_MISMATCH},
    {"then the money is gone",   SPENT, {.type = COMMAND_REVERSE}, RESULT_INSUFFICIENT_FUNDS},
    {"then overflow",            OF_FULL, {.type = COMMAND_REVERSE}, RESULT_OVERFLOW},
    {"out of the world",         CASHED, {.type = COMMAND_REVERSE}, RESULT_APPLIED},
    {"all of it",                MOVED, {.type = COMMAND_REVERSE, UNITS(500)}, RESULT_APPLIED},
    {"a part",                   MOVED, {.type = COMMAND_REVERSE, UNITS(499)}, RESULT_APPLIED},

    {"freeze: the account",      NONE, {.type = COMMAND_FREEZE_ACCOUNT, .account = T("nobody"), IF_SEQ(1)}, RESULT_ACCOUNT_NOT_FOUND},
    {"then its kind",            NONE, {.type = COMMAND_FREEZE_ACCOUNT, .account = T("fees"), IF_SEQ(1)}, RESULT_SYSTEM_ACCOUNT},
    {"then its state",           NONE, {.type = COMMAND_FREEZE_ACCOUNT, .account = T("closed"), IF_SEQ(1)}, RESULT_ACCOUNT_CLOSED},
    {"then if_seq",              NONE, {.type = COMMAND_FREEZE_ACCOUNT, .account = T("a"), IF_SEQ(1)}, RESULT_SEQ_MISMATCH},
    {"what is frozen",           NONE, {.type = COMMAND_FREEZE_ACCOUNT, .account = T("out")}, RESULT_APPLIED},
    {"unfreeze",                 NONE, {.type = COMMAND_UNFREEZE_ACCOUNT, .account = T("out")}, RESULT_APPLIED},
    {"close: not empty",         NONE, {.type = COMMAND_CLOSE_ACCOUNT, .account = T("a"), IF_SEQ(5)}, RESULT_ACCOUNT_NOT_EMPTY},
    {"if_seq before that",       NONE, {.type = COMMAND_CLOSE_ACCOUNT, .account = T("a"), IF_SEQ(6)}, RESULT_SEQ_MISMATCH},
    {"again",                    NONE, {.type = COMMAND_CLOSE_ACCOUNT, .account = T("closed")}, RESULT_ACCOUNT_CLOSED},
    {"at zero",                  NONE, {.type = COMMAND_CLOSE_ACCOUNT, .account = T("b")}, RESULT_APPLIED},

    {"a closed one gets nothing", NONE, {.type = COMMAND_DEPOSIT, .account = T("closed"), UNITS(1)}, RESULT_ACCOUNT_CLOSED},
    {"frozen in gets nothing",   NONE, {.type = COMMAND_DEPOSIT, .account = T("in"), UNITS(1)}, RESULT_ACCOUNT_FROZEN},
    {"but may pay",              NONE, {.type = COMMAND_WITHDRAW, .account = T("in"), UNITS(100)}, RESULT_APPLIED},
    {"frozen out pays nothing",  NONE, {.type = COMMAND_WITHDRAW, .account = T("out"), UNITS(1)}, RESULT_ACCOUNT_FROZEN},
    {"but may receive",          NONE, {.type = COMMAND_DEPOSIT, .account = T("out"), UNITS(1)}, RESULT_APPLIED},
    {"payer's conditions",       NONE, {.type = COMMAND_TRANSFER, .from = T("a"), .to = T("b"), UNITS(1), IF_SEQ(0)}, RESULT_SEQ_MISMATCH},
    {"a system payer has none",  NONE, {.type = COMMAND_TRANSFER, .from = T("fees"), .to = T("b"), UNITS(1), IF_BALANCE(0)}, RESULT_SYSTEM_ACCOUNT},
    {"exactly that balance",     NONE, {.type = COMMAND_TRANSFER, .from = T("a"), .to = T("b"), UNITS(1), IF_BALANCE(10000)}, RESULT_APPLIED},
};
/* clang-format on */

static const struct core CORE = {OPEN,   sizeof OPEN / sizeof *OPEN,     KNOWN, TARGETS,
                                 ASSETS, sizeof ASSETS / sizeof *ASSETS, NOW};

static struct request request_of(const struct command *command, uint32_t target)
{
    struct command about = *command;

    about.transaction = core_target_id(target);
    return core_request(&about, 1);
}

static struct batch run(struct work *work)
{
    return core_run(&CORE, &arena, work, 1, NULL, 0);
}

static void check_unchanged(const struct row *row, const struct batch *batch)
{
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        struct account before = {.id = batch->accounts[i].id};
        struct batch one = {.accounts = &before, .accounts_count = 1};
        core_fill(&CORE, &one);
        assert_false(batch->accounts[i].changed);
        if (before.balance != batch->accounts[i].balance ||
            before.held != batch->accounts[i].held || before.seq != batch->accounts[i].seq ||
            before.state != batch->accounts[i].state)
            fail_msg("%s: the refusal changed %.*s", row->why, TEXT_ARGS(before.id));
    }
    for (uint32_t i = 0; i < batch->targets_count; i++) {
        struct target before = {.id = batch->targets[i].id};
        struct batch one = {.targets = &before, .targets_count = 1};
        core_fill_targets(&CORE, &one);
        if (before.settled != batch->targets[i].settled || batch->targets[i].changed ||
            before.remaining != batch->targets[i].remaining)
            fail_msg("%s: the refusal changed its target", row->why);
    }
}

/* Twice: to be done, and to be tried, which says the same and leaves nothing behind. */
static void refusals_come_in_their_order_and_change_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        for (uint32_t dry = 0; dry < 2; dry++) {
            const struct row *row = &ROWS[i];
            struct request request = request_of(&row->command, row->target);
            struct work work = {.request = &request};
            request.command.dry_run = dry == 1;
            struct batch batch = run(&work);
            if (work.outcome.result != row->want || work.reply.result != row->want)
                fail_msg("row %zu, %s: %s, wanted %s", i, row->why,
                         result_word(work.outcome.result), result_word(row->want));
            assert_int_equal(work.reply.has_transaction, row->want == RESULT_APPLIED && !dry);
            if (row->want == RESULT_APPLIED && dry == 0) continue;
            if (dry == 0) check_unchanged(row, &batch);
            for (uint32_t t = 0; t < batch.targets_count; t++)
                assert_false(batch.targets[t].changed);
            for (uint32_t a = 0; a < batch.accounts_count; a++)
                assert_false(batch.accounts[a].changed);
        }
}

/* clang-format off */
static const struct done {
    const char *why;
    uint32_t target;
    struct command command;
    const char *one, *two;
    int64_t balance, held, seq; /* of one */
    int64_t other;              /* the balance of two */
    int64_t amount, remaining;
    bool settles;
    uint8_t state;              /* of one */
} DONE[] = {
    {"a hold",                NONE, {.type = COMMAND_HOLD, .account = T("a"), UNITS(50)}, "a", NULL, 10000, 3050, 6, 0, 50, 0, false, 0},
    {"all captured",          OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("b")}, "a", "b", 7000, 0, 6, 3000, 3000, 0, true, 0},
    {"a part, the rest free", OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("b"), UNITS(100)}, "a", "b", 9900, 0, 6, 100, 100, 0, true, 0},
    {"a part, the rest held", OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("b"), UNITS(100), .keeps_rest = true}, "a", "b", 9900, 2900, 6, 100, 100, 2900, false, 0},
    {"the rest is nothing",   OPEN_HOLD, {.type = COMMAND_CAPTURE, .to = T("b"), UNITS(3000), .keeps_rest = true}, "a", "b", 7000, 0, 6, 3000, 3000, 0, true, 0},
    {"released",              OPEN_HOLD, {.type = COMMAND_RELEASE}, "a", NULL, 10000, 0, 6, 0, 3000, 0, true, 0},
    {"expired",               DUE, {.type = COMMAND_EXPIRE_HOLD}, "a", NULL, 10000, 0, 6, 0, 3000, 0, true, 0},
    {"reversed",              MOVED, {.type = COMMAND_REVERSE}, "a", "b", 9500, 3000, 6, 500, 500, 0, true, 0},
    {"a part reversed",       MOVED, {.type = COMMAND_REVERSE, UNITS(1)}, "a", "b", 9999, 3000, 6, 1, 1, 0, true, 0},
    {"out of the world",      CASHED, {.type = COMMAND_REVERSE}, "a", NULL, 10700, 3000, 6, 0, 700, 0, true, 0},
    {"frozen both ways",      NONE, {.type = COMMAND_FREEZE_ACCOUNT, .account = T("a")}, "a", NULL, 10000, 3000, 6, 0, 0, 0, false, 3},
    {"and the other way",     NONE, {.type = COMMAND_FREEZE_ACCOUNT, .account = T("in"), .direction = DIRECTION_OUT}, "in", NULL, 500, 400, 1, 0, 0, 0, false, 3},
    {"one way is left",       NONE, {.type = COMMAND_UNFREEZE_ACCOUNT, .account = T("in"), .direction = DIRECTION_OUT}, "in", NULL, 500, 400, 1, 0, 0, 0, false, 1},
    {"none is",               NONE, {.type = COMMAND_UNFREEZE_ACCOUNT, .account = T("in")}, "in", NULL, 500, 400, 1, 0, 0, 0, false, 0},
    {"closed",                NONE, {.type = COMMAND_CLOSE_ACCOUNT, .account = T("b")}, "b", NULL, 0, 0, 1, 0, 0, 0, false, STATE_CLOSED},
};
/* clang-format on */

static void what_is_applied_leaves_this_behind(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof DONE / sizeof *DONE; i++) {
        const struct done *done = &DONE[i];
        struct request request = request_of(&done->command, done->target);
        struct work work = {.request = &request};
        struct batch batch = run(&work);
        const struct account *one = ledger_account(&batch, text_of(done->one));
        assert_int_equal(work.outcome.result, RESULT_APPLIED);
        if (one->balance != done->balance || one->held != done->held || one->seq != done->seq ||
            one->state != done->state)
            fail_msg("%s: %jd, held %jd, seq %jd, state %u", done->why, (intmax_t)one->balance,
                     (intmax_t)one->held, (intmax_t)one->seq, one->state);
        assert_true(one->changed);
        if (done->two != NULL)
            assert_int_equal(ledger_account(&batch, text_of(done->two))->balance, done->other);
        assert_int_equal(work.outcome.amount, done->amount);
        assert_int_equal(work.outcome.settles, done->settles);
        if (done->target == NONE) continue;
        struct uuid id = core_target_id(done->target);
        const struct target *target = ledger_target(&batch, &id);
        assert_ptr_equal(work.outcome.target, target);
        assert_int_equal(target->settled, done->settles);
        assert_int_equal(target->remaining, done->remaining);
        if (done->settles) assert_int_equal(target->settled_by, done->command.type);
    }
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
        cmocka_unit_test(what_is_applied_leaves_this_behind),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
