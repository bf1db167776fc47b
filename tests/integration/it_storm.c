/*
 * it_storm.c - loads with an exact end. A storm of withdrawals from four publishers, under many
 * routing keys, so that both workers decide on the one account at once: it ends at zero, never
 * below, and each refusal says why. SIGTERM in the middle: the worker leaves within seconds, with
 * nothing half done and nothing done again by the next one. SIGKILL at the two moments that matter:
 * with a batch not yet committed, and with one committed and not yet acknowledged.
 */
#include "tests/sender.h"

#include <pthread.h>

enum {
    PUBLISHERS = 4,
    EACH = 2000,
    COMMANDS = PUBLISHERS * EACH,
    FUNDS = 5000,
    KEYS = 64,
    PREFETCH = 500, /* the worker's default */
};

/* --- what goes in ------------------------------------------------------------------------ */

struct publishing {
    pthread_t id;
    uint32_t first;
    struct sender sender;
    bool ok;
};

static struct command one_cent(enum command_type type)
{
    return (struct command){.type = type, .account = TEXT_LITERAL("storm"), .amount = {.value = 1}};
}

/* Account, and the money in it: answered as the messages COMMANDS and COMMANDS + 1. */
static void open_funded(int64_t funds)
{
    static struct sender sender;
    struct sending opening = {
        .command = one_cent(COMMAND_OPEN_ACCOUNT), .key_word = "open", .correlation = COMMANDS};
    struct sending funding = {
        .command = one_cent(COMMAND_DEPOSIT), .key_word = "fund", .correlation = COMMANDS + 1};

    opening.command.amount.value = 0;
    opening.command.user_id = TEXT_LITERAL("user");
    opening.command.asset = TEXT_LITERAL("EUR");
    funding.command.amount.value = funds;
    if (!sender_open(&sender) || !sender_send(&sender, &opening) ||
        !sender_send(&sender, &funding) || !sender_await(&sender, SENDER_WINDOW))
        fail_msg("%s", sender.err.text);
    sender_close(&sender);
}

/* The wrong routing key costs order, and so brings the account to every worker. */
static void *publish_withdrawals(void *context)
{
    struct publishing *thread = context;

    thread->ok = sender_open(&thread->sender);
    for (uint32_t i = thread->first; thread->ok && i < thread->first + EACH; i++) {
        char routing_key[32];
        (void)snprintf(routing_key, sizeof routing_key, "anything-%u", i % KEYS);
        struct sending sending = {.command = one_cent(COMMAND_WITHDRAW),
                                  .routing_key = text_of(routing_key),
                                  .key_word = "storm",
                                  .key_number = i,
                                  .correlation = i};
        thread->ok = sender_send(&thread->sender, &sending);
    }
    thread->ok = thread->ok && sender_await(&thread->sender, SENDER_WINDOW);
    sender_close(&thread->sender);
    return NULL;
}

static struct publishing threads[PUBLISHERS];

static void begin_publishing(void)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        threads[i] = (struct publishing){.first = i * EACH};
        assert_int_equal(pthread_create(&threads[i].id, NULL, publish_withdrawals, &threads[i]), 0);
    }
}

static void end_publishing(void)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++)
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
    for (uint32_t i = 0; i < PUBLISHERS; i++)
        if (!threads[i].ok) fail_msg("publisher %u: %s", i, threads[i].sender.err.text);
}

/* --- what comes out ---------------------------------------------------------------------- */

static struct {
    uint32_t wanted, messages, again, replayed, applied;
    bool seen[COMMANDS + 2];
    bool balance_seen[COMMANDS];
    struct codec *codec;
    struct arena scratch;
} answers;

static bool all_answered(void *context)
{
    (void)context;
    return answers.messages == answers.wanted;
}

static void take_withdrawal(const struct reply *reply, uint32_t i)
{
    if (reply->result == RESULT_INSUFFICIENT_FUNDS) return;
    if (reply->result != RESULT_APPLIED)
        fail_msg("withdrawal %u was answered %s", i, result_word(reply->result));
    assert_int_equal(reply->balances_count, 1);
    int64_t balance = reply->balances[0].balance;
    assert_in_range(balance, 0, COMMANDS - 1);
    if (answers.balance_seen[balance])
        fail_msg("two withdrawals left the account at %jd", (intmax_t)balance);
    answers.balance_seen[balance] = true;
    answers.applied++;
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
    assert_in_range(i, 0, COMMANDS + 1);
    if (!reply_decode(answers.codec, delivery->body, ENCODING_MSGPACK, &answers.scratch, &reply,
                      problem))
        fail_msg("message %u: its reply is none: %s", i, problem);
    answers.again += answers.seen[i];
    answers.replayed += reply.replayed;
    if (answers.seen[i]) return;
    answers.seen[i] = true;
    answers.messages++;
    if (i < COMMANDS)
        take_withdrawal(&reply, i);
    else
        assert_int_equal(reply.result, RESULT_APPLIED);
}

static void collect(uint32_t messages)
{
    answers.wanted = messages;
    whole_collect(whole.replies, all_answered, take_reply, NULL);
}

static const struct statement BALANCE = {"storm_balance",
                                         "SELECT balance FROM account WHERE id = 'storm'"};

static void check_books(int64_t balance)
{
    struct db *db = session_as(NULL);

    assert_int_equal(number(db, &BALANCE), balance);
    db_close(db);
    assert_int_equal(whole_verify(), COMMANDS + 2);
}

/* --- the two loads ----------------------------------------------------------------------- */

