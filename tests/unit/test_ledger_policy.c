/*
 * test_ledger_policy.c - the policy among the ledger's other rules: what each command is about and
 * needs, where "forbidden" stands among the refusals, and that limits count what is applied, once.
 */
#include "ledger/ledger.h"
#include "tests/core.h"

#include <string.h>

enum { NOW = 1000000 };

static const struct asset ASSETS[] = {
    {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2},
    {.code = TEXT_CONSTANT("USD"), .world = 903, .scale = 2},
};

static struct arena arena;

/* clang-format off */
#define T(literal) TEXT_CONSTANT(literal)
#define ACCOUNT(name, n, ...) {.id = T(name), .number = (n), .exists = true, __VA_ARGS__}
#define IN_EUR .asset = (&ASSETS[0])
static const struct account OPEN[] = {
    ACCOUNT("s1", 1, IN_EUR, .balance = 1000),
    ACCOUNT("s2", 2, IN_EUR, .balance = 1000, .held = 200),
    ACCOUNT("other", 3, IN_EUR, .balance = 1000, .held = 100),
    ACCOUNT("s-usd", 4, .balance = 1000, .asset = &ASSETS[1]),
    ACCOUNT("s-closed", 5, IN_EUR, .state = STATE_CLOSED),
    ACCOUNT("world:EUR", 902, IN_EUR, .kind = ACCOUNT_SYSTEM),
};

enum { NONE, HELD, OTHERS_HELD, PAID_OUT, PAID_IN, CASHED, CASHED_BY_OTHER, A_BATCH, PENDING, OF_SHOP, TARGETS };
static const struct target KNOWN[TARGETS] = {
    [HELD]        = {.exists = true, .type = COMMAND_HOLD, .debit = T("s2"), .amount = 200, .remaining = 200},
    [OTHERS_HELD] = {.exists = true, .type = COMMAND_HOLD, .debit = T("other"), .amount = 100, .remaining = 100},
    [PAID_OUT]    = {.exists = true, .type = COMMAND_TRANSFER, .debit = T("s1"), .credit = T("other"), .amount = 10},
    [PAID_IN]     = {.exists = true, .type = COMMAND_TRANSFER, .debit = T("other"), .credit = T("s1"), .amount = 10},
    [CASHED]      = {.exists = true, .type = COMMAND_WITHDRAW, .debit = T("s1"), .amount = 10},
    [CASHED_BY_OTHER] = {.exists = true, .type = COMMAND_WITHDRAW, .debit = T("other"), .amount = 10},
    [A_BATCH]     = {.exists = true, .type = COMMAND_BATCH},
    [PENDING]     = {.exists = true, .scheduled = true, .type = COMMAND_WITHDRAW},
    [OF_SHOP]     = {.exists = true, .scheduled = true, .type = COMMAND_WITHDRAW, .user_id = T("shop")},
};

static const struct rule RULES[] = {
    {.id = 4, .commands = 1 << COMMAND_CANCEL, .account = T("s"), .is_prefix = true, .max_amount = NO_LIMIT, .daily_limit = NO_LIMIT},
    {.id = 1, .caller = T("all"), .commands = UINT64_MAX, .is_prefix = true, .max_amount = NO_LIMIT, .daily_limit = NO_LIMIT},
    {.id = 2, .caller = T("shop"), .commands = UINT64_MAX, .account = T("s"), .is_prefix = true, .asset = T("EUR"), .max_amount = 100, .daily_limit = NO_LIMIT},
    {.id = 3, .caller = T("spender"), .commands = UINT64_MAX, .account = T("s"), .is_prefix = true, .asset = T("EUR"), .max_amount = NO_LIMIT, .daily_limit = 150},
};
static const struct policy POLICY = {RULES, sizeof RULES / sizeof *RULES, true};

