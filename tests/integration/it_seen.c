/*
 * it_seen.c - the cache on a Redis of its own that is flushed, stopped, killed and filled with
 * garbage: a hit is the first reply, everything else is a miss, and no call takes long.
 */
#include "ledger/seen_redis.h"
#include "tests/store.h"

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMEOUT_MS = 60, SLACK_MS = PAUSE_MS, WAIT_MS = 10000, TTL_S = 100, BREAKER_OPENS = 3 };

static pid_t server;
static int port;
static char url[64];
static struct bench *bench;
static struct seen *seen;

/* --- the server --- */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

static void redis(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void redis(const char *format, ...)
{
    redisContext *context = redisConnect("127.0.0.1", port);
    va_list arguments;

    assert_non_null(context);
    va_start(arguments, format);
    redisReply *reply = redisvCommand(context, format, arguments);
    va_end(arguments);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s: %s", format, reply == NULL ? context->errstr : reply->str);
    freeReplyObject(reply);
    redisFree(context);
}

static bool redis_is_up(void)
{
    redisContext *context = redisConnect("127.0.0.1", port);
    bool up = context != NULL && context->err == 0;

    redisFree(context);
    return up;
}

/* Told to do one command when another one is asked for, if any. */
static void server_start_as(const char *asked, const char *done)
{
    char port_text[16];

    (void)snprintf(port_text, sizeof port_text, "%d", port);
    server = fork();
    assert_true(server >= 0);
    if (server == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)execlp("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", port_text,
                     "--save", "", "--appendonly", "no", "--logfile", "/dev/null",
                     done == NULL ? (char *)NULL : "--rename-command", asked, "GONE",
                     "--rename-command", done, asked, (char *)NULL);
        _exit(127);
    }
    for (uint64_t end = clock_monotonic_ms() + WAIT_MS; !redis_is_up(); clock_sleep_ms(10))
        if (clock_monotonic_ms() > end) fail_msg("redis-server did not start");
}

static void server_start(void)
{
    server_start_as(NULL, NULL);
}

static void server_kill(void)
{
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    server = 0;
}

static struct seen *open_seen(const char *to)
{
    struct seen_options options = {
        .url = to, .prefix = "test", .timeout_ms = TIMEOUT_MS, .ttl_s = TTL_S};
    struct seen *opened;

    must(seen_open(&opened, &options, &err));
    return opened;
}

static int set_up(void **state)
{
    (void)state;
    port = free_port();
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%d/0", port);
    server_start();
    bench = bench_open(NULL);
    seen = open_seen(url);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    seen_close(seen);
    bench_close(bench);
    if (server > 0) server_kill();
    return 0;
}

/* --- batches --- */

enum { WORKS = 20 };

/* The same works each time, but for their ids and traces; odd ones transfer, every fifth is a
 * query. */
static void make_batch(void)
{
    batch_begin(bench);
    for (uint32_t i = 0; i < WORKS; i++) {
        const char *key = batch_text(bench, "key-%u", i);
        if (i % 5 == 4)
            batch_add(bench, key, query(COMMAND_GET_BALANCE, "alice"));
        else if (i % 2 == 1)
            batch_add(bench, key, transfer("alice", "bob", i));
        else
            batch_add(bench, key, deposit("alice", i));
    }
}

/* As after a commit: each decided or found, with a reply that tells which one it is. */
static void decide(void)
{
    for (uint32_t i = 0; i < bench->batch.works_count; i++) {
        struct work *work = &bench->works[i];
        work->origin = i % 3 == 0 ? ORIGIN_REPEATED : ORIGIN_DECIDED;
        work->reply = (struct reply){.result = i == 8 ? RESULT_INSUFFICIENT_FUNDS : RESULT_APPLIED,
                                     .has_transaction = i != 8,
                                     .transaction.bytes = {(uint8_t)i},
                                     .timestamp_us = 1000000 + (int64_t)i,
                                     .trace_id.bytes = {1, (uint8_t)i},
                                     .replayed = i % 3 == 0,
                                     .balances_count = 1};
        work->reply.balances[0] = (struct balance_view){.account = text_of("alice"),
                                                        .asset = text_of("EUR"),
                                                        .balance = i,
                                                        .seq = i,
                                                        .has_seq = true};
    }
}

