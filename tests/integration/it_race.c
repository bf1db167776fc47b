/*
 * it_race.c - everything that can end a hold, and everything that can reverse a transaction, at
 * once: 10,000 holds and 10,000 transactions, each with four commands about it from four of eight
 * publishers, under routing keys that bring them to both workers, while the sweep expires what is
 * due. Each has exactly one winner, every other answer is the refusal that says who it was, and
 * nothing stays held. LEDGER_RACE_TARGETS sets how many holds and transactions together (20000).
 */
#include "tests/sender.h"

#include <pthread.h>

enum {
    PUBLISHERS = 8,
    ACCOUNTS = 200,
    AMOUNT = 10, /* of each hold and transaction */
    PART = 3,
    EACH = 4, /* commands about one target */
    AROUND_MS = 1500,
};

/* About a hold. Of a transaction all four reverse it, the second and the fourth in part. */
enum racer { CAPTURES, TAKES_PART, RELEASES, EXPIRES };

struct answer {
    bool known;
    enum result result;
    struct uuid transaction;
    int64_t timestamp_us;
};

struct prize {
    struct uuid id;
    int64_t expires_us; /* 0: never */
    bool swept;         /* the sweep expired it ... */
    int64_t swept_us;   /* ... then */
};

/* Messages are numbered: accounts are opened, funded, then come the targets, then the race. */
static struct {
    uint32_t targets, funding, placing, racing, count;
    struct answer *answers;
    struct prize *prizes;
    uint32_t answered, wanted;
    uint32_t won[EACH], swept, reversed[EACH];
} run;

static struct codec *codec;
static struct arena scratch;

static bool is_hold(uint32_t target)
{
    return target % 2 == 0;
}

/* --- what goes in ------------------------------------------------------------------------ */

enum { NAME_SIZE = 24 };

static struct text name_of(uint32_t account, char name[static NAME_SIZE])
{
    (void)snprintf(name, NAME_SIZE, "racer-%u", account % ACCOUNTS);
    return text_of(name);
}

static struct command placing(uint32_t target, char names[static 2][NAME_SIZE])
{
    struct command command = {.type = COMMAND_HOLD, .amount.value = AMOUNT};
    struct text first = name_of(target / 2, names[0]);

    if (is_hold(target)) {
        command.account = first;
        return command;
    }
    command.type = COMMAND_TRANSFER;
    command.from = first;
    command.to = name_of(target / 2 + 1, names[1]);
    return command;
}

static struct command racing(uint32_t target, enum racer racer, char names[static 2][NAME_SIZE])
{
    static const enum command_type types[EACH] = {COMMAND_CAPTURE, COMMAND_CAPTURE, COMMAND_RELEASE,
                                                  COMMAND_EXPIRE_HOLD};
    bool is_part = racer == TAKES_PART || (!is_hold(target) && racer == EXPIRES);
    struct command command = {.type = is_hold(target) ? types[racer] : COMMAND_REVERSE,
                              .transaction = run.prizes[target].id,
                              .has_amount = is_part,
                              .amount.value = is_part ? PART : 0,
                              .keeps_rest = is_hold(target) && racer == TAKES_PART};

    if (command.type == COMMAND_CAPTURE && target % 4 == 0)
        command.to = name_of(target / 2 + 1, names[0]);
    return command;
}

static uint32_t target_of(uint32_t i)
{
    return (i - run.racing) / EACH;
}

/* Each publisher comes to send each kind: one that is ahead does not decide the race. */
static enum racer racer_of(uint32_t i)
{
    return (enum racer)((i - run.racing + target_of(i) / 2) % EACH);
}

static struct command command_of(uint32_t i, char names[static 2][NAME_SIZE])
{
    struct command command = {.type = COMMAND_OPEN_ACCOUNT};

    if (i >= run.racing) return racing(target_of(i), racer_of(i), names);
    if (i >= run.placing) return placing(i - run.placing, names);
    command.account = name_of(i, names[0]);
    if (i < run.funding) {
        command.user_id = TEXT_LITERAL("user");
        command.asset = TEXT_LITERAL("EUR");
        return command;
    }
    command.type = COMMAND_DEPOSIT;
    command.amount.value = (int64_t)AMOUNT * run.targets;
    return command;
}

