/*
 * test_ledger_floor.c - how far below zero an account may go, by tables: who is refused and in
 * which order, what each command leaves behind, and that nothing overflows however low a floor is.
 */
#include "tests/core.h"

static const struct asset EUR = {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2};

static struct arena arena;

/* clang-format off */
#define ACCOUNT(name, n, ...) {.id = TEXT_CONSTANT(name), .number = (n), .exists = true, .asset = &EUR, __VA_ARGS__}
static const struct account OPEN[] = {
    ACCOUNT("a", 1, .balance = 100, .held = 30, .seq = 5),
    ACCOUNT("low", 2, .balance = -40, .held = 10, .floor = -60),
    ACCOUNT("closed", 3, .state = STATE_CLOSED),
    ACCOUNT("out", 4, .state = STATE_FROZEN_OUT | STATE_FROZEN_IN),
    ACCOUNT("fees", 5, .kind = ACCOUNT_SYSTEM),
    ACCOUNT("deep", 6, .floor = INT64_MIN),
    ACCOUNT("bottom", 7, .balance = INT64_MIN + 5, .held = 5, .floor = INT64_MIN),
    ACCOUNT("laden", 8, .balance = 5, .held = INT64_MAX - 7, .floor = INT64_MIN),
    ACCOUNT("world:EUR", 902, .kind = ACCOUNT_SYSTEM),
};

enum { NONE, HELD, PAID, TARGETS };
static const struct target KNOWN[TARGETS] = {
    [HELD] = {.exists = true, .type = COMMAND_HOLD, .debit = TEXT_CONSTANT("low"), .amount = 10, .remaining = 10},
    [PAID] = {.exists = true, .type = COMMAND_TRANSFER, .debit = TEXT_CONSTANT("a"), .credit = TEXT_CONSTANT("low"), .amount = 11},
};

