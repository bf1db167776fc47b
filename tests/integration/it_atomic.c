/*
 * it_atomic.c - atomic batches of a thousand legs on real servers, while the worker that decides
 * them dies: at any moment, with the commit sent and not done, and with it done and not
 * acknowledged. Of a batch whose last leg is refused nothing is ever seen but the refusal; of one
 * that is applied, all of it, once.
 */
#include "protocol/pack.h"
#include "tests/sender.h"

enum {
    FUNDS = LEGS_MAX,
    ROUNDS = 16, /* in which a worker is killed at no particular moment, within ... */
    KILL_WITHIN_MS = 250,
    STEPS = 2, /* rounds in which it is killed in a commit; twice with each batch first */
    EACH = 2,  /* batches of a round: one that is applied, one that is refused */
    BATCHES = EACH * (ROUNDS + 2 * STEPS),
    OPENINGS = 3,
    LEGS_SIZE = 256 * LEGS_MAX,
};

static struct sender sender;
static uint8_t legs[LEGS_SIZE];
static pid_t worker;
static uint32_t published;
static struct {
    uint32_t known, wanted, again;
    bool seen[BATCHES + OPENINGS];
    struct codec *codec;
    struct arena scratch;
} answers;

/* --- what goes in ------------------------------------------------------------------------ */

/* Of every two batches the second is refused. Those that are applied move all to b, and back; each
 * comes from where the money is, so that all legs but the last could be paid. */
static bool is_refused(uint32_t batch)
{
    return batch % 2 == 1;
}

static bool goes_back(uint32_t batch)
{
    return (batch + 1) / 2 % 2 == 1;
}

static void pack_leg(struct writer *writer, uint32_t batch, uint32_t leg)
{
    struct pack_map map = pack_map_open(writer, 5);
    char key[48];
    bool is_too_much = is_refused(batch) && leg == LEGS_MAX - 1;

    (void)snprintf(key, sizeof key, "%s-%u/%u", is_refused(batch) ? "refused" : "applied", batch,
                   leg);
    pack_text(&map, "type", TEXT_LITERAL("transfer"));
    pack_text(&map, "idempotency_key", text_of(key));
    pack_text(&map, "from", text_of(goes_back(batch) ? "b" : "a"));
    pack_text(&map, "to", text_of(goes_back(batch) ? "a" : "b"));
    pack_int(&map, "amount", is_too_much ? 2 * FUNDS : 1);
    pack_map_close(&map);
}

static struct command make_batch(uint32_t batch)
{
    struct command command = {.type = COMMAND_BATCH, .legs_count = LEGS_MAX};
    struct writer writer = writer_over(legs, sizeof legs);

    pack_array_value(&writer, LEGS_MAX);
    for (uint32_t i = 0; i < LEGS_MAX; i++) pack_leg(&writer, batch, i);
    assert_false(writer.overflowed);
    command.legs = (struct bytes){legs, (uint32_t)writer.size};
    return command;
}

static void send(const struct sending *sending)
{
    if (!sender_send(&sender, sending)) fail_msg("%s", sender.err.text);
}

static void await_confirms(void)
{
    if (!sender_await(&sender, SENDER_WINDOW)) fail_msg("%s", sender.err.text);
}

static void publish_round(void)
{
    for (uint32_t i = 0; i < EACH; i++, published++) {
        struct sending sending = {.command = make_batch(published),
                                  .routing_key = TEXT_LITERAL("a"),
                                  .key_word = "batch",
                                  .key_number = published,
                                  .correlation = published};
        send(&sending);
    }
    await_confirms();
}

static void open_accounts(void)
{
    static const char *const ids[] = {"a", "b", "a"};

    for (uint32_t i = 0; i < OPENINGS; i++) {
        struct sending sending = {.command = {.type = COMMAND_OPEN_ACCOUNT,
                                              .account = text_of(ids[i]),
                                              .user_id = TEXT_LITERAL("user"),
                                              .asset = TEXT_LITERAL("EUR")},
                                  .key_word = "open",
                                  .key_number = i,
                                  .correlation = BATCHES + i};
        if (i == 2)
            sending.command = (struct command){
                .type = COMMAND_DEPOSIT, .account = TEXT_LITERAL("a"), .amount.value = FUNDS};
        send(&sending);
    }
    await_confirms();
}

