/*
 * test_cycle.c - the worker's cycle against a broker, a database and a Redis that are arrays, in
 * which the n-th call fails, for every n: once, or from then on for a while; before it took effect,
 * or after. However it fails, in the end every message is acknowledged, each key has one outcome,
 * the balances are what the commands say, and no message was acknowledged before its outcome, or
 * its dead letter, had committed. And a message that kills the process, which is a longjmp here.
 */
#include "protocol/pack.h"
#include "tests/test.h"
#include "worker/cycle.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MESSAGES = 40,
    ACCOUNTS = 4,
    DEADLY = 11,
    POISON = 17,
    POISON_LEG = 25, /* a batch of which the database refuses a leg */
    MALFORMED = 23,
    OVERSIZED = 31,
    BATCH = 16,
    CRASH_LIMIT = 3,
};

struct message {
    struct bytes properties, body;
    char key[24];
    bool acked, rejected, unacked, committed;
    uint32_t replies, dead_letters;
    uint32_t returns; /* x-delivery-count */
    struct uuid noted;
    uint32_t notes;
};

struct stored {
    struct uuid digest, fingerprint;
    enum result result;
};

static struct {
    struct arena arena;
    struct codec *codec;
    struct message messages[MESSAGES];
    struct stored journal[3 * MESSAGES];
    uint32_t journal_count;
    int64_t balance[ACCOUNTS], seq[ACCOUNTS];
    bool open[ACCOUNTS];
    struct asset asset;
    /* The faults: calls fail_at .. fail_at + fail_for - 1 fail. */
    uint32_t calls, fail_at, fail_for;
    bool fail_late; /* a commit fails after it took effect */
    bool fault_met, link_lost;
    bool knows;      /* Redis answers repeats */
    uint32_t looks;  /* loads that looked the keys up, and */
    uint32_t trusts; /* those that did not */
    uint32_t direct; /* replies that may go past the outbox */
    bool kills;      /* whoever decides DEADLY dies */
    jmp_buf dead;
} world;

static const char POISON_LEG_KEY[] = "key-25/1";
_Static_assert(POISON_LEG == 25, "as its key says");
static const char *const IDS[ACCOUNTS] = {"alice", "bob", "carol", "dave"};

static bool fails(struct err *err)
{
    world.calls++;
    if (world.calls < world.fail_at || world.calls >= world.fail_at + world.fail_for) return false;
    world.fault_met = true;
    (void)err_set(err, ERR_RETRY, "injected");
    return true;
}

/* --- messages ---------------------------------------------------------------------------- */

/* Every fifth is a batch: the command, and a deposit of 1 to the same account. */
static bool is_batch(uint32_t i)
{
    return i >= ACCOUNTS && i % 5 == 0;
}

static void write_leg(struct writer *writer, const struct command *command, const char *key,
                      uint32_t number)
{
    struct pack_map map = pack_map_open(writer, 4);
    char text[32];

    (void)snprintf(text, sizeof text, "%s/%u", key, number);
    pack_text(&map, "type", text_of(command_word(command->type)));
    pack_text(&map, "idempotency_key", text_of(text));
    pack_text(&map, "account", command->account);
    pack_int(&map, "amount", command->amount.value);
    pack_map_close(&map);
}

static void wrap(struct command *command, const char *key)
{
    struct command second = {
        .type = COMMAND_DEPOSIT, .account = command->account, .amount.value = 1};
    struct writer writer = writer_in(&world.arena);
    struct bytes legs;

    pack_array_value(&writer, 2);
    write_leg(&writer, command, key, 0);
    write_leg(&writer, &second, key, 1);
    assert_true(writer_keep(&writer, &world.arena, &legs));
    *command =
        (struct command){.type = COMMAND_BATCH, .independent = true, .legs = legs, .legs_count = 2};
}

static void send(struct message *message, const struct command *command, const char *key,
                 const char *correlation)
{
    struct properties_out out = {.content_type = TEXT_LITERAL("application/msgpack"),
                                 .type = text_of(command_word(command->type)),
                                 .message_id = text_of(key),
                                 .correlation_id = text_of(correlation),
                                 .reply_to = TEXT_LITERAL("replies")};

    assert_true(properties_write(&out, &world.arena, &message->properties));
    assert_true(
        command_encode(world.codec, command, ENCODING_MSGPACK, &world.arena, &message->body));
}

