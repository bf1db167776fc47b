/*
 * test_peers.c - who is shut, and that a sweep ends. Peers share one socket here: it may be shut
 * more than once.
 */
#include "base/clock.h"
#include "gateway/peers.h"
#include "tests/test.h"

#include <sys/socket.h>
#include <unistd.h>

enum { IDLE_MS = 100000, REQUEST_MS = 10000, ROOM = 64 };

static int sockets[2];
static struct peers *peers;

static int set_up(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_STREAM, 0, sockets);
}

static int tear_down(void **state)
{
    (void)state;
    return close(sockets[0]) | close(sockets[1]);
}

static void begin(uint32_t idle_ms, uint32_t connections_max)
{
    const struct peers_limits limits = {
        .idle_ms = idle_ms, .request_ms = REQUEST_MS, .connections_max = connections_max};
    struct err err;

    assert_true(peers_open(&peers, &limits, &err));
}

static struct peer *add(enum peer_state state)
{
    struct peer *peer = peer_add(peers, sockets[0]);

    assert_non_null(peer);
    peer_set(peers, peer, state);
    return peer;
}

static uint32_t sweep_in(uint32_t ms)
{
    return peers_sweep(peers, clock_monotonic_ms() + ms);
}

static uint32_t sweep(void)
{
    return sweep_in(0);
}

static bool is_shut(void)
{
    char byte;

    return recv(sockets[0], &byte, 1, MSG_DONTWAIT) == 0;
}

static void each_state_has_its_time(void **state)
{
    struct peer *one[PEER_STATES];

    (void)state;
    begin(IDLE_MS, ROOM);
    for (uint32_t i = 0; i < PEER_STATES; i++) one[i] = add((enum peer_state)i);
    assert_int_equal(sweep(), 0);
    assert_false(is_shut());
    assert_int_equal(sweep_in(2 * REQUEST_MS), 2);
    assert_true(is_shut());
    assert_int_equal(sweep_in(2 * IDLE_MS), 3); /* and what is still there of the other two */
    assert_int_equal(peers_in(peers, PEER_WAITING), 1);
    for (uint32_t i = 0; i < PEER_STATES; i++) peer_remove(peers, one[i]);
    assert_int_equal(peers_count(peers), 0);
    peers_close(peers);
}

static void those_idle_longest_make_room(void **state)
{
    struct peer *all[ROOM];

    (void)state;
    begin(60000, ROOM);
    for (uint32_t i = 0; i < ROOM; i++) all[i] = add(i % 2 == 0 ? PEER_IDLE : PEER_WAITING);
    assert_int_equal(sweep(), ROOM / 8);
    for (uint32_t i = 0; i < ROOM / 8; i++) peer_remove(peers, all[2 * i]);
    assert_int_equal(sweep(), 0);
    for (uint32_t i = 0; i < ROOM; i++)
        if (i % 2 == 1 || i >= ROOM / 4) peer_remove(peers, all[i]);
    peers_close(peers);
}

static void without_idle_ones_the_slowest_make_room(void **state)
{
    struct peer *all[ROOM];

    (void)state;
    begin(60000, ROOM);
    for (uint32_t i = 0; i < ROOM; i++) all[i] = add(i < ROOM / 2 ? PEER_WAITING : PEER_SENDING);
    assert_int_equal(sweep(), ROOM / 8);
    assert_int_equal(sweep(), 0); /* those are leaving */
    for (uint32_t i = 0; i < ROOM; i++) peer_remove(peers, all[i]);
    peers_close(peers);
}

/* The clock goes on while it is at it, and others come. */
static void a_sweep_ends_whatever_the_clock_does(void **state)
{
    struct peer *one, *other;

    (void)state;
    begin(1, ROOM);
    one = add(PEER_IDLE);
    clock_sleep_ms(5);
    uint64_t now_ms = clock_monotonic_ms();
    clock_sleep_ms(5);
    other = add(PEER_IDLE);
    (void)alarm(20); /* it did not end once */
    assert_int_equal(peers_sweep(peers, now_ms), 1);
    (void)alarm(0);
    peer_remove(peers, one);
    peer_remove(peers, other);
    peers_close(peers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_state_has_its_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_idle_longest_make_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_idle_ones_the_slowest_make_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_sweep_ends_whatever_the_clock_does, set_up, tear_down)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
