/*
 * test_ledger_memory.c - an arena that ends anywhere: for each size up to what is needed, a batch
 * of every kind is either refused as too large, and then done in full when there is room, or
 * already has all of its outcome. Nothing between the two, and nothing left of a dry run.
 */
#include "ledger/permission.h"
#include "protocol/fingerprint.h"
#include "tests/test.h"

#include <string.h>

enum { WORKS_MAX = 5, AMPLE = 1 << 20, REPLY_MOST = 4096, STEP = 8 };

static const struct asset EUR = {.code = TEXT_CONSTANT("EUR"), .world = 902, .scale = 2};
static const struct account OPEN[] = {
    {.id = TEXT_CONSTANT("a"),
     .number = 1,
     .exists = true,
     .asset = &EUR,
     .balance = 100,
     .held = 30},
    {.id = TEXT_CONSTANT("b"), .number = 2, .exists = true, .asset = &EUR},
    {.id = TEXT_CONSTANT("new"), .number = 3}};
static const struct target HOLD = {.id = {{1}},
                                   .exists = true,
                                   .type = COMMAND_HOLD,
                                   .debit = TEXT_CONSTANT("a"),
                                   .amount = 30,
                                   .remaining = 30};

static const struct target LATER = {
    .id = {{2}}, .exists = true, .scheduled = true, .type = COMMAND_DEPOSIT};

/* A daily limit, so that there is something to count. */
static const struct rule RULE = {.id = 1,
                                 .caller = TEXT_CONSTANT("ann"),
                                 .commands = UINT64_MAX,
                                 .is_prefix = true,
                                 .max_amount = NO_LIMIT,
                                 .daily_limit = 1000};
static const struct policy POLICY = {&RULE, 1, true};

/* clang-format off */
#define T(literal) TEXT_CONSTANT(literal)
#define OPENING {.type = COMMAND_OPEN_ACCOUNT, .account = T("new"), .user_id = T("user"), .asset = T("EUR")}
#define MOVE(from_, to_, n) {.type = COMMAND_TRANSFER, .from = T(from_), .to = T(to_), .amount.value = (n)}
#define TAKING {.type = COMMAND_CAPTURE, .transaction = {{1}}, .to = T("b")}
#define ATOMIC(n) {.type = COMMAND_BATCH, .legs_count = (n)}
#define EACH_ALONE(n) {.type = COMMAND_BATCH, .legs_count = (n), .independent = true}
/* All that a command or a batch of commands can need memory for. */
static const struct { const char *why; bool dry_run; struct command commands[WORKS_MAX]; uint32_t count; } CASES[] = {
    {"one opens an account",     false, {OPENING}, 1},
    {"it is tried",              true,  {OPENING}, 1},
    {"one moves money",          false, {MOVE("a", "b", 50)}, 1},
    {"it is tried",              true,  {MOVE("a", "b", 50)}, 1},
    {"one takes what is held",   true,  {TAKING}, 1},
    {"a cancelling is tried",    true,  {{.type = COMMAND_CANCEL, .transaction = {{2}}}}, 1},
    {"one asks",                 false, {{.type = COMMAND_GET_ACCOUNT, .account = T("a")}}, 1},
    {"one asks for the past",    false, {{.type = COMMAND_GET_BALANCE, .account = T("a")}}, 1},
    {"all or none: all",         false, {ATOMIC(3), OPENING, MOVE("a", "b", 50), TAKING}, 4},
    {"all or none: none",        false, {ATOMIC(4), OPENING, MOVE("a", "b", 50), TAKING, MOVE("b", "a", 100)}, 5},
    {"all or none, tried",       true,  {ATOMIC(3), OPENING, MOVE("a", "b", 50), TAKING}, 4},
    {"each for itself",          false, {EACH_ALONE(3), MOVE("a", "b", 50), MOVE("a", "b", 50), TAKING}, 4},
    {"each for itself, tried",   true,  {EACH_ALONE(3), MOVE("a", "b", 50), OPENING, TAKING}, 4},
};
/* clang-format on */

static struct arena arena, encoded;
static struct codec *codec;
static struct request requests[WORKS_MAX];
static struct work works[WORKS_MAX];

struct end { /* what a run came to, as bytes */
    uint8_t bytes[REPLY_MOST];
    size_t size;
};