static void remember(void)
{
    make_batch();
    decide();
    seen_remember(seen, bench->codec, &bench->batch);
    seen_idle(seen);
}

static bool is_query(uint32_t i)
{
    return i % 5 == 4;
}

/* Looks all up; returns how many were known, all of them rightly. It may not take long. */
static uint32_t look_up(void)
{
    uint32_t known = 0;

    make_batch();
    uint64_t began_ms = clock_monotonic_ms();
    seen_lookup(seen, bench->codec, &bench->batch);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, TIMEOUT_MS + SLACK_MS);
    for (uint32_t i = 0; i < WORKS; i++) {
        const struct reply *reply = &bench->works[i].reply;
        if (bench->works[i].origin == ORIGIN_NONE) continue;
        known++;
        assert_int_equal(bench->works[i].origin, ORIGIN_CACHED);
        assert_false(is_query(i));
        assert_true(reply->replayed);
        assert_int_equal(reply->result, i == 8 ? RESULT_INSUFFICIENT_FUNDS : RESULT_APPLIED);
        assert_int_equal(reply->trace_id.bytes[1], i);
        assert_int_equal(reply->timestamp_us, 1000000 + i);
        assert_int_equal(reply->balances[0].balance, i);
    }
    return known;
}

enum { KNOWN = WORKS - WORKS / 5 };

/* --- tests --- */

static void what_was_remembered_is_known(void **state)
{
    (void)state;
    assert_int_equal(seen_state(seen), SEEN_UP);
    assert_int_equal(look_up(), 0);
    remember();
    assert_int_equal(look_up(), KNOWN);
    struct seen_counts counts = seen_counts(seen);
    assert_int_equal(counts.hits, KNOWN);
    assert_int_equal(counts.misses, KNOWN);
    assert_int_equal(counts.errors, 0);
    redis("FLUSHALL");
    assert_int_equal(look_up(), 0);
    assert_int_equal(seen_counts(seen).errors, 0);
}

static void only_what_is_final_is_remembered(void **state)
{
    static const enum origin never[] = {ORIGIN_NONE, ORIGIN_CONFLICT, ORIGIN_FAULT, ORIGIN_CACHED};

    (void)state;
    make_batch();
    decide();
    for (uint32_t i = 0; i < WORKS; i++) bench->works[i].origin = never[i % 4];
    seen_remember(seen, bench->codec, &bench->batch);
    seen_idle(seen);
    assert_int_equal(look_up(), 0);
    remember();
    make_batch();
    for (uint32_t i = 0; i < WORKS; i++) bench->works[i].origin = never[1 + i % 3];
    seen_lookup(seen, bench->codec, &bench->batch);
    for (uint32_t i = 0; i < WORKS; i++) assert_int_equal(bench->works[i].origin, never[1 + i % 3]);
}

static void values_expire(void **state)
{
    struct seen *brief;
    struct seen_options options = {
        .url = url, .prefix = "test", .timeout_ms = TIMEOUT_MS, .ttl_s = 1};

    (void)state;
    must(seen_open(&brief, &options, &err));
    make_batch();
    decide();
    seen_remember(brief, bench->codec, &bench->batch);
    seen_idle(brief);
    assert_int_equal(look_up(), KNOWN);
    clock_sleep_ms(1200);
    assert_int_equal(look_up(), 0);
    seen_close(brief);
}

static void another_payload_is_a_conflict(void **state)
{
    (void)state;
    remember();
    batch_begin(bench);
    struct work *other = batch_add(bench, "key-2", deposit("alice", 3));
    struct work *same = batch_add(bench, "key-2", deposit("alice", 2));
    seen_lookup(seen, bench->codec, &bench->batch);
    assert_int_equal(same->origin, ORIGIN_CACHED);
    assert_int_equal(other->origin, ORIGIN_CONFLICT);
    assert_int_equal(other->reply.result, RESULT_KEY_REUSED);
    assert_false(other->reply.has_transaction);
    assert_memory_equal(&other->reply.trace_id, &other->request->trace.trace_id,
                        sizeof(struct uuid));
}

