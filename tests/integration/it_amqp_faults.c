/*
 * it_amqp_faults.c - a RabbitMQ in trouble, and a network that is cut or freezes: a cable to the
 * broker, which is a thread that forwards bytes until it is told not to. No call may wait beyond
 * its time.
 *
 * Needs LEDGER_SERVERS and LEDGER_SERVERS_NAME too, to raise the memory alarm.
 */
#include "tests/amqp.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

static bool rabbitmqctl(const char *arguments)
{
    const char *servers = getenv("LEDGER_SERVERS"), *name = getenv("LEDGER_SERVERS_NAME");
    char command[2 * TEXT_SIZE];

    (void)snprintf(command, sizeof command, "%s rabbitmqctl %s %s >/dev/null",
                   servers == NULL ? "scripts/servers" : servers, name == NULL ? "test" : name,
                   arguments);
    return system(command) == 0;
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
    while (taken < COUNT) taken += fetch(TIMEOUT_MS, BATCH);

    assert_true(rabbitmqctl("set_vm_memory_high_watermark 0"));
    must(send_bytes("", queues[1], large, 1000));
    uint64_t start_ms = clock_monotonic_ms();
    while (!publisher_blocked(publisher) && clock_monotonic_ms() - start_ms < TIMEOUT_MS)
        assert_int_equal(poll_confirms(TIMEOUT_MS), 0);
    assert_true(publisher_blocked(publisher));
    assert_true(clock_monotonic_ms() - start_ms < 2000 + PAUSE_MS);
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
    assert_int_equal(poll_confirms(TIMEOUT_MS), 0);
    assert_true(publisher_blocked(publisher));
    uint64_t start_ms = clock_monotonic_ms();
    publisher_close(publisher);
    publisher = NULL;
    assert_true(clock_monotonic_ms() - start_ms < 500 + PAUSE_MS);
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
    assert_true(clock_monotonic_ms() - start_ms < 2000 + PAUSE_MS);
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
    assert_true(clock_monotonic_ms() - start_ms < 2000 + PAUSE_MS);
}

/* A peer that is gone without a word: two heartbeats. */
static void test_silence(void **state)
{
    uint32_t count = 0;

    (void)state;
    cable_lay();
    must(consumer_start(cable.url, 2, TIMEOUT_MS));
    must(consumer_subscribe(consumer, queues[0], 0, 10, &err));
    for (int i = 0; i < 5; i++) /* nothing to do, for more than two heartbeats: no silence */
        assert_int_equal(fetch(1000, BATCH), 0);
    for (int i = 0; i < 15; i++) { /* a batch is held; the broker must not give us up */
        clock_sleep_ms(300);
        must(consumer_beat(consumer, &err));
    }
    assert_int_equal(fetch(100, BATCH), 0);
    cable.state = CABLE_FROZEN;
    uint64_t start_ms = clock_monotonic_ms();
    assert_false(consumer_fetch(consumer, 2 * TIMEOUT_MS, deliveries, BATCH, &arena, &count, &err));
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("no heartbeat");
    assert_in_range(clock_monotonic_ms() - start_ms, 2000, 6500 + PAUSE_MS);
}

/* A peer that does not read, and never said that it would not: no call waits beyond the timeout. */
static void test_a_broker_that_does_not_read(void **state)
{
    enum { SHORT_MS = 1000, PATIENCE_MS = 10000 };
    uint64_t start_ms = clock_monotonic_ms();
    uint32_t count = 0, slow = 0;
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
        slow += clock_monotonic_ms() - call_ms >= SHORT_MS;
    }
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("did not read for 1000 ms");
    assert_in_range(slow, 0, 1); /* it never waits to send; the machine may */
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
    assert_in_range(clock_monotonic_ms() - call_ms, SHORT_MS - 100, 3 * SHORT_MS + PAUSE_MS);
    assert_int_equal(err.kind, ERR_RETRY);
    assert_says("did not read for 1000 ms");
}

int main(void)
{
#define ON_CABLE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down_cable)
#define ON_ALARM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down_alarm)
    const struct CMUnitTest tests[] = {
        ON_CABLE(test_cut_under_the_consumer),
        ON_CABLE(test_cut_under_the_publisher),
        ON_CABLE(test_silence),
        ON_CABLE(test_a_broker_that_does_not_read),
        ON_CABLE(test_a_large_message_nobody_reads),
        ON_ALARM(test_memory_alarm),
        ON_ALARM(test_close_while_blocked_is_quick),
        ON_BROKER(test_connection_closed_by_the_broker),
    };

    return amqp_run(tests, sizeof tests / sizeof tests[0]);
}
