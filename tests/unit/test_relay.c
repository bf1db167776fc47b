/*
 * test_relay.c - the relay against an outbox and a broker that are arrays, in which the n-th call
 * fails, for every n: once, or from then on for a while; before it took effect, or after. However
 * it fails, every row is published, each account's rows in order but for repeats, and the cursor is
 * never past a row that was not confirmed.
 */
#include "outbox/relay.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS = 60,
    ACCOUNTS = 4,
    TICKS = 12, /* moments at which rows become visible */
    PAGE = 7,   /* rows that the fake gives at once, less than are asked for */
    WINDOW = 16,
    SAVE_EVERY_MS = 30,
    PUBLISHED_MAX = 100 * ROWS,
    NEVER = -1,
};

/* Row i has id i + 1. It is seen by snapshots from its tick on; within one account ids follow
 * ticks. */
static struct {
    uint32_t tick[ROWS], account[ROWS];
    bool confirmed[ROWS]; /* the relay was told so */
    uint32_t times[ROWS]; /* published */

    uint32_t now;      /* tick */
    uint32_t from, to; /* what is being read: rows after from, up to to ... */
    int64_t position;  /* ... with an id over this */
    bool reading;
    struct cursor saved;

    uint64_t sequence; /* of this connection; messages confirmed out of order */
    uint32_t row_of[PUBLISHED_MAX];
    bool pending[PUBLISHED_MAX];
    uint32_t outstanding, blocked_for;

    uint32_t calls, fail_at, fail_for, saves;
    bool fail_late, fault_met, link_lost;
    int32_t nack_row, return_row; /* once; NEVER */
    int32_t reply_row;            /* all others are events, but for */
    bool poison[ROWS];            /* replies with which the broker closes the connection */
    uint32_t poison_alone;        /* how often it was sent with nothing else in flight */
} world;

static bool events_only; /* the sink takes no others */

/* True: the call fails. When late, it does so after it took effect. */
static bool fails(bool *late, struct err *err)
{
    world.calls++;
    *late = world.fail_late;
    if (world.calls < world.fail_at || world.calls - world.fail_at >= world.fail_for) return false;
    world.fault_met = true;
    return !err_set(err, ERR_RETRY, "injected");
}

/* --- the database ------------------------------------------------------------------------ */

static bool is_reply(uint32_t row)
{
    return (int32_t)row == world.reply_row || world.poison[row];
}

static uint32_t tick_of(const char *snapshot)
{
    return (uint32_t)strtoul(snapshot, NULL, 10);
}

static bool io_read_begin(void *context, struct cursor *cursor, struct err *err)
{
    bool late;

    (void)context;
    if (fails(&late, err)) return false;
    assert_false(world.reading);
    if (cursor->target[0] == '\0') {
        if (world.now < TICKS && rand() % 2 == 0) world.now++;
        (void)snprintf(cursor->target, SNAPSHOT_TEXT_SIZE, "%u", world.now);
    }
    world.reading = true;
    world.from = tick_of(cursor->snapshot);
    world.to = tick_of(cursor->target);
    world.position = cursor->position;
    assert_true(world.from <= world.to);
    assert_true(world.to <= world.now);
    return true;
}

static bool io_read(void *context, struct outbox_row *rows, uint32_t max, uint32_t *count,
                    bool *end, struct err *err)
{
    static const char *const names[ACCOUNTS] = {"a", "b", "c", "d"};
    bool late;

    (void)context;
    *count = 0;
    *end = false;
    assert_true(world.reading);
    if (fails(&late, err)) return false;
    if (max > PAGE) max = PAGE;
    for (uint32_t i = (uint32_t)world.position; i < ROWS && *count < max; i++) {
        if (world.tick[i] <= world.from || world.tick[i] > world.to) continue;
        rows[(*count)++] = (struct outbox_row){.id = i + 1,
                                               .kind = is_reply(i) ? OUTBOX_REPLY : OUTBOX_EVENT,
                                               .destination = text_of(names[world.account[i]])};
        world.position = i + 1;
    }
    *end = *count < max;
    world.reading = !*end;
    return true;
}

