/*
 * it_schedule.c - scheduled commands through a real database, in the worker's role: kept, found
 * when they are due by the database's clock and in order, ended once whoever races, and told by
 * queries and by the verifier. What the worker makes of crashes and refusals is in it_schedule.sh.
 */
#include "ledger/pending_pg.h"
#include "protocol/pack.h"
#include "tests/books.h"
#include "worker/sweep_pg.h"

#include <sys/wait.h>
#include <unistd.h>

static struct sweep found;

/* By the server's clock. */
static int64_t in_seconds(int64_t seconds)
{
    return ask("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8") +
           seconds * 1000000;
}

static struct work *add_later(const char *key, struct command command, int64_t due_us)
{
    command.conditions.not_before_us = due_us;
    struct work *work = batch_add(bench, key, command);
    struct request *request = &bench->requests[work - bench->works];

    request->trace.span_id[0] = 1;
    request->properties.app_id = request->caller;
    return work;
}

static struct uuid schedule(const char *key, struct command command, int64_t due_us)
{
    batch_begin(bench);
    struct work *work = add_later(key, command, due_us);
    batch_run(bench);
    assert_int_equal(work->reply.result, RESULT_SCHEDULED);
    assert_int_equal(work->reply.scheduled_us, due_us);
    return work->id;
}

static struct command about(enum command_type type, const struct uuid *id)
{
    return (struct command){.type = type, .transaction = *id};
}

/* Everything that waits is due from now on, in the order of what was asked for. */
static void let_time_pass(void)
{
    sql(owner, "UPDATE scheduled SET due_at = due_at - interval '1 year' WHERE NOT done");
}

/* --- what is due, as the worker does it --- */

static void find_due_behind(struct sweep_place place)
{
    batch_begin(bench);
    must(sweep_scheduled(bench->db, &bench->arena, place, &found, &err));
}

static uint64_t find_due(void)
{
    find_due_behind((struct sweep_place){0});
    return found.waited_us;
}

static void execute_found(void)
{
    for (uint32_t i = 0; i < found.count; i++) batch_add_due(bench, &found.incoming[i]);
    if (found.count > 0) batch_run(bench);
}

static const struct transaction_view *look_at(const struct uuid *id)
{
    const struct reply *reply = run_one(bench, NULL, about(COMMAND_GET_TRANSACTION, id));

    assert_int_equal(reply->result, RESULT_APPLIED);
    assert_non_null(reply->details);
    return reply->details;
}

/* --- tests --- */

static void it_waits_and_is_executed_once(void **state)
{
    int64_t due_us = in_seconds(3600);

    (void)state;
    struct uuid id = schedule("later", deposit("a", 7), due_us);
    struct uuid trace_id = bench->requests[0].trace.trace_id;
    assert_int_equal(find_due(), 0);
    assert_int_equal(found.count, 0);
    const struct transaction_view *view = look_at(&id);
    assert_int_equal(view->type, COMMAND_DEPOSIT);
    assert_int_equal(view->scheduled_us, due_us);
    assert_true(uuid_is_zero(&view->ended));
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'a'"), 0);
    expect_clean_books();

    let_time_pass();
    assert_true(find_due() > 3600 * UINT64_C(1000000));
    assert_int_equal(found.count, 1);
    execute_found();
    assert_int_equal(bench->works[0].reply.result, RESULT_APPLIED);
    struct uuid executed = bench->works[0].id;
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'a'"), 7);
    assert_int_equal(find_due(), 0);
    assert_int_equal(found.count, 0);
    view = look_at(&id);
    assert_int_equal(uuid_compare(&view->ended, &executed), 0);
    assert_int_equal(view->ended_result, RESULT_APPLIED);
    view = look_at(&executed);
    assert_int_equal(uuid_compare(&view->scheduled, &id), 0);
    assert_int_equal(uuid_compare(&view->trace_id, &trace_id), 0);
    assert_true(text_equal(view->caller, text_of("tests")));
    assert_true(text_equal(view->key, text_of("later")));
    assert_int_equal(view->amount, 7);
    sql(owner, "UPDATE scheduled SET due_at = due_at + interval '1 year'");
    expect_clean_books();
}