/* 0..3 open the accounts; then deposits and withdrawals; every seventh repeats the message before
 * it. */
static void make_message(uint32_t i)
{
    struct message *message = &world.messages[i];
    uint32_t at = i >= ACCOUNTS && i % 7 == 0 ? i - 1 : i;
    struct command command = {.account = text_of(IDS[at % ACCOUNTS])};
    char correlation[16];

    if (at < ACCOUNTS) {
        command.type = COMMAND_OPEN_ACCOUNT;
        command.user_id = text_of("user");
        command.asset = text_of("EUR");
    } else {
        command.type = at % 3 == 0 ? COMMAND_WITHDRAW : COMMAND_DEPOSIT;
        command.amount = (struct amount){.value = 1 + at * 5};
    }
    (void)snprintf(message->key, sizeof message->key, "key-%u", at);
    if (is_batch(at)) wrap(&command, message->key);
    (void)snprintf(correlation, sizeof correlation, "%u", i);
    send(message, &command, message->key, correlation);
    if (i == MALFORMED) message->body.size--;
}

/* --- the broker -------------------------------------------------------------------------- */

static bool fetch(void *context, uint32_t wait_ms, struct delivery *out, uint32_t max,
                  struct arena *arena, uint32_t *count, struct err *err)
{
    (void)context;
    (void)wait_ms;
    *count = 0;
    world.link_lost = fails(err);
    if (world.link_lost) return false;
    for (uint32_t i = 0; i < MESSAGES && *count < max; i++) {
        struct message *message = &world.messages[i];
        if (message->acked || message->rejected || message->unacked) continue;
        message->unacked = true;
        struct header header = {TEXT_LITERAL("x-delivery-count"), {0}, message->returns, true};
        struct bytes properties = message->properties;
        if (message->returns > 0)
            assert_true(
                properties_extend(message->properties, &header, 1, false, arena, &properties));
        out[(*count)++] =
            (struct delivery){.tag = i + 1,
                              .exchange = TEXT_LITERAL("ledger.commands"),
                              .routing_key = TEXT_LITERAL("x"),
                              .properties = properties,
                              .redelivered = message->returns > 0,
                              .body = i == OVERSIZED ? (struct bytes){0} : message->body,
                              .body_size = message->body.size,
                              .oversized = i == OVERSIZED};
    }
    return true;
}

static bool ack(void *context, uint64_t tag, struct err *err)
{
    (void)context;
    world.link_lost = fails(err);
    if (world.link_lost) return false;
    assert_true(
        world.messages[tag - 1].unacked); /* a broker closes the channel on an unknown tag */
    for (uint32_t i = 0; i < tag; i++) {
        struct message *message = &world.messages[i];
        if (!message->unacked) continue;
        if (!message->committed) fail_msg("message %u acknowledged before its commit", i);
        message->unacked = false;
        message->acked = true;
    }
    return true;
}

static bool reject(void *context, uint64_t tag, struct err *err)
{
    (void)context;
    world.link_lost = fails(err);
    if (world.link_lost) return false;
    assert_int_equal(tag, OVERSIZED + 1);
    assert_true(world.messages[tag - 1].committed);
    world.messages[tag - 1].unacked = false;
    world.messages[tag - 1].rejected = true;
    return true;
}

static void lose_link(void)
{
    for (uint32_t i = 0; i < MESSAGES; i++) world.messages[i].unacked = false;
}

/* --- the database ------------------------------------------------------------------------ */

static struct stored *find(const struct uuid *digest)
{
    for (uint32_t i = 0; i < world.journal_count; i++)
        if (uuid_compare(&world.journal[i].digest, digest) == 0) return &world.journal[i];
    return NULL;
}