#define T(literal) TEXT_CONSTANT(literal)
#define UNITS(n) .amount = {.value = (n)}, .has_amount = true
#define MILLS(n) .amount = {.value = (n), .digits = 3, .is_decimal = true}
#define EUROS(n) .amount = {.value = (n), .is_decimal = true}
#define IF_SEQ(n) .conditions = {.has_if_seq = true, .if_seq = (n)}
#define FLOOR(name, ...) {.type = COMMAND_SET_FLOOR, .account = T(name), __VA_ARGS__}
#define TAKE(name, n) {.type = COMMAND_WITHDRAW, .account = T(name), UNITS(n)}
#define ADD(name, n) {.type = COMMAND_DEPOSIT, .account = T(name), UNITS(n)}
#define OF(target) .transaction = {{(target), 1}} /* core_target_id */
#define RESERVE(name, n) {.type = COMMAND_HOLD, .account = T(name), UNITS(n)}
static const struct row {
    const char *why;
    struct command command;
    enum result want;
    int64_t balance, held, floor; /* afterwards; of one that is refused as before */
} ROWS[] = {
    {"a floor above zero first",  FLOOR("nobody", UNITS(1)), RESULT_INVALID_AMOUNT, 0, 0, 0},
    {"then the account",          FLOOR("nobody", MILLS(-1)), RESULT_ACCOUNT_NOT_FOUND, 0, 0, 0},
    {"then the scale",            FLOOR("fees", MILLS(-1)), RESULT_INVALID_AMOUNT, 0, 0, 0},
    {"which must not overflow",   FLOOR("fees", EUROS(INT64_MIN / 10)), RESULT_INVALID_AMOUNT, 0, 0, 0},
    {"then its kind",             FLOOR("fees", UNITS(-1), IF_SEQ(1)), RESULT_SYSTEM_ACCOUNT, 0, 0, 0},
    {"then its state",            FLOOR("closed", UNITS(-1), IF_SEQ(1)), RESULT_ACCOUNT_CLOSED, 0, 0, 0},
    {"then if_seq",               FLOOR("low", UNITS(0), IF_SEQ(1)), RESULT_SEQ_MISMATCH, -40, 10, -60},
    {"then what it is below",     FLOOR("low", UNITS(0)), RESULT_INSUFFICIENT_FUNDS, -40, 10, -60},
    {"by one",                    FLOOR("low", UNITS(-49)), RESULT_INSUFFICIENT_FUNDS, -40, 10, -60},
    {"exactly there",             FLOOR("low", UNITS(-50)), RESULT_APPLIED, -40, 10, -50},
    {"lower",                     FLOOR("a", UNITS(-70), IF_SEQ(5)), RESULT_APPLIED, 100, 30, -70},
    {"in major units",            FLOOR("a", EUROS(-7)), RESULT_APPLIED, 100, 30, -700},
    {"none, as before",           FLOOR("a", UNITS(0)), RESULT_APPLIED, 100, 30, 0},
    {"although it is frozen",     FLOOR("out", UNITS(-1)), RESULT_APPLIED, 0, 0, -1},
    {"as low as can be",          FLOOR("a", UNITS(INT64_MIN)), RESULT_APPLIED, 100, 30, INT64_MIN},
    {"what is held counts",       FLOOR("bottom", UNITS(INT64_MIN + 1)), RESULT_INSUFFICIENT_FUNDS, INT64_MIN + 5, 5, INT64_MIN},

    {"no overdraft",              TAKE("a", 71), RESULT_INSUFFICIENT_FUNDS, 100, 30, 0},
    {"all there is",              TAKE("a", 70), RESULT_APPLIED, 30, 30, 0},
    {"down to the floor",         TAKE("low", 10), RESULT_APPLIED, -50, 10, -60},
    {"and no further",            TAKE("low", 11), RESULT_INSUFFICIENT_FUNDS, -40, 10, -60},
    {"a hold likewise",           RESERVE("low", 10), RESULT_APPLIED, -40, 20, -60},
    {"and no more",               RESERVE("low", 11), RESULT_INSUFFICIENT_FUNDS, -40, 10, -60},
    {"money in",                  ADD("low", 1), RESULT_APPLIED, -39, 10, -60},
    {"all that there ever is",    TAKE("deep", INT64_MAX), RESULT_APPLIED, -INT64_MAX, 0, INT64_MIN},
    {"at the bottom",             TAKE("bottom", 1), RESULT_INSUFFICIENT_FUNDS, INT64_MIN + 5, 5, INT64_MIN},
    {"a hold there",              RESERVE("bottom", 1), RESULT_INSUFFICIENT_FUNDS, INT64_MIN + 5, 5, INT64_MIN},
    {"held up to the top",        RESERVE("laden", 7), RESULT_APPLIED, 5, INT64_MAX, INT64_MIN},
    {"and not over it",           RESERVE("laden", 8), RESULT_OVERFLOW, 5, INT64_MAX - 7, INT64_MIN},
    {"overflow is funds",         TAKE("bottom", INT64_MAX), RESULT_INSUFFICIENT_FUNDS, INT64_MIN + 5, 5, INT64_MIN},
    {"up from there",             ADD("bottom", INT64_MAX), RESULT_APPLIED, 4, 5, INT64_MIN},
    {"not empty below zero",      {.type = COMMAND_CLOSE_ACCOUNT, .account = T("low")}, RESULT_ACCOUNT_NOT_EMPTY, -40, 10, -60},
    {"at zero, with a floor",     {.type = COMMAND_CLOSE_ACCOUNT, .account = T("deep")}, RESULT_APPLIED, 0, 0, INT64_MIN},
    {"what is held may be taken", {.type = COMMAND_CAPTURE, OF(HELD)}, RESULT_APPLIED, -50, 0, -60},
    {"and given back",            {.type = COMMAND_RELEASE, OF(HELD)}, RESULT_APPLIED, -40, 0, -60},
    {"reversed to the floor",     {.type = COMMAND_REVERSE, OF(PAID), UNITS(10)}, RESULT_APPLIED, -50, 10, -60},
    {"and no further",            {.type = COMMAND_REVERSE, OF(PAID)}, RESULT_INSUFFICIENT_FUNDS, -40, 10, -60},
};
/* clang-format on */

