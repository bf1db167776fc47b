/*
 * amqp.h - what the tests of the AMQP edges share: two queues of their own for each test, one
 * publisher, one consumer, and small steps that fail the test with the broker's words.
 *
 * Needs LEDGER_AMQP_URL, with rights to declare.
 */
#ifndef TESTS_AMQP_H
#define TESTS_AMQP_H

#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/link_amqp.h"
#include "base/publisher_amqp.h"
#include "base/topology_amqp.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TIMEOUT_MS = 15000,
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

static inline bool publisher_start(const char *at, uint32_t heartbeat_s, uint32_t timeout_ms)
{
    struct publisher_options options = {at, "it_amqp publisher", heartbeat_s, timeout_ms, WINDOW};

    return publisher_open(&publisher, &options, &err);
}

static inline bool consumer_start(const char *at, uint32_t heartbeat_s, uint32_t timeout_ms)
{
    struct consumer_options options = {at, "it_amqp consumer", heartbeat_s, timeout_ms, BODY_MAX};

    return consumer_open(&consumer, &options, &err);
}

static inline bool send_bytes(const char *exchange, const char *key, const void *body,
                              uint32_t size)
{
    static const uint8_t persistent[] = {0x10, 0x00, 2}; /* delivery_mode alone */
    struct message message = {.exchange = text_of(exchange),
                              .routing_key = text_of(key),
                              .properties = {persistent, sizeof persistent},
                              .body = {body, size}};
    uint64_t sequence = 0;

    return publisher_send(publisher, &message, &sequence, &err);
}

static inline uint32_t poll_confirms(uint32_t wait_ms)
{
    uint32_t count = 0;

    must(publisher_poll(publisher, wait_ms, confirmed, WINDOW, &count, &err));
    return count;
}

/* The body of each message is its number. */
static inline void publish_numbers(const char *queue, uint32_t count)
{
    for (uint32_t sent = 0, settled = 0; settled < count;) {
        for (; sent < count && publisher_room(publisher) > 0; sent++)
            must(send_bytes("", queue, &sent, sizeof sent));
        uint32_t polled = poll_confirms(TIMEOUT_MS);
        for (uint32_t i = 0; i < polled; i++) assert_int_equal(confirmed[i].result, CONFIRM_ACK);
        settled += polled;
    }
    assert_int_equal(publisher_in_flight(publisher), 0);
}

static inline uint32_t fetch(uint32_t wait_ms, uint32_t max)
{
    uint32_t count = 0;

    arena_reset(&arena);
    must(consumer_fetch(consumer, wait_ms, deliveries, max, &arena, &count, &err));
    return count;
}

static inline uint32_t number_of(const struct delivery *delivery)
{
    uint32_t number = 0;

    assert_int_equal(delivery->body.size, sizeof number);
    memcpy(&number, delivery->body.data, sizeof number);
    return number;
}

/* Closed at once, the broker would forget some of the last acknowledgements. */
static inline void consumer_leave(void)
{
    clock_sleep_ms(300);
    consumer_close(consumer);
    consumer = NULL;
}

static inline struct link *link_start(void)
{
    struct link_options options = {url, "it_amqp", 0, TIMEOUT_MS};
    struct link *link = NULL;

    must(link_open(&link, &options, &err));
    return link;
}

static inline void queue_delete(const char *queue)
{
    struct link *link = link_start();

    (void)amqp_queue_delete(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue), false, false);
    must(link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, &err, "delete"));
    link_close(link);
}

static inline uint32_t queue_ready_count(const char *queue)
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

/* --- each test ----------------------------------------------------------------------------------
 */

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
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

static inline int amqp_run(const struct CMUnitTest *tests, size_t count)
{
    url = getenv("LEDGER_AMQP_URL");
    if (url == NULL || !arena_open(&arena, ARENA_SIZE, &err)) {
        print_error("LEDGER_AMQP_URL is not set\n");
        return 1;
    }
    int failed = _cmocka_run_group_tests("amqp", tests, count, NULL, NULL);
    arena_close(&arena);
    return failed;
}

#define ON_BROKER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

#endif