static void key_of(uint32_t work, char out[static UUID_HEX_SIZE])
{
    uuid_format_hex(&bench->requests[work].key_digest, out);
}

static void garbage_is_a_miss(void **state)
{
    static const char cut[] =
        "redis.call('SET', KEYS[1], string.sub(redis.call('GET', KEYS[1]), 1, 32))";
    char hex[UUID_HEX_SIZE], other[UUID_HEX_SIZE];

    (void)state;
    remember();
    key_of(0, hex);
    redis("SET test:seen:%s garbage", hex);
    assert_int_equal(look_up(), KNOWN - 1);
    key_of(1, hex);
    redis("DEL test:seen:%s", hex);
    redis("LPUSH test:seen:%s a b c", hex); /* of another type */
    assert_int_equal(look_up(), KNOWN - 2);
    key_of(2, hex);
    key_of(3, other);
    redis("COPY test:seen:%s test:seen:%s REPLACE", other, hex); /* another key's value */
    assert_int_equal(look_up(), KNOWN - 3);
    key_of(5, hex);
    redis("SETRANGE test:seen:%s 40 xxxxxxxx", hex); /* a reply that is none */
    assert_int_equal(look_up(), KNOWN - 4);
    key_of(6, hex);
    redis("EVAL %s 1 test:seen:%s", cut, hex);
    assert_int_equal(look_up(), KNOWN - 5);
    assert_int_equal(seen_counts(seen).errors, 0);
    remember(); /* a list is written over as well */
    assert_int_equal(look_up(), KNOWN);
}

/* Not even a call a second more than the breaker lets through. */
static void assert_breaker_open(void)
{
    uint64_t errors = seen_counts(seen).errors, began_ms = clock_monotonic_ms();

    assert_int_equal(seen_state(seen), SEEN_DOWN);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(look_up(), 0);
        remember();
    }
    assert_in_range(seen_counts(seen).errors - errors, 0,
                    1 + (clock_monotonic_ms() - began_ms) / 1000);
}

static void await_hits(void)
{
    for (uint64_t end = clock_monotonic_ms() + WAIT_MS; look_up() != KNOWN; clock_sleep_ms(50)) {
        if (clock_monotonic_ms() > end) fail_msg("it did not come back");
        remember();
    }
    assert_int_equal(seen_state(seen), SEEN_UP);
}

static void a_stopped_server_costs_a_timeout_a_time(void **state)
{
    (void)state;
    remember();
    (void)kill(server, SIGSTOP);
    for (uint32_t i = 0; i < BREAKER_OPENS; i++) {
        assert_int_equal(seen_counts(seen).errors, i);
        assert_int_equal(look_up(), 0);
    }
    assert_breaker_open();
    (void)kill(server, SIGCONT);
    await_hits();
}

/* A late answer must never be taken for the answer to a later question. */
static void a_late_answer_is_not_believed(void **state)
{
    (void)state;
    remember();
    (void)kill(server, SIGSTOP);
    assert_int_equal(look_up(), 0);
    (void)kill(server, SIGCONT);
    batch_begin(bench);
    struct work *unknown = batch_add(bench, "another key", deposit("alice", 0));
    seen_lookup(seen, bench->codec, &bench->batch);
    assert_int_equal(unknown->origin, ORIGIN_NONE);
    assert_int_equal(look_up(), KNOWN);
}

static void a_killed_server_may_come_back(void **state)
{
    (void)state;
    remember();
    server_kill();
    for (uint32_t i = 0; i < BREAKER_OPENS; i++) assert_int_equal(look_up(), 0);
    assert_breaker_open();
    server_start();
    await_hits();
}

static void it_opens_without_a_server(void **state)
{
    (void)state;
    server_kill();
    seen_close(seen);
    seen = open_seen(url);
    assert_int_equal(seen_state(seen), SEEN_DOWN);
    assert_int_equal(look_up(), 0);
    server_start();
    await_hits();
}