struct publishing {
    pthread_t id;
    uint32_t first, end; /* every PUBLISHERSth message */
    struct sender sender;
    bool ok;
};

/* In the race a routing key of its own for each message: they come to any worker, in no order. */
static void *publish(void *context)
{
    struct publishing *thread = context;

    thread->ok = sender_open(&thread->sender);
    for (uint32_t i = thread->first; thread->ok && i < thread->end; i += PUBLISHERS) {
        char names[2][NAME_SIZE], routing_key[NAME_SIZE];
        struct sending sending = {
            .command = command_of(i, names), .key_word = "race", .key_number = i, .correlation = i};
        (void)snprintf(routing_key, sizeof routing_key, "any-%u", i);
        if (i >= run.racing) sending.routing_key = text_of(routing_key);
        thread->ok = sender_send(&thread->sender, &sending);
    }
    thread->ok = thread->ok && sender_await(&thread->sender, SENDER_WINDOW);
    sender_close(&thread->sender);
    return NULL;
}

/* --- what comes out ---------------------------------------------------------------------- */

static bool all_answered(void *context)
{
    (void)context;
    return run.answered == run.wanted;
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
    if (i < run.racing && reply.result != RESULT_APPLIED)
        fail_msg("message %u was answered %s", i, result_word(reply.result));
    run.answered += !run.answers[i].known;
    run.answers[i] = (struct answer){true, reply.result, reply.transaction, reply.timestamp_us};
}

/* Messages up to `end`, from all publishers at once; returns when all are answered. */
static void publish_until(uint32_t first, uint32_t end)
{
    static struct publishing threads[PUBLISHERS];

    run.wanted = end;
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        threads[i] = (struct publishing){.first = first + i, .end = end};
        assert_int_equal(pthread_create(&threads[i].id, NULL, publish, &threads[i]), 0);
    }
    whole_collect(whole.replies, all_answered, take_reply, NULL);
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
        if (!threads[i].ok) fail_msg("publisher %u: %s", i, threads[i].sender.err.text);
    }
}

/* --- what the database says of the holds ------------------------------------------------- */

struct by_id {
    struct uuid id;
    struct prize *prize;
};

static int compare_ids(const void *a, const void *b)
{
    return uuid_compare(a, b);
}
_Static_assert(offsetof(struct by_id, id) == 0, "so that ids can be compared");

/* Calls fill(prize, time) for each row, which has an id and a time. */
static void for_each_row(const struct statement *statement,
                         void (*fill)(struct prize *prize, int64_t time_us))
{
    struct by_id *sorted = calloc(run.targets, sizeof *sorted);
    struct db *db = session_as(NULL);
    PGresult *rows;

    assert_non_null(sorted);
    for (uint32_t i = 0; i < run.targets; i++)
        sorted[i] = (struct by_id){run.prizes[i].id, &run.prizes[i]};
    qsort(sorted, run.targets, sizeof *sorted, compare_ids);
    must(query_one(db, statement, NULL, 0, &rows, &err));
    for (int row = 0; row < PQntuples(rows); row++) {
        struct uuid id = cell_uuid(rows, row, 0);
        const struct by_id *found = bsearch(&id, sorted, run.targets, sizeof *sorted, compare_ids);
        assert_non_null(found);
        fill(found->prize, cell_time_us(rows, row, 1));
    }
    PQclear(rows);
    db_close(db);
    free(sorted);
}

static void fill_expires(struct prize *prize, int64_t time_us)
{
    prize->expires_us = time_us;
}

static void fill_swept(struct prize *prize, int64_t time_us)
{
    prize->swept = true;
    prize->swept_us = time_us;
}

static const struct statement DUE = {
    "race_due", "SELECT id, expires_at FROM hold WHERE expires_at IS NOT NULL"};
static const struct statement SWEPT = {
    "race_swept", "SELECT refers, created_at FROM journal WHERE command = 8 AND result IS NULL"
                  "   AND key LIKE 'expire:%'"};

