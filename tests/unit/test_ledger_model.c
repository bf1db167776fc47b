/*
 * test_ledger_model.c - random commands against a model that is written from docs/protocol.md, one
 * command at a time, without batches, bookkeeping or cleverness. For each seed: every answer and
 * the balances in it are the model's, money is conserved, no user account is below what is held,
 * and the same commands, at once, one by one or cut in between, give the same bytes as replies.
 */
#include "ledger/ledger.h"
#include "protocol/fingerprint.h"
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
    CUTS = 4,
    REPLY_MOST = 512,
    HOLDS = ACCOUNTS - 2, /* open from the start, with money of which a part is held */
    WORLD = ACCOUNTS - 1,
};

static const struct asset REGISTERED[ASSETS] = {
    {.code = TEXT_CONSTANT("EUR"), .world = 901, .scale = 2},
    {.code = TEXT_CONSTANT("JPY"), .world = 902, .scale = 0},
};
static const char *const IDS[ACCOUNTS] = {"a", "b", "c", "d", "e", "f", "g", "world:EUR"};

struct book { /* what is kept between batches, by the ledger's driver and by the model alike */
    bool exists[ACCOUNTS];
    enum account_kind kind[ACCOUNTS];
    uint32_t asset[ACCOUNTS];
    int64_t balance[ACCOUNTS], held[ACCOUNTS], seq[ACCOUNTS];
    /* Worlds and system accounts together, modulo 2^64: they may owe more. */
    uint64_t outside[ASSETS];
};

static const struct book START = {
    .exists = {[HOLDS] = true, [WORLD] = true},
    .kind = {[WORLD] = ACCOUNT_SYSTEM},
    .balance = {[HOLDS] = 5000},
    .held = {[HOLDS] = 2000},
    .outside = {-UINT64_C(5000)},
};

struct verdict {
    enum result result;
    bool replayed;
    uint32_t count; /* of user accounts whose balances the reply gives */
    struct told {
        int64_t balance, held, seq;
    } told[2];
};

static struct arena arena;
static struct command commands[COMMANDS];
static uint32_t key_of[COMMANDS];
static int64_t deadline_of[COMMANDS];
static struct verdict wanted[COMMANDS], given[COMMANDS];
static struct codec *codec;
static struct {
    uint8_t bytes[REPLY_MOST];
    uint32_t size;
} replies[COMMANDS];

/* --- random commands --------------------------------------------------------------------- */

static uint32_t dice(uint32_t sides)
{
    return (uint32_t)rand() % sides;
}

static struct amount random_amount(void)
{
    static const int64_t odd[] = {0, -1, 1, INT64_MAX, INT64_MAX - 1, INT64_MAX / 100, INT64_MIN};
    struct amount amount = {.value = dice(8) == 0 ? odd[dice(7)] : 1 + (int64_t)dice(1000)};

    amount.is_decimal = dice(5) == 0;
    if (amount.is_decimal && amount.value % 10 != 0) amount.digits = (uint8_t)dice(4);
    return amount;
}

