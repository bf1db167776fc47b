/*
 * test_policy.c - the rules alone, by tables: which of them match, which grants, what is charged,
 * what is over a limit; and how rules are written.
 */
#include "ledger/policy.h"
#include "tests/test.h"

#include <string.h>

#define T(literal) TEXT_CONSTANT(literal)
#define ALL UINT64_MAX
#define ONE(name) (UINT64_C(1) << COMMAND_##name)
#define ANYTHING .is_prefix = true
#define NO_LIMITS .max_amount = NO_LIMIT, .daily_limit = NO_LIMIT

/* clang-format off */
static const struct rule RULES[] = { /* those of any caller first, then by caller, then by id */
    {.id = 7, .commands = ONE(GET_BALANCE), ANYTHING, NO_LIMITS},
    {.id = 9, .commands = ONE(DEPOSIT), .account = T("gift"), .asset = T("EUR"), .max_amount = 10, .daily_limit = NO_LIMIT},
    {.id = 10, .commands = ONE(WITHDRAW), .account = T("gift"), .asset = T("EUR"), .max_amount = NO_LIMIT, .daily_limit = 5},
    {.id = 1, .caller = T("clerk"), .commands = ALL, ANYTHING, NO_LIMITS},
    {.id = 2, .caller = T("eur"), .commands = ALL, ANYTHING, .asset = T("EUR"), NO_LIMITS},
    {.id = 3, .caller = T("shop"), .commands = ONE(TRANSFER) | ONE(HOLD), .account = T("shop:"), .is_prefix = true, .asset = T("EUR"), .max_amount = 100, .daily_limit = 250},
    {.id = 4, .caller = T("shop"), .commands = ONE(TRANSFER) | ONE(BATCH), .account = T("shop:fees"), NO_LIMITS},
    {.id = 5, .caller = T("shop"), .commands = ONE(TRANSFER), .account = T("shop:"), .is_prefix = true, .asset = T("EUR"), .max_amount = 60, .daily_limit = 500},
    {.id = 6, .caller = T("shop"), .commands = ONE(SET_FLOOR), .account = T("a"), .asset = T("EUR"), .max_amount = NO_LIMIT, .daily_limit = NO_LIMIT - 1},
};

static const struct usage USED[] = {
    {.rule = 3, .caller = T("shop"), .used = 200},
    {.rule = 5, .caller = T("other"), .used = 500},
    {.rule = 5, .caller = T("shop"), .used = 0},
    {.rule = 6, .caller = T("shop"), .used = NO_LIMIT - 2},
};