#define UNITS(n) .amount = {.value = (n)}, .has_amount = true
#define MILLS(n) .amount = {.value = (n), .digits = 3, .is_decimal = true}, .has_amount = true
#define LATE .conditions = {.not_after_us = NOW - 1}
#define IF_SEQ(n) .conditions = {.has_if_seq = true, .if_seq = (n)}
static const struct row {
    const char *why;
    const char *caller;
    uint32_t target;
    struct command command;
    enum result want;
} ROWS[] = {
    {"late first",                "nobody", NONE, {.type = COMMAND_TRANSFER, .from = T("other"), .to = T("other"), UNITS(0), LATE}, RESULT_EXPIRED},
    {"then forbidden",            "nobody", NONE, {.type = COMMAND_TRANSFER, .from = T("s1"), .to = T("s1"), UNITS(0)}, RESULT_FORBIDDEN},
    {"who is nobody may nothing", "", NONE, {.type = COMMAND_DEPOSIT, .account = T("s1"), UNITS(0)}, RESULT_FORBIDDEN},
    {"another's account",         "shop", NONE, {.type = COMMAND_TRANSFER, .from = T("other"), .to = T("other"), UNITS(0)}, RESULT_FORBIDDEN},
    {"also if it is not there",   "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("nothing"), UNITS(0)}, RESULT_FORBIDDEN},
    {"another asset",             "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s-usd"), UNITS(0)}, RESULT_FORBIDDEN},
    {"whatever asset is named",   "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s-usd"), .asset = T("EUR"), UNITS(0)}, RESULT_FORBIDDEN},
    {"but to open in",            "shop", NONE, {.type = COMMAND_OPEN_ACCOUNT, .account = T("s1"), .user_id = T("u"), .asset = T("USD")}, RESULT_FORBIDDEN},
    {"then the amount",           "shop", NONE, {.type = COMMAND_TRANSFER, .from = T("s1"), .to = T("s1"), UNITS(0)}, RESULT_INVALID_AMOUNT},
    {"then the account",          "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s-none"), UNITS(1000)}, RESULT_ACCOUNT_NOT_FOUND},
    {"then the scale",            "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s-closed"), MILLS(9999999)}, RESULT_INVALID_AMOUNT},
    {"then the limit",            "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s-closed"), UNITS(101)}, RESULT_FORBIDDEN},
    {"before the kind",           "shop", NONE, {.type = COMMAND_TRANSFER, .from = T("s1"), .to = T("world:EUR"), UNITS(101), IF_SEQ(9)}, RESULT_FORBIDDEN},
    {"then the state",            "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s-closed"), UNITS(100)}, RESULT_ACCOUNT_CLOSED},
    {"then conditions",           "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s1"), UNITS(100), IF_SEQ(9)}, RESULT_SEQ_MISMATCH},
    {"within the limit",          "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s1"), UNITS(100)}, RESULT_APPLIED},
    {"who receives matters not",  "shop", NONE, {.type = COMMAND_TRANSFER, .from = T("s1"), .to = T("other"), UNITS(100)}, RESULT_APPLIED},
    {"deposits are into one's own", "shop", NONE, {.type = COMMAND_DEPOSIT, .account = T("other"), UNITS(1)}, RESULT_FORBIDDEN},
    {"one's own",                 "shop", NONE, {.type = COMMAND_DEPOSIT, .account = T("s1"), UNITS(1)}, RESULT_APPLIED},
    {"the world by its name",     "shop", NONE, {.type = COMMAND_TRANSFER, .from = T("world:EUR"), .to = T("s1"), UNITS(1)}, RESULT_FORBIDDEN},
    {"a hold",                    "shop", NONE, {.type = COMMAND_HOLD, .account = T("s1"), UNITS(100)}, RESULT_APPLIED},
    {"a hold over the limit",     "shop", NONE, {.type = COMMAND_HOLD, .account = T("s1"), UNITS(101)}, RESULT_FORBIDDEN},
    {"open",                      "shop", NONE, {.type = COMMAND_OPEN_ACCOUNT, .account = T("s9"), .user_id = T("u"), .asset = T("EUR")}, RESULT_APPLIED},
    {"not in another asset",      "shop", NONE, {.type = COMMAND_OPEN_ACCOUNT, .account = T("s9"), .user_id = T("u"), .asset = T("USD")}, RESULT_FORBIDDEN},
    {"nor elsewhere",             "shop", NONE, {.type = COMMAND_OPEN_ACCOUNT, .account = T("x9"), .user_id = T("u"), .asset = T("EUR")}, RESULT_FORBIDDEN},
    {"a floor is a limit",        "shop", NONE, {.type = COMMAND_SET_FLOOR, .account = T("s1"), UNITS(-101)}, RESULT_FORBIDDEN},
    {"down to it",                "shop", NONE, {.type = COMMAND_SET_FLOOR, .account = T("s1"), UNITS(-100)}, RESULT_APPLIED},
    {"the lowest of all",         "shop", NONE, {.type = COMMAND_SET_FLOOR, .account = T("s1"), UNITS(INT64_MIN)}, RESULT_FORBIDDEN},
    {"may be anybody's",          "all", NONE, {.type = COMMAND_SET_FLOOR, .account = T("s1"), UNITS(INT64_MIN)}, RESULT_APPLIED},
    {"freeze",                    "shop", NONE, {.type = COMMAND_FREEZE_ACCOUNT, .account = T("other")}, RESULT_FORBIDDEN},

    {"one's own hold",            "shop", HELD, {.type = COMMAND_CAPTURE, .to = T("other"), UNITS(100)}, RESULT_APPLIED},
    {"not more than the limit",   "shop", HELD, {.type = COMMAND_CAPTURE, .to = T("other")}, RESULT_FORBIDDEN},
    {"what is released takes nothing", "shop", HELD, {.type = COMMAND_RELEASE}, RESULT_APPLIED},
    {"another's",                 "shop", OTHERS_HELD, {.type = COMMAND_CAPTURE, .to = T("s1"), UNITS(0)}, RESULT_FORBIDDEN},
    {"to release",                "shop", OTHERS_HELD, {.type = COMMAND_RELEASE}, RESULT_FORBIDDEN},
    {"to let expire",             "shop", OTHERS_HELD, {.type = COMMAND_EXPIRE_HOLD}, RESULT_FORBIDDEN},
    {"one that is not there",     "shop", NONE, {.type = COMMAND_RELEASE}, RESULT_FORBIDDEN},
    {"which who may all is told", "all", NONE, {.type = COMMAND_RELEASE}, RESULT_HOLD_NOT_FOUND},
    {"no hold at all",            "shop", PAID_IN, {.type = COMMAND_RELEASE}, RESULT_FORBIDDEN},
    {"but a payment of one's own", "shop", PAID_OUT, {.type = COMMAND_RELEASE}, RESULT_HOLD_NOT_FOUND},
    {"to give back",              "shop", PAID_IN, {.type = COMMAND_REVERSE}, RESULT_APPLIED},
    {"not what another gives back", "shop", PAID_OUT, {.type = COMMAND_REVERSE}, RESULT_FORBIDDEN},
    {"from the world to oneself", "shop", CASHED, {.type = COMMAND_REVERSE}, RESULT_APPLIED},
    {"or to another",             "shop", CASHED_BY_OTHER, {.type = COMMAND_REVERSE}, RESULT_FORBIDDEN},
    {"nothing",                   "shop", NONE, {.type = COMMAND_REVERSE}, RESULT_FORBIDDEN},
    {"what has no account",       "shop", A_BATCH, {.type = COMMAND_REVERSE}, RESULT_FORBIDDEN},
    {"for who may all",           "all", A_BATCH, {.type = COMMAND_REVERSE}, RESULT_NOT_REVERSIBLE},

    {"what is scheduled has no account yet", "shop", PENDING, {.type = COMMAND_CANCEL}, RESULT_FORBIDDEN},
    {"so who may all may cancel", "all", PENDING, {.type = COMMAND_CANCEL}, RESULT_APPLIED},
    {"and who scheduled it",      "shop", OF_SHOP, {.type = COMMAND_CANCEL}, RESULT_APPLIED},
    {"not another",               "spender", OF_SHOP, {.type = COMMAND_CANCEL}, RESULT_FORBIDDEN},
    {"who gave no name is nobody", "", PENDING, {.type = COMMAND_CANCEL}, RESULT_FORBIDDEN},
    {"to cancel it alone",        "shop", OF_SHOP, {.type = COMMAND_REVERSE}, RESULT_FORBIDDEN},
    {"later is no way around",    "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("other"), UNITS(1), .conditions = {.not_before_us = NOW + 1}}, RESULT_FORBIDDEN},
    {"the amount is for later",   "shop", NONE, {.type = COMMAND_WITHDRAW, .account = T("s1"), UNITS(101), .conditions = {.not_before_us = NOW + 1}}, RESULT_SCHEDULED},
    {"a balance",                 "shop", NONE, {.type = COMMAND_GET_BALANCE, .account = T("s1")}, RESULT_APPLIED},
    {"another's balance",         "shop", NONE, {.type = COMMAND_GET_BALANCE, .account = T("other")}, RESULT_FORBIDDEN},
    {"one's history",             "shop", NONE, {.type = COMMAND_LIST_TRANSACTIONS, .account = T("s1")}, RESULT_APPLIED},
    {"another's history",         "shop", NONE, {.type = COMMAND_LIST_TRANSACTIONS, .account = T("other")}, RESULT_FORBIDDEN},
    {"an account that is none",   "shop", NONE, {.type = COMMAND_GET_ACCOUNT, .account = T("s0")}, RESULT_ACCOUNT_NOT_FOUND},
    {"another's account, none",   "shop", NONE, {.type = COMMAND_GET_ACCOUNT, .account = T("x0")}, RESULT_FORBIDDEN},
    {"a user is no account",      "shop", NONE, {.type = COMMAND_GET_USER, .user_id = T("s1")}, RESULT_FORBIDDEN},
    {"but for who may all",       "all", NONE, {.type = COMMAND_GET_USER, .user_id = T("s1")}, RESULT_USER_NOT_FOUND},
    {"nor to be changed",         "shop", NONE, {.type = COMMAND_UPDATE_USER, .user_id = T("s1")}, RESULT_FORBIDDEN},
    {"but by who may all",        "all", NONE, {.type = COMMAND_UPDATE_USER, .user_id = T("s1")}, RESULT_USER_NOT_FOUND},
    {"a transaction of nobody",   "shop", NONE, {.type = COMMAND_GET_TRANSACTION}, RESULT_FORBIDDEN},
    {"is not found",              "all", NONE, {.type = COMMAND_GET_TRANSACTION}, RESULT_TRANSACTION_NOT_FOUND},
};
/* clang-format on */