static void make_commands(uint32_t seed)
{
    static const enum command_type types[] = {
        COMMAND_OPEN_ACCOUNT, COMMAND_DEPOSIT,  COMMAND_DEPOSIT,     COMMAND_WITHDRAW,
        COMMAND_TRANSFER,     COMMAND_TRANSFER, COMMAND_GET_BALANCE, COMMAND_GET_ACCOUNT};
    static const char *const codes[] = {"EUR", "EUR", "JPY", "XXX"};

    srand(seed);
    for (uint32_t i = 0; i < COMMANDS; i++) {
        struct command *command = &commands[i];
        *command = (struct command){.type = types[dice(8)], .amount = random_amount()};
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
            command->amount = (struct amount){0};
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

static void model_tell(const struct book *book, int account, struct verdict *verdict)
{
    if (account < 0 || book->kind[account] == ACCOUNT_SYSTEM) return;
    verdict->told[verdict->count++] =
        (struct told){book->balance[account], book->held[account], book->seq[account]};
}

static enum result model_open(struct book *book, const struct command *command,
                              struct verdict *verdict)
{
    int account = find(command->account), asset = asset_of(command->asset);

    if (strncmp(IDS[account], "world:", 6) == 0) return RESULT_ACCOUNT_RESERVED;
    if (asset < 0) return RESULT_ASSET_NOT_FOUND;
    if (book->exists[account]) return RESULT_ACCOUNT_EXISTS;
    book->exists[account] = true;
    book->kind[account] = command->kind;
    book->asset[account] = (uint32_t)asset;
    model_tell(book, account, verdict);
    return RESULT_APPLIED;
}

/* False: it does not fit. A decimal of major units must be whole in minor ones. */
static bool model_minor(const struct amount *amount, uint32_t scale, int64_t *minor)
{
    *minor = amount->value;
    if (!amount->is_decimal) return true;
    if (amount->digits > scale) return false;
    for (uint32_t i = amount->digits; i < scale; i++)
        if (__builtin_mul_overflow(*minor, 10, minor)) return false;
    return true;
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

static enum result model_move(struct book *book, const struct command *command,
                              struct verdict *verdict)
{
    bool transfer = command->type == COMMAND_TRANSFER;
    int debit =
        command->type == COMMAND_DEPOSIT ? -1 : find(transfer ? command->from : command->account);
    int credit =
        command->type == COMMAND_WITHDRAW ? -1 : find(transfer ? command->to : command->account);
    int64_t amount, ignored;

    if (command->amount.value <= 0) return RESULT_INVALID_AMOUNT;
    if (transfer && debit == credit) return RESULT_SAME_ACCOUNT;
    if (debit >= 0 && !book->exists[debit]) return RESULT_ACCOUNT_NOT_FOUND;
    if (credit >= 0 && !book->exists[credit]) return RESULT_ACCOUNT_NOT_FOUND;
    uint32_t asset = book->asset[debit >= 0 ? debit : credit];
    if (command->asset.length > 0 && asset_of(command->asset) != (int)asset)
        return RESULT_ASSET_MISMATCH;
    if (transfer && book->asset[credit] != asset) return RESULT_ASSET_MISMATCH;
    if (!model_minor(&command->amount, REGISTERED[asset].scale, &amount))
        return RESULT_INVALID_AMOUNT;
    if (!transfer && (debit == WORLD || credit == WORLD)) return RESULT_SAME_ACCOUNT;
    if (debit >= 0 && book->kind[debit] == ACCOUNT_USER &&
        book->balance[debit] - book->held[debit] < amount)
        return RESULT_INSUFFICIENT_FUNDS;
    if (credit >= 0 && book->kind[credit] == ACCOUNT_USER &&
        __builtin_add_overflow(book->balance[credit], amount, &ignored))
        return RESULT_OVERFLOW;
    model_change(book, debit, asset, -amount);
    model_change(book, credit, asset, amount);
    model_tell(book, debit, verdict);
    model_tell(book, credit, verdict);
    return RESULT_APPLIED;
}

static enum result model_decide(struct book *book, uint32_t i, struct verdict *verdict)
{
    const struct command *command = &commands[i];

    if (deadline_of[i] != 0) return RESULT_EXPIRED;
    if (command->type == COMMAND_OPEN_ACCOUNT) return model_open(book, command, verdict);
    if (command_changes(command->type)) return model_move(book, command, verdict);
    if (!book->exists[find(command->account)]) return RESULT_ACCOUNT_NOT_FOUND;
    if (command->type == COMMAND_GET_BALANCE) model_tell(book, find(command->account), verdict);
    return RESULT_APPLIED;
}

static void model_run(struct book *book)
{
    static int first[COMMANDS]; /* the command that a key belongs to */

    for (uint32_t i = 0; i < COMMANDS; i++) first[i] = -1;
    for (uint32_t i = 0; i < COMMANDS; i++) {
        int owner = first[key_of[i]];
        if (command_changes(commands[i].type) && owner >= 0) {
            bool same = same_command(i, (uint32_t)owner);
            wanted[i] = same ? wanted[owner] : (struct verdict){.result = RESULT_KEY_REUSED};
            wanted[i].replayed = same;
            continue;
        }
        wanted[i] = (struct verdict){0};
        wanted[i].result = model_decide(book, i, &wanted[i]);
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
        account->number = at == WORLD ? REGISTERED[0].world : at + 1;
        account->exists = book->exists[at];
        if (!account->exists) continue;
        account->kind = book->kind[at];
        account->asset = &REGISTERED[book->asset[at]];
        account->user_id = TEXT_LITERAL("user");
        account->created_us = NOW;
        account->balance = book->balance[at];
        account->held = book->held[at];
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

/* What is known of a system account's balance depends on the batch, so nothing is kept of it. */
static void keep_reply(uint32_t i, struct reply reply)
{
    struct bytes bytes;

    given[i] = (struct verdict){.result = reply.result, .replayed = reply.replayed};
    if (reply.balances_count > 0 && !reply.balances[0].has_seq) reply.balances_count = 0;
    for (uint32_t b = 0; b < reply.balances_count; b++)
        given[i].told[given[i].count++] =
            (struct told){reply.balances[b].balance, reply.balances[b].held, reply.balances[b].seq};
    assert_true(reply_encode(codec, &reply, ENCODING_MSGPACK, &arena, &bytes));
    assert_in_range(bytes.size, 1, REPLY_MOST);
    memcpy(replies[i].bytes, bytes.data, bytes.size);
    replies[i].size = bytes.size;
}

static void save(const struct batch *batch, struct book *book, uint32_t from)
{
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        keep_reply(from + i, work->reply);
        if (work->origin != ORIGIN_DECIDED || !command_changes(work->request->command.type))
            continue;
        journal[key_of[from + i]] = (struct stored){true, work->request->fingerprint, work->reply};
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

static void request_make(uint32_t i, struct request *request, struct work *work)
{
    *request = (struct request){.fault = RESULT_APPLIED, .has_key = true, .command = commands[i]};
    memcpy(request->key_digest.bytes, &key_of[i], sizeof key_of[i]);
    request->fingerprint = command_fingerprint(&request->command);
    request->deadline_us = deadline_of[i];
    *work = (struct work){.request = request};
    memcpy(work->id.bytes, &i, sizeof i);
}

static void ledger_run(struct book *book, uint32_t batch_least, uint32_t batch_most)
{
    static struct request requests[COMMANDS];
    static struct work works[COMMANDS];
    struct err err = {0};

    memset(journal, 0, sizeof journal);
    for (uint32_t from = 0, count; from < COMMANDS; from += count) {
        count = batch_least + dice(batch_most - batch_least + 1);
        if (count > COMMANDS - from) count = COMMANDS - from;
        struct batch batch = {.arena = &arena, .works = works, .works_count = count};
        arena_reset(&arena);
        for (uint32_t i = 0; i < count; i++) request_make(from + i, &requests[i], &works[i]);
        assert_true(ledger_collect_targets(&batch, &err));
        assert_true(ledger_collect(&batch, &err));
        load(&batch, book, from);
        assert_true(ledger_apply(&batch, &err));
        save(&batch, book, from);
    }
}

/* --- the comparison ---------------------------------------------------------------------- */

static void compare_answers(uint32_t seed, const char *how)
{
    for (uint32_t i = 0; i < COMMANDS; i++) {
        const struct verdict *got = &given[i], *want = &wanted[i];
        if (got->result != want->result || got->replayed != want->replayed)
            fail_msg("seed %u, %s: command %u (%s) got \"%s\"%s, the model says \"%s\"%s", seed,
                     how, i, command_word(commands[i].type), result_word(got->result),
                     got->replayed ? " again" : "", result_word(want->result),
                     want->replayed ? " again" : "");
        if (got->count != want->count || memcmp(got->told, want->told, sizeof got->told) != 0)
            fail_msg("seed %u, %s: command %u (%s) tells other balances than the model: %jd, not "
                     "%jd",
                     seed, how, i, command_word(commands[i].type), (intmax_t)got->told[0].balance,
                     (intmax_t)want->told[0].balance);
    }
}

static void compare_books(uint32_t seed, const char *how, const struct book *model,
                          const struct book *ledger)
{
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        if (model->balance[i] != ledger->balance[i] || model->seq[i] != ledger->seq[i])
            fail_msg("seed %u, %s: account %s is at %jd, in the model at %jd", seed, how, IDS[i],
                     (intmax_t)ledger->balance[i], (intmax_t)model->balance[i]);
        if (ledger->balance[i] < ledger->held[i])
            fail_msg("seed %u, %s: account %s is below what is held", seed, how, IDS[i]);
    }
    for (uint32_t a = 0; a < ASSETS; a++) {
        uint64_t sum = ledger->outside[a];
        for (uint32_t i = 0; i < ACCOUNTS; i++)
            if (ledger->asset[i] == a) sum += (uint64_t)ledger->balance[i];
        if (sum != 0) fail_msg("seed %u, %s: asset %u does not sum to zero", seed, how, a);
    }
}

/* The generator reaches what it is meant to. */
static void check_reach(const uint32_t seen[static RESULTS_COUNT])
{
    static const enum result reached[] = {
        RESULT_KEY_REUSED,         RESULT_EXPIRED,           RESULT_INVALID_AMOUNT,
        RESULT_SAME_ACCOUNT,       RESULT_ACCOUNT_RESERVED,  RESULT_ASSET_NOT_FOUND,
        RESULT_ACCOUNT_EXISTS,     RESULT_ACCOUNT_NOT_FOUND, RESULT_ASSET_MISMATCH,
        RESULT_INSUFFICIENT_FUNDS, RESULT_OVERFLOW};

    for (size_t i = 0; i < sizeof reached / sizeof reached[0]; i++)
        if (seen[reached[i]] < SEEDS) fail_msg("%s is hardly met", result_word(reached[i]));
    assert_true(seen[RESULT_APPLIED] > SEEDS * COMMANDS / 10);
}

static void the_ledger_and_the_model_agree(void **state)
{
    static const struct cut {
        const char *how;
        uint32_t least, most;
    } cuts[CUTS] = {{"at once", COMMANDS, COMMANDS},
                    {"at once, again", COMMANDS, COMMANDS},
                    {"in batches", 1, 40},
                    {"one by one", 1, 1}};
    static uint8_t first[sizeof replies];
    uint32_t seen[RESULTS_COUNT] = {0};

    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        struct book model = START;
        make_commands(seed);
        model_run(&model);
        for (uint32_t c = 0; c < CUTS; c++) {
            struct book ledger = START;
            memset(replies, 0, sizeof replies);
            ledger_run(&ledger, cuts[c].least, cuts[c].most);
            compare_answers(seed, cuts[c].how);
            compare_books(seed, cuts[c].how, &model, &ledger);
            if (c == 0) memcpy(first, replies, sizeof replies);
            if (memcmp(first, replies, sizeof replies) != 0)
                fail_msg("seed %u, %s: a reply has other bytes", seed, cuts[c].how);
        }
        for (uint32_t i = 0; i < COMMANDS; i++) seen[given[i].result]++;
    }
    check_reach(seen);
}

static int begin(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, 4 << 20, &err) && codec_open(&codec, &err) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    codec_close(codec);
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_ledger_and_the_model_agree)};
    return cmocka_run_group_tests(tests, begin, end);
}