static bool has_passed(const struct cursor *cursor, uint32_t row)
{
    if (world.tick[row] <= tick_of(cursor->snapshot)) return true;
    return world.tick[row] <= tick_of(cursor->target) && row + 1 <= cursor->position;
}

/* Everything that the cursor has passed is confirmed. */
static void check_cursor(const struct cursor *cursor)
{
    for (uint32_t i = 0; i < ROWS; i++)
        if (has_passed(cursor, i) && !world.confirmed[i])
            fail_msg(
                "the cursor %s:%s:%jd is past row %u, which is not confirmed (call %u failing)",
                cursor->snapshot, cursor->target, (intmax_t)cursor->position, i + 1, world.fail_at);
}

static bool io_save(void *context, const struct cursor *cursor, struct err *err)
{
    bool late, failed = fails(&late, err);

    (void)context;
    check_cursor(cursor);
    if (failed && !late) return false;
    world.saved = *cursor;
    world.saves++;
    return !failed;
}

/* --- the broker -------------------------------------------------------------------------- */

static uint32_t io_room(void *context)
{
    (void)context;
    if (world.blocked_for == 0 && rand() % 40 == 0) world.blocked_for = (uint32_t)rand() % 6;
    if (world.blocked_for > 0) {
        world.blocked_for--;
        return 0;
    }
    return WINDOW - world.outstanding;
}

/* An account's first publications are in the order of ids. */
static void check_order(uint32_t row)
{
    if (world.times[row] > 0) return;
    for (uint32_t i = row + 1; i < ROWS; i++)
        if (world.account[i] == world.account[row] && world.times[i] > 0)
            fail_msg("row %u was published after row %u of the same account", row + 1, i + 1);
    for (uint32_t i = 0; i < row; i++)
        if (world.account[i] == world.account[row] && world.times[i] == 0 &&
            !(events_only && (int32_t)i == world.reply_row))
            fail_msg("row %u was published before row %u of the same account", row + 1, i + 1);
}

static bool io_publish(void *context, const struct outbox_row *row, uint64_t *sequence,
                       struct err *err)
{
    uint32_t index = (uint32_t)row->id - 1;
    bool late, failed = fails(&late, err);

    (void)context;
    assert_in_range(row->id, 1, ROWS);
    assert_true(world.outstanding < WINDOW);
    if (failed && !late) return false;
    check_order(index);
    world.times[index]++;
    world.poison_alone += world.poison[index] && world.outstanding == 0;
    *sequence = ++world.sequence;
    assert_true(world.sequence < PUBLISHED_MAX);
    world.row_of[world.sequence] = index;
    world.pending[world.sequence] = true;
    world.outstanding++;
    return !failed;
}

static enum confirm_result result_of(uint32_t row)
{
    if ((int32_t)row == world.nack_row) {
        world.nack_row = NEVER;
        if ((int32_t)row == world.reply_row) world.confirmed[row] = true; /* settled all the same */
        return CONFIRM_NACK;
    }
    if ((int32_t)row == world.return_row) {
        world.return_row = NEVER;
        return CONFIRM_RETURNED;
    }
    world.confirmed[row] = true;
    return CONFIRM_ACK;
}

/* Some of what is outstanding, in any order, the oldest often late. */
static bool io_poll(void *context, uint32_t wait_ms, struct confirm *out, uint32_t max,
                    uint32_t *count, struct err *err)
{
    bool late;

    (void)context;
    (void)wait_ms;
    *count = 0;
    if (fails(&late, err)) return false;
    for (uint64_t s = world.sequence; s > 0; s--)
        if (world.pending[s] && world.poison[world.row_of[s]])
            return err_set(err, ERR_RETRY, "closed by the broker");
    for (uint64_t s = world.sequence; s > 0 && *count < max && world.outstanding > 0; s--) {
        if (!world.pending[s] || rand() % 3 != 0) continue;
        world.pending[s] = false;
        world.outstanding--;
        out[(*count)++] = (struct confirm){s, result_of(world.row_of[s])};
    }
    return true;
}