static const struct core CORE = {OPEN, sizeof OPEN / sizeof *OPEN, KNOWN, TARGETS, ASSETS, 2, NOW};

/* used is what rule 3 has been used for. */
static struct batch run(struct work *works, uint32_t count, const struct policy *policy,
                        int64_t used)
{
    return core_run(&CORE, &arena, works, count, policy, used);
}

static struct request request_of(const char *caller, const struct command *command, uint8_t key)
{
    struct request request = core_request(command, key);

    request.user_id = text_of(caller);
    return request;
}

static struct work run_row(const struct row *row, const struct policy *policy, bool is_own)
{
    static struct request request;
    struct work work = {.request = &request};

    request = request_of(row->caller, &row->command, 1);
    request.command.transaction = core_target_id(row->target);
    request.is_own = is_own;
    struct batch batch = run(&work, 1, policy, 0);
    if (work.outcome.result == RESULT_APPLIED) return work;
    for (uint32_t a = 0; a < batch.accounts_count; a++) assert_false(batch.accounts[a].changed);
    for (uint32_t u = 0; u < batch.usages_count; u++) assert_false(batch.usages[u].changed);
    return work;
}

static void forbidden_has_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const struct row *row = &ROWS[i];
        struct work work = run_row(row, &POLICY, false);
        if (work.outcome.result != row->want)
            fail_msg("row %zu, %s: '%s', wanted '%s'", i, row->why,
                     result_word(work.outcome.result), result_word(row->want));
        /* Without a policy, and to the ledger itself, nothing is forbidden. */
        assert_int_not_equal(run_row(row, NULL, false).outcome.result, RESULT_FORBIDDEN);
        assert_int_not_equal(run_row(row, &POLICY, true).outcome.result, RESULT_FORBIDDEN);
    }
}