static bool load(void *context, struct batch *batch, struct err *err)
{
    (void)context;
    if (fails(err)) return false;
    world.looks += !batch->keys_are_new;
    world.trusts += batch->keys_are_new;
    for (uint32_t i = 0; world.kills && i < batch->works_count; i++)
        if (text_equal(batch->works[i].request->key, text_of(world.messages[DEADLY].key)) &&
            batch->works[i].origin == ORIGIN_NONE)
            longjmp(world.dead, 1);
    batch->assets = &world.asset;
    batch->assets_count = 1;
    batch->now_us = 1;
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        struct account *account = &batch->accounts[i];
        for (uint32_t a = 0; a < ACCOUNTS; a++) {
            if (!text_equal(account->id, text_of(IDS[a]))) continue;
            account->number = a + 1;
            account->exists = world.open[a];
            account->asset = &world.asset;
            account->balance = world.balance[a];
            account->seq = world.seq[a];
        }
    }
    for (uint32_t i = 0; i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        struct stored *stored =
            work->origin == ORIGIN_NONE ? find(&work->request->key_digest) : NULL;
        if (stored == NULL || batch->keys_are_new) continue;
        work->stored = true;
        work->stored_fingerprint = stored->fingerprint;
        work->reply = (struct reply){.result = stored->result};
    }
    return true;
}

static uint32_t number_of(struct text correlation)
{
    return (uint32_t)strtoul(correlation.bytes, NULL, 10); /* a terminated copy */
}

static void count_row(const struct outbox_row *row)
{
    struct properties properties;
    char number[16];

    if (row->kind == OUTBOX_EVENT) return;
    assert_true(properties_parse(row->properties, &properties));
    assert_true(text_copy(properties.correlation_id, number, sizeof number));
    uint32_t i = number_of(text_of(number));
    assert_in_range(i, 0, MESSAGES - 1);
    if (row->kind == OUTBOX_REPLY) world.messages[i].replies++;
    if (row->kind == OUTBOX_DEAD_LETTER) world.messages[i].dead_letters++;
}

static void store(const struct batch *batch, const struct outbox_row *rows, uint32_t rows_count)
{
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        char number[16];
        assert_true(text_copy(work->request->properties.correlation_id, number, sizeof number));
        if (!work->is_leg) world.messages[number_of(text_of(number))].committed = true;
        if (work->origin != ORIGIN_DECIDED) continue;
        world.journal[world.journal_count++] =
            (struct stored){.digest = work->request->key_digest,
                            .fingerprint = work->request->fingerprint,
                            .result = work->outcome.result};
    }
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        const struct account *account = &batch->accounts[i];
        if (account->number == 0) continue;
        world.open[account->number - 1] = account->exists;
        world.balance[account->number - 1] = account->balance;
        world.seq[account->number - 1] = account->seq;
    }
    for (uint32_t i = 0; i < rows_count; i++) count_row(&rows[i]);
}

/* Its keys are unique. */
static bool commit(void *context, const struct batch *batch, const struct outbox_row *rows,
                   uint32_t rows_count, struct err *err)
{
    (void)context;
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (text_equal(batch->works[i].request->key, text_of(world.messages[POISON].key)) &&
            batch->works[i].origin == ORIGIN_DECIDED)
            return err_set(err, ERR_REJECT, "a row that the database refuses");
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (text_equal(batch->works[i].request->key, text_of(POISON_LEG_KEY)) &&
            batch->works[i].origin == ORIGIN_DECIDED)
            return err_set(err, ERR_REJECT, "a leg that the database refuses");
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].origin == ORIGIN_DECIDED && find(&batch->works[i].request->key_digest))
            return err_set(err, ERR_RETRY, "a key that is known");
    bool failed = fails(err);
    if (!failed || world.fail_late) store(batch, rows, rows_count);
    return !failed;
}

static void abandon(void *context)
{
    (void)context;
}

/* --- Redis, and the way past the outbox -------------------------------------------------- */

static void lookup(void *context, struct batch *batch)
{
    (void)context;
    for (uint32_t i = 0; world.knows && i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        struct stored *stored =
            work->origin == ORIGIN_NONE ? find(&work->request->key_digest) : NULL;
        if (stored == NULL || work->is_leg || work->legs_count > 0) continue;
        work->origin = ORIGIN_CACHED;
        work->reply = (struct reply){.result = stored->result, .replayed = true};
    }
}

static void remember(void *context, struct batch *batch)
{
    (void)context;
    (void)batch;
}

static uint32_t direct(void *context)
{
    (void)context;
    return world.direct;
}