/* Before its time and after it: the first answer, byte for byte, for ever. */
static void a_repeat_gets_the_first_answer(void **state)
{
    int64_t due_us = in_seconds(3600);
    struct bytes first, again;
    struct arena kept;

    (void)state;
    must(arena_open(&kept, 1 << 20, &err));
    schedule("later", withdraw("a", 7), due_us);
    assert_true(reply_encode(bench->codec, &bench->works[0].reply, ENCODING_JSON, &kept, &first));
    for (uint32_t i = 0; i < 2; i++) {
        batch_begin(bench);
        struct work *work = add_later("later", withdraw("a", 7), due_us);
        struct work *other = add_later("later", withdraw("a", 8), due_us);
        struct work *sooner = add_later("later", withdraw("a", 7), due_us - 1);
        batch_run(bench);
        assert_int_equal(work->origin, ORIGIN_REPEATED);
        assert_true(work->reply.replayed);
        work->reply.replayed = false;
        assert_true(reply_encode(bench->codec, &work->reply, ENCODING_JSON, &kept, &again));
        assert_int_equal(first.size, again.size);
        assert_memory_equal(first.data, again.data, first.size);
        assert_int_equal(other->origin, ORIGIN_CONFLICT);
        assert_int_equal(sooner->origin, ORIGIN_CONFLICT);
        let_time_pass();
        find_due();
        execute_found();
    }
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE key = 'later'"), 2);
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE result = 'insufficient_funds'"), 1);
    arena_close(&kept);
}

static void what_is_due_at_once_comes_in_the_order_of_acceptance(void **state)
{
    int64_t due_us = in_seconds(3600);

    (void)state;
    schedule("third", withdraw("a", 10), due_us + 1);
    batch_begin(bench); /* in one batch: in its order, whatever their keys */
    for (uint32_t i = 0; i < 50; i++)
        add_later(batch_text(bench, "in-%u", i), deposit("a", i + 1), due_us);
    batch_run(bench);
    schedule("refused", withdraw("a", 2000), due_us);
    schedule("late", deposit("a", 1000), due_us + 2);
    let_time_pass();
    find_due();
    assert_int_equal(found.count, 53);
    execute_found();
    assert_int_equal(bench->works[50].reply.result, RESULT_INSUFFICIENT_FUNDS);
    assert_int_equal(bench->works[51].reply.result, RESULT_APPLIED);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(bench->works[i].reply.balances[0].balance, (i + 1) * (i + 2) / 2);
    assert_int_equal(bench->works[52].reply.balances[0].seq, 52);
    expect_clean_books();
}

/* All kinds: what is opened is used by the next, a hold is captured, a transaction reversed, a
 * batch done or not. */
static void each_kind_can_wait(void **state)
{
    static const char *const keys[] = {"p", "q", "r", "s"};
    const struct command legs[] = {transfer("a", "c", 10), transfer("a", "c", 20)};
    int64_t due_us = in_seconds(3600);

    (void)state;
    expect(bench, "fund", deposit("a", 100), RESULT_APPLIED);
    struct uuid moved = bench->works[0].id;
    struct command hold = {.type = COMMAND_HOLD, .account = TEXT_LITERAL("a"), .amount.value = 40};
    expect(bench, "hold", hold, RESULT_APPLIED);
    struct uuid held = bench->works[0].id;
    schedule("open", open_account("c", "cid", "EUR"), due_us);
    struct command capture = about(COMMAND_CAPTURE, &held);
    capture.to = text_of("c");
    struct uuid captures = schedule("capture", capture, due_us);
    for (uint32_t i = 0; i < 2; i++) { /* 30 each: the second finds too little */
        batch_begin(bench);
        struct writer writer = writer_in(&bench->arena);
        pack_array_value(&writer, 2);
        for (uint32_t k = 0; k < 2; k++) {
            struct pack_map map = pack_map_open(&writer, 5);
            pack_text(&map, "type", text_of("transfer"));
            pack_text(&map, "idempotency_key", text_of(keys[2 * i + k]));
            pack_text(&map, "from", text_of("a"));
            pack_text(&map, "to", text_of("c"));
            pack_int(&map, "amount", legs[k].amount.value + i * 10);
            pack_map_close(&map);
        }
        struct command command = {.type = COMMAND_BATCH, .legs_count = 2};
        assert_true(writer_keep(&writer, &bench->arena, &command.legs));
        struct work *work = add_later(i == 0 ? "batch-1" : "batch-2", command, due_us);
        batch_run(bench);
        assert_int_equal(work->reply.result, RESULT_SCHEDULED);
    }
    schedule("reverse", about(COMMAND_REVERSE, &moved), due_us);
    expect(bench, "on-it", about(COMMAND_RELEASE, &captures), RESULT_HOLD_NOT_FOUND);
    expect(bench, "of-it", about(COMMAND_REVERSE, &captures), RESULT_NOT_REVERSIBLE);
    let_time_pass();
    find_due();
    assert_int_equal(found.count, 5);
    execute_found();
    static const enum result results[] = {RESULT_APPLIED, RESULT_APPLIED, RESULT_APPLIED,
                                          RESULT_INSUFFICIENT_FUNDS, RESULT_INSUFFICIENT_FUNDS};
    for (uint32_t i = 0, at = 0; i < 5; i++) {
        assert_int_equal(bench->works[at].reply.result, results[i]);
        at += 1 + bench->works[at].legs_count;
    }
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'c'"), 70);
    assert_int_equal(ask("SELECT count(*) FROM scheduled WHERE NOT done"), 0);
    expect(bench, "p", legs[0], RESULT_APPLIED); /* the legs' keys are the caller's own */
    assert_true(bench->works[0].reply.replayed);
    expect_clean_books();
}