/* Of a transaction that was found, either side will do. */
static void a_transaction_is_everyones_whose_account_it_touched(void **state)
{
    static const struct row of[] = {
        {"", "shop", 0, {.type = COMMAND_GET_TRANSACTION}, RESULT_APPLIED}};
    struct transaction_view views[] = {
        {.debit = T("s1"), .credit = T("other"), .asset = T("EUR")},
        {.debit = T("world:EUR"), .credit = T("s1"), .asset = T("EUR")},
        {.credit = T("s1"), .asset = T("EUR")},
        {.debit = T("other"), .credit = T("world:EUR"), .asset = T("EUR")},
        {.debit = T("s-usd"), .credit = T("other"), .asset = T("USD")},
        {.type = COMMAND_BATCH},
    };

    (void)state;
    for (uint32_t i = 0; i < sizeof views / sizeof *views; i++) {
        struct request request = request_of("shop", &of[0].command, 1);
        struct work work = {.request = &request, .transaction = &views[i]};
        (void)run(&work, 1, &POLICY, 0);
        assert_int_equal(work.reply.result, i < 3 ? RESULT_APPLIED : RESULT_FORBIDDEN);
    }
}

/* What was scheduled is his who scheduled it, if he may look at anything at all. */
static void who_scheduled_it_may_look_at_it(void **state)
{
    static const struct {
        const char *caller, *scheduler;
        enum result want;
    } rows[] = {{"shop", "shop", RESULT_APPLIED},       {"spender", "shop", RESULT_FORBIDDEN},
                {"shop", "", RESULT_FORBIDDEN},         {"", "", RESULT_FORBIDDEN},
                {"nobody", "nobody", RESULT_FORBIDDEN}, {"all", "shop", RESULT_APPLIED}};
    static const struct command look = {.type = COMMAND_GET_TRANSACTION};

    (void)state;
    for (uint32_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct transaction_view view = {.scheduled_us = NOW + 1,
                                        .user_id = text_of(rows[i].scheduler)};
        struct request request = request_of(rows[i].caller, &look, 1);
        struct work work = {.request = &request, .transaction = &view};
        (void)run(&work, 1, &POLICY, 0);
        assert_int_equal(work.reply.result, rows[i].want);
    }
}

