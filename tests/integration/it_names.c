/*
 * it_names.c - the ledger's topology on a real broker: it can be declared, declared again and
 * checked; a command reaches exactly one shard, always the same for one key; what expires and what
 * is rejected comes out of the dead-letter queue.
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/publisher_amqp.h"
#include "base/topology_amqp.h"
#include "protocol/names.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 4, KEYS = 64, WAIT_MS = 200, DEADLINE_MS = 20000, ARENA_SIZE = 16 << 20 };
enum { DLQ_NUMBER = SHARDS, BODY_MAX = 1 << 20, DELIVERIES_MAX = 256 };

static const char *url;
static struct names names;
static struct names_topology all;
static struct arena arena;
static struct publisher *publisher;
static struct consumer *consumer;

/* Basic properties: delivery mode 2, message id "m"; the same with expiration "1" (ms). */
static const uint8_t persistent[] = {0x10, 0x80, 2, 1, 'm'};
static const uint8_t expiring[] = {0x11, 0x80, 2, 1, '1', 1, 'm'};

static void publish(const char *key, const uint8_t *properties, uint32_t size)
{
    struct err err = {0};
    uint64_t sequence;
    struct confirm confirm;
    uint32_t count = 0;
    struct message message = {.exchange = text_of(names.commands),
                              .routing_key = text_of(key),
                              .properties = {properties, size},
                              .body = {(const uint8_t *)key, (uint32_t)strlen(key)},
                              .mandatory = true};

    if (!publisher_send(publisher, &message, &sequence, &err)) fail_msg("%s", err.text);
    for (uint64_t end = clock_monotonic_ms() + DEADLINE_MS; count == 0;) {
        if (!publisher_poll(publisher, WAIT_MS, &confirm, 1, &count, &err))
            fail_msg("%s", err.text);
        if (clock_monotonic_ms() > end) fail_msg("no confirm for %s", key);
    }
    assert_int_equal(confirm.result, CONFIRM_ACK);
}

/* Fetches `want` deliveries, and makes sure that no more come. */
static void fetch(struct delivery *out, uint32_t want)
{
    struct err err = {0};
    uint32_t got = 0, count = 0;

    assert_true(want < DELIVERIES_MAX);
    for (uint64_t end = clock_monotonic_ms() + DEADLINE_MS;
         got < want && clock_monotonic_ms() < end;) {
        if (!consumer_fetch(consumer, WAIT_MS, out + got, DELIVERIES_MAX - got, &arena, &count,
                            &err))
            fail_msg("%s", err.text);
        got += count;
    }
    if (!consumer_fetch(consumer, WAIT_MS, out + got, 1, &arena, &count, &err))
        fail_msg("%s", err.text);
    assert_int_equal(got + count, want);
}

static void subscribe(const char *queue, uint32_t number)
{
    struct err err = {0};

    if (!consumer_subscribe(consumer, queue, number, DELIVERIES_MAX, &err))
        fail_msg("%s", err.text);
}

static void ack(uint64_t tag)
{
    struct err err = {0};

    if (!consumer_ack(consumer, tag, false, &err)) fail_msg("%s", err.text);
}

static void test_declared(void **state)
{
    struct err err = {0};

    (void)state;
    assert_true(topology_apply(url, &all.topology, TOPOLOGY_DECLARE, &err));
    assert_true(topology_apply(url, &all.topology, TOPOLOGY_CHECK, &err));
}

/* A message that expires unseen in a shard leaves it as a dead letter. */
static void test_expired(void **state)
{
    static struct delivery out[DELIVERIES_MAX];

    (void)state;
    publish("too-late", expiring, sizeof expiring);
    subscribe(names.dlq, DLQ_NUMBER);
    fetch(out, 1);
    assert_true(text_equal(out[0].routing_key, TEXT_LITERAL("too-late")));
    assert_true(text_equal(out[0].exchange, text_of(names.dlx)));
    assert_non_null(memmem(out[0].properties.data, out[0].properties.size, "expired", 7));
    ack(out[0].tag);
}

static void test_spread(void **state)
{
    static struct delivery out[DELIVERIES_MAX];
    static uint32_t shard_of[KEYS];
    uint32_t per_shard[SHARDS] = {0};

    (void)state;
    for (uint32_t i = 0; i < SHARDS; i++) subscribe(names.shard[i], i);
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < KEYS; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "account.%u", i);
            publish(key, persistent, sizeof persistent);
        }
    }
    fetch(out, 2 * KEYS);
    memset(shard_of, 0xff, sizeof shard_of);
    for (uint32_t i = 0; i < 2 * KEYS; i++) {
        unsigned key = 0;
        assert_true(sscanf((const char *)out[i].body.data, "account.%2u", &key) == 1);
        if (shard_of[key] == UINT32_MAX) shard_of[key] = out[i].queue;
        assert_int_equal(out[i].queue, shard_of[key]);
        per_shard[out[i].queue]++;
        ack(out[i].tag);
    }
    for (uint32_t i = 0; i < SHARDS; i++) assert_true(per_shard[i] > 0);
}

/* What the worker rejects (a body over the limit) leaves the shard as a dead letter, whole. */
static void test_rejected(void **state)
{
    static struct delivery out[DELIVERIES_MAX];
    struct err err = {0};

    (void)state;
    publish("unwanted", persistent, sizeof persistent);
    fetch(out, 1);
    assert_true(out[0].queue < SHARDS);
    if (!consumer_reject(consumer, out[0].tag, &err)) fail_msg("%s", err.text);
    fetch(out, 1);
    assert_int_equal(out[0].queue, DLQ_NUMBER);
    assert_true(text_equal(out[0].routing_key, TEXT_LITERAL("unwanted")));
    assert_int_equal(out[0].body.size, strlen("unwanted"));
    assert_non_null(memmem(out[0].properties.data, out[0].properties.size, "rejected", 8));
    ack(out[0].tag);
}

/* Another prefix each time: the broker may have seen an earlier run. */
static int open_all(void **state)
{
    struct err err = {0};
    char prefix[PREFIX_LENGTH_MAX];

    (void)state;
    url = getenv("LEDGER_AMQP_URL");
    if (url == NULL) return -1;
    (void)snprintf(prefix, sizeof prefix, "names-%ju", (uintmax_t)clock_wall_us());
    if (!names_make(&names, prefix, SHARDS, &err) || !arena_open(&arena, ARENA_SIZE, &err))
        return -1;
    names_topology(&names, &all);

    const struct publisher_options publishing = {
        .url = url, .name = "it_names", .heartbeat_s = 30, .timeout_ms = 5000, .window = 16};
    const struct consumer_options consuming = {.url = url,
                                               .name = "it_names",
                                               .heartbeat_s = 30,
                                               .timeout_ms = 5000,
                                               .body_max = BODY_MAX};
    return publisher_open(&publisher, &publishing, &err) &&
                   consumer_open(&consumer, &consuming, &err)
               ? 0
               : -1;
}

static int close_all(void **state)
{
    (void)state;
    consumer_close(consumer);
    publisher_close(publisher);
    arena_close(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* in this order: the queues have no consumer at first */
        cmocka_unit_test(test_declared),
        cmocka_unit_test(test_expired),
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_rejected),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
