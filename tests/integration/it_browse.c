/*
 * it_browse.c - looking through the dead letters leaves them as they were: the same ones in the
 * same order, whatever was taken, wherever one stopped, and whoever died. Each letter carries its
 * number, and a model beside the queue says which must be there.
 *
 * Needs LEDGER_AMQP_URL. LEDGER_BROWSE_LETTERS (20,000) is how many letters most tests have.
 */
#include "dlq/browse_amqp.h"
#include "tests/amqp.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LETTER_SIZE = 300,
    LETTERS = 20000,
    MANY_LETTERS = 50000, /* in three parts */
    LETTERS_MAX = 1100000,
    PAGE = 500,
    SESSIONS = 60,
    EVERYTHING = INT32_MAX,
};

static struct names names;
static struct browse *browse;
static uint32_t model[LETTERS_MAX], model_count, letters_made;

static uint32_t letters(void)
{
    const char *wanted = getenv("LEDGER_BROWSE_LETTERS");

    return wanted == NULL ? LETTERS : (uint32_t)strtoul(wanted, NULL, 10);
}

static void publish(uint32_t count)
{
    assert_true(count <= LETTERS_MAX - model_count);
    for (uint32_t sent = 0, settled = 0; settled < count;) {
        for (; sent < count && publisher_room(publisher) > 0; sent++) {
            memcpy(large, &letters_made, sizeof letters_made);
            must(send_bytes("", names.dlq, large, LETTER_SIZE));
            model[model_count++] = letters_made++;
        }
        uint32_t polled = poll_confirms(TIMEOUT_MS);
        for (uint32_t i = 0; i < polled; i++) assert_int_equal(confirmed[i].result, CONFIRM_ACK);
        settled += polled;
    }
}

static uint32_t number_in(const struct delivery *delivery)
{
    uint32_t number = 0;

    assert_int_equal(delivery->body.size, LETTER_SIZE);
    memcpy(&number, delivery->body.data, sizeof number);
    return number;
}

static void await_ready(uint32_t wanted)
{
    uint64_t deadline_ms = clock_monotonic_ms() + 6 * TIMEOUT_MS;

    while (queue_ready_count(names.dlq) != wanted) {
        if (clock_monotonic_ms() > deadline_ms)
            fail_msg("%u letters are ready, not %u", queue_ready_count(names.dlq), wanted);
        clock_sleep_ms(20);
    }
}

static void browse_start(void)
{
    struct browse_options options = {url, "it_browse", &names, TIMEOUT_MS, BODY_MAX};

    must(browse_open(&browse, &options, &err));
    assert_int_equal(browse_total(browse), model_count);
}

/* Looks at so many, comparing each with the model, and takes every nth of them (0: none). What is
 * published meanwhile has its place in the model after those that were there. */
static void look(uint32_t at_most, uint32_t take_every)
{
    uint32_t seen = 0, kept = 0, there = (uint32_t)browse_total(browse), count = 1;

    while (seen < at_most && count > 0) {
        uint32_t max = at_most - seen < PAGE ? at_most - seen : PAGE;
        arena_reset(&arena);
        must(browse_next(browse, deliveries, max, &arena, &count, &err));
        for (uint32_t i = 0; i < count; i++, seen++) {
            if (number_in(&deliveries[i]) != model[seen])
                fail_msg("letter %u is %u, not %u", seen, number_in(&deliveries[i]), model[seen]);
            if (take_every > 0 && seen % take_every == 0)
                must(browse_take(browse, deliveries[i].tag, &err));
            else
                model[kept++] = model[seen];
        }
    }
    if (at_most >= there) assert_int_equal(seen, there);
    memmove(&model[kept], &model[seen], (model_count - seen) * sizeof *model);
    model_count -= seen - kept;
}

static void finish(void)
{
    must(browse_finish(browse, &err));
    browse = NULL;
    await_ready(model_count);
}

static void session(uint32_t at_most, uint32_t take_every)
{
    browse_start();
    look(at_most, take_every);
    finish();
}

/* --- the tests --------------------------------------------------------------------------- */