/* --- daily limits ------------------------------------------------------------------------- */

#define TAKE(n)                                                                                    \
    {                                                                                              \
        .type = COMMAND_WITHDRAW, .account = T("s1"), UNITS(n)                                     \
    }
enum { SPENT_MAX = 8 };

static struct request requests[SPENT_MAX];
static struct work works[SPENT_MAX];

static struct batch spend(const struct command *commands, uint32_t count, int64_t used)
{
    for (uint32_t i = 0; i < count; i++) {
        requests[i] = request_of("spender", &commands[i], (uint8_t)i);
        works[i] = (struct work){.request = &requests[i]};
    }
    return run(works, count, &POLICY, used);
}

static void what_is_applied_counts_once(void **state)
{
    struct command commands[] = {TAKE(100), TAKE(51), TAKE(1001), TAKE(20), TAKE(30), TAKE(1)};
    static const enum result want[] = {RESULT_APPLIED, RESULT_FORBIDDEN, RESULT_FORBIDDEN,
                                       RESULT_APPLIED, RESULT_APPLIED,   RESULT_FORBIDDEN};

    (void)state;
    commands[3].dry_run = true; /* its verdict counts nothing */
    struct batch batch = spend(commands, 6, 20);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(works[i].reply.result, want[i]);
        assert_int_equal(works[i].outcome.over_limit, want[i] == RESULT_FORBIDDEN);
    }
    assert_int_equal(batch.usages_count, 1);
    assert_int_equal(batch.usages[0].used, 150);
    assert_true(batch.usages[0].changed);
}

