/*
 * test_cycle_due.c - what was scheduled, when it is due: against a database that is arrays and
 * refuses what it is told to, and a process that is a longjmp. Each command ends once, in order,
 * with an outcome; one that cannot be stored, or kills, takes no other along and does not go on for
 * ever.
 */
#include "protocol/fingerprint.h"
#include "tests/test.h"
#include "worker/cycle.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

enum { COMMANDS = 20, ACCOUNTS = 2, CRASH_LIMIT = 3, NOBODY = COMMANDS };

struct due {
    struct incoming incoming;
    struct uuid id, digest;
    enum result result; /* of its end */
    uint32_t ended, notes;
    uint32_t place; /* among those that ended, from 1 */
};

static struct {
    struct arena arena;
    struct codec *codec;
    struct asset asset;
    struct due due[COMMANDS];
    uint32_t ended;
    int64_t balance[ACCOUNTS], seq[ACCOUNTS];
    uint32_t poison;   /* its applied outcome is refused by the database, */
    uint32_t hopeless; /* or any outcome of it */
    uint32_t deadly;   /* whoever reads it dies */
    uint32_t calls, fail_at;
    jmp_buf dead;
} world;

static bool fails(struct err *err)
{
    if (++world.calls != world.fail_at) return false;
    (void)err_set(err, ERR_RETRY, "injected");
    return true;
}

static uint32_t due_of(const struct uuid *id)
{
    uint32_t i = 0;

    while (i < COMMANDS && uuid_compare(&world.due[i].id, id) != 0) i++;
    assert_in_range(i, 0, COMMANDS - 1);
    return i;
}

static uint32_t account_of(struct text id)
{
    return (uint32_t)(id.bytes[0] - 'a');
}

/* --- the database ------------------------------------------------------------------------- */

static bool resolve(void *context, struct batch *batch, struct err *err)
{
    (void)context;
    if (fails(err)) return false;
    for (uint32_t i = 0; i < batch->targets_count; i++) {
        uint32_t at = due_of(&batch->targets[i].id);
        batch->targets[i].exists = true;
        batch->targets[i].scheduled = true;
        batch->targets[i].settled = world.due[at].ended > 0;
    }
    return true;
}

static bool load(void *context, struct batch *batch, struct err *err)
{
    (void)context;
    if (fails(err)) return false;
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct request *request = batch->works[i].request;
        if (due_of(&request->scheduled) == world.deadly && request->fault == RESULT_APPLIED)
            longjmp(world.dead, 1);
    }
    batch->assets = &world.asset;
    batch->assets_count = 1;
    batch->now_us = 1000;
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        struct account *account = &batch->accounts[i];
        uint32_t at = account_of(account->id);
        account->number = 1 + at;
        account->exists = true;
        account->asset = &world.asset;
        account->balance = world.balance[at];
        account->seq = world.seq[at];
    }
    return true;
}

static bool commit(void *context, const struct batch *batch, const struct outbox_row *rows,
                   uint32_t rows_count, struct err *err)
{
    (void)context;
    (void)rows;
    if (fails(err)) return false;
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        uint32_t at = due_of(&work->request->scheduled);
        bool refused =
            at == world.hopeless || (at == world.poison && work->outcome.result == RESULT_APPLIED);
        if (work->origin == ORIGIN_DECIDED && refused)
            return err_set(err, ERR_REJECT, "a row that the database refuses");
    }
    uint32_t decided = 0;
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        struct due *due = &world.due[due_of(&work->request->scheduled)];
        if (work->origin != ORIGIN_DECIDED) continue;
        due->ended++;
        due->place = ++world.ended;
        due->result = work->outcome.result;
        decided++;
    }
    for (uint32_t i = 0; i < batch->accounts_count; i++) {
        uint32_t at = account_of(batch->accounts[i].id);
        world.balance[at] = batch->accounts[i].balance;
        world.seq[at] = batch->accounts[i].seq;
    }
    assert_true(rows_count >= decided); /* each is told */
    return true;
}

static void abandon(void *context)
{
    (void)context;
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
    for (uint32_t i = 0; i < COMMANDS; i++)
        if (uuid_compare(&world.due[i].digest, digest) == 0) *times = ++world.due[i].notes;
    return true;
}

static void give_back(void *context, const struct uuid *digest)
{
    (void)context;
    for (uint32_t i = 0; i < COMMANDS; i++)
        if (uuid_compare(&world.due[i].digest, digest) == 0) world.due[i].notes--;
}

