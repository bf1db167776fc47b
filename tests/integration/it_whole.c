/*
 * it_whole.c - the promise, on real servers, while processes are killed. Eight publishers with
 * repeats, reused keys, malformed bodies and a hot account; two workers and two relays that die by
 * SIGKILL in turn. Afterwards: every confirmed command has exactly one outcome, every message its
 * reply, every outcome its events, in order for each account, and the books are right.
 * LEDGER_WHOLE_COMMANDS sets the number of messages (20000).
 */
#include "ledger/verify_pg.h"
#include "tests/whole.h"

#include <pthread.h>

enum {
    PUBLISHERS = 8,
    ACCOUNTS = 100,
    HOT = 0, /* the account that a third of all commands name */
    PROCESSES = 4,
    SEQUENCES_MAX = 400000,
};

enum sent { SENT_FIRST, SENT_REPEAT, SENT_OTHER_PAYLOAD, SENT_MALFORMED };

struct message_sent {
    uint32_t key; /* the number of the message that used the key first */
    enum sent what;
    uint32_t replies;
    enum result result;
};

struct key_answer {
    bool known;
    enum result result;
    struct uuid transaction;
};

static struct {
    uint32_t count, answered, distinct_keys, malformed;
    struct message_sent *sent;
    struct key_answer *answers;
    uint64_t kills;
} run;

static uint32_t total(void)
{
    const char *given = getenv("LEDGER_WHOLE_COMMANDS");
    return given == NULL ? 20000 : (uint32_t)strtoul(given, NULL, 10);
}

/* --- what goes in ------------------------------------------------------------------------ */

struct publishing {
    uint32_t first, last; /* the messages that are this thread's */
    struct codec *codec;
    struct arena arena;
    struct publisher *publisher;
    struct confirm confirms[WHOLE_WINDOW];
    struct err err;
    bool ok;
};

/* The command that belongs to a key, the same each time; another one for a reused key. */
static struct command command_of(uint32_t key, bool other, char names[static 2][32])
{
    uint32_t random = key * 2654435761u;
    struct command command = {.amount = {.value = 1 + (random >> 8) % 500 + other}};
    uint32_t account = random % 3 == 0 ? HOT : 1 + (random >> 4) % (ACCOUNTS - 1);

    (void)snprintf(names[0], 32, "account-%u", key < ACCOUNTS ? key : account);
    (void)snprintf(names[1], 32, "account-%u",
                   (account + 1 + (random >> 12) % (ACCOUNTS - 2)) % ACCOUNTS);
    command.account = text_of(names[0]);
    if (key < ACCOUNTS) {
        command.type = COMMAND_OPEN_ACCOUNT;
        command.user_id = TEXT_LITERAL("user");
        command.asset = TEXT_LITERAL("EUR");
        return command;
    }
    command.type = random % 10 < 4   ? COMMAND_DEPOSIT
                   : random % 10 < 7 ? COMMAND_WITHDRAW
                                     : COMMAND_TRANSFER;
    if (command.type != COMMAND_TRANSFER) return command;
    command.from = command.account;
    command.to = text_of(names[1]);
    command.account = (struct text){0};
    return command;
}

/* One in ten repeats an earlier key of the same thread, one in a hundred misuses one, one in five
 * hundred is broken. */
static void plan_messages(void)
{
    uint32_t share = run.count / PUBLISHERS;

    for (uint32_t i = 0; i < run.count; i++) {
        struct message_sent *sent = &run.sent[i];
        uint32_t first = i / share * share, dice = i * 40503u % 1000;
        *sent = (struct message_sent){.key = i};
        if (i < ACCOUNTS || i - first < 20) dice = 999;
        if (dice < 100)
            sent->what = SENT_REPEAT;
        else if (dice < 110)
            sent->what = SENT_OTHER_PAYLOAD;
        else if (dice < 112)
            sent->what = SENT_MALFORMED;
        if (sent->what == SENT_REPEAT || sent->what == SENT_OTHER_PAYLOAD) {
            uint32_t back = i - 1 - dice % 10;
            while (run.sent[back].what != SENT_FIRST) back--;
            sent->key = back;
        }
        run.distinct_keys += sent->what == SENT_FIRST;
        run.malformed += sent->what == SENT_MALFORMED;
    }
}

