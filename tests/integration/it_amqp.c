/*
 * it_amqp.c - consumer, publisher and topology on a real RabbitMQ; faults of the network by a cable
 * between (a thread that forwards bytes, and can freeze or be cut).
 *
 * Needs LEDGER_AMQP_URL, with rights to declare; LEDGER_SERVERS and LEDGER_SERVERS_NAME for the
 * alarm.
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/link_amqp.h"
#include "base/publisher_amqp.h"
#include "base/topology_amqp.h"

#include "tests/test.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TIMEOUT_MS = 5000,
    WINDOW = 1000,
    BATCH = 500,
    BODY_MAX = 64 * 1024,
    ARENA_SIZE = 4 * 1024 * 1024,
    LARGE_SIZE = 10 * 1024 * 1024,
    TEXT_SIZE = 300,
};

static const char *url;
static char queues[2][TOPOLOGY_NAME_SIZE]; /* quorum queues, made anew for each test */
static struct err err;
static struct publisher *publisher;
static struct consumer *consumer;
static struct arena arena;
static struct delivery deliveries[BATCH];
static struct confirm confirmed[WINDOW];
static uint8_t large[LARGE_SIZE];

#define must(call)                                                                                 \
    do {                                                                                           \
        if (!(call)) fail_msg("%s", err.text);                                                     \
    } while (0)
#define assert_says(part)                                                                          \
    do {                                                                                           \
        if (strstr(err.text, part) == NULL) fail_msg("\"%s\" lacks \"%s\"", err.text, part);       \
    } while (0)

/* --- small steps -------------------------------------------------------------------------------
 */

static bool publisher_start(const char *at, uint32_t heartbeat_s, uint32_t timeout_ms)
{
    struct publisher_options options = {at, "it_amqp publisher", heartbeat_s, timeout_ms, WINDOW};

    return publisher_open(&publisher, &options, &err);
}

static bool consumer_start(const char *at, uint32_t heartbeat_s, uint32_t timeout_ms)
{
    struct consumer_options options = {at, "it_amqp consumer", heartbeat_s, timeout_ms, BODY_MAX};

    return consumer_open(&consumer, &options, &err);
}

static bool send_bytes(const char *exchange, const char *key, const void *body, uint32_t size)
{
    static const uint8_t persistent[] = {0x10, 0x00, 2}; /* delivery_mode alone */
    struct message message = {.exchange = text_of(exchange),
                              .routing_key = text_of(key),
                              .properties = {persistent, sizeof persistent},
                              .body = {body, size}};
    uint64_t sequence = 0;

    return publisher_send(publisher, &message, &sequence, &err);
}

static uint32_t poll_confirms(uint32_t wait_ms)
{
    uint32_t count = 0;

    must(publisher_poll(publisher, wait_ms, confirmed, WINDOW, &count, &err));
    return count;
}

/* The body of each message is its number. */
static void publish_numbers(const char *queue, uint32_t count)
{
    for (uint32_t sent = 0, settled = 0; settled < count;) {
        for (; sent < count && publisher_room(publisher) > 0; sent++)
            must(send_bytes("", queue, &sent, sizeof sent));
        uint32_t polled = poll_confirms(TIMEOUT_MS);
        for (uint32_t i = 0; i < polled; i++)
            assert_int_equal(confirmed[i].result, CONFIRM_ACK);
        settled += polled;
    }
    assert_int_equal(publisher_in_flight(publisher), 0);
}

static uint32_t fetch(uint32_t wait_ms, uint32_t max)
{
    uint32_t count = 0;

    arena_reset(&arena);
    must(consumer_fetch(consumer, wait_ms, deliveries, max, &arena, &count, &err));
    return count;
}

static uint32_t number_of(const struct delivery *delivery)
{
    uint32_t number = 0;

    assert_int_equal(delivery->body.size, sizeof number);
    memcpy(&number, delivery->body.data, sizeof number);
    return number;
}