static struct relay_io IO = {.read_begin = io_read_begin,
                             .read = io_read,
                             .room = io_room,
                             .publish = io_publish,
                             .poll = io_poll,
                             .save = io_save};

/* --- one run ----------------------------------------------------------------------------- */

static void begin(uint32_t seed)
{
    uint32_t tick[ACCOUNTS] = {0};

    memset(&world, 0, sizeof world);
    world.nack_row = world.return_row = world.reply_row = NEVER;
    (void)snprintf(world.saved.snapshot, SNAPSHOT_TEXT_SIZE, "0");
    srand(seed);
    for (uint32_t i = 0; i < ROWS; i++) { /* an account moves on while another one hangs back */
        uint32_t account = (uint32_t)rand() % ACCOUNTS, most = 1 + i * (TICKS - 1) / ROWS;
        if (tick[account] < most) tick[account] += 1 + (uint32_t)rand() % (most - tick[account]);
        world.account[i] = account;
        world.tick[i] = tick[account];
    }
}

static void reconnect(struct relay *relay)
{
    world.reading = false;
    world.sequence = 0;
    world.outstanding = 0;
    memset(world.pending, 0, sizeof world.pending);
    relay_start(relay, &world.saved);
}

static bool all_published(const struct relay *relay)
{
    return world.now == TICKS && tick_of(relay_confirmed(relay)->snapshot) == TICKS;
}

static uint32_t run(void)
{
    struct relay *relay;
    struct err err = {0};
    uint32_t failures = 0;

    IO.events_only = events_only;
    assert_true(relay_open(&relay, &IO, SAVE_EVERY_MS, &err));
    reconnect(relay);
    for (uint32_t turn = 1;; turn++) {
        uint32_t sent;
        bool idle;
        if (turn > 5000) fail_msg("stuck with call %u failing", world.fail_at);
        if (relay_turn(relay, turn * 10, 0, &sent, &idle, &err)) {
            check_cursor(relay_confirmed(relay));
            if (idle) assert_int_equal(relay_in_flight(relay), 0);
            if (idle && all_published(relay) && relay_settle(relay, 0, &err)) break;
            continue;
        }
        assert_int_equal(err.kind, ERR_RETRY);
        failures++;
        reconnect(relay);
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        bool skipped = events_only && (int32_t)i == world.reply_row;
        assert_true(world.confirmed[i]);
        assert_in_range(world.times[i], !skipped, skipped ? 0 : 1 + failures);
        assert_true(has_passed(&world.saved, i));
    }
    relay_close(relay);
    return failures;
}

static void every_call_fails_in_turn(void **state)
{
    static const uint32_t lengths[] = {1, 3, 9};

    (void)state;
    for (uint32_t mode = 0; mode < 2; mode++)
        for (uint32_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
            uint32_t n = 1;
            for (bool met = true; met; n++) {
                begin(1 + n);
                world.fail_at = n;
                world.fail_for = lengths[l];
                world.fail_late = mode == 1;
                (void)run();
                met = world.fault_met;
            }
            assert_true(n > 100); /* the sweep went through the whole run */
        }
}

static void every_row_is_refused_in_turn(void **state)
{
    (void)state;
    for (int32_t row = 0; row < ROWS; row++)
        for (uint32_t returned = 0; returned < 2; returned++) {
            begin((uint32_t)row + 1);
            if (returned == 0) world.nack_row = row;
            if (returned == 1) world.return_row = row;
            assert_int_equal(run(), 1);
        }
}

static void a_refused_reply_holds_nothing_up(void **state)
{
    (void)state;
    for (int32_t row = 0; row < ROWS; row++) {
        begin((uint32_t)row + 1);
        world.nack_row = world.reply_row = row;
        assert_int_equal(run(), 0);
        assert_int_equal(world.times[row], 1);
    }
}