static bool answer(void *context, const struct outbox_row *rows, uint32_t count)
{
    struct err err = {0};

    (void)context;
    if (fails(&err)) return false;
    for (uint32_t i = 0; i < count; i++) {
        struct properties properties;
        char number[16];
        assert_true(properties_parse(rows[i].properties, &properties));
        assert_true(text_copy(properties.correlation_id, number, sizeof number));
        world.messages[number_of(text_of(number))].committed = true;
        count_row(&rows[i]);
    }
    return true;
}

static void report(void *context, const struct batch *batch)
{
    (void)context;
    (void)batch;
}

static bool suspect(void *context, const struct uuid *digest, uint32_t *times, struct err *err)
{
    (void)context;
    if (fails(err)) return false;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct message *message = &world.messages[i];
        if (message->notes > 0 && uuid_compare(&message->noted, digest) != 0) continue;
        message->noted = *digest;
        *times = ++message->notes;
        return true;
    }
    return err_set(err, ERR_FATAL, "more suspects than messages");
}

/* Only what was begun, and once. */
static void give_back(void *context, const struct uuid *digest)
{
    uint32_t i = 0;

    (void)context;
    while (i < MESSAGES &&
           (world.messages[i].notes == 0 || uuid_compare(&world.messages[i].noted, digest) != 0))
        i++;
    assert_in_range(i, 0, MESSAGES - 1);
    world.messages[i].notes--;
}

static void acquit(void *context, const struct uuid *digest)
{
    (void)context;
    for (uint32_t i = 0; i < MESSAGES; i++)
        if (world.messages[i].notes > 0 && uuid_compare(&world.messages[i].noted, digest) == 0)
            world.messages[i].notes = 0;
}

static const struct cycle_io IO = {.fetch = fetch,
                                   .lookup = lookup,
                                   .remember = remember,
                                   .direct = direct,
                                   .answer = answer,
                                   .load = load,
                                   .commit = commit,
                                   .abandon = abandon,
                                   .reject = reject,
                                   .ack = ack,
                                   .suspect = suspect,
                                   .give_back = give_back,
                                   .acquit = acquit,
                                   .report = report};

/* --- one run ----------------------------------------------------------------------------- */

static void begin(void)
{
    memset(world.journal, 0, sizeof world.journal);
    memset(world.messages, 0, sizeof world.messages);
    memset(world.balance, 0, sizeof world.balance);
    memset(world.seq, 0, sizeof world.seq);
    memset(world.open, 0, sizeof world.open);
    world.journal_count = 0;
    world.calls = world.looks = world.trusts = 0;
    world.fault_met = false;
    arena_reset(&world.arena);
    for (uint32_t i = 0; i < MESSAGES; i++) make_message(i);
}

static bool all_settled(void)
{
    for (uint32_t i = 0; i < MESSAGES; i++)
        if (!world.messages[i].acked && !world.messages[i].rejected) return false;
    return true;
}

static void check_balances(void)
{
    int64_t balance[ACCOUNTS] = {0}, seq[ACCOUNTS] = {0};

    for (uint32_t i = ACCOUNTS; i < MESSAGES; i++) {
        int64_t amount = 1 + (int64_t)i * 5;
        if (i % 7 == 0 || i == POISON || i == MALFORMED || i == OVERSIZED) continue;
        if (i == POISON_LEG) continue;
        if (i % 3 != 0 || balance[i % ACCOUNTS] >= amount) {
            balance[i % ACCOUNTS] += i % 3 == 0 ? -amount : amount;
            seq[i % ACCOUNTS]++;
        }
        if (!is_batch(i)) continue;
        balance[i % ACCOUNTS]++;
        seq[i % ACCOUNTS]++;
    }
    for (uint32_t a = 0; a < ACCOUNTS; a++) {
        assert_int_equal(world.balance[a], balance[a]);
        assert_int_equal(world.seq[a], seq[a]);
    }
}