static void errors_of_the_server_are_errors(void **state)
{
    (void)state;
    redis("CONFIG SET maxmemory 1");
    remember(); /* refused: out of memory */
    assert_int_equal(seen_counts(seen).errors, 1);
    assert_non_null(strstr(seen_problem(seen), "OOM"));
    redis("CONFIG SET maxmemory 0");
    await_hits();
}

/* By a server that answers with the members of sets, as many as there are. */
static void another_number_of_values_is_an_error(void **state)
{
    char hex[UUID_HEX_SIZE];

    (void)state;
    server_kill();
    server_start_as("MGET", "SUNION");
    make_batch();
    key_of(0, hex);
    for (uint32_t members = 0; members <= KNOWN + 1; members++) {
        if (members > 0) redis("SADD test:seen:%s %u", hex, members);
        seen_close(seen);
        seen = open_seen(url);
        assert_int_equal(look_up(), 0);
        assert_int_equal(seen_counts(seen).errors, members == KNOWN ? 0 : 1);
        assert_int_equal(seen_state(seen), members == KNOWN ? SEEN_UP : SEEN_DOWN);
    }
}

static void answers_of_another_kind_are_errors(void **state)
{
    (void)state;
    server_kill();
    server_start_as("MGET", "EXISTS"); /* a number */
    seen_close(seen);
    seen = open_seen(url);
    assert_int_equal(look_up(), 0);
    assert_int_equal(seen_counts(seen).errors, 1);
    server_kill();
    server_start_as("SET", "RPUSH"); /* likewise */
    assert_int_equal(look_up(), 0);
    assert_int_equal(seen_counts(seen).errors, 1);
    remember();
    assert_int_equal(seen_counts(seen).errors, 2);
}

static void the_password_and_database_are_used(void **state)
{
    char with_password[128];

    (void)state;
    remember();
    redis("CONFIG SET requirepass secret");
    for (uint32_t i = 0; i < 4; i++) {
        static const char *const logins[] = {"", ":wrong@", ":secret@", "default:secret@"};
        struct seen *first = seen;
        (void)snprintf(with_password, sizeof with_password, "redis://%s127.0.0.1:%d/3", logins[i],
                       port);
        seen = open_seen(with_password);
        assert_int_equal(seen_state(seen), i < 2 ? SEEN_DOWN : SEEN_UP);
        assert_int_equal(look_up(), i < 3 ? 0 : KNOWN); /* another database than the first */
        if (i == 2) remember();
        seen_close(seen);
        seen = first;
    }
}

static void wrong_urls_are_refused(void **state)
{
    static const char *const wrong[] = {"127.0.0.1",
                                        "http://a:1/0",
                                        "redis://",
                                        "redis://a:port/0",
                                        "redis://a:1/x",
                                        "redis://a:70000/0",
                                        "redis://password@a:1",
                                        "redis://a:1/99999999999"};
    struct seen *opened;

    (void)state;
    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct seen_options options = {.url = wrong[i], .prefix = "test", .timeout_ms = TIMEOUT_MS};
        if (seen_open(&opened, &options, &err)) fail_msg("%s", wrong[i]);
        assert_int_equal(err.kind, ERR_FATAL);
        seen_close(opened);
    }
    opened = open_seen("");
    assert_int_equal(seen_state(opened), SEEN_OFF);
    make_batch();
    seen_lookup(opened, bench->codec, &bench->batch);
    decide();
    seen_remember(opened, bench->codec, &bench->batch);
    seen_idle(opened);
    assert_int_equal(seen_counts(opened).misses + seen_counts(opened).errors, 0);
    seen_close(opened);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_remembered_is_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_what_is_final_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_expire, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_payload_is_a_conflict, set_up, tear_down),
        cmocka_unit_test_setup_teardown(garbage_is_a_miss, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stopped_server_costs_a_timeout_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_late_answer_is_not_believed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_killed_server_may_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_opens_without_a_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_of_the_server_are_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_number_of_values_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_of_another_kind_are_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_password_and_database_are_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_urls_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
