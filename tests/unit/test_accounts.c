/*
 * test_accounts.c - which accounts and targets a batch is about: each once, in order, and no more
 * than its commands name; and that forgetting ends where the batch ends.
 */
#include "ledger/ledger.h"
#include "tests/test.h"

enum { WORKS = 7 };

/* clang-format off */
#define T(literal) TEXT_CONSTANT(literal)
static const struct { struct command command; enum origin origin; } GIVEN[WORKS] = {
    {{.type = COMMAND_DEPOSIT, .account = T("m")}, ORIGIN_NONE},
    {{.type = COMMAND_RELEASE, .transaction = {{9}}}, ORIGIN_NONE},
    {{.type = COMMAND_CAPTURE, .transaction = {{5}}, .to = T("z")}, ORIGIN_NONE},
    {{.type = COMMAND_RELEASE, .transaction = {{9}}}, ORIGIN_NONE},
    {{.type = COMMAND_RELEASE, .transaction = {{7}}}, ORIGIN_CACHED},
    {{.type = COMMAND_DEPOSIT, .account = T("cached")}, ORIGIN_CACHED},
    {{.type = COMMAND_TRANSFER, .from = T("m"), .to = T("a")}, ORIGIN_NONE},
};
/* clang-format on */

static struct arena arena;
static struct request requests[WORKS];
static struct work works[WORKS];

static struct batch begin(uint32_t count)
{
    arena_reset(&arena);
    for (uint32_t i = 0; i < WORKS; i++) {
        requests[i] = (struct request){.fault = RESULT_APPLIED, .command = GIVEN[i].command};
        works[i] = (struct work){.request = &requests[i], .origin = GIVEN[i].origin};
    }
    return (struct batch){.arena = &arena, .works = works, .works_count = count};
}

static void each_target_comes_once_in_order(void **state)
{
    struct batch batch = begin(WORKS);
    struct err err = {0};

    (void)state;
    assert_true(ledger_collect_targets(&batch, &err));
    assert_int_equal(batch.targets_count, 2);
    assert_int_equal(batch.targets[0].id.bytes[0], 5);
    assert_int_equal(batch.targets[1].id.bytes[0], 9);
    assert_false(batch.targets[0].exists);
    assert_ptr_equal(ledger_target(&batch, &requests[1].command.transaction), &batch.targets[1]);
    assert_null(ledger_target(&batch, &requests[4].command.transaction));
    batch = begin(1);
    assert_true(ledger_collect_targets(&batch, &err));
    assert_int_equal(batch.targets_count, 0);
    assert_null(ledger_target(&batch, &requests[1].command.transaction));
}

/* Of targets only the sides that they have: the hold of 9 is b's, 5 is not known. */
static void each_account_comes_once_in_order(void **state)
{
    static const char *const wanted[] = {"a", "b", "m", "z"};
    struct batch batch = begin(WORKS);
    struct text ids[WORK_ACCOUNTS_MAX];
    struct err err = {0};

    (void)state;
    assert_true(ledger_collect_targets(&batch, &err));
    batch.targets[1].debit = TEXT_LITERAL("b");
    assert_true(ledger_collect(&batch, &err));
    assert_int_equal(batch.accounts_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(text_equal(batch.accounts[i].id, text_of(wanted[i])));
        assert_false(batch.accounts[i].exists);
        assert_ptr_equal(ledger_account(&batch, text_of(wanted[i])), &batch.accounts[i]);
    }
    assert_null(ledger_account(&batch, TEXT_LITERAL("cached")));
    assert_int_equal(ledger_ids_of(&batch, &works[0], ids), 1);
    assert_int_equal(ledger_ids_of(&batch, &works[1], ids), 1);
    assert_true(text_equal(ids[0], TEXT_LITERAL("b")));
    assert_int_equal(ledger_ids_of(&batch, &works[2], ids), 1);
    assert_int_equal(ledger_ids_of(&batch, &works[6], ids), 2);
}

static void what_is_not_the_batchs_is_not_forgotten(void **state)
{
    struct batch batch = begin(2);

    (void)state;
    for (uint32_t i = 0; i < 3; i++) works[i].origin = ORIGIN_DECIDED;
    ledger_forget(&batch);
    assert_int_equal(works[0].origin, ORIGIN_NONE);
    assert_int_equal(works[1].origin, ORIGIN_NONE);
    assert_int_equal(works[2].origin, ORIGIN_DECIDED);
}

static int open_arena(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, 1 << 16, &err) ? 0 : -1;
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
        cmocka_unit_test(each_target_comes_once_in_order),
        cmocka_unit_test(each_account_comes_once_in_order),
        cmocka_unit_test(what_is_not_the_batchs_is_not_forgotten),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