/* Closed at once, the broker would forget some of the last acknowledgements. */
static void consumer_leave(void)
{
    clock_sleep_ms(300);
    consumer_close(consumer);
    consumer = NULL;
}

static struct link *link_start(void)
{
    struct link_options options = {url, "it_amqp", 0, TIMEOUT_MS};
    struct link *link = NULL;

    must(link_open(&link, &options, &err));
    return link;
}

static void queue_delete(const char *queue)
{
    struct link *link = link_start();

    (void)amqp_queue_delete(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue), false, false);
    must(link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, &err, "delete"));
    link_close(link);
}

static uint32_t queue_ready_count(const char *queue)
{
    struct link *link = link_start();
    const amqp_queue_declare_ok_t *found =
        amqp_queue_declare(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue), true, true, false,
                           false, amqp_empty_table);
    assert_non_null(found);
    uint32_t count = found->message_count;

    link_close(link);
    return count;
}

static bool rabbitmqctl(const char *arguments)
{
    const char *servers = getenv("LEDGER_SERVERS"), *name = getenv("LEDGER_SERVERS_NAME");
    char command[2 * TEXT_SIZE];

    (void)snprintf(command, sizeof command, "%s rabbitmqctl %s %s >/dev/null",
                   servers == NULL ? "scripts/servers" : servers, name == NULL ? "test" : name,
                   arguments);
    return system(command) == 0;
}

static size_t resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total = 0, resident = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    (void)fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
}

/* --- each test ----------------------------------------------------------------------------------
 */

static int set_up(void **state)
{
    static uint32_t serial;
    uint32_t random = 0;
    struct topology_queue wanted[2] = {0};

    (void)state;
    err = (struct err){0};
    random_bytes(&random, sizeof random);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(queues[i], sizeof queues[i], "it.amqp.%08x.%u.%d", random, serial, i);
        (void)snprintf(wanted[i].name, sizeof wanted[i].name, "%s", queues[i]);
        wanted[i].arguments[0] = (struct topology_argument){"x-queue-type", "quorum", 0, false};
        wanted[i].arguments[1] =
            (struct topology_argument){"x-delivery-limit", NULL, 1000000, false};
        wanted[i].arguments_count = 2;
    }
    serial++;
    struct topology topology = {.queues = wanted, .queues_count = 2};
    if (topology_apply(url, &topology, TOPOLOGY_DECLARE, &err)) return 0;
    print_error("%s\n", err.text);
    return 1;
}

static int tear_down(void **state)
{
    (void)state;
    publisher_close(publisher);
    consumer_close(consumer);
    publisher = NULL;
    consumer = NULL;
    queue_delete(queues[0]);
    queue_delete(queues[1]);
    return 0;
}

static void test_ten_thousand_in_order(void **state)
{
    enum { COUNT = 10000 };

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(consumer_start(url, 30, TIMEOUT_MS));
    publish_numbers(queues[0], COUNT);
    must(consumer_subscribe(consumer, queues[0], 7, 2000, &err));
    for (uint32_t next = 0; next < COUNT;) {
        uint32_t count = fetch(TIMEOUT_MS, BATCH);
        assert_true(count > 0);
        for (uint32_t i = 0; i < count; i++, next++) {
            assert_int_equal(number_of(&deliveries[i]), next);
            assert_int_equal(deliveries[i].queue, 7);
            assert_false(deliveries[i].redelivered);
            assert_true(text_equal(deliveries[i].routing_key, text_of(queues[0])));
            assert_int_equal(deliveries[i].exchange.length, 0);
        }
        must(consumer_ack(consumer, deliveries[count - 1].tag, true, &err));
    }
    consumer_leave();
    assert_int_equal(queue_ready_count(queues[0]), 0);
}

/* Properties and body come out as the bytes that went in, over many frames and over the send
 * buffer. */