#define WISH(who, what, ...) {.caller = T(who), .type = COMMAND_##what, __VA_ARGS__}
#define ABOUT(name) .accounts = {T(name)}
#define EUR .asset = T("EUR")
static const struct row {
    const char *why;
    struct wish wish;
    bool may;
    int64_t rule, charged; /* 0: none */
} ROWS[] = {
    {"any caller",             WISH("nobody", GET_BALANCE, ABOUT("a"), EUR), true, 7, 0},
    {"even one without name",  WISH("", GET_BALANCE, ABOUT("a"), EUR), true, 7, 0},
    {"another command",        WISH("nobody", GET_ACCOUNT, ABOUT("a"), EUR), false, 0, 0},
    {"within most a command",  WISH("nobody", DEPOSIT, ABOUT("gift"), EUR, .amount = 10), true, 9, 0},
    {"over it",                WISH("nobody", DEPOSIT, ABOUT("gift"), EUR, .amount = 11), true, 0, 0},
    {"not that account",       WISH("nobody", DEPOSIT, ABOUT("gifts"), EUR, .amount = 1), false, 0, 0},
    {"nor its beginning",      WISH("nobody", DEPOSIT, ABOUT("gif"), EUR, .amount = 1), false, 0, 0},
    {"not that asset",         WISH("nobody", DEPOSIT, ABOUT("gift"), .asset = T("USD"), .amount = 1), false, 0, 0},
    {"of no asset that is known", WISH("nobody", DEPOSIT, ABOUT("gift")), true, 9, 0},
    {"everything",             WISH("clerk", REVERSE, ABOUT("a"), EUR, .amount = INT64_MAX), true, 1, 0},
    {"even what names none",   WISH("clerk", GET_USER, .amount = 0), true, 1, 0},
    {"not with one asset",     WISH("eur", GET_USER, .amount = 0), false, 0, 0},
    {"nor another",            WISH("eur", WITHDRAW, ABOUT("a"), .asset = T("USD"), .amount = 1), false, 0, 0},
    {"but that one",           WISH("eur", WITHDRAW, ABOUT("a"), EUR, .amount = 1), true, 2, 0},
    {"a name is whole",        WISH("cler", REVERSE, ABOUT("a"), EUR), false, 0, 0},
    {"and no longer",          WISH("clerks", REVERSE, ABOUT("a"), EUR), false, 0, 0},
    {"after all others",       WISH("zoe", REVERSE, ABOUT("a"), EUR), false, 0, 0},
    {"own rules and any's",    WISH("shop", GET_BALANCE, ABOUT("shop:1"), EUR), true, 7, 0},
    {"the first with room",    WISH("shop", TRANSFER, ABOUT("shop:1"), EUR, .amount = 50), true, 3, 3},
    {"then the next",          WISH("shop", TRANSFER, ABOUT("shop:1"), EUR, .amount = 51), true, 5, 5},
    {"then none",              WISH("shop", TRANSFER, ABOUT("shop:1"), EUR, .amount = 61), true, 0, 0},
    {"of its commands alone",  WISH("shop", HOLD, ABOUT("shop:1"), EUR, .amount = 51), true, 0, 0},
    {"what takes nothing",     WISH("shop", TRANSFER, ABOUT("shop:1"), EUR), true, 3, 0},
    {"better without a limit", WISH("shop", TRANSFER, ABOUT("shop:fees"), EUR, .amount = 50), true, 4, 0},
    {"a beginning is enough",  WISH("shop", TRANSFER, ABOUT("shop:"), EUR, .amount = 1), true, 3, 3},
    {"all of it",              WISH("shop", TRANSFER, ABOUT("shop"), EUR, .amount = 1), false, 0, 0},
    {"other letters",          WISH("shop", TRANSFER, ABOUT("Shop:1"), EUR, .amount = 1), false, 0, 0},
    {"a batch, whatever account", WISH("shop", BATCH, .amount = 0), true, 4, 0},
    {"which not all may send", WISH("nobody", BATCH, .amount = 0), false, 0, 0},
    {"either account will do", WISH("shop", TRANSFER, .accounts = {T("x"), T("shop:fees")}, EUR, .amount = 1), true, 4, 0},
    {"one is missing",         WISH("shop", TRANSFER, .accounts = {{0}, T("shop:fees")}, EUR, .amount = 1), true, 4, 0},
    {"no account is no beginning", WISH("shop", TRANSFER, .amount = 0), false, 0, 0},
    {"the last unit",          WISH("shop", SET_FLOOR, ABOUT("a"), EUR, .amount = 1), true, 6, 6},
    {"and no further",         WISH("shop", SET_FLOOR, ABOUT("a"), EUR, .amount = 2), true, 0, 0},
    {"without overflow",       WISH("shop", SET_FLOOR, ABOUT("a"), EUR, .amount = INT64_MAX), true, 0, 0},
};
/* clang-format on */
enum { RULES_COUNT = sizeof RULES / sizeof *RULES, USED_COUNT = sizeof USED / sizeof *USED };

static const struct policy POLICY = {RULES, RULES_COUNT, true};

static void each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const struct row *row = &ROWS[i];
        struct usage usages[USED_COUNT], *charged;
        memcpy(usages, USED, sizeof usages);
        const struct rule *rule = policy_find(&POLICY, &row->wish, usages, USED_COUNT, &charged);
        if (policy_may(&POLICY, &row->wish) != row->may)
            fail_msg("row %zu, %s: may be asked: %d", i, row->why, !row->may);
        if ((rule == NULL ? 0 : rule->id) != row->rule)
            fail_msg("row %zu, %s: granted by %jd", i, row->why,
                     rule == NULL ? 0 : (intmax_t)rule->id);
        if ((charged == NULL ? 0 : charged->rule) != row->charged)
            fail_msg("row %zu, %s: charged to %jd", i, row->why,
                     charged == NULL ? 0 : (intmax_t)charged->rule);
        if (charged != NULL) assert_true(text_equal(charged->caller, row->wish.caller));
    }
}