static void what_is_refused_counts_nothing(void **state)
{
    const struct command commands[] = {
        {.type = COMMAND_WITHDRAW, .account = T("s-closed"), UNITS(100)},
        {.type = COMMAND_WITHDRAW, .account = T("s1"), UNITS(100), IF_SEQ(9)},
        TAKE(150)};

    (void)state;
    struct batch batch = spend(commands, 3, 0);
    assert_int_equal(works[0].reply.result, RESULT_ACCOUNT_CLOSED);
    assert_int_equal(works[1].reply.result, RESULT_SEQ_MISMATCH);
    assert_int_equal(works[2].reply.result, RESULT_APPLIED);
    assert_int_equal(batch.usages[0].used, 150);
}

static void queries_and_others_ask_for_no_usage(void **state)
{
    const struct command query = {.type = COMMAND_GET_BALANCE, .account = T("s1")};
    const struct command other = {.type = COMMAND_WITHDRAW, .account = T("other"), UNITS(1)};

    (void)state;
    assert_int_equal(spend(&query, 1, 0).usages_count, 0);
    assert_int_equal(works[0].reply.result, RESULT_APPLIED);
    assert_int_equal(spend(&other, 1, 0).usages_count, 0);
    assert_int_equal(works[0].reply.result, RESULT_FORBIDDEN);
}

/* Of two rules that may count the second does when the first has not so much left. */
static void each_limit_that_may_count_is_collected_once(void **state)
{
    static const struct rule rules[] = {{.id = 3,
                                         .caller = T("spender"),
                                         .commands = UINT64_MAX,
                                         .is_prefix = true,
                                         .max_amount = NO_LIMIT,
                                         .daily_limit = 150},
                                        {.id = 4,
                                         .caller = T("two"),
                                         .commands = UINT64_MAX,
                                         .is_prefix = true,
                                         .max_amount = NO_LIMIT,
                                         .daily_limit = 10},
                                        {.id = 5,
                                         .caller = T("two"),
                                         .commands = UINT64_MAX,
                                         .is_prefix = true,
                                         .max_amount = NO_LIMIT,
                                         .daily_limit = 100}};
    static const struct policy policy = {rules, 3, true};
    static const struct {
        const char *caller;
        struct command command;
    } given[] = {{"two", TAKE(1)},
                 {"spender", TAKE(1)},
                 {"two", TAKE(50)},
                 {"spender", TAKE(1)},
                 {"two", TAKE(1)}};

    (void)state;
    for (uint32_t i = 0; i < 5; i++) {
        requests[i] = request_of(given[i].caller, &given[i].command, (uint8_t)i);
        works[i] =
            (struct work){.request = &requests[i], .origin = i == 0 ? ORIGIN_CACHED : ORIGIN_NONE};
    }
    struct batch batch = run(works, 5, &policy, 0);
    for (uint32_t i = 1; i < 5; i++) assert_int_equal(works[i].reply.result, RESULT_APPLIED);
    assert_int_equal(batch.usages_count, 3);
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(batch.usages[i].rule, 3 + i);
    assert_int_equal(batch.usages[0].used, 2);
    assert_int_equal(batch.usages[1].used, 1);
    assert_int_equal(batch.usages[2].used, 50);
    batch = run(works, 1, &policy, 0); /* what is answered already takes nothing */
    assert_int_equal(batch.usages_count, 0);
}

static void a_rule_for_any_caller_limits_each(void **state)
{
    static const struct rule rule = {.id = 1,
                                     .commands = UINT64_MAX,
                                     .is_prefix = true,
                                     .max_amount = NO_LIMIT,
                                     .daily_limit = 10};
    static const struct policy policy = {&rule, 1, true};
    static const char *const callers[] = {"ann", "ben", "ann"};
    static const struct command take = TAKE(10);

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        requests[i] = request_of(callers[i], &take, (uint8_t)i);
        works[i] = (struct work){.request = &requests[i]};
    }
    assert_int_equal(run(works, 3, &policy, 0).usages_count, 2);
    assert_int_equal(works[0].reply.result, RESULT_APPLIED);
    assert_int_equal(works[1].reply.result, RESULT_APPLIED);
    assert_int_equal(works[2].reply.result, RESULT_FORBIDDEN);
}