/* --- what comes out ---------------------------------------------------------------------- */

static bool all_answered(void *context)
{
    (void)context;
    return answers.known == answers.wanted;
}

static void check_batch(const struct reply *reply, uint32_t batch)
{
    if (is_refused(batch)) {
        assert_int_equal(reply->result, RESULT_INSUFFICIENT_FUNDS);
        assert_true(reply->has_failed_leg);
        assert_int_equal(reply->failed_leg, LEGS_MAX - 1);
        assert_int_equal(reply->legs_count, 0);
        return;
    }
    assert_int_equal(reply->result, RESULT_APPLIED);
    assert_int_equal(reply->legs_count, LEGS_MAX);
    for (uint32_t i = 0; i < LEGS_MAX; i++) {
        const struct reply *leg = reply->legs[i].reply;
        assert_int_equal(leg->result, RESULT_APPLIED);
        assert_int_equal(leg->balances[0].balance, FUNDS - 1 - i);
        assert_int_equal(leg->balances[1].balance, 1 + i);
    }
}

static void take_reply(void *context, const struct delivery *delivery)
{
    struct properties properties;
    char number[16], problem[PROBLEM_SIZE];
    struct reply reply;

    (void)context;
    arena_reset(&answers.scratch);
    assert_true(properties_parse(delivery->properties, &properties));
    assert_true(text_copy(properties.correlation_id, number, sizeof number));
    uint32_t i = (uint32_t)strtoul(number, NULL, 10);
    assert_in_range(i, 0, BATCHES + OPENINGS - 1);
    if (!reply_decode(answers.codec, delivery->body, ENCODING_MSGPACK, &answers.scratch, &reply,
                      problem))
        fail_msg("message %u: its reply is none: %s", i, problem);
    if (i < BATCHES)
        check_batch(&reply, i);
    else
        assert_int_equal(reply.result, RESULT_APPLIED);
    answers.again += answers.seen[i];
    answers.known += !answers.seen[i];
    answers.seen[i] = true;
}

static void collect(uint32_t wanted)
{
    answers.wanted = wanted;
    whole_collect(whole.replies, all_answered, take_reply, NULL);
}

/* --- what is stored ---------------------------------------------------------------------- */

static const struct statement PARTS = {
    "atomic_parts", "SELECT count(*) FROM (SELECT FROM journal WHERE batch IS NOT NULL"
                    " GROUP BY batch HAVING count(*) <> 1000) AS parts"};
static const struct statement TRACES = {"atomic_traces",
                                        "SELECT count(*) FROM journal WHERE key LIKE 'refused-%'"};
static const struct statement APPLIED = {
    "atomic_applied", "SELECT count(*) FROM journal WHERE command = 13 AND result IS NULL"};
static const struct statement REFUSED = {
    "atomic_refused", "SELECT count(*) FROM journal WHERE command = 13 AND leg = 999"};
static const struct statement AT_B = {"atomic_b", "SELECT balance FROM account WHERE id = 'b'"};
static const struct statement CHANGES = {"atomic_changes",
                                         "SELECT sum(seq)::int8 FROM account WHERE kind = 0"};
static const struct statement BUSY = {
    "atomic_busy", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                   "   AND application_name LIKE 'ledger-worker%' AND state <> 'idle'"};
_Static_assert(LEGS_MAX == 1000, "as the statements say");