/* Where it is not known what was used, nothing is left. */
static void what_is_not_known_is_used(void **state)
{
    const struct wish wish = WISH("shop", TRANSFER, ABOUT("shop:1"), EUR, .amount = 1);
    struct usage lowered = {.rule = 3, .caller = T("shop"), .used = 251}, *charged;

    (void)state;
    assert_null(policy_find(&POLICY, &wish, NULL, 0, &charged));
    assert_null(policy_find(&POLICY, &wish, &lowered, 1, &charged));
    assert_null(charged);
}

static void without_rules_all_is_forbidden(void **state)
{
    const struct policy none = {RULES, 0, false};
    const struct wish wish = WISH("clerk", GET_BALANCE, ABOUT("a"));
    struct usage *charged;

    (void)state;
    assert_false(policy_may(&none, &wish));
    assert_null(policy_find(&none, &wish, NULL, 0, &charged));
    assert_null(policy_limited(&none, &wish, 0));
}

static void limited_rules_in_their_order(void **state)
{
    const struct wish wish = WISH("shop", TRANSFER, ABOUT("shop:fees"));

    (void)state;
    assert_int_equal(policy_limited(&POLICY, &wish, 0)->id, 3);
    assert_int_equal(policy_limited(&POLICY, &wish, 1)->id, 5);
    assert_null(policy_limited(&POLICY, &wish, 2));
    const struct wish unnamed = WISH("", WITHDRAW, ABOUT("gift"));
    assert_int_equal(policy_limited(&POLICY, &unnamed, 0)->id, 10);
    assert_null(policy_limited(&POLICY, &unnamed, 1));
}

/* A thousand rules of each of four callers: each finds its own. */
static void many_rules(void **state)
{
    static const char *const callers[] = {"a", "b", "bb", "c"};
    static struct rule rules[RULES_MAX];
    struct policy policy = {rules, RULES_MAX, false};

    (void)state;
    for (uint32_t i = 0; i < RULES_MAX; i++)
        rules[i] = (struct rule){.id = i,
                                 .caller = text_of(i < 1024 ? "" : callers[i / 1024]),
                                 .commands = ONE(DEPOSIT),
                                 .account = text_of(i % 1024 == 1023 ? callers[i / 1024] : "none"),
                                 NO_LIMITS};
    for (uint32_t i = 1; i < 4; i++)
        for (uint32_t k = 1; k < 4; k++) {
            struct wish wish = {.caller = text_of(callers[i]),
                                .type = COMMAND_DEPOSIT,
                                .accounts = {text_of(callers[k])}};
            assert_int_equal(policy_may(&policy, &wish), i == k);
        }
}

static void how_rules_are_written(void **state)
{
    uint64_t commands;
    struct rule rule = {0};
    static const char *const wrong[] = {"",        "deposit,",  ",deposit", "deposit, hold",
                                        "Deposit", "*,deposit", "deposits"};
    static const char *const no_account[] = {"", "a b", "a*b", "**", "*a", "\xc3\xa9"};

    (void)state;
    assert_true(policy_parse_commands(text_of("*"), &commands));
    assert_true(commands == ALL);
    assert_true(policy_parse_commands(text_of("hold"), &commands));
    assert_true(commands == ONE(HOLD));
    assert_true(policy_parse_commands(text_of("deposit,set_floor,get_user"), &commands));
    assert_true(commands == (ONE(DEPOSIT) | ONE(SET_FLOOR) | ONE(GET_USER)));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (policy_parse_commands(text_of(wrong[i]), &commands)) fail_msg("'%s'", wrong[i]);
    assert_true(policy_parse_account(text_of("*"), &rule));
    assert_true(rule.is_prefix && rule.account.length == 0);
    assert_true(policy_parse_account(text_of("shop:*"), &rule));
    assert_true(rule.is_prefix && text_equal(rule.account, text_of("shop:")));
    assert_true(policy_parse_account(text_of("shop"), &rule));
    assert_true(!rule.is_prefix && text_equal(rule.account, text_of("shop")));
    for (size_t i = 0; i < sizeof no_account / sizeof *no_account; i++)
        if (policy_parse_account(text_of(no_account[i]), &rule)) fail_msg("'%s'", no_account[i]);
    assert_int_equal(policy_parse_caller(text_of("*")).length, 0);
    assert_true(text_equal(policy_parse_caller(text_of("**")), text_of("**")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row),
        cmocka_unit_test(what_is_not_known_is_used),
        cmocka_unit_test(without_rules_all_is_forbidden),
        cmocka_unit_test(limited_rules_in_their_order),
        cmocka_unit_test(many_rules),
        cmocka_unit_test(how_rules_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