static void a_cancellation_ends_it(void **state)
{
    (void)state;
    struct uuid id = schedule("later", deposit("a", 7), in_seconds(3600));
    expect(bench, "cancel", about(COMMAND_CANCEL, &id), RESULT_APPLIED);
    struct uuid cancelled = bench->works[0].id;
    expect(bench, "cancel", about(COMMAND_CANCEL, &id), RESULT_APPLIED);
    assert_true(bench->works[0].reply.replayed);
    expect(bench, "twice", about(COMMAND_CANCEL, &id), RESULT_ALREADY_CANCELLED);
    let_time_pass();
    find_due();
    assert_int_equal(found.count, 0);
    const struct transaction_view *view = look_at(&id);
    assert_true(view->cancelled);
    assert_int_equal(uuid_compare(&view->ended, &cancelled), 0);
    view = look_at(&cancelled);
    assert_int_equal(view->type, COMMAND_CANCEL);
    assert_int_equal(uuid_compare(&view->scheduled, &id), 0);
    id = schedule("soon", deposit("a", 7), in_seconds(3600));
    let_time_pass();
    find_due();
    execute_found();
    expect(bench, "too-late", about(COMMAND_CANCEL, &id), RESULT_ALREADY_EXECUTED);
    struct uuid nothing = uuid_random(), done = bench->works[0].id;
    expect(bench, "nothing", about(COMMAND_CANCEL, &nothing), RESULT_TRANSACTION_NOT_FOUND);
    expect(bench, "fund", deposit("a", 1), RESULT_APPLIED);
    done = bench->works[0].id;
    expect(bench, "no-such", about(COMMAND_CANCEL, &done), RESULT_NOT_SCHEDULED);
    expect_clean_books();
}

/* --- a look at what is due is bounded --- */

static void one_look_finds_so_much_and_no_more(void **state)
{
    enum { LARGE = 300 << 10 };
    int64_t due_us = in_seconds(3600);
    static char filler[LARGE];

    (void)state;
    for (uint32_t n = 0; n < 3; n++) {
        batch_begin(bench);
        for (uint32_t i = 0; i < 100; i++)
            add_later(batch_text(bench, "%u-%u", n, i), deposit("a", 1), due_us);
        batch_run(bench);
    }
    let_time_pass();
    find_due();
    assert_int_equal(found.count, SWEEP_MOST);
    find_due_behind(found.places[SWEEP_MOST - 1]);
    assert_int_equal(found.count, 300 - SWEEP_MOST);
    find_due_behind(found.places[found.count - 1]);
    assert_int_equal(found.count, 0);
    assert_true(found.waited_us > 0); /* by the first of all */
    find_due();
    execute_found();
    find_due();
    assert_int_equal(found.count, 300 - SWEEP_MOST);
    execute_found();
    memset(filler, 'x', sizeof filler); /* bodies of batches */
    for (uint32_t i = 0; i < 8; i++) {
        batch_begin(bench);
        struct command command = {.type = COMMAND_BATCH, .legs_count = 1};
        struct writer writer = writer_in(&bench->arena);
        pack_array_value(&writer, 1);
        pack_text_value(&writer, (struct text){filler, sizeof filler});
        assert_true(writer_keep(&writer, &bench->arena, &command.legs));
        add_later(batch_text(bench, "large-%u", i), command, due_us);
        batch_run(bench);
    }
    let_time_pass();
    find_due();
    assert_int_equal(found.count, 4); /* the first three are less than 1 MiB */
}

/* --- each ends once --- */

enum { RACED = 1000, RACERS = 4 };

static struct uuid raced[RACED];