/* From the first decision to the last, by the database's clock: replies come later. */
static int64_t decided_within_us(uint32_t first, uint32_t end)
{
    int64_t least = INT64_MAX, most = 0;

    for (uint32_t i = first; i < end; i++) {
        int64_t at_us = run.answers[i].timestamp_us;
        if (at_us < least) least = at_us;
        if (at_us > most) most = at_us;
    }
    return most - least;
}

/* Every second hold is due about when its turn comes. UUIDs of version 7 are in the order in which
 * they were made. */
static void set_expiries(void)
{
    struct db *db = session_as(NULL);

    sql(db,
        "UPDATE hold SET expires_at = clock_timestamp() + place * interval '%jd us'"
        "                           + (random() - 0.8) * interval '%d ms'"
        "  FROM (SELECT id, percent_rank() OVER (ORDER BY id) AS place FROM hold) AS placed"
        " WHERE hold.id = placed.id AND hashtext(hold.id::text) %% 2 = 0",
        (intmax_t)(EACH * decided_within_us(run.placing, run.racing)), 2 * AROUND_MS);
    db_close(db);
    for_each_row(&DUE, fill_expires);
}

/* --- one winner, and the right word for everybody else ----------------------------------- */

static const struct answer *answer_to(uint32_t target, uint32_t racer)
{
    uint32_t i = run.racing + target * EACH;

    while (racer_of(i) != (enum racer)racer) i++;
    return &run.answers[i];
}

static void check_reversals(uint32_t target)
{
    int64_t won_us = 0;
    uint32_t winners = 0;

    for (uint32_t i = 0; i < EACH; i++) {
        if (answer_to(target, i)->result != RESULT_APPLIED) continue;
        winners++;
        won_us = answer_to(target, i)->timestamp_us;
        run.reversed[i]++;
    }
    if (winners != 1) fail_msg("transaction %u was reversed %u times", target, winners);
    for (uint32_t i = 0; i < EACH; i++) {
        if (answer_to(target, i)->result == RESULT_APPLIED) continue;
        if (answer_to(target, i)->result != RESULT_ALREADY_REVERSED ||
            answer_to(target, i)->timestamp_us < won_us)
            fail_msg("transaction %u: reversal %u was answered %s", target, i,
                     result_word(answer_to(target, i)->result));
    }
}

struct ending {
    uint32_t winners;
    enum result word; /* for who comes later */
    int64_t at_us;
};

static struct ending ending_of(uint32_t target)
{
    static const enum result words[EACH] = {[CAPTURES] = RESULT_HOLD_CAPTURED,
                                            [RELEASES] = RESULT_HOLD_RELEASED,
                                            [EXPIRES] = RESULT_HOLD_EXPIRED};
    struct ending ending = {0};

    if (run.prizes[target].swept) {
        ending = (struct ending){1, RESULT_HOLD_EXPIRED, run.prizes[target].swept_us};
        run.swept++;
    }
    for (uint32_t i = 0; i < EACH; i++) {
        if (answer_to(target, i)->result != RESULT_APPLIED) continue;
        run.won[i]++;
        if (i == TAKES_PART) continue; /* it leaves the rest to the others */
        ending = (struct ending){ending.winners + 1, words[i], answer_to(target, i)->timestamp_us};
    }
    return ending;
}

/* Whether a command that did not end the hold was answered as it must be. */
static bool is_right(uint32_t target, enum racer racer, const struct ending *ending)
{
    const struct answer *answer = answer_to(target, racer);
    int64_t expires_us = run.prizes[target].expires_us, at_us = answer->timestamp_us;
    bool was_due = expires_us != 0 && at_us >= expires_us;

    if (answer->result == ending->word && at_us >= ending->at_us) return true;
    if (at_us > ending->at_us) return false;
    /* Before it ended. */
    if (racer == TAKES_PART && answer->result == RESULT_APPLIED) return !was_due;
    if (racer == EXPIRES) return answer->result == RESULT_HOLD_NOT_DUE && !was_due;
    return answer->result == RESULT_HOLD_EXPIRED && racer != RELEASES && was_due;
}