static void report(const char *what, uint64_t from_ms)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    print_message("%s %u letters: %llu ms; this process: at most %ld MiB\n", what, model_count,
                  (unsigned long long)(clock_monotonic_ms() - from_ms), usage.ru_maxrss / 1024);
}

static void test_looking_changes_nothing(void **state)
{
    (void)state;
    uint64_t from_ms = clock_monotonic_ms();
    publish(letters());
    report("publishing", from_ms);
    for (int i = 0; i < 2; i++) { /* the second time over letters that were given back */
        from_ms = clock_monotonic_ms();
        browse_start();
        look(EVERYTHING, 0);
        report("looking at", from_ms);
        from_ms = clock_monotonic_ms();
        finish();
        report("giving back", from_ms);
    }
}

static void test_stopping_early(void **state)
{
    (void)state;
    publish(letters());
    session(100, 0);
    session(model_count / 2, 0);
    session(100, 0);
    session(EVERYTHING, 0);
    session(100, 0);
    session(EVERYTHING, 0);
}

static void test_taking_every_third(void **state)
{
    (void)state;
    publish(letters());
    session(EVERYTHING, 3);
    session(PAGE / 2, 1); /* leaves with the acknowledgements on their way */
    session(EVERYTHING, 3);
    session(EVERYTHING, 0);
    session(EVERYTHING, 1);
    session(EVERYTHING, 0);
    assert_int_equal(model_count, 0);
}

static void die_after(uint32_t count)
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct browse_options options = {url, "it_browse", &names, TIMEOUT_MS, BODY_MAX};
        uint32_t got = 0;
        bool ok = browse_open(&browse, &options, &err);
        for (uint32_t seen = 0; ok && seen < count; seen += got) {
            arena_reset(&arena);
            ok = browse_next(browse, deliveries, PAGE, &arena, &got, &err);
        }
        _exit(ok ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    await_ready(model_count);
}

static void test_dying_in_the_middle(void **state)
{
    (void)state;
    publish(LETTERS);
    die_after(model_count / 2);
    session(EVERYTHING, 0);
    die_after(100);
    die_after(model_count / 2);
    session(EVERYTHING, 0);
}

static void test_letters_arrive_meanwhile(void **state)
{
    (void)state;
    publish(letters());
    for (uint32_t take_every = 0; take_every < 3; take_every++) {
        browse_start();
        look(1000, take_every);
        publish(1000);
        must(browse_finish(browse, &err));
        browse = NULL;
        await_ready(model_count);

        browse_start();
        publish(1000);
        look(EVERYTHING, take_every);
        publish(1000);
        finish();
    }
    session(EVERYTHING, 0);
}

static void test_letters_in_several_parts(void **state)
{
    (void)state;
    publish(MANY_LETTERS);
    session(EVERYTHING, 7);
    session(100, 0);
    session(EVERYTHING, 0);
}

/* Letters of parts that have ended, all at once, and then one leaves. */
static void test_taking_long_after_looking(void **state)
{
    static uint64_t tags[MANY_LETTERS];
    uint32_t seen = 0, kept = 0, count = 1;

    (void)state;
    publish(MANY_LETTERS);
    browse_start();
    while (count > 0) {
        arena_reset(&arena);
        must(browse_next(browse, deliveries, PAGE, &arena, &count, &err));
        for (uint32_t i = 0; i < count; i++) tags[seen++] = deliveries[i].tag;
    }
    assert_int_equal(seen, MANY_LETTERS);
    for (uint32_t i = 0; i < seen; i++) {
        if (i % 20 == 0)
            must(browse_take(browse, tags[i], &err));
        else
            model[kept++] = model[i];
    }
    model_count = kept;
    finish();
    session(EVERYTHING, 0);
}