static void a_storm_of_withdrawals_ends_at_zero(void **state)
{
    (void)state;
    pid_t relay = process_start("ledger-relay", "relay");
    pid_t first = process_start("ledger-worker", "worker-1");
    pid_t second = process_start("ledger-worker", "worker-2");

    whole_await_workers(2);
    open_funded(FUNDS);
    collect(2);
    begin_publishing();
    end_publishing();
    collect(COMMANDS + 2);
    assert_int_equal(answers.applied, FUNDS);
    check_books(0);
    process_end(first, 5000);
    process_end(second, 5000);
    process_end(relay, 5000);
}

static struct {
    uint32_t left, redelivered;
} shards;

/* Looks at what is left in a shard's queue, and leaves it there. */
static void look_at_shard(uint32_t shard)
{
    static struct delivery deliveries[COMMANDS];
    struct consumer_options options = {.url = getenv("LEDGER_AMQP_URL"),
                                       .name = "it_storm",
                                       .heartbeat_s = 60,
                                       .timeout_ms = 15000,
                                       .body_max = BODY_SIZE_MAX};
    struct consumer *consumer;
    struct arena arena;
    uint32_t count = 0;

    must(arena_open(&arena, WHOLE_ARENA, &err));
    must(consumer_open(&consumer, &options, &err));
    must(consumer_subscribe(consumer, whole.names.shard[shard], 0, COMMANDS, &err));
    do {
        must(consumer_fetch(consumer, 500, deliveries, COMMANDS, &arena, &count, &err));
        for (uint32_t i = 0; i < count; i++) shards.redelivered += deliveries[i].redelivered;
        shards.left += count;
    } while (count > 0);
    consumer_close(consumer);
    arena_close(&arena);
}

static void a_worker_leaves_a_load_behind_in_good_order(void **state)
{
    (void)state;
    pid_t relay = process_start("ledger-relay", "relay");
    pid_t worker = process_start("ledger-worker", "worker");

    whole_await_workers(1);
    open_funded(COMMANDS);
    collect(2);
    begin_publishing();
    clock_sleep_ms(150);
    uint64_t from_ms = clock_monotonic_ms();
    process_end(worker, 5000);
    uint64_t took_ms = clock_monotonic_ms() - from_ms;
    end_publishing();
    for (uint32_t i = 0; i < WHOLE_SHARDS; i++) look_at_shard(i);
    print_message("left within %ju ms, with %u of %d commands to come\n", (uintmax_t)took_ms,
                  shards.left, COMMANDS);
    assert_in_range(shards.left, 1, COMMANDS); /* it was in the middle */
    /* What RabbitMQ had assigned and not sent when it was told to cancel; all that was sent is
     * done. */
    assert_in_range(shards.redelivered, 0, WHOLE_SHARDS * PREFETCH);
    worker = process_start("ledger-worker", "worker");
    collect(COMMANDS + 2);
    if (answers.again > 0 || answers.replayed > 0)
        fail_msg("%u commands were answered twice, %u were decided before they came to the next "
                 "worker",
                 answers.again, answers.replayed);
    check_books(0);
    process_end(worker, 5000);
    process_end(relay, 5000);
}

static const struct statement COMMITTING = {
    "storm_committing",
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    "   AND application_name LIKE 'ledger-worker%' AND wait_event_type = 'Lock'"};

/* Kills a worker whose whole commit PostgreSQL has, waiting for a lock of ours. With `backend` gone
 * too it never happens; else it goes through, and nobody is left to acknowledge. */
static void kill_while_committing(pid_t worker, bool backend)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WHOLE_TIMEOUT_MS;
    struct db *db = session_as(NULL), *other = session_as(NULL);

    sql(db, "BEGIN; LOCK TABLE journal IN SHARE MODE");
    begin_publishing();
    while (number(other, &COMMITTING) == 0) {
        if (clock_monotonic_ms() > deadline_ms) fail_msg("the worker does not commit");
        clock_sleep_ms(20);
    }
    clock_sleep_ms(1000); /* an acknowledgement sent too early has landed by then */
    process_kill(worker);
    if (backend)
        sql(other,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'ledger-worker%%'");
    sql(db, "ROLLBACK");
    db_close(db);
    db_close(other);
    end_publishing();
}

static void killed_in_a_commit(bool backend)
{
    pid_t relay = process_start("ledger-relay", "relay");
    pid_t worker = process_start("ledger-worker", "worker");

    whole_await_workers(1);
    open_funded(COMMANDS);
    collect(2);
    kill_while_committing(worker, backend);
    worker = process_start("ledger-worker", "worker");
    collect(COMMANDS + 2);
    check_books(0);
    if (backend) assert_int_equal(answers.replayed, 0);
    if (!backend) assert_true(answers.replayed > 0); /* decided once, delivered again */
    process_end(worker, 5000);
    process_end(relay, 5000);
}

static void killed_before_its_commit_it_loses_nothing(void **state)
{
    (void)state;
    killed_in_a_commit(true);
}

static void killed_after_its_commit_it_does_nothing_twice(void **state)
{
    (void)state;
    killed_in_a_commit(false);
}

static int begin(void **state)
{
    memset(&answers, 0, sizeof answers);
    must(codec_open(&answers.codec, &err));
    must(arena_open(&answers.scratch, 4 << 20, &err));
    return whole_begin(state);
}

static int end(void **state)
{
    codec_close(answers.codec);
    arena_close(&answers.scratch);
    return whole_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_storm_of_withdrawals_ends_at_zero, begin, end),
        cmocka_unit_test_setup_teardown(a_worker_leaves_a_load_behind_in_good_order, begin, end),
        cmocka_unit_test_setup_teardown(killed_before_its_commit_it_loses_nothing, begin, end),
        cmocka_unit_test_setup_teardown(killed_after_its_commit_it_does_nothing_twice, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