static bool run_again(uint32_t *attempts)
{
    if (batch_load(bench) && batch_save(bench)) return false;
    if (err.kind != ERR_RETRY || ++*attempts > 1000 || strstr(err.text, "deadlock") != NULL) {
        (void)fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    query_abandon(bench->db);
    ledger_forget(&bench->batch);
    return true;
}

/* Half of them execute what is due, some at a time; the others cancel, in either order. */
static void race(uint32_t racer)
{
    uint32_t attempts = 0;
    uint8_t shared[256];

    random_bytes(shared, sizeof shared); /* what is left in the buffer is the others' too */
    bench = bench_open(session_as("ledger_worker"));
    if (racer % 2 == 0) {
        for (find_due(); found.count > 0; find_due()) {
            uint32_t some = found.count < 5 ? found.count : 5;
            for (uint32_t i = 0; i < some; i++) batch_add_due(bench, &found.incoming[i]);
            while (run_again(&attempts)) continue;
        }
        _exit(0);
    }
    for (uint32_t i = 0; i < RACED; i++) {
        uint32_t at = racer % 4 == 1 ? i : RACED - 1 - i;
        batch_begin(bench);
        batch_add(bench, batch_text(bench, "cancel-%u-%u", racer, at),
                  about(COMMAND_CANCEL, &raced[at]));
        while (run_again(&attempts)) continue;
    }
    _exit(0);
}

static void each_ends_once_whoever_races(void **state)
{
    int64_t due_us = in_seconds(3600);

    (void)state;
    for (uint32_t i = 0; i < RACED; i += 100) {
        batch_begin(bench);
        for (uint32_t k = 0; k < 100; k++)
            raced[i + k] =
                add_later(batch_text(bench, "later-%u", i + k), deposit("a", 1), due_us)->id;
        batch_run(bench);
    }
    let_time_pass();
    for (uint32_t i = 0; i < RACERS; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) race(i);
    }
    for (uint32_t i = 0; i < RACERS; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    int64_t executed =
        ask("SELECT count(*) FROM journal WHERE scheduled IS NOT NULL AND command = 2");
    int64_t cancelled =
        ask("SELECT count(*) FROM journal WHERE scheduled IS NOT NULL AND command = 15");
    print_message("%jd executed, %jd cancelled\n", (intmax_t)executed, (intmax_t)cancelled);
    assert_int_equal(executed + cancelled, RACED);
    assert_true(executed > 0 && cancelled > 0);
    assert_int_equal(ask("SELECT count(DISTINCT scheduled) FROM journal"), RACED);
    assert_int_equal(ask("SELECT balance FROM account WHERE id = 'a'"), executed);
    assert_int_equal(ask("SELECT count(*) FROM scheduled WHERE NOT done"), 0);
    assert_int_equal(ask("SELECT count(*) FROM journal WHERE command = 15 AND result IN"
                         " ('already_executed', 'already_cancelled')"),
                     RACERS / 2 * RACED - cancelled);
    expect_clean_books();
}

/* --- what an operator sees --- */

struct listed {
    uint32_t count;
    int64_t last_us;
    bool due;
};

static void list(void *context, const struct pending *pending)
{
    struct listed *listed = context;

    assert_true(pending->due_us >= listed->last_us);
    assert_true(text_equal(pending->caller, text_of("tests")));
    assert_int_equal(pending->is_due, listed->count == 0 && listed->due);
    assert_true(pending->body.size > 0);
    listed->last_us = pending->due_us;
    listed->count++;
}

static void what_waits_is_listed_to_who_may_read(void **state)
{
    struct db *db = session_as("ledger_reader");
    struct listed listed = {0};

    (void)state;
    schedule("b", deposit("a", 1), in_seconds(7200));
    schedule("a", withdraw("a", 1), in_seconds(3600));
    struct uuid id = schedule("c", deposit("a", 1), in_seconds(60));
    must(pending_list(db, list, &listed, &err));
    assert_int_equal(listed.count, 3);
    sql(owner, "UPDATE scheduled SET due_at = now() WHERE id ="
               " (SELECT id FROM journal WHERE key = 'a' AND result = 'scheduled')");
    expect(bench, "cancel", about(COMMAND_CANCEL, &id), RESULT_APPLIED);
    listed = (struct listed){.due = true};
    must(pending_list(db, list, &listed, &err));
    assert_int_equal(listed.count, 2);
    db_close(db);
}

static char sentences[1 << 14];

static void hear(const char *sentence)
{
    size_t length = strlen(sentences);

    (void)snprintf(sentences + length, sizeof sentences - length, "%s\n", sentence);
}

static void damage_is_found(void **state)
{
    static const struct {
        const char *damage, *repair, *says;
    } damages[] = {
        {"UPDATE scheduled SET done = true", "UPDATE scheduled SET done = id <> my('pending')",
         "it is done, but nothing ended it"},
        {"UPDATE scheduled SET done = false", "UPDATE scheduled SET done = id <> my('pending')",
         "it is not done, but it was ended by"},
        {"CREATE TABLE gone AS TABLE scheduled; DELETE FROM scheduled",
         "INSERT INTO scheduled OVERRIDING SYSTEM VALUE TABLE gone; DROP TABLE gone",
         "there is none, but it was ended"},
        {"CREATE TABLE gone AS TABLE scheduled; DELETE FROM scheduled WHERE NOT done",
         "INSERT INTO scheduled OVERRIDING SYSTEM VALUE SELECT * FROM gone WHERE NOT done;"
         "DROP TABLE gone",
         "it is not kept"},
        {"CREATE TABLE gone AS SELECT * FROM journal WHERE id = my('pending');"
         "DELETE FROM journal WHERE id = my('pending')",
         "INSERT INTO journal TABLE gone; DROP TABLE gone", "the journal does not say that it was"},
        {"UPDATE journal SET key = 'another' WHERE scheduled IS NOT NULL AND command = 2",
         "UPDATE journal SET key = 'first' WHERE scheduled IS NOT NULL AND command = 2",
         "is of another kind or caller than its execution"},
        {"UPDATE journal SET scheduled = my('pending') WHERE command = 2 AND scheduled IS NOT NULL",
         "UPDATE journal SET scheduled = my('executed') WHERE scheduled = my('pending')",
         "tells another scheduled than the journal"},
        {"UPDATE journal SET scheduled = my('pending') WHERE command = 2 AND scheduled IS NOT NULL",
         "UPDATE journal SET scheduled = my('executed') WHERE scheduled = my('pending')",
         "was changed or inserted by hand"},
    };
    char pending[UUID_TEXT_SIZE], executed[UUID_TEXT_SIZE];
    const struct verify_ear ear = {.role = "ledger_reader", .hear = hear};
    struct verify_report report;

    (void)state;
    struct uuid id = schedule("first", deposit("a", 7), in_seconds(3600));
    uuid_format(&id, executed);
    let_time_pass();
    find_due();
    execute_found();
    id = schedule("second", deposit("a", 7), in_seconds(3600));
    expect(bench, "cancel", about(COMMAND_CANCEL, &id), RESULT_APPLIED);
    id = schedule("third", deposit("a", 7), in_seconds(3600));
    uuid_format(&id, pending);
    sql(owner,
        "SET my.pending TO '%s'; SET my.executed TO '%s';"
        "CREATE FUNCTION my(name text) RETURNS uuid STABLE LANGUAGE sql"
        " AS $$ SELECT current_setting('my.' || name)::uuid $$",
        pending, executed);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        for (uint32_t k = 0; k < 2; k++) {
            sql(owner, "%s", k == 0 ? damages[i].damage : damages[i].repair);
            sentences[0] = '\0';
            must(verify_try(&ear, 20, &report));
            if (k == 0 && strstr(sentences, damages[i].says) == NULL)
                fail_msg("nothing says '%s'\n%s", damages[i].says, sentences);
            if (k == 1 && report.differences != 0) fail_msg("not repaired: %s", sentences);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_waits_and_is_executed_once, books_of_two, books_close),
        cmocka_unit_test_setup_teardown(a_repeat_gets_the_first_answer, books_of_two, books_close),
        cmocka_unit_test_setup_teardown(what_is_due_at_once_comes_in_the_order_of_acceptance,
                                        books_of_two, books_close),
        cmocka_unit_test_setup_teardown(each_kind_can_wait, books_of_two, books_close),
        cmocka_unit_test_setup_teardown(a_cancellation_ends_it, books_of_two, books_close),
        cmocka_unit_test_setup_teardown(one_look_finds_so_much_and_no_more, books_of_two,
                                        books_close),
        cmocka_unit_test_setup_teardown(each_ends_once_whoever_races, books_of_two, books_close),
        cmocka_unit_test_setup_teardown(what_waits_is_listed_to_who_may_read, books_of_two,
                                        books_close),
        cmocka_unit_test_setup_teardown(damage_is_found, books_of_two, books_close),
    };
    return cmocka_run_group_tests(tests, database_make, database_drop);
}