/* All of those that are applied, nothing of the others. Returns how many are decided. */
static uint32_t check_what_is_stored(void)
{
    struct db *db = session_as(NULL);
    int64_t applied, refused;

    while (number(db, &BUSY) > 0) clock_sleep_ms(5); /* still at what the dead one asked for */
    sql(db, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    applied = number(db, &APPLIED);
    refused = number(db, &REFUSED);
    assert_int_equal(number(db, &PARTS), 0);
    assert_int_equal(number(db, &TRACES), 0);
    assert_int_equal(number(db, &AT_B), applied % 2 == 1 ? FUNDS : 0);
    assert_int_equal(number(db, &CHANGES), 1 + 2 * applied * LEGS_MAX);
    sql(db, "COMMIT");
    db_close(db);
    return (uint32_t)(applied + refused);
}

static void start_worker(void)
{
    worker = process_start("ledger-worker", "worker");
    whole_await_workers(1);
}

static void the_last_leg_undoes_a_thousand(void **state)
{
    (void)state;
    pid_t relay = process_start("ledger-relay", "relay");

    start_worker();
    open_accounts();
    publish_round();
    collect(OPENINGS + EACH);
    assert_int_equal(check_what_is_stored(), EACH);
    assert_int_equal(whole_verify(), OPENINGS + EACH + LEGS_MAX);
    process_end(worker, 5000);
    process_end(relay, 5000);
}

/* --- who dies ---------------------------------------------------------------------------- */

/* Returns how many of a round's batches the dead one had left undone. It is killed the sooner, the
 * more often it had done all of them by then. */
static uint32_t kill_at_any_moment(void)
{
    static uint32_t within_us = KILL_WITHIN_MS * 1000;
    uint32_t random, left;

    random_bytes(&random, sizeof random);
    publish_round();
    clock_sleep_us(random % within_us);
    process_kill(worker);
    left = published - check_what_is_stored();
    if (left == 0) within_us = within_us / 2 + 1;
    return left;
}

static const struct statement COMMITTING = {
    "atomic_committing",
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    "   AND application_name LIKE 'ledger-worker%' AND wait_event_type = 'Lock'"};

/* PostgreSQL has the whole of its commit, and waits for a lock of ours. With the session ended too
 * it never happens; else it does, and nobody is left to acknowledge it. */
static uint32_t kill_in_commit(bool undone)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WHOLE_TIMEOUT_MS;
    struct db *db = session_as(NULL), *other = session_as(NULL);

    sql(db, "BEGIN; LOCK TABLE journal IN SHARE MODE");
    publish_round();
    while (number(other, &COMMITTING) == 0) {
        if (clock_monotonic_ms() > deadline_ms) fail_msg("the worker does not commit");
        clock_sleep_ms(5);
    }
    clock_sleep_ms(1000); /* the rest of it is sent behind what waits */
    process_kill(worker);
    if (undone)
        sql(other,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'ledger-worker%%'");
    sql(db, "ROLLBACK");
    db_close(db);
    db_close(other);
    return published - check_what_is_stored();
}

static void no_part_of_a_batch_outlives_its_worker(void **state)
{
    uint32_t interrupted = 0;

    (void)state;
    pid_t relay = process_start("ledger-relay", "relay");
    start_worker();
    open_accounts();
    collect(OPENINGS);
    for (uint32_t round = 0; round < ROUNDS + 2 * STEPS; round++) {
        uint32_t left = round < ROUNDS ? kill_at_any_moment() : kill_in_commit(round % 2 == 0);
        if (round >= ROUNDS && round % 2 == 0) assert_int_equal(left, EACH);
        if (round >= ROUNDS && round % 2 == 1) assert_true(left < EACH);
        interrupted += left > 0;
        start_worker();
        collect(OPENINGS + published);
        assert_int_equal(check_what_is_stored(), published);
    }
    print_message("%u rounds, of which %u were cut short; %u replies came again\n",
                  ROUNDS + 2 * STEPS, interrupted, answers.again);
    assert_true(interrupted > STEPS);
    assert_int_equal(whole_verify(), OPENINGS + published + published / EACH * LEGS_MAX);
    process_end(worker, 5000);
    process_end(relay, 5000);
}

static int begin(void **state)
{
    published = 0;
    memset(&answers, 0, sizeof answers);
    must(codec_open(&answers.codec, &err));
    must(arena_open(&answers.scratch, 16 << 20, &err));
    if (whole_begin(state) != 0) return -1;
    if (sender_open(&sender)) return 0;
    print_error("%s\n", sender.err.text);
    return -1;
}

static int end(void **state)
{
    sender_close(&sender);
    codec_close(answers.codec);
    arena_close(&answers.scratch);
    return whole_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_leg_undoes_a_thousand, begin, end),
        cmocka_unit_test_setup_teardown(no_part_of_a_batch_outlives_its_worker, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