static bool publish_one(struct publishing *thread, uint32_t i)
{
    const struct message_sent *sent = &run.sent[i];
    char names[2][32], key[32], correlation[32];
    struct command command = command_of(sent->key, sent->what == SENT_OTHER_PAYLOAD, names);
    struct properties_out properties = {.content_type = TEXT_LITERAL("application/msgpack"),
                                        .type = text_of(command_word(command.type)),
                                        .reply_to = text_of(whole.replies)};
    struct message message = {.exchange = text_of(whole.names.commands),
                              .routing_key = command_ordering_key(&command),
                              .mandatory = true};
    uint64_t sequence;

    (void)snprintf(key, sizeof key, "key-%u", sent->key);
    (void)snprintf(correlation, sizeof correlation, "%u", i);
    properties.message_id = text_of(key);
    properties.correlation_id = text_of(correlation);
    arena_reset(&thread->arena);
    if (!properties_write(&properties, &thread->arena, &message.properties) ||
        !command_encode(thread->codec, &command, ENCODING_MSGPACK, &thread->arena, &message.body))
        return err_set(&thread->err, ERR_FATAL, "the arena is full");
    if (sent->what == SENT_MALFORMED) message.body.size--;
    return publisher_send(thread->publisher, &message, &sequence, &thread->err);
}

static bool take_confirms(struct publishing *thread, uint32_t room)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WHOLE_TIMEOUT_MS;

    while (publisher_room(thread->publisher) < room) {
        uint32_t count = 0;
        if (clock_monotonic_ms() > deadline_ms)
            return err_set(&thread->err, ERR_FATAL, "no confirm within %d ms", WHOLE_TIMEOUT_MS);
        if (!publisher_poll(thread->publisher, 100, thread->confirms, WHOLE_WINDOW, &count,
                            &thread->err))
            return false;
        for (uint32_t i = 0; i < count; i++)
            if (thread->confirms[i].result != CONFIRM_ACK)
                return err_set(&thread->err, ERR_FATAL, "a command was not taken");
    }
    return true;
}

static void *publish(void *context)
{
    struct publishing *thread = context;
    struct publisher_options options = {.url = getenv("LEDGER_AMQP_URL"),
                                        .name = "it_whole publisher",
                                        .heartbeat_s = 60,
                                        .timeout_ms = 15000,
                                        .window = WHOLE_WINDOW};

    thread->ok = codec_open(&thread->codec, &thread->err) &&
                 arena_open(&thread->arena, 1 << 20, &thread->err) &&
                 publisher_open(&thread->publisher, &options, &thread->err);
    for (uint32_t i = thread->first; thread->ok && i < thread->last; i++) {
        thread->ok = take_confirms(thread, 1) && publish_one(thread, i);
        if (i % 100 == 0) clock_sleep_ms(30); /* long enough for a few deaths */
    }
    thread->ok = thread->ok && take_confirms(thread, WHOLE_WINDOW);
    publisher_close(thread->publisher);
    arena_close(&thread->arena);
    codec_close(thread->codec);
    return NULL;
}

/* --- who dies ---------------------------------------------------------------------------- */

static const char *const PROGRAMS[PROCESSES][2] = {{"ledger-worker", "worker-1"},
                                                   {"ledger-relay", "relay-1"},
                                                   {"ledger-worker", "worker-2"},
                                                   {"ledger-relay", "relay-2"}};
static pid_t processes[PROCESSES];

static void start_processes(void)
{
    for (uint32_t i = 0; i < PROCESSES; i++)
        processes[i] = process_start(PROGRAMS[i][0], PROGRAMS[i][1]);
}