static void check_hold(uint32_t target)
{
    struct ending ending = ending_of(target);

    if (ending.winners != 1) fail_msg("hold %u was ended %u times", target, ending.winners);
    for (uint32_t i = 0; i < EACH; i++) {
        bool is_winner = i != TAKES_PART && answer_to(target, i)->result == RESULT_APPLIED;
        if (is_winner || is_right(target, (enum racer)i, &ending)) continue;
        fail_msg("hold %u, of which others are told \"%s\": command %u was answered \"%s\"", target,
                 result_word(ending.word), i, result_word(answer_to(target, i)->result));
    }
}

static void check_winners(void)
{
    for (uint32_t i = 0; i < run.targets; i++)
        if (is_hold(i))
            check_hold(i);
        else
            check_reversals(i);
    print_message("of %u holds: %u captured (%u in part before that), %u released, %u expired by "
                  "command, %u by the sweep\n",
                  run.targets / 2, run.won[CAPTURES], run.won[TAKES_PART], run.won[RELEASES],
                  run.won[EXPIRES], run.swept);
    for (uint32_t i = 0; i < EACH; i++) {
        assert_true(run.won[i] > 0); /* else there was no race */
        assert_true(run.reversed[i] > 0);
    }
    assert_true(run.swept > 0);
}

static const struct statement HELD = {"race_held", "SELECT sum(held)::int8 FROM account"};
static const struct statement OPEN = {"race_open", "SELECT count(*) FROM hold WHERE remaining > 0"};
static const struct statement SETTLED = {
    "race_settled", "SELECT count(*) FROM journal WHERE settles AND result IS NULL"};

static void check_what_is_stored(void)
{
    struct db *db = session_as(NULL);

    assert_int_equal(number(db, &HELD), 0);
    assert_int_equal(number(db, &OPEN), 0);
    assert_int_equal(number(db, &SETTLED), run.targets);
    db_close(db);
    (void)whole_verify();
}

/* --- all of it --------------------------------------------------------------------------- */

static void begin_run(void)
{
    const char *given = getenv("LEDGER_RACE_TARGETS");

    run.targets = (given == NULL ? 10000 : (uint32_t)strtoul(given, NULL, 10)) / 4 * 4;
    run.funding = ACCOUNTS;
    run.placing = run.funding + ACCOUNTS;
    run.racing = run.placing + run.targets;
    run.count = run.racing + run.targets * EACH;
    run.answers = calloc(run.count, sizeof *run.answers);
    run.prizes = calloc(run.targets, sizeof *run.prizes);
    assert_true(run.answers != NULL && run.prizes != NULL);
    must(codec_open(&codec, &err));
    must(arena_open(&scratch, 4 << 20, &err));
}

static void end_run(void)
{
    free(run.answers);
    free(run.prizes);
    codec_close(codec);
    arena_close(&scratch);
}

static void each_has_one_winner_whoever_races(void **state)
{
    (void)state;
    begin_run();
    pid_t relay = process_start("ledger-relay", "relay");
    pid_t first = process_start("ledger-worker", "worker-1");
    pid_t second = process_start("ledger-worker", "worker-2");

    whole_await_workers(2);
    publish_until(0, run.funding);
    publish_until(run.funding, run.placing);
    publish_until(run.placing, run.racing);
    for (uint32_t i = 0; i < run.targets; i++)
        run.prizes[i].id = run.answers[run.placing + i].transaction;
    set_expiries();
    publish_until(run.racing, run.count);
    print_message("placed in %jd ms, raced in %jd ms\n",
                  (intmax_t)decided_within_us(run.placing, run.racing) / 1000,
                  (intmax_t)decided_within_us(run.racing, run.count) / 1000);
    for_each_row(&SWEPT, fill_swept);
    check_winners();
    check_what_is_stored();
    process_end(first, 5000);
    process_end(second, 5000);
    process_end(relay, 5000);
    end_run();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_has_one_winner_whoever_races, whole_begin, whole_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