/* It is found by sending replies alone, and dropped at the third time, never sooner. */
static void a_reply_that_closes_the_connection_is_dropped(void **state)
{
    (void)state;
    for (int32_t row = 0; row < ROWS; row++) {
        begin((uint32_t)row + 1);
        world.poison[row] = true;
        world.confirmed[row] = true; /* the cursor may pass it in the end */
        assert_in_range(run(), 3, 4);
        assert_true(world.poison_alone >= 3);
    }
}

/* Each of them in its turn, however near they are to each other, and to others. */
static void several_such_replies_stop_nobody(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 200; seed++) {
        begin(seed);
        for (uint32_t n = 2 + seed % 5; n > 0; n--) {
            uint32_t row = seed % 2 == 0 ? (uint32_t)rand() % ROWS : ROWS / 2 + n;
            world.poison[row] = world.confirmed[row] = true;
        }
        assert_in_range(run(), 3, 4 * 6);
    }
}

/* The cursor goes past it as past any other, so that it does not hold up the rotation. */
static void a_sink_of_events_passes_over_the_rest(void **state)
{
    (void)state;
    events_only = true;
    for (int32_t row = 0; row < ROWS; row++)
        for (uint32_t n = 0; n < 40; n += 13) {
            begin((uint32_t)row + 1);
            world.reply_row = row;
            world.confirmed[row] = true; /* the cursor may pass it */
            world.fail_at = n;
            world.fail_for = 1;
            (void)run();
        }
    events_only = false;
}

static void without_a_fault_each_is_published_once(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 300; seed++) {
        begin(seed);
        if (run() != 0) fail_msg("seed %u: a call failed", seed);
        assert_true(world.saves > 1); /* while it ran, too */
    }
}

static void what_passed_no_rows_is_not_saved(void **state)
{
    struct relay *relay;
    struct err err = {0};
    uint32_t sent, saves;
    bool idle;

    (void)state;
    begin(1);
    for (uint32_t i = 0; i < ROWS; i++) world.tick[i] = 1;
    assert_true(relay_open(&relay, &IO, SAVE_EVERY_MS, &err));
    reconnect(relay);
    for (uint32_t turn = 1; tick_of(world.saved.snapshot) < 1; turn++)
        assert_true(relay_turn(relay, turn * 10, 0, &sent, &idle, &err));
    saves = world.saves;
    for (uint32_t turn = 1000; !all_published(relay); turn++)
        assert_true(relay_turn(relay, turn * 10, 0, &sent, &idle, &err));
    assert_int_equal(world.saves, saves);
    relay_close(relay);
}

static void a_read_that_was_begun_is_finished_first(void **state)
{
    struct relay *relay;
    struct err err = {0};

    (void)state;
    begin(7);
    world.now = TICKS;
    (void)snprintf(world.saved.target, SNAPSHOT_TEXT_SIZE, "6");
    world.saved.position = 20;
    for (uint32_t i = 0; i < 20; i++) {
        world.confirmed[i] = world.tick[i] <= 6;
        world.times[i] = world.confirmed[i];
    }
    assert_true(relay_open(&relay, &IO, SAVE_EVERY_MS, &err));
    reconnect(relay);
    for (uint32_t turn = 1; !all_published(relay) || relay_in_flight(relay) > 0; turn++) {
        uint32_t sent;
        bool idle;
        assert_true(relay_turn(relay, turn * 10, 0, &sent, &idle, &err));
        check_cursor(relay_confirmed(relay));
    }
    for (uint32_t i = 0; i < ROWS; i++) assert_int_equal(world.times[i], 1);
    relay_close(relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_fault_each_is_published_once),
        cmocka_unit_test(every_call_fails_in_turn),
        cmocka_unit_test(every_row_is_refused_in_turn),
        cmocka_unit_test(a_refused_reply_holds_nothing_up),
        cmocka_unit_test(a_reply_that_closes_the_connection_is_dropped),
        cmocka_unit_test(several_such_replies_stop_nobody),
        cmocka_unit_test(a_sink_of_events_passes_over_the_rest),
        cmocka_unit_test(what_passed_no_rows_is_not_saved),
        cmocka_unit_test(a_read_that_was_begun_is_finished_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