static void acquit(void *context, const struct uuid *digest)
{
    (void)context;
    for (uint32_t i = 0; i < COMMANDS; i++)
        if (uuid_compare(&world.due[i].digest, digest) == 0) world.due[i].notes = 0;
}

static const struct cycle_io IO = {.resolve = resolve,
                                   .load = load,
                                   .commit = commit,
                                   .abandon = abandon,
                                   .suspect = suspect,
                                   .give_back = give_back,
                                   .acquit = acquit,
                                   .report = report};

/* --- one run ------------------------------------------------------------------------------ */

/* Deposits of 1, 2, 3, ..., to the one account and the other in turn. */
static void make(uint32_t i)
{
    static const char *const ids[ACCOUNTS] = {"a", "b"};
    struct due *due = &world.due[i];
    struct command command = {
        .type = COMMAND_DEPOSIT, .account = text_of(ids[i % ACCOUNTS]), .amount.value = 1 + i};
    struct properties_out out = {.content_type = TEXT_LITERAL("application/msgpack"),
                                 .type = TEXT_LITERAL("deposit"),
                                 .message_id = TEXT_LITERAL("key")};

    due->id.bytes[0] = (uint8_t)(1 + i);
    due->digest = scheduled_digest(&due->id);
    due->incoming.scheduled = due->id;
    assert_true(properties_write(&out, &world.arena, &due->incoming.properties));
    assert_true(
        command_encode(world.codec, &command, ENCODING_MSGPACK, &world.arena, &due->incoming.body));
    due->incoming.body_size = due->incoming.body.size;
}

static void begin(void)
{
    arena_reset(&world.arena);
    memset(world.due, 0, sizeof world.due);
    memset(world.balance, 0, sizeof world.balance);
    memset(world.seq, 0, sizeof world.seq);
    world.ended = world.calls = world.fail_at = 0;
    world.poison = world.hopeless = world.deadly = NOBODY;
    for (uint32_t i = 0; i < COMMANDS; i++) make(i);
}

static struct cycle *new_cycle(void)
{
    static struct names names;
    struct cycle_options options = {
        .io = &IO, .names = &names, .batch_max = 16, .crash_limit = CRASH_LIMIT};
    struct cycle *cycle;
    struct err err = {0};

    assert_true(names_make(&names, "ledger", 1, &err));
    assert_true(cycle_open(&cycle, &options, &err));
    return cycle;
}

/* What the worker does each time it looks: those that have not ended, in their order. */
static bool sweep(struct cycle *cycle, bool alone, struct decided *decided)
{
    static struct incoming incoming[COMMANDS];
    struct err err = {0};
    uint32_t count = 0;

    for (uint32_t i = 0; i < COMMANDS; i++)
        if (world.due[i].ended == 0) incoming[count++] = world.due[i].incoming;
    bool ok = cycle_decide(cycle, incoming, count, alone, decided, &err);
    if (!ok) assert_int_equal(err.kind, ERR_RETRY);
    return ok;
}

static void check(uint32_t except, enum result its)
{
    int64_t balance = 0;

    for (uint32_t i = 0; i < COMMANDS; i++) {
        const struct due *due = &world.due[i];
        assert_int_equal(due->ended, 1);
        assert_int_equal(due->place, i + 1); /* in order, whatever happens to one of them */
        assert_int_equal(due->result, i == except ? its : RESULT_APPLIED);
        assert_int_equal(due->notes, 0);
        if (i != except) balance += 1 + i;
    }
    assert_int_equal(world.balance[0] + world.balance[1], balance);
}

static void all_are_executed_in_order(void **state)
{
    (void)state;
    for (uint32_t alone = 0; alone < 2; alone++) {
        struct cycle *cycle = new_cycle();
        struct decided decided;
        begin();
        assert_true(sweep(cycle, alone == 1, &decided));
        assert_int_equal(decided.settled, COMMANDS);
        assert_int_equal(decided.left, 0);
        check(NOBODY, RESULT_APPLIED);
        cycle_close(cycle);
    }
}

static void what_the_database_refuses_ends_as_that(void **state)
{
    (void)state;
    for (uint32_t alone = 0; alone < 2; alone++)
        for (uint32_t poison = 0; poison < COMMANDS; poison++) {
            struct cycle *cycle = new_cycle();
            struct decided decided;
            begin();
            world.poison = poison;
            assert_true(sweep(cycle, alone == 1, &decided));
            assert_int_equal(decided.settled, COMMANDS);
            check(poison, RESULT_INTERNAL);
            cycle_close(cycle);
        }
}