/* --- batches ------------------------------------------------------------------------------ */

static struct batch run_legs(const char *caller, bool independent, const struct command *legs,
                             uint32_t count)
{
    const struct command batch = {
        .type = COMMAND_BATCH, .independent = independent, .legs_count = count};

    requests[0] = request_of(caller, &batch, 0);
    works[0] = (struct work){.request = &requests[0], .legs_count = count};
    for (uint32_t i = 1; i <= count; i++) {
        requests[i] = request_of(caller, &legs[i - 1], (uint8_t)i);
        works[i] = (struct work){.request = &requests[i], .is_leg = true};
    }
    return run(works, count + 1, &POLICY, 0);
}

static void each_leg_is_checked(void **state)
{
    const struct command legs[] = {
        TAKE(60), {.type = COMMAND_WITHDRAW, .account = T("other"), UNITS(1)}, TAKE(60)};
    const struct command much[] = {TAKE(100), TAKE(51)};

    (void)state;
    struct batch batch = run_legs("shop", false, legs, 3);
    assert_int_equal(works[0].reply.result, RESULT_FORBIDDEN);
    assert_int_equal(works[0].reply.failed_leg, 1);
    for (uint32_t a = 0; a < batch.accounts_count; a++) assert_int_equal(batch.accounts[a].seq, 0);
    (void)run_legs("shop", true, legs, 3);
    assert_int_equal(works[0].reply.result, RESULT_APPLIED);
    assert_int_equal(works[1].reply.result, RESULT_APPLIED);
    assert_int_equal(works[2].reply.result, RESULT_FORBIDDEN);
    assert_int_equal(works[3].reply.result, RESULT_APPLIED);

    batch = run_legs("spender", false, much, 2); /* what was charged is given back */
    assert_int_equal(works[0].reply.result, RESULT_FORBIDDEN);
    assert_int_equal(works[0].reply.failed_leg, 1);
    assert_true(works[2].outcome.over_limit);
    assert_int_equal(batch.usages[0].used, 0);
    assert_false(batch.usages[0].changed);
    batch = run_legs("spender", true, much, 2);
    assert_int_equal(works[1].reply.result, RESULT_APPLIED);
    assert_int_equal(works[2].reply.result, RESULT_FORBIDDEN);
    assert_int_equal(batch.usages[0].used, 100);
}

static void who_may_send_no_batch_has_none_of_its_legs(void **state)
{
    static const struct rule takes[] = {{.id = 1,
                                         .caller = T("shop"),
                                         .commands = UINT64_C(1) << COMMAND_WITHDRAW,
                                         .is_prefix = true,
                                         .max_amount = NO_LIMIT,
                                         .daily_limit = NO_LIMIT}};
    static const struct policy policy = {takes, 1, false};
    const struct command legs[] = {TAKE(1)};

    (void)state;
    (void)run_legs("shop", true, legs, 1);
    works[0].origin = works[1].origin = ORIGIN_NONE;
    struct batch batch = run(works, 2, &policy, 0);
    assert_int_equal(works[0].reply.result, RESULT_FORBIDDEN);
    assert_false(works[0].reply.has_failed_leg);
    assert_int_equal(works[1].origin, ORIGIN_SKIPPED);
    assert_int_equal(ledger_account(&batch, text_of("s1"))->seq, 0);
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
        cmocka_unit_test(forbidden_has_its_place),
        cmocka_unit_test(a_transaction_is_everyones_whose_account_it_touched),
        cmocka_unit_test(who_scheduled_it_may_look_at_it),
        cmocka_unit_test(what_is_applied_counts_once),
        cmocka_unit_test(what_is_refused_counts_nothing),
        cmocka_unit_test(each_limit_that_may_count_is_collected_once),
        cmocka_unit_test(a_rule_for_any_caller_limits_each),
        cmocka_unit_test(queries_and_others_ask_for_no_usage),
        cmocka_unit_test(each_leg_is_checked),
        cmocka_unit_test(who_may_send_no_batch_has_none_of_its_legs),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
