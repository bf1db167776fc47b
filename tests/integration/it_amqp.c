/*
 * it_amqp.c - consumer, publisher and topology on a real RabbitMQ that is well.
 */
#include "tests/amqp.h"

#include <unistd.h>

static size_t resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long total = 0, resident = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    (void)fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE) / 1024;
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
    enum { COUNT = 20000, PREFETCH = 5000 }; /* more than arrives while the first is fetched */
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
        for (uint32_t i = 0; i < count; i++) assert_int_equal(number_of(&deliveries[i]), next + i);
        if (count > 0) must(consumer_ack(consumer, deliveries[count - 1].tag, true, &err));
    }
    assert_true(next > 1);
    assert_true(next < COUNT); /* acks had not yet let all of them through */
    assert_int_equal(fetch(200, BATCH), 0);

    publish_numbers(queues[1], 10); /* the other queue goes on */
    while (others < 10) {
        uint32_t count = fetch(TIMEOUT_MS, BATCH);
        assert_true(count > 0);
        for (uint32_t i = 0; i < count; i++) assert_int_equal(deliveries[i].queue, 1);
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

/* With many deliveries on their way, in hand, and acknowledged a moment ago. */
static void test_an_end_keeps_the_order(void **state)
{
    enum { COUNT = 20000, PREFETCH = 5000, ROUNDS = 8, TAKEN = 1200 };
    uint32_t next = 0;

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    publish_numbers(queues[0], COUNT);
    for (uint32_t round = 0; next < COUNT; round++) {
        uint32_t until = round < ROUNDS ? next + TAKEN : COUNT;
        must(consumer_start(url, 30, TIMEOUT_MS));
        must(consumer_subscribe(consumer, queues[0], 0, PREFETCH, &err));
        while (next < until) {
            uint32_t count = fetch(TIMEOUT_MS, BATCH);
            assert_true(count > 0);
            for (uint32_t i = 0; i < count; i++, next++)
                assert_int_equal(number_of(&deliveries[i]), next);
            must(consumer_ack(consumer, deliveries[count - 1].tag, true, &err));
        }
        (void)fetch(TIMEOUT_MS, 10); /* and not acknowledged */
        must(consumer_land_acks(consumer, queues[0], &err));
        consumer_close(consumer);
        consumer = NULL;
    }
}

static void test_oversized_is_dropped_in_flat_memory(void **state)
{
    enum { ROUNDS = 20, GROWTH_KIB = 5 * 1024 }; /* half of one body */

    (void)state;
    must(publisher_start(url, 30, TIMEOUT_MS));
    must(consumer_start(url, 30, TIMEOUT_MS));
    must(consumer_subscribe(consumer, queues[0], 0, 10, &err));
    memset(large, 'x', sizeof large);
    size_t before_kib = resident_kib();
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
    }
    if (resident_kib() > before_kib + GROWTH_KIB)
        fail_msg("%zu KiB, then %zu KiB", before_kib, resident_kib());
}

/* --- topology -----------------------------------------------------------------------------------
 */

static void test_topology(void **state)
{
    static struct topology_exchange exchanges[2] = {{.type = "topic"}, {.type = "x-modulus-hash"}};
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

    static struct topology_exchange no_plugin = {.name = "it.no-plugin", .type = "x-unheard-of"};
    topology = (struct topology){.exchanges = &no_plugin, .exchanges_count = 1};
    assert_false(topology_apply(url, &topology, TOPOLOGY_DECLARE, &err));
    assert_int_equal(err.kind, ERR_FATAL);
    assert_says("unknown exchange type 'x-unheard-of'");
    assert_says("enable the plugin");

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
        {"TLS, and nobody there", "amqps://127.0.0.1:1/", ERR_RETRY},
        {"TLS without verifying", "amqps://localhost/?verify=verify_none", ERR_FATAL},
        {"a key without its certificate", "amqps://localhost/?keyfile=key.pem", ERR_FATAL},
        {"a CA without TLS", "amqp://localhost/?cacertfile=ca.pem", ERR_FATAL},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BROKER(test_ten_thousand_in_order),
        ON_BROKER(test_bytes_are_untouched),
        ON_BROKER(test_unroutable_comes_back),
        ON_BROKER(test_unknown_exchange),
        ON_BROKER(test_queue_deleted_under_the_consumer),
        ON_BROKER(test_cancel_leaves_nothing_behind),
        ON_BROKER(test_an_end_keeps_the_order),
        ON_BROKER(test_oversized_is_dropped_in_flat_memory),
        ON_BROKER(test_topology),
        ON_BROKER(test_logins),
    };

    return amqp_run(tests, sizeof tests / sizeof tests[0]);
}