static void make_works(uint32_t at)
{
    for (uint32_t i = 0; i < CASES[at].count; i++) {
        requests[i] = (struct request){.fault = RESULT_APPLIED,
                                       .has_type = true,
                                       .has_key = true,
                                       .key = TEXT_CONSTANT("key"),
                                       .user_id = TEXT_CONSTANT("ann"),
                                       .key_digest = {{(uint8_t)(i + 1)}},
                                       .command = CASES[at].commands[i]};
        requests[i].command.dry_run = CASES[at].dry_run;
        works[i] =
            (struct work){.request = &requests[i], .id = {{(uint8_t)(i + 1)}}, .is_leg = i > 0};
    }
    works[0].legs_count = requests[0].command.legs_count;
}

/* As the store does it. */
static void fill(struct batch *batch)
{
    static const struct past past = {.timestamp_us = 1};

    if (requests[0].command.type == COMMAND_GET_BALANCE) works[0].past = &past;
    for (uint32_t i = 0; i < batch->accounts_count; i++)
        for (uint32_t o = 0; o < sizeof OPEN / sizeof *OPEN; o++)
            if (text_equal(OPEN[o].id, batch->accounts[i].id)) batch->accounts[i] = OPEN[o];
    batch->assets = &EUR;
    batch->assets_count = 1;
    batch->now_us = 1;
}

/* False: there was no room. */
static bool run(struct batch *batch, size_t room)
{
    struct err err = {0};
    bool ok;

    arena.size = room;
    arena_reset(&arena);
    ok = ledger_collect_targets(batch, &err);
    for (uint32_t i = 0; ok && i < batch->targets_count; i++)
        batch->targets[i] = batch->targets[i].id.bytes[0] == 1 ? HOLD : LATER;
    ok = ok && ledger_collect(batch, &err) && permission_collect(batch, &err);
    if (ok) fill(batch);
    ok = ok && ledger_apply(batch, &err);
    if (!ok) assert_int_equal(err.kind, ERR_REJECT);
    arena.size = AMPLE;
    return ok;
}

static struct end end_of(const struct batch *batch)
{
    struct end end;
    struct bytes bytes;
    struct writer writer = writer_over(end.bytes, sizeof end.bytes);

    arena_reset(&encoded);
    assert_true(reply_encode(codec, &works[0].reply, ENCODING_MSGPACK, &encoded, &bytes));
    write_bytes(&writer, bytes.data, bytes.size);
    for (uint32_t i = 0; i < batch->works_count; i++) write_u8(&writer, (uint8_t)works[i].origin);
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        const struct account *account = &batch->accounts[i];
        write_u8(&writer, account->exists);
        write_u8(&writer, account->changed);
        write_u64(&writer, (uint64_t)account->balance);
        write_u64(&writer, (uint64_t)account->held);
        write_u64(&writer, (uint64_t)account->seq);
    }
    for (uint32_t i = 0; i < batch->usages_count; i++) {
        write_u64(&writer, (uint64_t)batch->usages[i].used);
        write_u8(&writer, batch->usages[i].changed);
    }
    for (uint32_t i = 0; i < batch->targets_count; i++)
        write_u8(&writer, batch->targets[i].settled);
    assert_false(writer.overflowed);
    end.size = writer.size;
    return end;
}

static void check(uint32_t at, size_t room, const struct batch *batch, const struct end *want)
{
    struct end got = end_of(batch);

    if (got.size != want->size || memcmp(got.bytes, want->bytes, got.size) != 0)
        fail_msg("%s: with room for %zu bytes it ended otherwise", CASES[at].why, room);
}

static void there_is_no_half_of_an_outcome(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < sizeof CASES / sizeof *CASES; at++) {
        struct batch batch = {
            .arena = &arena, .works = works, .works_count = CASES[at].count, .policy = &POLICY};
        uint32_t refused = 0;
        make_works(at);
        assert_true(run(&batch, AMPLE));
        size_t needed = arena.used;
        struct end want = end_of(&batch);
        for (size_t room = 0; room <= needed; room += STEP) {
            ledger_forget(&batch);
            make_works(at);
            bool fits = run(&batch, room);
            refused += !fits;
            if (fits) check(at, room, &batch, &want);
            ledger_forget(&batch);
            assert_true(run(&batch, AMPLE));
            check(at, room, &batch, &want);
        }
        assert_true(refused > 1);
    }
}

static int begin(void **state)
{
    struct err err = {0};

    (void)state;
    return arena_open(&arena, AMPLE, &err) && arena_open(&encoded, AMPLE, &err) &&
                   codec_open(&codec, &err)
               ? 0
               : -1;
}

static int end(void **state)
{
    (void)state;
    arena_close(&arena);
    arena_close(&encoded);
    codec_close(codec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_is_no_half_of_an_outcome)};
    return cmocka_run_group_tests(tests, begin, end);
}