static const struct core CORE = {OPEN, sizeof OPEN / sizeof *OPEN, KNOWN, TARGETS, &EUR, 1, 1};

/* Whose figures a row tells. */
static const struct account *subject(const struct batch *batch, const struct command *command)
{
    bool names = command->account.length > 0;

    return ledger_account(batch, names ? command->account : text_of("low"));
}

static void each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        const struct row *row = &ROWS[i];
        struct request request = core_request(&row->command, 1);
        struct work work = {.request = &request};
        struct batch batch = core_run(&CORE, &arena, &work, 1, NULL, 0);
        const struct account *account = subject(&batch, &row->command);
        if (work.outcome.result != row->want)
            fail_msg("row %zu, %s: '%s', wanted '%s'", i, row->why,
                     result_word(work.outcome.result), result_word(row->want));
        if (account->balance != row->balance || account->held != row->held ||
            account->floor != row->floor)
            fail_msg("row %zu, %s: %jd, held %jd, floor %jd", i, row->why,
                     (intmax_t)account->balance, (intmax_t)account->held, (intmax_t)account->floor);
        assert_int_equal(account->changed, row->want == RESULT_APPLIED);
        if (row->command.type != COMMAND_SET_FLOOR || row->want != RESULT_APPLIED) continue;
        assert_int_equal(work.outcome.floor, row->floor);
        assert_int_equal(work.outcome.amount, 0);
        assert_int_equal(work.reply.balances[0].seq,
                         row->command.conditions.if_seq > 0 ? 6 : account->seq);
    }
}

/* Set, used and taken back within one batch; what is asked afterwards is told. */
static void a_floor_counts_from_its_place_on(void **state)
{
    const struct command commands[] = {
        TAKE("a", 71),
        FLOOR("a", UNITS(-1)),
        TAKE("a", 71),
        FLOOR("a", UNITS(0)),
        ADD("a", 1),
        FLOOR("a", UNITS(0)),
        {.type = COMMAND_GET_ACCOUNT, .account = T("a")},
    };
    static const enum result want[] = {RESULT_INSUFFICIENT_FUNDS,
                                       RESULT_APPLIED,
                                       RESULT_APPLIED,
                                       RESULT_INSUFFICIENT_FUNDS,
                                       RESULT_APPLIED,
                                       RESULT_APPLIED,
                                       RESULT_APPLIED};
    enum { COUNT = sizeof commands / sizeof *commands };
    struct request requests[COUNT];
    struct work works[COUNT];

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        requests[i] = core_request(&commands[i], (uint8_t)i);
        works[i] = (struct work){.request = &requests[i]};
    }
    struct batch batch = core_run(&CORE, &arena, works, COUNT, NULL, 0);
    for (uint32_t i = 0; i < COUNT; i++) assert_int_equal(works[i].reply.result, want[i]);
    const struct account *account = ledger_account(&batch, text_of("a"));
    assert_int_equal(account->balance, 30);
    assert_int_equal(account->seq, 9);
    assert_int_equal(works[6].reply.account->floor, 0);
}

static void a_dry_run_leaves_the_floor(void **state)
{
    struct command command = FLOOR("a", UNITS(-5));
    struct request request;
    struct work work = {.request = &request};

    (void)state;
    command.dry_run = true;
    request = core_request(&command, 1);
    struct batch batch = core_run(&CORE, &arena, &work, 1, NULL, 0);
    assert_int_equal(work.reply.result, RESULT_APPLIED);
    assert_int_equal(ledger_account(&batch, text_of("a"))->floor, 0);
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
        cmocka_unit_test(each_row),
        cmocka_unit_test(a_floor_counts_from_its_place_on),
        cmocka_unit_test(a_dry_run_leaves_the_floor),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