static void settle_all(struct cycle *cycle, uint32_t fail_at)
{
    struct err err = {0};

    for (uint32_t turns = 0; !all_settled(); turns++) {
        uint32_t taken;
        if (turns > 1000) fail_msg("stuck with call %u failing", fail_at);
        if (cycle_turn(cycle, 0, &taken, &err)) continue;
        assert_int_equal(err.kind, ERR_RETRY);
        if (!world.link_lost) continue; /* the batch stays in hand */
        lose_link();
        cycle_drop(cycle);
    }
}

/* Every message once more, as from callers that lost their replies. */
static void publish_again(void)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct message *message = &world.messages[i];
        message->acked = message->rejected = message->committed = false;
        message->replies = message->dead_letters = 0;
    }
}

static struct cycle *new_cycle(void)
{
    static struct names names;
    struct cycle_options options = {
        .io = &IO, .names = &names, .batch_max = BATCH, .crash_limit = CRASH_LIMIT};
    struct cycle *cycle;
    struct err err = {0};

    assert_true(names_make(&names, "ledger", 1, &err));
    assert_true(cycle_open(&cycle, &options, &err));
    return cycle;
}

static void run(uint32_t fail_at, uint32_t fail_for, bool late, bool knows)
{
    struct cycle *cycle = new_cycle();

    world.fail_at = UINT32_MAX;
    world.knows = knows;
    begin();
    if (knows) { /* the faults then hit answers from Redis */
        settle_all(cycle, 0);
        publish_again();
    }
    world.calls = 0;
    world.fail_at = fail_at;
    world.fail_for = fail_for;
    world.fail_late = late;
    settle_all(cycle, fail_at);
    cycle_close(cycle);
}

static void check(void)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        const struct message *message = &world.messages[i];
        bool dead = i == POISON || i == MALFORMED || i == POISON_LEG;
        assert_true(message->replies >= 1);
        assert_int_equal(message->rejected, i == OVERSIZED);
        if (dead) assert_true(message->dead_letters >= 1);
        if (!dead) assert_int_equal(message->dead_letters, 0);
    }
    check_balances();
}

static void every_call_fails_in_turn(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {1, 2, 7};

    for (uint32_t mode = 0; mode < 8; mode++)
        for (uint32_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
            uint32_t n = 1;
            world.direct = mode >= 4 ? BATCH : 0;
            for (world.fault_met = true; world.fault_met; n++) {
                run(n, lengths[l], mode % 2 == 1, mode % 4 >= 2);
                check();
            }
            assert_true(n > 10); /* the sweep went through the whole run */
        }
}

static void without_a_fault_each_is_answered_once(void **state)
{
    (void)state;
    for (world.direct = 0; world.direct <= BATCH; world.direct += BATCH / 2) {
        run(UINT32_MAX, 0, false, false);
        check();
        for (uint32_t i = 0; i < MESSAGES; i++) assert_int_equal(world.messages[i].replies, 1);
    }
}

/* One failed commit tells that they are about; what comes again says so itself. */
static void keys_are_looked_up_where_repeats_are_about(void **state)
{
    struct cycle *cycle = new_cycle();
    struct err err = {0};
    uint32_t taken;

    (void)state;
    world.fail_at = UINT32_MAX;
    world.knows = false;
    world.direct = 0;
    begin();
    assert_true(cycle_turn(cycle, 0, &taken, &err));
    assert_int_equal(world.trusts, 1);
    assert_int_equal(world.looks, 0);
    settle_all(cycle, 0);
    cycle_close(cycle);

    for (uint32_t returns = 0; returns <= 1; returns++) {
        cycle = new_cycle();
        world.trusts = world.looks = 0;
        publish_again();
        for (uint32_t i = 0; i < MESSAGES; i++) world.messages[i].returns = returns;
        settle_all(cycle, 0);
        assert_int_equal(world.trusts, 1 - returns);
        assert_true(world.looks > 1);
        cycle_close(cycle);
        check_balances();
    }
}