static void test_bytes_are_untouched(void **state)
{
    /* content_type "a/b", headers {"n": [void], "k": bytes}, message_id "m" */
    static const uint8_t properties[] = {0xa0, 0x80, 3,   'a', '/', 'b', 0, 0,   0, 18,
                                         1,    'n',  'A', 0,   0,   0,   1, 'V', 1, 'k',
                                         'x',  0,    0,   0,   3,   0,   1, 2,   1, 'm'};
    static const uint32_t sizes[] = {
        0, 1, LINK_FRAME_MAX - 9, LINK_FRAME_MAX - 8, LINK_FRAME_MAX - 7, 3 * LINK_OUT_SIZE + 5};
    struct consumer_options options = {url, "it_amqp", 30, TIMEOUT_MS, LARGE_SIZE};
    struct arena roomy;

    (void)state;
    must(arena_open(&roomy, consumer_arena_least(LARGE_SIZE), &err));
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(consumer_open(&consumer, &options, &err));
    must(consumer_subscribe(consumer, queues[0], 0, 10, &err));
    random_bytes(large, 4096);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct message message = {.routing_key = text_of(queues[0]),
                                  .properties = {properties, sizeof properties},
                                  .body = {large, sizes[i]},
                                  .mandatory = true};
        uint64_t sequence = 0;
        uint32_t count = 0;
        must(publisher_send(publisher, &message, &sequence, &err));
        assert_int_equal(poll_confirms(TIMEOUT_MS), 1);
        assert_int_equal(confirmed[0].result, CONFIRM_ACK);
        assert_int_equal(confirmed[0].sequence, sequence);
        arena_reset(&roomy);
        must(consumer_fetch(consumer, TIMEOUT_MS, deliveries, BATCH, &roomy, &count, &err));
        assert_int_equal(count, 1);
        assert_int_equal(deliveries[0].properties.size, sizeof properties);
        assert_memory_equal(deliveries[0].properties.data, properties, sizeof properties);
        assert_int_equal(deliveries[0].body_size, sizes[i]);
        assert_int_equal(deliveries[0].body.size, sizes[i]);
        if (sizes[i] > 0) assert_memory_equal(deliveries[0].body.data, large, sizes[i]);
        must(consumer_ack(consumer, deliveries[0].tag, false, &err));
    }
    arena_close(&roomy);
}

static void test_unroutable_comes_back(void **state)
{
    static const uint8_t first[] = {0x00, 0x80, 1, '1'}, second[] = {0x00, 0x80, 1, '2'};
    struct message lost = {.routing_key = TEXT_LITERAL("it.amqp.nowhere"),
                           .properties = {first, sizeof first},
                           .body = {large, 300000}, /* a returned body is read to its end */
                           .mandatory = true};
    struct message found = {.routing_key = text_of(queues[0]),
                            .properties = {second, sizeof second},
                            .mandatory = true};
    static const uint8_t nameless[] = {0, 0};
    struct message bad = {.properties = {nameless, sizeof nameless}, .mandatory = true};
    uint64_t lost_sequence = 0, found_sequence = 0, sequence = 0;

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(publisher_send(publisher, &lost, &lost_sequence, &err));
    must(publisher_send(publisher, &found, &found_sequence, &err));
    for (uint32_t settled = 0, polls = 0; settled < 2; polls++) {
        uint32_t count = poll_confirms(TIMEOUT_MS);
        assert_true(polls < 4); /* the return itself may end a wait */
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(confirmed[i].result, confirmed[i].sequence == lost_sequence
                                                      ? CONFIRM_RETURNED
                                                      : CONFIRM_ACK);
        settled += count;
    }
    assert_false(publisher_send(publisher, &bad, &sequence, &err));
    assert_int_equal(err.kind, ERR_REJECT);
    assert_int_equal(publisher_in_flight(publisher), 0);
}

static void test_unknown_exchange(void **state)
{
    uint32_t count = 0;
    bool ok = true;

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(send_bytes("it.amqp.no.exchange", "", "x", 1));
    for (int i = 0; ok && i < 10; i++)
        ok = publisher_poll(publisher, TIMEOUT_MS, confirmed, WINDOW, &count, &err);
    assert_false(ok);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("no exchange 'it.amqp.no.exchange'");
}

