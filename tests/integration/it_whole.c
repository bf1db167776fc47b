/*
 * it_whole.c - the promise, on real servers, while processes are killed. Eight publishers with
 * repeats, reused keys, malformed bodies and a hot account; two workers and two relays that die by
 * SIGKILL in turn. Afterwards: every confirmed command has exactly one outcome, every message its
 * reply, every outcome its events, in order for each account, and the books are right.
 * LEDGER_WHOLE_COMMANDS sets the number of messages (20000).
 */
#include "tests/sender.h"

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
    bool known, told; /* by a reply; by an event, when one tells all of it */
    enum result result;
    struct uuid transaction;
};

static struct {
    uint32_t count, answered, answered_again, distinct_keys, malformed;
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
    struct sender sender;
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
        if (i < ACCOUNTS + 20 || i - first < 20)
            dice = 999; /* no key to use again, or an opening */
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

static bool publish_one(struct sender *sender, uint32_t i)
{
    const struct message_sent *sent = &run.sent[i];
    char names[2][32];
    struct sending sending = {.command =
                                  command_of(sent->key, sent->what == SENT_OTHER_PAYLOAD, names),
                              .key_word = "key",
                              .key_number = sent->key,
                              .correlation = i,
                              .cut_short = sent->what == SENT_MALFORMED};

    return sender_send(sender, &sending);
}

static void *publish(void *context)
{
    struct publishing *thread = context;

    thread->ok = sender_open(&thread->sender);
    for (uint32_t i = thread->first; thread->ok && i < thread->last; i++) {
        thread->ok = publish_one(&thread->sender, i);
        if (i % 20 == 0) clock_sleep_ms(100); /* without end while processes die */
    }
    thread->ok = thread->ok && sender_await(&thread->sender, SENDER_WINDOW);
    sender_close(&thread->sender);
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

/* One dies, at no particular moment, and is started again at once. */
static void kill_next(void)
{
    uint32_t i = (uint32_t)(run.kills++ % PROCESSES), random;

    random_bytes(&random, sizeof random);
    clock_sleep_ms(600 + random % 600);
    process_kill(processes[i]);
    processes[i] = process_start(PROGRAMS[i][0], PROGRAMS[i][1]);
}

static const struct statement WAITING = {
    "whole_waiting", "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                     " WHERE wait_event_type = 'Lock' AND datname = current_database()"
                     "   AND query LIKE 'UPDATE outbox_cursor%'"};

/* The leading relay dies when it has published and may not yet say so: the cursor's row is locked
 * while it saves. So what it published since comes again, from its successor. */
static void kill_a_relay_that_saves(void)
{
    struct db *owner = session_as(NULL), *watch = session_as(NULL);
    uint64_t deadline_ms = clock_monotonic_ms() + 20000;

    sql(owner, "BEGIN");
    do { /* the cursor is made by the first leader */
        if (clock_monotonic_ms() > deadline_ms) fail_msg("no relay saved its cursor");
        sql(owner, "SELECT FROM outbox_cursor FOR UPDATE");
        clock_sleep_ms(5);
    } while (number(watch, &WAITING) == 0);
    for (uint32_t i = 0; i < PROCESSES; i++) {
        if (strcmp(PROGRAMS[i][0], "ledger-relay") != 0) continue;
        process_kill(processes[i]);
        processes[i] = process_start(PROGRAMS[i][0], PROGRAMS[i][1]);
        run.kills++;
    }
    sql(owner, "COMMIT");
    db_close(owner);
    db_close(watch);
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
    if (sent->replies++ == 0)
        run.answered++;
    else
        run.answered_again++;
    if (sent->what == SENT_MALFORMED) assert_int_equal(reply.result, RESULT_MALFORMED);
    if (sent->what == SENT_MALFORMED) return;
    /* Both were published after the key's first use, over one channel and under one routing key. */
    if (sent->what == SENT_OTHER_PAYLOAD) assert_int_equal(reply.result, RESULT_KEY_REUSED);
    if (sent->what == SENT_OTHER_PAYLOAD) return;
    if (sent->what == SENT_REPEAT && !reply.replayed)
        fail_msg("message %u repeats key %u, and was decided anew", i, sent->key);
    struct key_answer *answer = &run.answers[sent->key];
    if (!answer->known) {
        *answer = (struct key_answer){
            .known = true, .result = reply.result, .transaction = reply.transaction};
        return;
    }
    if (reply.result != answer->result ||
        uuid_compare(&reply.transaction, &answer->transaction) != 0)
        fail_msg("key %u was answered %s and %s", sent->key, result_word(answer->result),
                 result_word(reply.result));
}

/* --- events ------------------------------------------------------------------------------ */

struct history { /* of one account, as its events tell it */
    bool opened;
    int64_t last_seq, balance;
    uint64_t *message_ids; /* their hashes, by sequence number */
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

static uint32_t number_in(struct text text, const char *prefix)
{
    char copy[ID_LENGTH_MAX + 1];

    assert_true(text_copy(text, copy, sizeof copy));
    assert_int_equal(strncmp(copy, prefix, strlen(prefix)), 0);
    return (uint32_t)strtoul(copy + strlen(prefix), NULL, 10);
}

static uint64_t hash(struct text text) /* FNV-1a */
{
    uint64_t hash = 14695981039346656037u;

    for (uint32_t i = 0; i < text.length; i++)
        hash = (hash ^ (uint8_t)text.bytes[i]) * 1099511628211u;
    return hash;
}

/* A change of a balance: the next one, or one told before, under the same message_id. */
static void take_change(const struct event *event, uint64_t message_id)
{
    uint32_t account = number_in(event->account, "account-");
    assert_in_range(account, 0, ACCOUNTS - 1);
    struct history *history = &told.accounts[account];
    int64_t seq = event->seq, last = history->last_seq;

    assert_in_range(seq, 1, SEQUENCES_MAX - 1);
    if (!history->opened) fail_msg("account-%u changed before it was opened", account);
    if (seq <= last) {
        if (history->message_ids[seq] != message_id)
            fail_msg("account-%u: two messages tell change %jd", account, (intmax_t)seq);
        told.repeats++;
        return;
    }
    if (seq != last + 1)
        fail_msg("account-%u: change %jd came after %jd", account, (intmax_t)seq, (intmax_t)last);
    history->balance += event->is_credit ? event->amount : -event->amount;
    if (event->new_balance != history->balance || history->balance < 0)
        fail_msg("account-%u: after change %jd it is at %jd; the event says %jd", account,
                 (intmax_t)seq, (intmax_t)history->balance, (intmax_t)event->new_balance);
    history->last_seq = seq;
    history->message_ids[seq] = message_id;
    told.seen++;
}

static void take_event(void *context, const struct delivery *delivery)
{
    char problem[PROBLEM_SIZE];
    struct properties properties;
    struct event event;

    (void)context;
    arena_reset(&scratch);
    assert_true(properties_parse(delivery->properties, &properties));
    if (!event_decode(codec, delivery->body, ENCODING_MSGPACK, &scratch, &event, problem))
        fail_msg("an event is none: %s", problem);
    uint32_t key = number_in(event.key, "key-");
    assert_in_range(key, 0, run.count - 1);
    struct key_answer *answer = &run.answers[key];
    bool refused = event.type == EVENT_COMMAND_REJECTED;
    if (event.result != answer->result || refused != (answer->result != RESULT_APPLIED) ||
        (!refused && uuid_compare(&event.transaction, &answer->transaction) != 0))
        fail_msg("key %u: the reply says \"%s\", the event %s \"%s\"", key,
                 result_word(answer->result), event_word(event.type), result_word(event.result));
    if (event.type == EVENT_TRANSACTION_CREATED) {
        take_change(&event, hash(properties.message_id));
        return;
    }
    if (event.type == EVENT_ACCOUNT_OPENED) told.accounts[key].opened = true;
    told.repeats += answer->told;
    told.seen += !answer->told;
    answer->told = true;
}

/* --- what is left behind ----------------------------------------------------------------- */

static const struct statement OUTCOMES = {"whole_outcomes", "SELECT count(*) FROM journal"};
static const struct statement SIDES = {"whole_sides",
                                       "SELECT count(debit_seq) + count(credit_seq) FROM journal "
                                       "WHERE result IS NULL AND command > 1"};
static const struct statement OTHERS = {
    "whole_others", "SELECT count(*) FROM journal WHERE result IS NOT NULL OR command = 1"};

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
    struct db *db = session_as(NULL);

    assert_int_equal(number(db, &OUTCOMES), run.distinct_keys);
    told.wanted = number(db, &SIDES) + number(db, &OTHERS);
    db_close(db);
    (void)whole_verify();
}

static void open_memory(void)
{
    run.count = total() / PUBLISHERS * PUBLISHERS;
    run.sent = calloc(run.count, sizeof *run.sent);
    run.answers = calloc(run.count, sizeof *run.answers);
    dead.seen = calloc(run.count, sizeof *dead.seen);
    assert_true(run.sent != NULL && run.answers != NULL && dead.seen != NULL);
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        told.accounts[i].message_ids = calloc(SEQUENCES_MAX, sizeof(uint64_t));
        assert_non_null(told.accounts[i].message_ids);
    }
    must(codec_open(&codec, &err));
    must(arena_open(&scratch, 4 << 20, &err));
}

static void close_memory(void)
{
    for (uint32_t i = 0; i < ACCOUNTS; i++) free(told.accounts[i].message_ids);
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
    kill_a_relay_that_saves();
    for (uint32_t left = PUBLISHERS; left > 0;) {
        kill_next();
        while (left > 0 && pthread_tryjoin_np(ids[left - 1], NULL) == 0) left--;
    }
    for (uint32_t i = 0; i < PROCESSES; i++) kill_next(); /* while the rest is worked off */
    for (uint32_t i = 0; i < PUBLISHERS; i++)
        if (!threads[i].ok) fail_msg("publisher %u: %s", i, threads[i].sender.err.text);
    whole_collect(whole.replies, all_answered, take_reply, NULL);
    check_what_is_stored();
    whole_collect(whole.events, all_told, take_event, NULL);
    whole_collect(whole.names.dlq, all_dead, take_dead_letter, NULL);
    end_processes();
    print_message("%u messages, %u keys, %ju processes killed; %u replies and %jd events came "
                  "again\n",
                  run.count, run.distinct_keys, (uintmax_t)run.kills, run.answered_again,
                  (intmax_t)told.repeats);
    assert_true(run.kills > 2 * PROCESSES);
    assert_true(told.repeats > 0 || run.answered_again > 0); /* by the relay that could not save */
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