/* Not even that can be stored: it is left, and what is behind it for its account with it. The
 * others go on; and all of them when it is tried again, in order. */
static void one_that_cannot_end_holds_its_account_up_alone(void **state)
{
    enum { HOPELESS = 7, BEHIND = (COMMANDS - HOPELESS) / ACCOUNTS };
    static const bool alone[] = {false, true};

    (void)state;
    for (uint32_t a = 0; a < 2; a++) {
        struct cycle *cycle = new_cycle();
        struct decided decided;
        begin();
        world.hopeless = HOPELESS;
        assert_true(sweep(cycle, alone[a], &decided));
        assert_int_equal(decided.left, 1 + BEHIND);
        assert_int_equal(decided.settled, COMMANDS - 1 - BEHIND);
        assert_int_equal(decided.why.kind, ERR_REJECT);
        for (uint32_t i = 0; i < COMMANDS; i++)
            assert_int_equal(world.due[i].ended,
                             i < HOPELESS || i % ACCOUNTS != HOPELESS % ACCOUNTS);
        world.hopeless = NOBODY; /* but that is not known yet */
        assert_true(sweep(cycle, alone[a], &decided));
        assert_int_equal(decided.settled, 0);
        assert_int_equal(decided.left, 1 + BEHIND);
        cycle_forget_left(cycle);
        assert_true(sweep(cycle, alone[a], &decided));
        assert_int_equal(decided.settled, 1 + BEHIND);
        for (uint32_t i = HOPELESS; i + ACCOUNTS < COMMANDS; i += ACCOUNTS)
            assert_true(world.due[i].place < world.due[i + ACCOUNTS].place);
        cycle_close(cycle);
    }
}

/* A passing fault at any call: nothing is lost or done twice when it is tried again. */
static void every_call_fails_in_turn(void **state)
{
    (void)state;
    for (uint32_t alone = 0; alone < 2; alone++) {
        uint32_t fail_at = 0;
        do {
            struct cycle *cycle = new_cycle();
            struct decided decided;
            begin();
            world.poison = 5;
            world.fail_at = ++fail_at;
            if (!sweep(cycle, alone == 1, &decided)) assert_true(sweep(cycle, true, &decided));
            check(5, RESULT_INTERNAL);
            cycle_close(cycle);
        } while (world.calls >= fail_at);
        assert_true(fail_at > 3);
    }
}

/* Process after process cannot decide them for now, and says so. */
static void what_fails_alive_is_not_counted(void **state)
{
    enum { LOAD = 2 }; /* after the note of the first */
    struct cycle *cycle = new_cycle();
    struct decided decided;

    (void)state;
    begin();
    for (uint32_t process = 0; process < 2 * CRASH_LIMIT; process++) {
        world.calls = 0;
        world.fail_at = LOAD;
        assert_false(sweep(cycle, true, &decided));
        assert_int_equal(world.due[0].notes, 0);
    }
    world.fail_at = 0;
    assert_true(sweep(cycle, true, &decided));
    check(NOBODY, RESULT_APPLIED);
    cycle_close(cycle);
}

/* One process after the other dies over it: first with the others, then alone. */
static void a_deadly_one_ends_unread(void **state)
{
    static struct cycle *volatile cycle; /* outlive the jumps */
    static volatile uint32_t deaths;
    static volatile bool alone;
    struct decided decided;

    (void)state;
    begin();
    world.deadly = 11;
    deaths = 0;
    alone = false;
    cycle = new_cycle();
    if (setjmp(world.dead) != 0) {
        deaths++;
        if (deaths > 100) fail_msg("it goes on and on");
        alone = true; /* the note that the dead left behind says so */
        cycle_close(cycle);
        cycle = new_cycle();
    }
    assert_true(sweep(cycle, alone, &decided));
    assert_int_equal(deaths, 1 + CRASH_LIMIT);
    check(11, RESULT_CRASHED_WORKER);
    cycle_close(cycle);
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
        cmocka_unit_test(all_are_executed_in_order),
        cmocka_unit_test(what_the_database_refuses_ends_as_that),
        cmocka_unit_test(one_that_cannot_end_holds_its_account_up_alone),
        cmocka_unit_test(every_call_fails_in_turn),
        cmocka_unit_test(what_fails_alive_is_not_counted),
        cmocka_unit_test(a_deadly_one_ends_unread),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
