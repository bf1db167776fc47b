/*
 * test_ledger_model.c - random commands against a model that is written from docs/protocol.md, one
 * command at a time, without batches, bookkeeping or cleverness. For each seed: every answer is the
 * model's, money is conserved, no user account is below zero, and the same commands cut into other
 * batches give the same answers and balances.
 */
#include "ledger/ledger.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEEDS = 500,
    COMMANDS = 300,
    ACCOUNTS = 8,
    ASSETS = 2,
    NOW = 1000,
    BATCH_MOST = 40,
    WORLD = ACCOUNTS - 1
};

static const struct asset REGISTERED[ASSETS] = {
    {.code = TEXT_CONSTANT("EUR"), .world = 901, .scale = 2},
    {.code = TEXT_CONSTANT("USD"), .world = 902, .scale = 2},
};
static const char *const IDS[ACCOUNTS] = {"a", "b", "c", "d", "e", "f", "g", "world:EUR"};

struct book { /* what is kept between batches, by the ledger's driver and by the model alike */
    bool exists[ACCOUNTS];
    enum account_kind kind[ACCOUNTS];
    uint32_t asset[ACCOUNTS];
    int64_t balance[ACCOUNTS], seq[ACCOUNTS];
    uint64_t
        outside[ASSETS]; /* worlds and system accounts together, modulo 2^64: they may owe more */
};

struct verdict {
    enum result result;
    bool replayed;
};

static struct arena arena;
static struct command commands[COMMANDS];
static uint32_t key_of[COMMANDS];
static int64_t deadline_of[COMMANDS];
static struct verdict wanted[COMMANDS], given[COMMANDS];

/* --- random commands --------------------------------------------------------------------- */

static uint32_t dice(uint32_t sides)
{
    return (uint32_t)rand() % sides;
}

static int64_t random_amount(void)
{
    static const int64_t odd[] = {0, -1, 1, INT64_MAX, INT64_MAX - 1, INT64_MIN};
    return dice(8) == 0 ? odd[dice(6)] : 1 + (int64_t)dice(1000);
}

static void make_commands(uint32_t seed)
{
    static const enum command_type types[] = {
        COMMAND_OPEN_ACCOUNT, COMMAND_DEPOSIT,  COMMAND_DEPOSIT,    COMMAND_WITHDRAW,
        COMMAND_TRANSFER,     COMMAND_TRANSFER, COMMAND_GET_BALANCE};
    static const char *const codes[] = {"EUR", "EUR", "USD", "XXX"};

    srand(seed);
    for (uint32_t i = 0; i < COMMANDS; i++) {
        struct command *command = &commands[i];
        *command = (struct command){.type = types[dice(7)], .amount = {.value = random_amount()}};
        if (command->type == COMMAND_TRANSFER) {
            command->from = text_of(IDS[dice(ACCOUNTS)]);
            command->to = text_of(IDS[dice(ACCOUNTS)]);
        } else {
            command->account = text_of(IDS[dice(ACCOUNTS)]);
        }
        if (command->type == COMMAND_OPEN_ACCOUNT || dice(5) == 0)
            command->asset = text_of(codes[dice(4)]);
        if (command->type == COMMAND_OPEN_ACCOUNT) {
            command->user_id = TEXT_LITERAL("user");
            command->kind = dice(5) == 0 ? ACCOUNT_SYSTEM : ACCOUNT_USER;
            command->amount.value = 0;
        }
        deadline_of[i] = dice(20) == 0 ? NOW - 1 : 0;
        key_of[i] = i;
        if (i == 0 || dice(6) != 0) continue;
        uint32_t earlier = i - 1 - dice(i < 30 ? i : 30);
        key_of[i] = key_of[earlier];
        if (dice(3) != 0) *command = commands[earlier];
    }
}

static bool same_command(uint32_t i, uint32_t j)
{
    struct uuid a = command_fingerprint(&commands[i]), b = command_fingerprint(&commands[j]);
    return uuid_compare(&a, &b) == 0;
}

/* --- the model --------------------------------------------------------------------------- */

static int find(struct text id)
{
    for (int i = 0; i < ACCOUNTS; i++)
        if (text_equal(id, text_of(IDS[i]))) return i;
    return -1;
}

static int asset_of(struct text code)
{
    for (int i = 0; i < ASSETS; i++)
        if (text_equal(code, REGISTERED[i].code)) return i;
    return -1;
}

static enum result model_open(struct book *book, const struct command *command)
{
    int account = find(command->account), asset = asset_of(command->asset);

    if (strncmp(IDS[account], "world:", 6) == 0) return RESULT_ACCOUNT_RESERVED;
    if (asset < 0) return RESULT_ASSET_NOT_FOUND;
    if (book->exists[account]) return RESULT_ACCOUNT_EXISTS;
    book->exists[account] = true;
    book->kind[account] = command->kind;
    book->asset[account] = (uint32_t)asset;
    return RESULT_APPLIED;
}

