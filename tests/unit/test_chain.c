/*
 * test_chain.c - an entry's bytes and hash by an example that was made elsewhere (Python's
 * hashlib); that no two lists of fields are the same bytes; which commands move a head on, and that
 * what is undone, refused or only tried does not.
 */
#include "base/hex.h"
#include "ledger/chain.h"
#include "ledger/ledger.h"
#include "protocol/fingerprint.h"
#include "tests/test.h"

#include <string.h>

/* --- the format -------------------------------------------------------------------------- */

static const uint8_t UUIDS[3][16] = {
    {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
     0x11},
    {0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22,
     0x22},
    {0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33,
     0x33},
};
static const uint8_t METADATA[] = {0x81, 0xa1, 0x61, 0x01};

static uint8_t numbers[5][CHAIN_NUMBER_SIZE];

/* The one that was hashed by Python, see docs/protocol.md. */
static struct chain_entry example(void)
{
    struct chain_entry entry = {0};
    struct bytes *fields = entry.fields;

    fields[CHAIN_ACCOUNT] = chain_text(text_of("ada"));
    fields[CHAIN_ASSET] = chain_text(text_of("EUR"));
    fields[CHAIN_DIRECTION] = chain_text(text_of("credit"));
    fields[CHAIN_SEQ] = chain_number(numbers[0], 1);
    fields[CHAIN_BALANCE] = chain_number(numbers[1], 10000);
    fields[CHAIN_HELD] = chain_number(numbers[2], 0);
    fields[CHAIN_TRANSACTION] = (struct bytes){UUIDS[0], 16};
    fields[CHAIN_CREATED] = chain_number(numbers[3], INT64_C(1764072000000000));
    fields[CHAIN_COMMAND] = chain_text(text_of("deposit"));
    fields[CHAIN_AMOUNT] = chain_number(numbers[4], 10000);
    fields[CHAIN_COUNTERPARTY] = chain_text(text_of("world:EUR"));
    fields[CHAIN_TRACE] = (struct bytes){UUIDS[1], 16};
    fields[CHAIN_CALLER] = chain_text((struct text){0});
    fields[CHAIN_KEY] = chain_text(text_of("pay-1"));
    fields[CHAIN_FINGERPRINT] = (struct bytes){UUIDS[2], 16};
    fields[CHAIN_METADATA] = (struct bytes){METADATA, sizeof METADATA};
    return entry;
}

static void the_example_is_hashed_as_elsewhere(void **state)
{
    struct chain_entry entry = example();
    struct sha256 content, hash = {0};
    char text[SHA256_HEX_SIZE];

    (void)state;
    chain_content(&entry, &content);
    hex_format(content.bytes, SHA256_SIZE, text);
    assert_string_equal(text, "8fbb923d82d873d7e9e0eb86e3b76df709cc493ba1968df9398853bd6aa1c741");
    chain_link(&hash, &content, &hash);
    hex_format(hash.bytes, SHA256_SIZE, text);
    assert_string_equal(text, "c582d8bf93d347f4559ea374f6bc14a3afa21e87a371a7cbe4e5fe978da01263");
}