static void end_processes(void)
{
    for (uint32_t i = 0; i < PROCESSES; i++) process_end(processes[i], 15000);
}

/* One dies, and is started again at once. */
static void kill_next(void)
{
    uint32_t i = (uint32_t)(run.kills++ % PROCESSES);

    clock_sleep_ms(1200);
    process_kill(processes[i]);
    processes[i] = process_start(PROGRAMS[i][0], PROGRAMS[i][1]);
}

/* --- replies ----------------------------------------------------------------------------- */

static struct codec *codec;
static struct arena scratch;

static bool all_answered(void *context)
{
    (void)context;
    return run.answered == run.count;
}

static void take_reply(void *context, const struct delivery *delivery)
{
    struct properties properties;
    char number[16], problem[PROBLEM_SIZE];
    struct reply reply;

    (void)context;
    arena_reset(&scratch);
    assert_true(properties_parse(delivery->properties, &properties));
    assert_true(text_copy(properties.correlation_id, number, sizeof number));
    uint32_t i = (uint32_t)strtoul(number, NULL, 10);
    assert_in_range(i, 0, run.count - 1);
    if (!reply_decode(codec, delivery->body, ENCODING_MSGPACK, &scratch, &reply, problem))
        fail_msg("message %u: its reply is none: %s", i, problem);
    struct message_sent *sent = &run.sent[i];
    if (sent->replies++ == 0) run.answered++;
    if (sent->what == SENT_MALFORMED) assert_int_equal(reply.result, RESULT_MALFORMED);
    if (sent->what == SENT_MALFORMED) return;
    /* A misused key that came first would own it: threads keep the order of their own keys, so it
     * never does. */
    if (sent->what == SENT_OTHER_PAYLOAD) return;
    struct key_answer *answer = &run.answers[sent->key];
    if (!answer->known) {
        *answer = (struct key_answer){true, reply.result, reply.transaction};
        return;
    }
    if (reply.result != answer->result ||
        uuid_compare(&reply.transaction, &answer->transaction) != 0)
        fail_msg("key %u was answered %s and %s", sent->key, result_word(answer->result),
                 result_word(reply.result));
}

/* --- events ------------------------------------------------------------------------------ */

struct history {
    int64_t last_seq;
    struct uuid *transactions; /* by sequence number */
};

static struct {
    struct history accounts[ACCOUNTS];
    int64_t wanted, seen, repeats;
} told;

static bool all_told(void *context)
{
    (void)context;
    return told.seen == told.wanted;
}

static void take_event(void *context, const struct delivery *delivery)
{
    char problem[PROBLEM_SIZE], name[ID_LENGTH_MAX + 1];
    struct event event;

    (void)context;
    arena_reset(&scratch);
    if (!event_decode(codec, delivery->body, ENCODING_MSGPACK, &scratch, &event, problem))
        fail_msg("an event is none: %s", problem);
    if (event.type != EVENT_TRANSACTION_CREATED) return;
    assert_true(text_copy(event.account, name, sizeof name));
    struct history *history = &told.accounts[strtoul(name + strlen("account-"), NULL, 10)];
    assert_in_range(event.seq, 1, SEQUENCES_MAX - 1);
    if (event.seq <= history->last_seq) {
        if (uuid_compare(&history->transactions[event.seq], &event.transaction) != 0)
            fail_msg("%s: two transactions have number %jd", name, (intmax_t)event.seq);
        told.repeats++;
        return;
    }
    if (event.seq != history->last_seq + 1)
        fail_msg("%s: event %jd came after %jd", name, (intmax_t)event.seq,
                 (intmax_t)history->last_seq);
    history->last_seq = event.seq;
    history->transactions[event.seq] = event.transaction;
    told.seen++;
}

/* --- what is left behind ----------------------------------------------------------------- */