/* Sessions of every kind, one after the other. */
static void test_sessions_at_random(void **state)
{
    uint32_t seed = 0;

    (void)state;
    random_bytes(&seed, sizeof seed);
    const char *wanted = getenv("SEED");
    if (wanted != NULL) seed = (uint32_t)strtoul(wanted, NULL, 10);
    print_message("SEED=%u\n", seed);
    srandom(seed);
    for (int i = 0; i < SESSIONS; i++) {
        publish((uint32_t)random() % 300);
        uint32_t at_most = random() % 4 == 0 ? EVERYTHING : (uint32_t)random() % (model_count + 2);
        if (random() % 8 == 0)
            die_after(at_most < model_count ? at_most : model_count);
        else
            session(at_most, (uint32_t)random() % 5);
    }
    session(EVERYTHING, 0);
}

static void test_another_consumer_is_noticed(void **state)
{
    struct browse_options options = {url, "it_browse", &names, 1000, BODY_MAX};
    uint32_t count = 0;

    (void)state;
    publish(10);
    must(consumer_start(url, 30, TIMEOUT_MS));
    must(browse_open(&browse, &options, &err));
    must(consumer_subscribe(consumer, names.dlq, 0, 4, &err));
    while (count < 4) {
        uint32_t more = fetch(TIMEOUT_MS, BATCH);
        assert_true(more > 0);
        count += more;
    }
    arena_reset(&arena);
    for (uint32_t seen = 0; seen < 6; seen += count)
        must(browse_next(browse, deliveries, PAGE, &arena, &count, &err));
    assert_false(browse_next(browse, deliveries, PAGE, &arena, &count, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("6 of 10 letters came");
    assert_true(browse_finish(browse, &err)); /* after a failure */
    browse = NULL;
    consumer_close(consumer);
    consumer = NULL;
    await_ready(model_count);
}

static void test_a_queue_without_limit_is_refused(void **state)
{
    static struct topology_queue other;
    struct topology topology = {.queues = &other, .queues_count = 1};
    struct browse_options options = {url, "it_browse", &names, TIMEOUT_MS, BODY_MAX};

    (void)state;
    queue_delete(names.dlq);
    (void)snprintf(other.name, sizeof other.name, "%s", names.dlq);
    other.arguments[0] = (struct topology_argument){"x-queue-type", "quorum", 0, false};
    other.arguments[1] = (struct topology_argument){"x-overflow", "reject-publish", 0, false};
    other.arguments_count = 2;
    must(topology_apply(url, &topology, TOPOLOGY_DECLARE, &err));
    assert_false(browse_open(&browse, &options, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_says("x-delivery-limit");
}

/* --- each test --------------------------------------------------------------------------- */

static int begin(void **state)
{
    static struct names_topology own;
    static uint32_t serial;
    uint32_t random = 0;
    char prefix[PREFIX_LENGTH_MAX];

    (void)state;
    err = (struct err){0};
    model_count = 0;
    random_bytes(&random, sizeof random);
    (void)snprintf(prefix, sizeof prefix, "it.browse.%08x.%u", random, serial++);
    must(names_make(&names, prefix, 1, &err));
    names_topology(&names, &own);
    struct topology dlq = {.queues = &own.queues[1], .queues_count = 1};
    must(topology_apply(url, &dlq, TOPOLOGY_DECLARE, &err));
    must(publisher_start(url, 60, TIMEOUT_MS));
    return 0;
}

static int end(void **state)
{
    struct err after_failure = {.kind = ERR_RETRY};

    (void)state;
    if (!browse_finish(browse, &after_failure)) print_error("%s\n", after_failure.text);
    browse = NULL;
    publisher_close(publisher);
    consumer_close(consumer);
    publisher = NULL;
    consumer = NULL;
    queue_delete(names.dlq);
    return 0;
}

#define ON_DLQ(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DLQ(test_looking_changes_nothing),     ON_DLQ(test_stopping_early),
        ON_DLQ(test_taking_every_third),          ON_DLQ(test_dying_in_the_middle),
        ON_DLQ(test_letters_arrive_meanwhile),    ON_DLQ(test_letters_in_several_parts),
        ON_DLQ(test_taking_long_after_looking),   ON_DLQ(test_sessions_at_random),
        ON_DLQ(test_another_consumer_is_noticed), ON_DLQ(test_a_queue_without_limit_is_refused),
    };

    return amqp_run(tests, sizeof tests / sizeof tests[0]);
}