static bool equal(const struct sha256 *a, const struct sha256 *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Each field: null, empty, another byte, one byte more; and a byte that moves to the next one. */
static void every_difference_shows(void **state)
{
    static const uint8_t bytes[20] = "xxxxxxxxxxxxxxxxxxx";
    struct sha256 hashes[CHAIN_FIELDS_COUNT * 5];
    uint32_t count = 0;

    (void)state;
    for (uint32_t i = 0; i < CHAIN_FIELDS_COUNT; i++) {
        const struct bytes values[] = {{bytes, 0}, {bytes, 1}, {bytes, 17}, {UUIDS[2], 1}};
        for (uint32_t k = 0; k < 4; k++) {
            struct chain_entry entry = {0};
            entry.fields[i] = values[k];
            chain_content(&entry, &hashes[count++]);
        }
        struct chain_entry split = {0};
        split.fields[i] = (struct bytes){bytes, 2};
        split.fields[(i + 1) % CHAIN_FIELDS_COUNT] = (struct bytes){bytes, 3};
        chain_content(&split, &hashes[count++]);
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++) assert_false(equal(&hashes[i], &hashes[k]));
}

/* However the fields fall into the buffer. */
static void any_length_is_hashed_as_one_piece(void **state)
{
    static uint8_t value[70000], all[80000];

    (void)state;
    for (uint32_t i = 0; i < sizeof value; i++) value[i] = (uint8_t)(i * 7);
    for (uint32_t size = 0; size < sizeof value; size += size < 1100 ? 1 : 1111) {
        struct chain_entry entry = {0};
        struct writer writer = writer_over(all, sizeof all);
        struct sha256 hash, expected;

        entry.fields[CHAIN_KEY] = (struct bytes){value, size};
        entry.fields[CHAIN_METADATA] = (struct bytes){value, 9};
        chain_content(&entry, &hash);
        write_u8(&writer, 2);
        write_u8(&writer, 19);
        write_u32(&writer, size);
        write_bytes(&writer, value, size);
        write_u8(&writer, 21);
        write_u32(&writer, 9);
        write_bytes(&writer, value, 9);
        sha256_begin();
        sha256_add(all, writer.size);
        sha256_end(&expected);
        if (!equal(&hash, &expected)) fail_msg("%u bytes", size);
    }
}

/* --- heads ------------------------------------------------------------------------------- */

enum { WORKS_MAX = 8, NOW = 1000000 };

static const struct asset EUR = {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2};
static struct arena arena;
static struct work works[WORKS_MAX];
static struct request requests[WORKS_MAX];

static void work_make(uint32_t at, struct command command)
{
    static const char *const keys[WORKS_MAX] = {"k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7"};
    struct request *request = &requests[at];

    *request = (struct request){.fault = RESULT_APPLIED,
                                .key = text_of(keys[at]),
                                .has_key = true,
                                .command = command,
                                .fingerprint = command_fingerprint(&command)};
    request->key_digest = idempotency_digest(request->caller, request->key);
    works[at] = (struct work){.request = request};
    works[at].id.bytes[0] = (uint8_t)(1 + at);
}

static struct command moves(enum command_type type, const char *from, const char *to,
                            int64_t amount)
{
    struct command command = {.type = type, .amount.value = amount, .has_amount = true};

    if (type == COMMAND_TRANSFER) {
        command.from = text_of(from);
        command.to = text_of(to);
    } else {
        command.account = text_of(from);
    }
    return command;
}

static struct sha256 head_of(const struct batch *batch, const char *id)
{
    const struct account *account = ledger_account(batch, text_of(id));
    assert_non_null(account);
    return account->head;
}

/* a has 100 and b nothing; fees is a system account. */
static struct batch run(uint32_t count, struct sha256 before[static 2])
{
    static const char *const ids[] = {"a", "b", "fees"};
    struct batch batch = {.arena = &arena, .works = works, .works_count = count, .now_us = NOW};
    struct err err;

    assert_true(ledger_collect_targets(&batch, &err));
    assert_true(ledger_collect(&batch, &err));
    for (uint32_t i = 0; i < batch.accounts_count; i++) {
        struct account *account = &batch.accounts[i];
        account->number = 10 + i; /* for one that is opened */
        for (uint32_t k = 0; k < 3; k++) {
            if (!text_equal(account->id, text_of(ids[k]))) continue;
            account->exists = true;
            account->number = 1 + k;
            account->asset = &EUR;
            account->balance = k == 0 ? 100 : 0;
            account->kind = k == 2 ? ACCOUNT_SYSTEM : ACCOUNT_USER;
            memset(&account->head, (int)(0x70 + k), sizeof account->head);
            if (k < 2) before[k] = account->head;
        }
    }
    batch.assets = &EUR;
    batch.assets_count = 1;
    assert_true(ledger_apply(&batch, &err));
    return batch;
}

static void both_sides_go_on_and_system_accounts_do_not(void **state)
{
    struct sha256 before[2], zero = {0};

    (void)state;
    arena_reset(&arena);
    work_make(0, moves(COMMAND_TRANSFER, "a", "b", 5));
    work_make(1, moves(COMMAND_TRANSFER, "b", "fees", 2));
    work_make(2, moves(COMMAND_DEPOSIT, "fees", NULL, 9));
    struct batch batch = run(3, before);
    const struct outcome *first = &works[0].outcome, *second = &works[1].outcome;
    struct sha256 a = head_of(&batch, "a"), b = head_of(&batch, "b"),
                  fees = head_of(&batch, "fees");

    assert_int_equal(second->result, RESULT_APPLIED);
    assert_true(equal(&first->debit.head, &a));
    assert_true(equal(&second->debit.head, &b));
    assert_false(equal(&first->debit.head, &before[0]));
    assert_false(equal(&first->credit.head, &before[1]));
    assert_false(equal(&first->credit.head, &b));
    assert_false(equal(&first->credit.head, &first->debit.head));
    assert_int_equal(fees.bytes[0], 0x72);
    assert_int_equal(works[2].outcome.result, RESULT_APPLIED);
    assert_false(equal(&a, &zero));
}

/* The hash is what a reader of the journal makes of the row. */
static void an_opening_is_the_first_entry(void **state)
{
    struct chain_entry entry = {0};
    struct sha256 before[2], content, hash = {0};
    static const uint8_t trace[16], id[16] = {1};

    (void)state;
    arena_reset(&arena);
    work_make(0, (struct command){.type = COMMAND_OPEN_ACCOUNT,
                                  .account = TEXT_LITERAL("new"),
                                  .user_id = TEXT_LITERAL("ann"),
                                  .asset = TEXT_LITERAL("EUR"),
                                  .metadata = {METADATA, sizeof METADATA}});
    struct batch batch = run(1, before);
    entry.fields[CHAIN_ACCOUNT] = chain_text(text_of("new"));
    entry.fields[CHAIN_ASSET] = chain_text(text_of("EUR"));
    entry.fields[CHAIN_USER] = chain_text(text_of("ann"));
    entry.fields[CHAIN_DIRECTION] = chain_text(text_of("credit"));
    entry.fields[CHAIN_SEQ] = chain_number(numbers[0], 0);
    entry.fields[CHAIN_BALANCE] = chain_number(numbers[1], 0);
    entry.fields[CHAIN_HELD] = chain_number(numbers[2], 0);
    entry.fields[CHAIN_TRANSACTION] = (struct bytes){id, 16};
    entry.fields[CHAIN_CREATED] = chain_number(numbers[3], NOW);
    entry.fields[CHAIN_COMMAND] = chain_text(text_of("open_account"));
    entry.fields[CHAIN_TRACE] = (struct bytes){trace, 16};
    entry.fields[CHAIN_CALLER] = chain_text((struct text){0});
    entry.fields[CHAIN_KEY] = chain_text(text_of("k0"));
    entry.fields[CHAIN_FINGERPRINT] = (struct bytes){requests[0].fingerprint.bytes, 16};
    entry.fields[CHAIN_METADATA] = (struct bytes){METADATA, sizeof METADATA};
    chain_content(&entry, &content);
    chain_link(&hash, &content, &hash);
    struct sha256 head = head_of(&batch, "new");
    assert_true(equal(&head, &hash));
    assert_true(equal(&works[0].outcome.credit.head, &hash));
}

/* Legs 1 and 2 of work 0, of which the second is refused or not. */
static void make_atomic(int64_t second_amount, bool dry_run)
{
    work_make(0, (struct command){.type = COMMAND_BATCH, .legs_count = 2, .dry_run = dry_run});
    work_make(1, moves(COMMAND_DEPOSIT, "a", NULL, 5));
    work_make(2, moves(COMMAND_TRANSFER, "a", "b", second_amount));
    works[0].legs_count = 2;
    for (uint32_t i = 1; i <= 2; i++) {
        works[i].is_leg = true;
        requests[i].command.dry_run = dry_run;
    }
}

static void what_is_undone_leaves_no_trace(void **state)
{
    static const struct {
        const char *what;
        int64_t second_amount;
        bool dry_run, goes_on;
    } rows[] = {
        {"an atomic batch", 105, false, true},
        {"one that is refused by its second leg", 106, false, false},
        {"one that was only tried", 105, true, false},
    };

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        struct sha256 before[2];
        arena_reset(&arena);
        make_atomic(rows[i].second_amount, rows[i].dry_run);
        struct batch batch = run(3, before);
        struct sha256 a = head_of(&batch, "a"), b = head_of(&batch, "b");
        if (equal(&a, &before[0]) == rows[i].goes_on) fail_msg("%s: a", rows[i].what);
        if (equal(&b, &before[1]) == rows[i].goes_on) fail_msg("%s: b", rows[i].what);
    }
}