/* An atomic batch that its second leg is refused by, if its first one is not a repeat: it is. */
static void what_hangs_on_a_key_is_decided_with_a_look(void **state)
{
    struct command used = {.type = COMMAND_DEPOSIT, .account = text_of(IDS[0]), .amount.value = 1};
    struct command dear = {
        .type = COMMAND_WITHDRAW, .account = text_of(IDS[0]), .amount.value = 1000000};
    struct message *message = &world.messages[0];
    struct cycle *cycle = new_cycle();
    struct writer writer;
    struct command batch = {.type = COMMAND_BATCH, .legs_count = 2};
    uint32_t rows;

    (void)state;
    world.fail_at = UINT32_MAX;
    begin();
    settle_all(cycle, 0);
    cycle_close(cycle);
    rows = world.journal_count;
    writer = writer_in(&world.arena);
    pack_array_value(&writer, 2);
    write_leg(&writer, &used, "key-5", 0);
    write_leg(&writer, &dear, "fresh", 1);
    assert_true(writer_keep(&writer, &world.arena, &batch.legs));
    *message = (struct message){0};
    send(message, &batch, "fresh", "0");
    cycle = new_cycle();
    world.looks = world.trusts = 0;
    settle_all(cycle, 0);
    cycle_close(cycle);
    assert_int_equal(world.trusts, 1);
    assert_int_equal(world.looks, 1);
    assert_int_equal(message->replies, 1);
    assert_int_equal(world.journal_count, rows); /* a conflict is nobody's outcome */
}

/* The broker gets everything in flight back, and counts it; nobody attends to it. */
static void a_deadly_message_takes_no_other_along(void **state)
{
    static struct cycle *volatile cycle; /* outlive the jumps */
    static volatile uint32_t deaths;

    (void)state;
    world.fail_at = UINT32_MAX;
    world.kills = true;
    begin();
    deaths = 0;
    cycle = new_cycle();
    if (setjmp(world.dead) != 0) {
        deaths++;
        if (deaths > 100) fail_msg("it goes on and on");
        for (uint32_t i = 0; i < MESSAGES; i++)
            world.messages[i].returns += world.messages[i].unacked;
        lose_link();
        cycle_close(cycle);
        cycle = new_cycle();
    }
    settle_all(cycle, 0);
    cycle_close(cycle);
    world.kills = false;
    assert_int_equal(deaths, 2 + CRASH_LIMIT);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        const struct message *message = &world.messages[i];
        bool dead = i == DEADLY || i == POISON || i == MALFORMED || i == POISON_LEG;
        assert_int_equal(message->dead_letters, dead ? 1 : 0);
        assert_true(message->replies >= 1);
        assert_int_equal(message->notes, 0);
    }
}

/* Process after process begins one of them, cannot decide it, and ends in good order. */
static void what_is_given_back_alive_killed_nobody(void **state)
{
    enum { UNTIL_LOAD = 3 }; /* fetch, suspect, load */
    struct err err = {0};
    uint32_t taken;

    (void)state;
    world.knows = false;
    begin();
    for (uint32_t i = 0; i < MESSAGES; i++) world.messages[i].returns = 2;
    for (uint32_t process = 0; process < 2 * CRASH_LIMIT; process++) {
        struct cycle *cycle = new_cycle();
        world.calls = 0;
        world.fail_at = UNTIL_LOAD;
        world.fail_for = 1;
        assert_false(cycle_turn(cycle, 0, &taken, &err));
        assert_int_equal(world.messages[0].notes, 1);
        cycle_drop(cycle);
        assert_int_equal(world.messages[0].notes, 0);
        cycle_close(cycle);
        lose_link();
    }
    world.fail_at = UINT32_MAX;
    struct cycle *cycle = new_cycle();
    settle_all(cycle, 0);
    cycle_close(cycle);
    check();
}

static int open_world(void **state)
{
    struct err err = {0};

    (void)state;
    world.asset = (struct asset){.code = TEXT_LITERAL("EUR"), .scale = 2, .world = 100};
    return arena_open(&world.arena, 1 << 20, &err) && codec_open(&world.codec, &err) ? 0 : -1;
}

static int close_world(void **state)
{
    (void)state;
    codec_close(world.codec);
    arena_close(&world.arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_fault_each_is_answered_once),
        cmocka_unit_test(every_call_fails_in_turn),
        cmocka_unit_test(keys_are_looked_up_where_repeats_are_about),
        cmocka_unit_test(what_hangs_on_a_key_is_decided_with_a_look),
        cmocka_unit_test(a_deadly_message_takes_no_other_along),
        cmocka_unit_test(what_is_given_back_alive_killed_nobody),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