static void model_change(struct book *book, int account, uint32_t asset, int64_t amount)
{
    if (account < 0 || book->kind[account] == ACCOUNT_SYSTEM) {
        book->outside[asset] += (uint64_t)amount;
        return;
    }
    book->balance[account] += amount;
    book->seq[account]++;
}

static enum result model_move(struct book *book, const struct command *command)
{
    bool transfer = command->type == COMMAND_TRANSFER;
    int debit =
        command->type == COMMAND_DEPOSIT ? -1 : find(transfer ? command->from : command->account);
    int credit =
        command->type == COMMAND_WITHDRAW ? -1 : find(transfer ? command->to : command->account);
    int64_t amount = command->amount.value, ignored;

    if (amount <= 0) return RESULT_INVALID_AMOUNT;
    if (transfer && debit == credit) return RESULT_SAME_ACCOUNT;
    if (debit >= 0 && !book->exists[debit]) return RESULT_ACCOUNT_NOT_FOUND;
    if (credit >= 0 && !book->exists[credit]) return RESULT_ACCOUNT_NOT_FOUND;
    uint32_t asset = book->asset[debit >= 0 ? debit : credit];
    if (command->asset.length > 0 && asset_of(command->asset) != (int)asset)
        return RESULT_ASSET_MISMATCH;
    if (transfer && book->asset[credit] != asset) return RESULT_ASSET_MISMATCH;
    if (!transfer && (debit == WORLD || credit == WORLD)) return RESULT_SAME_ACCOUNT;
    if (debit >= 0 && book->kind[debit] == ACCOUNT_USER && book->balance[debit] < amount)
        return RESULT_INSUFFICIENT_FUNDS;
    if (credit >= 0 && book->kind[credit] == ACCOUNT_USER &&
        __builtin_add_overflow(book->balance[credit], amount, &ignored))
        return RESULT_OVERFLOW;
    model_change(book, debit, asset, -amount);
    model_change(book, credit, asset, amount);
    return RESULT_APPLIED;
}

static enum result model_decide(struct book *book, uint32_t i)
{
    const struct command *command = &commands[i];

    if (deadline_of[i] != 0) return RESULT_EXPIRED;
    if (command->type == COMMAND_OPEN_ACCOUNT) return model_open(book, command);
    if (command->type != COMMAND_GET_BALANCE) return model_move(book, command);
    return book->exists[find(command->account)] ? RESULT_APPLIED : RESULT_ACCOUNT_NOT_FOUND;
}

static void model_run(struct book *book)
{
    static int first[COMMANDS]; /* the command that a key belongs to */

    for (uint32_t i = 0; i < COMMANDS; i++) first[i] = -1;
    for (uint32_t i = 0; i < COMMANDS; i++) {
        int owner = first[key_of[i]];
        if (command_changes(commands[i].type) && owner >= 0) {
            bool same = same_command(i, (uint32_t)owner);
            wanted[i] = (struct verdict){same ? wanted[owner].result : RESULT_KEY_REUSED, same};
            continue;
        }
        wanted[i] = (struct verdict){model_decide(book, i), false};
        if (command_changes(commands[i].type)) first[key_of[i]] = (int)i;
    }
}

/* --- the ledger, with a store that is two arrays ----------------------------------------- */

static struct stored {
    bool known;
    struct uuid fingerprint;
    struct reply reply;
} journal[COMMANDS];

static void load(struct batch *batch, const struct book *book, uint32_t from)
{
    batch->assets = REGISTERED;
    batch->assets_count = ASSETS;
    batch->now_us = NOW;
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        struct account *account = &batch->accounts[i];
        int at = find(account->id);
        account->number = at == ACCOUNTS - 1 ? 901 : at + 1;
        account->exists = book->exists[at];
        if (!account->exists) continue;
        account->kind = book->kind[at];
        account->asset = &REGISTERED[book->asset[at]];
        account->balance = book->balance[at];
        account->seq = book->seq[at];
    }
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct stored *stored = &journal[key_of[from + i]];
        batch->works[i].stored = stored->known;
        batch->works[i].stored_fingerprint = stored->fingerprint;
        batch->works[i].reply = stored->reply;
    }
}

static void count_side(struct book *book, const struct side *side, uint32_t asset, int64_t amount)
{
    if (side->account == NULL || side->account->kind == ACCOUNT_SYSTEM)
        book->outside[asset] += (uint64_t)amount;
}