static void refusals_repeats_and_dry_runs_are_no_entries(void **state)
{
    struct sha256 before[2];

    (void)state;
    arena_reset(&arena);
    work_make(0, moves(COMMAND_WITHDRAW, "a", NULL, 101));
    work_make(1, moves(COMMAND_DEPOSIT, "a", NULL, 5));
    requests[1].command.dry_run = true;
    struct batch batch = run(2, before);
    struct sha256 after = head_of(&batch, "a");
    assert_true(equal(&after, &before[0]));

    arena_reset(&arena);
    work_make(0, moves(COMMAND_DEPOSIT, "a", NULL, 5));
    batch = run(1, before);
    struct sha256 once = head_of(&batch, "a");
    arena_reset(&arena);
    work_make(0, moves(COMMAND_DEPOSIT, "a", NULL, 5));
    works[1] = works[0];
    batch = run(2, before);
    struct sha256 twice = head_of(&batch, "a");
    assert_int_equal(works[1].origin, ORIGIN_REPEATED);
    assert_true(equal(&once, &twice));
}

static int set_up(void **state)
{
    struct err err;

    (void)state;
    return arena_open(&arena, 1 << 20, &err) ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_is_hashed_as_elsewhere),
        cmocka_unit_test(every_difference_shows),
        cmocka_unit_test(any_length_is_hashed_as_one_piece),
        cmocka_unit_test(both_sides_go_on_and_system_accounts_do_not),
        cmocka_unit_test(an_opening_is_the_first_entry),
        cmocka_unit_test(what_is_undone_leaves_no_trace),
        cmocka_unit_test(refusals_repeats_and_dry_runs_are_no_entries),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