static void test_queue_deleted_under_the_consumer(void **state)
{
    uint32_t count = 0;

    (void)state;
    must(consumer_start(url, 30, TIMEOUT_MS));
    must(consumer_subscribe(consumer, queues[0], 0, 10, &err));
    must(consumer_subscribe(consumer, queues[1], 1, 10, &err));
    queue_delete(queues[1]);
    assert_false(consumer_fetch(consumer, TIMEOUT_MS, deliveries, BATCH, &arena, &count, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says(queues[1]);
    assert_false(consumer_subscribe(consumer, queues[1], 2, 10, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("NOT_FOUND");
}

/* Acks let the broker assign more while the cancel is on its way, and it may never send that; all
 * the same the next consumer goes on exactly where this one ended. */
static void test_cancel_leaves_nothing_behind(void **state)
{
    enum { COUNT = 3000, PREFETCH = 1000 };
    uint32_t next = 0, others = 0;

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(consumer_start(url, 30, TIMEOUT_MS));
    publish_numbers(queues[0], COUNT);
    must(consumer_subscribe(consumer, queues[0], 0, PREFETCH, &err));
    must(consumer_subscribe(consumer, queues[1], 1, PREFETCH, &err));
    assert_true(fetch(TIMEOUT_MS, 1) == 1);
    must(consumer_ack(consumer, deliveries[0].tag, false, &err));
    next++;
    must(consumer_cancel(consumer, 0, &err));
    for (uint32_t count = 1; count > 0; next += count) {
        count = fetch(0, BATCH);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(number_of(&deliveries[i]), next + i);
        if (count > 0) must(consumer_ack(consumer, deliveries[count - 1].tag, true, &err));
    }
    assert_true(next > 1);
    assert_true(next < COUNT); /* acks had not yet let all of them through */
    assert_int_equal(fetch(200, BATCH), 0);

    publish_numbers(queues[1], 10); /* the other queue goes on */
    while (others < 10) {
        uint32_t count = fetch(TIMEOUT_MS, BATCH);
        assert_true(count > 0);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(deliveries[i].queue, 1);
        others += count;
    }
    must(consumer_subscribe(consumer, queues[0], 0, PREFETCH, &err));
    while (next < COUNT) {
        uint32_t count = fetch(TIMEOUT_MS, BATCH);
        assert_true(count > 0);
        for (uint32_t i = 0; i < count; i++, next++)
            assert_int_equal(number_of(&deliveries[i]), next);
        must(consumer_ack(consumer, deliveries[count - 1].tag, true, &err));
    }
}

static void test_oversized_is_dropped_in_flat_memory(void **state)
{
    enum { ROUNDS = 20 };
    size_t before_kib = 0;

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(consumer_start(url, 30, TIMEOUT_MS));
    must(consumer_subscribe(consumer, queues[0], 0, 10, &err));
    for (uint32_t round = 0; round < ROUNDS; round++) {
        must(send_bytes("", queues[0], large, LARGE_SIZE));
        must(send_bytes("", queues[0], &round, sizeof round));
        for (uint32_t settled = 0; settled < 2; settled += poll_confirms(TIMEOUT_MS))
            ;
        for (uint32_t taken = 0; taken < 2; taken++) {
            assert_int_equal(fetch(TIMEOUT_MS, 1), 1);
            assert_int_equal(deliveries[0].oversized, taken == 0);
            if (taken == 0) assert_int_equal(deliveries[0].body_size, LARGE_SIZE);
            if (taken == 0) assert_int_equal(deliveries[0].body.size, 0);
            if (taken == 1) assert_int_equal(number_of(&deliveries[0]), round);
            if (taken == 0) must(consumer_reject(consumer, deliveries[0].tag, &err));
            if (taken == 1) must(consumer_ack(consumer, deliveries[0].tag, false, &err));
        }
        if (round == 1) before_kib = resident_kib();
    }
    if (resident_kib() > before_kib + 1024)
        fail_msg("%zu KiB, then %zu KiB", before_kib, resident_kib());
}

/* --- topology -----------------------------------------------------------------------------------
 */

static void test_topology(void **state)
{
    static struct topology_exchange exchanges[2] = {{.type = "topic"},
                                                    {.type = "x-consistent-hash"}};
    static struct topology_binding bindings[2] = {{.to_exchange = true, .key = "#"}, {.key = "1"}};
    struct topology_queue queue = {.arguments = {{"x-queue-type", "quorum", 0, false},
                                                 {"x-single-active-consumer", NULL, 1, true},
                                                 {"x-max-length", NULL, 100, false}},
                                   .arguments_count = 3};
    struct topology topology = {exchanges, 2, &queue, 1, bindings, 2};

    (void)state;
    for (int i = 0; i < 2; i++)
        (void)snprintf(exchanges[i].name, TOPOLOGY_NAME_SIZE, "%.99s.x%d", queues[0], i);
    (void)snprintf(queue.name, sizeof queue.name, "%.99s.q", queues[0]);
    memcpy(bindings[0].source, exchanges[0].name, TOPOLOGY_NAME_SIZE);
    memcpy(bindings[0].destination, exchanges[1].name, TOPOLOGY_NAME_SIZE);
    memcpy(bindings[1].source, exchanges[1].name, TOPOLOGY_NAME_SIZE);
    memcpy(bindings[1].destination, queue.name, TOPOLOGY_NAME_SIZE);

    assert_false(topology_apply(url, &topology, TOPOLOGY_CHECK, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_says(exchanges[0].name);
    assert_says("NOT_FOUND");
    must(topology_apply(url, &topology, TOPOLOGY_DECLARE, &err));
    must(topology_apply(url, &topology, TOPOLOGY_DECLARE, &err));
    must(topology_apply(url, &topology, TOPOLOGY_CHECK, &err));
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(send_bytes(exchanges[0].name, "any", "x", 1));
    assert_int_equal(poll_confirms(TIMEOUT_MS), 1);
    assert_int_equal(queue_ready_count(queue.name), 1);

    queue.arguments[1].number = 0;
    assert_false(topology_apply(url, &topology, TOPOLOGY_DECLARE, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_says(queue.name);
    assert_says("PRECONDITION_FAILED - inequivalent arg 'x-single-active-consumer'");
    assert_says("delete it when it is empty");

    queue_delete(queue.name);
    struct link *link = link_start();
    for (int i = 0; i < 2; i++)
        (void)amqp_exchange_delete(link->state, LINK_CHANNEL, amqp_cstring_bytes(exchanges[i].name),
                                   false);
    link_close(link);
}

static void test_logins(void **state)
{
    static const struct {
        const char *why, *url;
        enum err_kind kind;
    } logins[] = {
        {"not a URL", "rabbit", ERR_FATAL},
        {"TLS", "amqps://localhost", ERR_FATAL},
        {"a bad port", "amqp://localhost:x/", ERR_FATAL},
        {"nobody there", "amqp://127.0.0.1:1/", ERR_RETRY},
        {"nobody of that name", "amqp://no-such-host.invalid/", ERR_RETRY},
    };
    struct amqp_connection_info info;
    char copy[TEXT_SIZE], other[2 * TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof logins / sizeof logins[0]; i++) {
        if (consumer_start(logins[i].url, 30, TIMEOUT_MS) || err.kind != logins[i].kind)
            fail_msg("%s: %s", logins[i].why, err.text);
        assert_null(consumer);
    }
    (void)snprintf(copy, sizeof copy, "%s", url);
    assert_int_equal(amqp_parse_url(copy, &info), AMQP_STATUS_OK);
    (void)snprintf(other, sizeof other, "amqp://%s:sesame@%s:%d/", info.user, info.host, info.port);
    assert_false(consumer_start(other, 30, TIMEOUT_MS));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_says("ACCESS_REFUSED");
    assert_null(strstr(err.text, "sesame"));
    (void)snprintf(other, sizeof other, "amqp://%s:%s@%s:%d/no%%2fvhost", info.user, info.password,
                   info.host, info.port);
    assert_false(consumer_start(other, 30, TIMEOUT_MS));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_says("vhost no/vhost not found");
}

/* --- the broker in trouble ----------------------------------------------------------------------
 */

static int tear_down_alarm(void **state)
{
    (void)rabbitmqctl("set_vm_memory_high_watermark 0.4");
    return tear_down(state);
}

static void test_memory_alarm(void **state)
{
    enum { COUNT = 50 };

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(consumer_start(url, 30, TIMEOUT_MS));
    publish_numbers(queues[0], COUNT);
    must(consumer_subscribe(consumer, queues[0], 0, COUNT, &err));
    uint32_t taken = 0;
    while (taken < COUNT)
        taken += fetch(TIMEOUT_MS, BATCH);

    assert_true(rabbitmqctl("set_vm_memory_high_watermark 0"));
    must(send_bytes("", queues[1], large, 1000));
    uint64_t start_ms = clock_monotonic_ms();
    while (!publisher_blocked(publisher) && clock_monotonic_ms() - start_ms < TIMEOUT_MS)
        assert_int_equal(poll_confirms(TIMEOUT_MS), 0);
    assert_true(publisher_blocked(publisher));
    assert_true(clock_monotonic_ms() - start_ms < 1000);
    assert_int_equal(publisher_room(publisher), 0);
    assert_int_equal(poll_confirms(500), 0); /* alive, and waiting */

    must(consumer_ack(consumer, COUNT, true, &err));
    consumer_leave(); /* what was not acknowledged would be ready again */
    assert_int_equal(queue_ready_count(queues[0]), 0);

    assert_true(rabbitmqctl("set_vm_memory_high_watermark 0.4"));
    uint32_t settled = 0;
    start_ms = clock_monotonic_ms();
    while (settled == 0 && clock_monotonic_ms() - start_ms < TIMEOUT_MS)
        settled = poll_confirms(TIMEOUT_MS);
    assert_int_equal(settled, 1);
    assert_false(publisher_blocked(publisher));
    assert_int_equal(publisher_room(publisher), WINDOW);
}

static void test_close_while_blocked_is_quick(void **state)
{
    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    assert_true(rabbitmqctl("set_vm_memory_high_watermark 0"));
    must(send_bytes("", queues[1], large, 1000));
    while (!publisher_blocked(publisher))
        assert_int_equal(poll_confirms(TIMEOUT_MS), 0);
    uint64_t start_ms = clock_monotonic_ms();
    publisher_close(publisher);
    publisher = NULL;
    assert_true(clock_monotonic_ms() - start_ms < 100);
}

static void test_connection_closed_by_the_broker(void **state)
{
    uint32_t count = 0;

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(consumer_start(url, 30, TIMEOUT_MS));
    must(consumer_subscribe(consumer, queues[0], 0, 10, &err));
    assert_true(rabbitmqctl("close_all_connections maintenance"));
    assert_false(consumer_fetch(consumer, TIMEOUT_MS, deliveries, BATCH, &arena, &count, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("CONNECTION_FORCED - maintenance (320)");
    assert_false(publisher_poll(publisher, TIMEOUT_MS, confirmed, WINDOW, &count, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("CONNECTION_FORCED - maintenance (320)");
}

/* --- the cable ----------------------------------------------------------------------------------
 */

enum cable_state { CABLE_WHOLE, CABLE_FROZEN, CABLE_CUT };

static struct cable {
    _Atomic enum cable_state state;
    int listener, ends[2];
    char url[2 * TEXT_SIZE];
    pthread_t thread;
} cable;

static void cable_carry(int from, int to)
{
    static char bytes[65536];
    ssize_t size = recv(from, bytes, sizeof bytes, 0);

    for (ssize_t sent = 0; sent < size;) {
        ssize_t took = send(to, bytes + sent, (size_t)(size - sent), MSG_NOSIGNAL);
        if (took < 0) break;
        sent += took;
    }
    if (size <= 0) cable.state = CABLE_CUT;
}

static void *cable_run(void *argument)
{
    (void)argument;
    cable.ends[0] = accept(cable.listener, NULL, NULL);
    while (cable.state != CABLE_CUT) {
        struct pollfd watched[2] = {{cable.ends[0], POLLIN, 0}, {cable.ends[1], POLLIN, 0}};
        if (cable.state == CABLE_FROZEN) {
            clock_sleep_ms(10);
            continue;
        }
        if (poll(watched, 2, 10) <= 0) continue;
        if (watched[0].revents != 0) cable_carry(cable.ends[0], cable.ends[1]);
        if (watched[1].revents != 0) cable_carry(cable.ends[1], cable.ends[0]);
    }
    (void)close(cable.ends[0]);
    (void)close(cable.ends[1]);
    return NULL;
}

/* One connection to the broker, by way of a thread. */
static void cable_lay(void)
{
    struct sockaddr_in near = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t near_size = sizeof near;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *far = NULL;
    struct amqp_connection_info info;
    char copy[TEXT_SIZE], port[16];

    (void)snprintf(copy, sizeof copy, "%s", url);
    assert_int_equal(amqp_parse_url(copy, &info), AMQP_STATUS_OK);
    (void)snprintf(port, sizeof port, "%d", info.port);
    assert_int_equal(getaddrinfo(info.host, port, &hints, &far), 0);
    cable.ends[1] = socket(far->ai_family, SOCK_STREAM, 0);
    assert_int_equal(connect(cable.ends[1], far->ai_addr, far->ai_addrlen), 0);
    freeaddrinfo(far);
    cable.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(cable.listener, (struct sockaddr *)&near, sizeof near), 0);
    assert_int_equal(listen(cable.listener, 1), 0);
    assert_int_equal(getsockname(cable.listener, (struct sockaddr *)&near, &near_size), 0);
    (void)snprintf(cable.url, sizeof cable.url, "amqp://%s:%s@127.0.0.1:%d/%s", info.user,
                   info.password, ntohs(near.sin_port), info.vhost[0] == '/' ? "" : info.vhost);
    cable.state = CABLE_WHOLE;
    assert_int_equal(pthread_create(&cable.thread, NULL, cable_run, NULL), 0);
}

static int tear_down_cable(void **state)
{
    cable.state = CABLE_CUT;
    (void)pthread_join(cable.thread, NULL);
    (void)close(cable.listener);
    return tear_down(state);
}

static void test_cut_under_the_consumer(void **state)
{
    uint32_t count = 0;

    (void)state;
    cable_lay();
    must(consumer_start(cable.url, 30, TIMEOUT_MS));
    must(consumer_subscribe(consumer, queues[0], 0, 10, &err));
    assert_int_equal(fetch(50, BATCH), 0);
    cable.state = CABLE_CUT;
    uint64_t start_ms = clock_monotonic_ms();
    assert_false(consumer_fetch(consumer, TIMEOUT_MS, deliveries, BATCH, &arena, &count, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_true(clock_monotonic_ms() - start_ms < 1000);
}

static void test_cut_under_the_publisher(void **state)
{
    uint32_t count = 0;

    (void)state;
    cable_lay();
    must(publisher_start(cable.url, 30, TIMEOUT_MS));
    publish_numbers(queues[0], 10);
    cable.state = CABLE_CUT;
    uint64_t start_ms = clock_monotonic_ms();
    must(send_bytes("", queues[0], "x", 1));
    assert_false(publisher_poll(publisher, TIMEOUT_MS, confirmed, WINDOW, &count, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_true(clock_monotonic_ms() - start_ms < 1000);
}

/* A peer that is gone without a word: two heartbeats. */
static void test_silence(void **state)
{
    uint32_t count = 0;

    (void)state;
    cable_lay();
    must(consumer_start(cable.url, 1, TIMEOUT_MS));
    must(consumer_subscribe(consumer, queues[0], 0, 10, &err));
    for (int i = 0; i < 4; i++) /* nothing to do, for more than two heartbeats: no silence */
        assert_int_equal(fetch(1000, BATCH), 0);
    for (int i = 0; i < 12; i++) { /* a batch is held; the broker must not give us up */
        clock_sleep_ms(300);
        must(consumer_beat(consumer, &err));
    }
    assert_int_equal(fetch(100, BATCH), 0);
    cable.state = CABLE_FROZEN;
    uint64_t start_ms = clock_monotonic_ms();
    assert_false(consumer_fetch(consumer, 2 * TIMEOUT_MS, deliveries, BATCH, &arena, &count, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("no heartbeat");
    assert_in_range(clock_monotonic_ms() - start_ms, 1000, 3500);
}

/* A peer that does not read, and never said that it would not: no call waits beyond the timeout. */
static void test_a_broker_that_does_not_read(void **state)
{
    enum { SHORT_MS = 1000, PATIENCE_MS = 10000 };
    uint64_t start_ms = clock_monotonic_ms();
    uint32_t count = 0;
    bool ok = true;

    (void)state;
    cable_lay();
    must(publisher_start(cable.url, 30, SHORT_MS));
    cable.state = CABLE_FROZEN;
    while (ok) {
        uint64_t call_ms = clock_monotonic_ms();
        assert_true(call_ms - start_ms < PATIENCE_MS);
        if (publisher_room(publisher) > 0)
            ok = send_bytes("", queues[0], large, BODY_MAX);
        else
            ok = publisher_poll(publisher, 100, confirmed, WINDOW, &count, &err);
        assert_true(clock_monotonic_ms() - call_ms < SHORT_MS / 2); /* it never waits to send */
    }
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("did not read for 1000 ms");
    assert_in_range(publisher_in_flight(publisher), 10, WINDOW - 1);
}

/* One message larger than all buffers has to wait for the socket: at most the timeout. */
static void test_a_large_message_nobody_reads(void **state)
{
    enum { SHORT_MS = 1000 };
    bool ok = true;

    (void)state;
    cable_lay();
    must(publisher_start(cable.url, 30, SHORT_MS));
    cable.state = CABLE_FROZEN;
    uint64_t call_ms = clock_monotonic_ms();
    for (int i = 0; ok && i < 3 && publisher_room(publisher) > 0; i++) {
        call_ms = clock_monotonic_ms();
        ok = send_bytes("", queues[0], large, LARGE_SIZE);
    }
    assert_false(ok);
    assert_in_range(clock_monotonic_ms() - call_ms, SHORT_MS - 100, 2 * SHORT_MS + 500);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("did not read for 1000 ms");
}

int main(void)
{
#define ON_BROKER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define ON_CABLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down_cable)
#define ON_ALARM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down_alarm)
    const struct CMUnitTest tests[] = {
        ON_BROKER(test_ten_thousand_in_order),
        ON_BROKER(test_bytes_are_untouched),
        ON_BROKER(test_unroutable_comes_back),
        ON_BROKER(test_unknown_exchange),
        ON_BROKER(test_queue_deleted_under_the_consumer),
        ON_BROKER(test_cancel_leaves_nothing_behind),
        ON_BROKER(test_oversized_is_dropped_in_flat_memory),
        ON_BROKER(test_topology),
        ON_BROKER(test_logins),
        ON_CABLE(test_cut_under_the_consumer),
        ON_CABLE(test_cut_under_the_publisher),
        ON_CABLE(test_silence),
        ON_CABLE(test_a_broker_that_does_not_read),
        ON_CABLE(test_a_large_message_nobody_reads),
        ON_ALARM(test_memory_alarm),
        ON_ALARM(test_close_while_blocked_is_quick),
        ON_BROKER(test_connection_closed_by_the_broker),
    };

    url = getenv("LEDGER_AMQP_URL");
    if (url == NULL || !arena_open(&arena, ARENA_SIZE, &err)) {
        print_error("LEDGER_AMQP_URL is not set\n");
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_close(&arena);
    return failed;
}