static void save(const struct batch *batch, struct book *book, uint32_t from)
{
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        given[from + i] = (struct verdict){work->reply.result, work->reply.replayed};
        if (work->origin != ORIGIN_DECIDED || !command_changes(work->request->command.type))
            continue;
        journal[key_of[from + i]] =
            (struct stored){true, work->request->fingerprint, {.result = work->reply.result}};
        if (work->outcome.amount == 0) continue;
        uint32_t asset = (uint32_t)(work->outcome.asset - REGISTERED);
        count_side(book, &work->outcome.debit, asset, -work->outcome.amount);
        count_side(book, &work->outcome.credit, asset, work->outcome.amount);
    }
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        const struct account *account = &batch->accounts[i];
        int at = find(account->id);
        book->exists[at] = account->exists;
        if (!account->exists) continue;
        book->kind[at] = account->kind;
        book->asset[at] = (uint32_t)(account->asset - REGISTERED);
        if (account->kind == ACCOUNT_SYSTEM) continue; /* it is in its deltas */
        book->balance[at] = account->balance;
        book->seq[at] = account->seq;
    }
}

static void ledger_run(struct book *book, uint32_t batch_most)
{
    static struct request requests[BATCH_MOST];
    static struct work works[BATCH_MOST];
    struct err err = {0};

    memset(journal, 0, sizeof journal);
    for (uint32_t from = 0, count; from < COMMANDS; from += count) {
        count = 1 + dice(batch_most);
        if (count > COMMANDS - from) count = COMMANDS - from;
        struct batch batch = {.arena = &arena, .works = works, .works_count = count};
        arena_reset(&arena);
        for (uint32_t i = 0; i < count; i++) {
            struct request *request = &requests[i];
            *request = (struct request){
                .fault = RESULT_APPLIED, .has_key = true, .command = commands[from + i]};
            memcpy(request->key_digest.bytes, &key_of[from + i], sizeof(uint32_t));
            request->fingerprint = command_fingerprint(&request->command);
            request->deadline_us = deadline_of[from + i];
            works[i] = (struct work){.request = request};
        }
        assert_true(ledger_collect(&batch, &err));
        load(&batch, book, from);
        assert_true(ledger_apply(&batch, &err));
        save(&batch, book, from);
    }
}

/* --- the comparison ---------------------------------------------------------------------- */

static void compare(uint32_t seed, const char *how, const struct book *model,
                    const struct book *ledger)
{
    for (uint32_t i = 0; i < COMMANDS; i++)
        if (given[i].result != wanted[i].result || given[i].replayed != wanted[i].replayed)
            fail_msg("seed %u, %s: command %u (%s) got %s%s, the model says %s%s", seed, how, i,
                     command_word(commands[i].type), result_word(given[i].result),
                     given[i].replayed ? " again" : "", result_word(wanted[i].result),
                     wanted[i].replayed ? " again" : "");
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        if (model->balance[i] != ledger->balance[i] || model->seq[i] != ledger->seq[i])
            fail_msg("seed %u, %s: account %s is at %jd", seed, how, IDS[i],
                     (intmax_t)ledger->balance[i]);
        if (ledger->balance[i] < 0)
            fail_msg("seed %u, %s: account %s is below zero", seed, how, IDS[i]);
    }
    for (uint32_t a = 0; a < ASSETS; a++) {
        uint64_t sum = ledger->outside[a];
        for (uint32_t i = 0; i < ACCOUNTS; i++)
            if (ledger->asset[i] == a) sum += (uint64_t)ledger->balance[i];
        if (sum != 0) fail_msg("seed %u, %s: asset %u does not sum to zero", seed, how, a);
    }
}

static void the_ledger_and_the_model_agree(void **state)
{
    uint32_t applied = 0, seen[RESULTS_COUNT] = {0};

    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        struct book start = {.exists = {[ACCOUNTS - 1] = true},
                             .kind = {[ACCOUNTS - 1] = ACCOUNT_SYSTEM}};
        struct book model = start, batches = start, singles = start;
        make_commands(seed);
        model_run(&model);
        ledger_run(&batches, BATCH_MOST);
        compare(seed, "in batches", &model, &batches);
        ledger_run(&singles, 1);
        compare(seed, "one by one", &model, &singles);
        for (uint32_t i = 0; i < COMMANDS; i++) seen[given[i].result]++;
    }
    applied = seen[RESULT_APPLIED];
    assert_true(applied > SEEDS * COMMANDS / 10); /* the generator reaches what it is meant to */
    static const enum result reached[] = {
        RESULT_KEY_REUSED,         RESULT_EXPIRED,           RESULT_INVALID_AMOUNT,
        RESULT_SAME_ACCOUNT,       RESULT_ACCOUNT_RESERVED,  RESULT_ASSET_NOT_FOUND,
        RESULT_ACCOUNT_EXISTS,     RESULT_ACCOUNT_NOT_FOUND, RESULT_ASSET_MISMATCH,
        RESULT_INSUFFICIENT_FUNDS, RESULT_OVERFLOW};
    for (size_t i = 0; i < sizeof reached / sizeof reached[0]; i++)
        assert_true(seen[reached[i]] > 0);
}

static int open_arena(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, 4 << 20, &err) ? 0 : -1;
}

static int close_arena(void **state)
{
    (void)state;
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_ledger_and_the_model_agree)};
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