static const struct statement OUTCOMES = {"whole_outcomes", "SELECT count(*) FROM journal"};
static const struct statement SIDES = {"whole_sides",
                                       "SELECT count(debit_seq) + count(credit_seq) FROM journal "
                                       "WHERE result IS NULL AND command > 1"};

static void show(void *context, const char *sentence)
{
    (void)context;
    print_error("%s\n", sentence);
}

static struct {
    uint32_t letters;
    bool *seen;
} dead;

static bool all_dead(void *context)
{
    (void)context;
    return dead.letters == run.malformed;
}

static void take_dead_letter(void *context, const struct delivery *delivery)
{
    struct properties properties;
    char number[16];

    (void)context;
    assert_true(properties_parse(delivery->properties, &properties));
    assert_true(text_copy(properties.correlation_id, number, sizeof number));
    uint32_t i = (uint32_t)strtoul(number, NULL, 10);
    assert_in_range(i, 0, run.count - 1);
    if (run.sent[i].what != SENT_MALFORMED) fail_msg("message %u was dead-lettered", i);
    if (!dead.seen[i]) dead.letters++;
    dead.seen[i] = true;
}

static void check_what_is_stored(void)
{
    struct verify_report report = {0};
    struct db *db = session_as(NULL);

    assert_int_equal(number(db, &OUTCOMES), run.distinct_keys);
    told.wanted = number(db, &SIDES);
    must(verify_run(db, 20, show, NULL, &report, &err));
    assert_int_equal(report.differences, 0);
    db_close(db);
}

static void open_memory(void)
{
    run.count = total() / PUBLISHERS * PUBLISHERS;
    run.sent = calloc(run.count, sizeof *run.sent);
    run.answers = calloc(run.count, sizeof *run.answers);
    dead.seen = calloc(run.count, sizeof *dead.seen);
    assert_true(run.sent != NULL && run.answers != NULL && dead.seen != NULL);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        told.accounts[i].transactions = calloc(SEQUENCES_MAX, sizeof(struct uuid));
        assert_non_null(told.accounts[i].transactions);
    }
    must(codec_open(&codec, &err));
    must(arena_open(&scratch, 4 << 20, &err));
}

static void close_memory(void)
{
    for (uint32_t i = 0; i < ACCOUNTS; i++) free(told.accounts[i].transactions);
    free(run.sent);
    free(run.answers);
    free(dead.seen);
    codec_close(codec);
    arena_close(&scratch);
}

static void nothing_is_lost_or_done_twice_while_processes_die(void **state)
{
    (void)state;
    static struct publishing threads[PUBLISHERS];
    static pthread_t ids[PUBLISHERS];

    open_memory();
    plan_messages();
    start_processes();
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        threads[i].first = i * (run.count / PUBLISHERS);
        threads[i].last = threads[i].first + run.count / PUBLISHERS;
        assert_int_equal(pthread_create(&ids[i], NULL, publish, &threads[i]), 0);
    }
    for (uint32_t left = PUBLISHERS; left > 0;) {
        kill_next();
        while (left > 0 && pthread_tryjoin_np(ids[left - 1], NULL) == 0) left--;
    }
    for (uint32_t i = 0; i < PROCESSES; i++) kill_next(); /* while the rest is worked off */
    for (uint32_t i = 0; i < PUBLISHERS; i++)
        if (!threads[i].ok) fail_msg("publisher %u: %s", i, threads[i].err.text);
    whole_collect(whole.replies, all_answered, take_reply, NULL);
    check_what_is_stored();
    whole_collect(whole.events, all_told, take_event, NULL);
    whole_collect(whole.names.dlq, all_dead, take_dead_letter, NULL);
    end_processes();
    print_message("%u messages, %u keys, %ju processes killed; %jd events came again\n", run.count,
                  run.distinct_keys, (uintmax_t)run.kills, (intmax_t)told.repeats);
    assert_true(run.kills > PROCESSES);
    close_memory();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_lost_or_done_twice_while_processes_die,
                                        whole_begin, whole_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
