/*
 * it_proxy.c - the chaos proxy does what it says, and nothing else: a fault that never took place
 * would make a chaos run prove nothing, and bytes that the proxy itself loses would be blamed on
 * the ledger. No server is needed: the test holds both ends of each connection, or lets an echo
 * thread hold the far one.
 *
 * Every case ends with the same check: once both ends are closed the proxy has none of their
 * descriptors any more.
 */
#include "tests/chaos/proxy.c"      // NOLINT(bugprone-suspicious-include): not in the archive
#include "tests/chaos/proxy_link.c" // NOLINT(bugprone-suspicious-include)
#include "tests/test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>

enum {
    SOON_MS = 10000, /* for what must happen: generous, for a machine with much else to do */
    SILENCE_MS = 200,
    PAIRS_MAX = LINKS_MAX + 2,
    NOISE_SIZE = 1 << 20,
    NOISE_PRIME = 1048573, /* offsets are taken modulo this, so no chunk looks like its neighbour */
    PIECE_MOST = 48 * 1024,
};

struct pair { /* the two ends of a connection through the proxy; -1: closed */
    int client, server;
};

static struct err err;
static struct proxy *proxy;
static int listener;
static uint16_t listener_port;
static uint32_t descriptors_before, descriptors_ready; /* without the proxy, and with it */
static struct pair pairs[PAIRS_MAX];                   /* all that this case opened */
static uint32_t pairs_count;
static uint8_t noise[NOISE_SIZE];

#define must(call)                                                                                 \
    do {                                                                                           \
        if (!(call)) fail_msg("%s", err.text);                                                     \
    } while (0)

/* --- sockets ----------------------------------------------------------------------------- */

static uint32_t descriptors_open(void)
{
    DIR *folder = opendir("/proc/self/fd");
    uint32_t count = 0;

    assert_non_null(folder);
    while (readdir(folder) != NULL) count++;
    assert_int_equal(closedir(folder), 0);
    return count;
}

static void descriptors_fall_to(uint32_t count)
{
    uint64_t deadline_ms = clock_monotonic_ms() + SOON_MS;

    while (descriptors_open() > count && clock_monotonic_ms() < deadline_ms) clock_sleep_ms(2);
    assert_int_equal(descriptors_open(), count);
}

static bool readable_within(int socket, uint32_t wait_ms)
{
    struct pollfd polled = {.fd = socket, .events = POLLIN};

    return poll(&polled, 1, (int)wait_ms) == 1;
}

static int listen_anywhere(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int socket_number = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(socket_number >= 0);
    assert_int_equal(bind(socket_number, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(socket_number, 128), 0);
    assert_int_equal(getsockname(socket_number, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return socket_number;
}

/* A client's end, blocking, with nothing known yet of the other one; -1 when connect already told
 * of the reset. */
static int dial_in_vain(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(proxy_port(proxy)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, socket_number = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(socket_number >= 0);
    assert_int_equal(setsockopt(socket_number, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    if (connect(socket_number, (struct sockaddr *)&address, sizeof address) == 0)
        return socket_number;
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(close(socket_number), 0);
    return -1;
}

static int dial(void)
{
    int client = dial_in_vain();

    assert_true(client >= 0);
    return client;
}

static struct pair *pair_dial(void)
{
    assert_true(pairs_count < PAIRS_MAX);
    struct pair *pair = &pairs[pairs_count++];
    *pair = (struct pair){.client = dial(), .server = -1};
    return pair;
}

static void pair_accept(struct pair *pair)
{
    int on = 1;

    assert_true(readable_within(listener, SOON_MS));
    pair->server = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(pair->server >= 0);
    assert_int_equal(setsockopt(pair->server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
}

static struct pair *pair_open(void)
{
    struct pair *pair = pair_dial();

    pair_accept(pair);
    return pair;
}

static void end_close(int *end)
{
    if (*end >= 0) assert_int_equal(close(*end), 0);
    *end = -1;
}

static void end_reset(int *end)
{
    proxy_socket_end(*end, true);
    *end = -1;
}

static void pairs_close(void)
{
    for (uint32_t i = 0; i < pairs_count; i++) {
        end_close(&pairs[i].client);
        end_close(&pairs[i].server);
    }
    pairs_count = 0;
}

/* --- what is said and heard -------------------------------------------------------------- */

static void say(int socket, uint32_t offset, uint32_t size)
{
    assert_true(offset + size <= NOISE_SIZE);
    assert_int_equal(send(socket, noise + offset, size, MSG_NOSIGNAL), size);
}

static void hear(int socket, uint32_t offset, uint32_t size)
{
    uint8_t heard[PIECE_MOST];
    uint32_t count = 0;

    assert_true(size <= sizeof heard);
    while (count < size) {
        assert_true(readable_within(socket, SOON_MS));
        ssize_t got = recv(socket, heard + count, size - count, 0);
        assert_true(got > 0);
        count += (uint32_t)got;
    }
    assert_memory_equal(heard, noise + offset, size);
}

/* Neither bytes nor an end. */
static void hear_silence(int socket, uint32_t for_ms)
{
    assert_false(readable_within(socket, for_ms));
}

static void hear_end(int socket)
{
    uint8_t byte;

    assert_true(readable_within(socket, SOON_MS));
    assert_int_equal(recv(socket, &byte, 1, 0), 0);
}

static void hear_reset(int socket)
{
    uint8_t byte;

    assert_true(readable_within(socket, SOON_MS));
    assert_int_equal(recv(socket, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
}

/* Closed, in whichever way; nothing else is heard before. */
static void hear_gone(int socket)
{
    uint8_t byte;

    assert_true(readable_within(socket, SOON_MS));
    ssize_t got = recv(socket, &byte, 1, 0);
    assert_true(got == 0 || (got < 0 && errno == ECONNRESET));
}

static void hear_refusal(void)
{
    int client = dial_in_vain();

    if (client >= 0) hear_reset(client);
    end_close(&client);
}

static void pair_talks(const struct pair *pair)
{
    say(pair->client, 100, 1000);
    hear(pair->server, 100, 1000);
    say(pair->server, 5000, 2000);
    hear(pair->client, 5000, 2000);
}

/* --- each case --------------------------------------------------------------------------- */

static int set_up(void **state)
{
    (void)state;
    descriptors_before = descriptors_open();
    listener = listen_anywhere(&listener_port);
    must(proxy_open(&proxy, listener_port, &err));
    descriptors_ready = descriptors_open();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pairs_close();
    if (proxy != NULL) {
        proxy_heal(proxy);
        descriptors_fall_to(descriptors_ready);
    }
    proxy_close(proxy);
    proxy = NULL;
    end_close(&listener);
    assert_int_equal(descriptors_open(), descriptors_before);
    return 0;
}

static void counts_are(struct proxy_counts expected)
{
    struct proxy_counts counts = proxy_counts(proxy);

    assert_int_equal(counts.connections, expected.connections);
    assert_int_equal(counts.refused, expected.refused);
    assert_int_equal(counts.bytes, expected.bytes);
    assert_int_equal(counts.delayed, expected.delayed);
    assert_int_equal(counts.cut, expected.cut);
    assert_int_equal(counts.half_open, expected.half_open);
    assert_int_equal(counts.reset, expected.reset);
}

/* --- an echo ----------------------------------------------------------------------------- */

struct echo {
    pthread_t thread;
    atomic_bool ending;
    struct pollfd polled[1 + LINKS_MAX]; /* the listener first; fd -1: free */
};

/* It may block in send: the test never stops reading. */
static bool echo_once(int socket)
{
    uint8_t bytes[PIECE_MOST];
    ssize_t got = recv(socket, bytes, sizeof bytes, 0), sent = 0;

    while (got > 0 && sent < got) {
        ssize_t more = send(socket, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (more < 0) return false;
        sent += more;
    }
    return got > 0;
}

static void *echo_run(void *context)
{
    struct echo *echo = context;

    while (!atomic_load(&echo->ending)) {
        if (poll(echo->polled, 1 + LINKS_MAX, 20) <= 0) continue;
        for (uint32_t i = 1; i <= LINKS_MAX; i++) {
            int *socket = &echo->polled[i].fd;
            if (*socket < 0 && echo->polled[0].revents != 0) {
                *socket = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                echo->polled[0].revents = 0;
            } else if (*socket >= 0 && echo->polled[i].revents != 0 && !echo_once(*socket)) {
                (void)close(*socket);
                *socket = -1;
            }
        }
    }
    for (uint32_t i = 1; i <= LINKS_MAX; i++)
        if (echo->polled[i].fd >= 0) (void)close(echo->polled[i].fd);
    return NULL;
}

static void echo_start(struct echo *echo)
{
    atomic_init(&echo->ending, false);
    for (uint32_t i = 0; i <= LINKS_MAX; i++)
        echo->polled[i] = (struct pollfd){.fd = i == 0 ? listener : -1, .events = POLLIN};
    assert_int_equal(pthread_create(&echo->thread, NULL, echo_run, echo), 0);
}

static void echo_stop(struct echo *echo)
{
    atomic_store(&echo->ending, true);
    assert_int_equal(pthread_join(echo->thread, NULL), 0);
}

/* One caller of the echo: sends noise from a place of its own, in pieces of any size, and compares
 * what comes back. */
struct caller {
    int socket;
    uint32_t start; /* in the noise */
    uint64_t total, sent, heard;
    bool over;
    uint64_t random;
};

static uint32_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33);
}

static const uint8_t *noise_at(const struct caller *caller, uint64_t offset, size_t *size)
{
    uint32_t place = (uint32_t)((caller->start + offset) % NOISE_PRIME);

    if (*size > NOISE_PRIME - place) *size = NOISE_PRIME - place;
    return noise + place;
}

static void caller_send(struct caller *caller)
{
    size_t size = 1 + next_random(&caller->random) % PIECE_MOST;
    if (size > caller->total - caller->sent) size = (size_t)(caller->total - caller->sent);
    const uint8_t *piece = noise_at(caller, caller->sent, &size);
    ssize_t sent = send(caller->socket, piece, size, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0 && errno != EAGAIN) caller->over = true;
    if (sent <= 0) return;
    caller->sent += (uint64_t)sent;
    if (caller->sent == caller->total) (void)shutdown(caller->socket, SHUT_WR);
}

/* What comes back must be the beginning of what was sent, whatever befalls the connection. */
static void caller_hear(struct caller *caller)
{
    uint8_t heard[PIECE_MOST];
    ssize_t got = recv(caller->socket, heard, sizeof heard, MSG_DONTWAIT);

    if (got == 0 || (got < 0 && errno != EAGAIN)) caller->over = true;
    for (size_t done = 0, size; got > 0 && done < (size_t)got; done += size) {
        size = (size_t)got - done;
        const uint8_t *expected = noise_at(caller, caller->heard, &size);
        assert_memory_equal(heard + done, expected, size);
        caller->heard += size;
    }
    assert_true(caller->heard <= caller->sent);
}

/* One turn for all of them; how many are still at it. */
static uint32_t callers_turn(struct caller *callers, uint32_t count)
{
    struct pollfd polled[LINKS_MAX];
    uint32_t alive = 0;

    for (uint32_t i = 0; i < count; i++) {
        short events = callers[i].sent < callers[i].total ? POLLIN | POLLOUT : POLLIN;
        polled[i] = (struct pollfd){.fd = callers[i].over ? -1 : callers[i].socket, events, 0};
        if (!callers[i].over) alive++;
    }
    if (alive == 0 || poll(polled, count, 20) <= 0) return alive;
    for (uint32_t i = 0; i < count; i++) {
        if ((polled[i].revents & POLLOUT) != 0) caller_send(&callers[i]);
        if ((polled[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) caller_hear(&callers[i]);
    }
    return alive;
}

/* --- no fault ---------------------------------------------------------------------------- */

static void test_megabytes_both_ways(void **state)
{
    enum { CALLERS = 40, EACH = 2 * 1024 * 1024 + 4321 };
    static struct caller callers[CALLERS];
    static struct echo echo;
    uint64_t deadline_ms = clock_monotonic_ms() + 6 * SOON_MS;

    (void)state;
    echo_start(&echo);
    for (uint32_t i = 0; i < CALLERS; i++)
        callers[i] =
            (struct caller){.socket = dial(), .start = i * 7919, .total = EACH, .random = i};
    while (callers_turn(callers, CALLERS) > 0) assert_true(clock_monotonic_ms() < deadline_ms);
    echo_stop(&echo);
    for (uint32_t i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].heard, EACH);
        end_close(&callers[i].socket);
    }
    counts_are(
        (struct proxy_counts){.connections = CALLERS, .bytes = (uint64_t)2 * CALLERS * EACH});
}

static void test_as_many_connections_as_it_says(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < LINKS_MAX; i++) pair_talks(pair_open());
    hear_refusal();
    for (uint32_t i = 0; i < LINKS_MAX; i += 17) pair_talks(&pairs[i]);
    end_close(&pairs[3].client);
    hear_end(pairs[3].server);
    uint32_t full = descriptors_open();
    end_close(&pairs[3].server);
    descriptors_fall_to(full - 3);
    pair_talks(pair_open());
    assert_int_equal(proxy_counts(proxy).connections, LINKS_MAX + 1);
    assert_int_equal(proxy_counts(proxy).refused, 1);
}

static void test_an_end_does_not_overtake(void **state)
{
    (void)state;
    struct pair *pair = pair_open();
    proxy_delay(proxy, 100);
    say(pair->client, 0, 30000);
    assert_int_equal(shutdown(pair->client, SHUT_WR), 0);
    hear(pair->server, 0, 30000);
    hear_end(pair->server);
    say(pair->server, 0, 3000); /* the other direction is still open */
    end_close(&pair->server);
    hear(pair->client, 0, 3000);
    hear_end(pair->client);
}

static void test_a_server_that_is_away(void **state)
{
    (void)state;
    end_close(&listener);
    hear_refusal();
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* for the count at the end */
}

/* --- back-pressure ----------------------------------------------------------------------- */

/* Sends until nobody takes more; how much it was. */
static uint32_t say_all_it_takes(int socket)
{
    struct caller caller = {.socket = socket, .total = UINT32_MAX};
    struct pollfd polled = {.fd = socket, .events = POLLOUT};

    while (poll(&polled, 1, 2 * SILENCE_MS) == 1) {
        caller_send(&caller);
        assert_true(caller.sent < 64u << 20); /* the kernel's buffers and two of the proxy's */
    }
    return (uint32_t)caller.sent;
}

static void hear_all(int socket, uint64_t total)
{
    struct caller caller = {.socket = socket, .total = total, .sent = total};
    uint64_t deadline_ms = clock_monotonic_ms() + 2 * SOON_MS;

    while (caller.heard < total) {
        assert_true(clock_monotonic_ms() < deadline_ms);
        if (readable_within(socket, SOON_MS)) caller_hear(&caller);
        assert_false(caller.over);
    }
    assert_int_equal(caller.heard, total);
}

static void test_back_pressure(void **state)
{
    static const uint32_t delays_ms[] = {0, 60000}; /* nobody reads; nothing is due */
    uint64_t bytes = 0;

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        struct pair *pair = pair_open();
        proxy_delay(proxy, delays_ms[i]);
        uint32_t sent = say_all_it_takes(pair->client);
        proxy_delay(proxy, 0);
        pair_talks(pair_open()); /* others do not wait for it */
        say(pair->server, 7, 7);
        hear(pair->client, 7, 7); /* nor does its other direction */
        hear_all(pair->server, sent);
        bytes += 3000 + 7 + sent;
        assert_int_equal(proxy_counts(proxy).bytes, bytes);
    }
}

/* A delay fills the pipe exactly: the kernel's buffers always find a little more room. */
static void test_a_sender_that_dies_under_back_pressure(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        struct pair *pair = pair_open();
        int *sender = i % 2 == 0 ? &pair->client : &pair->server;
        proxy_delay(proxy, i < 2 ? 0 : 60000);
        (void)say_all_it_takes(*sender);
        uint32_t before = descriptors_open();
        end_reset(sender);
        descriptors_fall_to(before - 3); /* though the receiver has read nothing */
    }
}

/* The whole process sleeps, the proxy's thread with it. */
static void nothing_spins(void)
{
    struct rusage before, after;

    clock_sleep_ms(20); /* what is on its way arrives */
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    clock_sleep_ms(SILENCE_MS);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    int64_t busy_us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
                       before.ru_stime.tv_sec) *
                          INT64_C(1000000) +
                      after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
                      before.ru_stime.tv_usec;
    assert_in_range(busy_us, 0, 20000);
}

/* Conditions that poll would report for ever. */
static void test_it_sleeps_when_there_is_nothing_to_do(void **state)
{
    (void)state;
    struct pair *pair = pair_open(); /* half-closed */
    assert_int_equal(shutdown(pair->client, SHUT_WR), 0);
    nothing_spins();

    pair = pair_open(); /* told of the other's end, and ended, which the full pipe hides */
    assert_int_equal(shutdown(pair->client, SHUT_WR), 0);
    hear_end(pair->server);
    proxy_delay(proxy, 60000);
    say(pair->server, 0, PROXY_PIPE_SIZE + 20000);
    end_close(&pair->server);
    nothing_spins();

    pair = pair_open(); /* cut, and the half that is left is not yet due */
    proxy_cut(proxy);
    say(pair->client, 0, 100);
    clock_sleep_ms(20);
    assert_int_equal(proxy_counts(proxy).cut, 1);
    say(pair->client, 0, 100);
    nothing_spins();

    pair = pair_open(); /* not yet due */
    say(pair->client, 0, 100);
    nothing_spins();

    pair = pair_open(); /* frozen */
    proxy_half_open(proxy);
    say(pair->client, 0, 100);
    end_close(&pair->server);
    nothing_spins();
}

static void test_a_reset_goes_through(void **state)
{
    (void)state;
    struct pair *one = pair_open(), *other = pair_open();
    end_reset(&one->client);
    hear_reset(one->server);
    end_reset(&other->server);
    hear_reset(other->client);
    assert_int_equal(proxy_counts(proxy).reset, 0); /* that was none of its faults */
}

/* --- delay ------------------------------------------------------------------------------- */

static void test_delay(void **state)
{
    enum { DELAY_MS = 150, SLACK_MS = PAUSE_MS };

    (void)state;
    const struct pair *pair = pair_open();
    (void)pair_open(); /* silent: not met by the fault */
    pair_talks(pair);
    assert_int_equal(proxy_counts(proxy).delayed, 0);
    for (uint32_t round = 1; round <= 3; round++) {
        proxy_delay(proxy, DELAY_MS);
        for (uint32_t back = 0; back < 2; back++) {
            uint64_t start_ms = clock_monotonic_ms();
            say(back != 0 ? pair->server : pair->client, round, 500);
            hear(back != 0 ? pair->client : pair->server, round, 500);
            assert_in_range(clock_monotonic_ms() - start_ms, DELAY_MS - 1, DELAY_MS + SLACK_MS);
        }
        assert_int_equal(proxy_counts(proxy).delayed, round);
    }
}

static void test_delay_is_not_a_brake(void **state)
{
    enum { DELAY_MS = 200, PIECES = 200, LARGE = 4 << 20 };

    (void)state;
    const struct pair *pair = pair_open();
    proxy_delay(proxy, DELAY_MS);
    uint64_t start_ms = clock_monotonic_ms();
    for (uint32_t i = 0; i < PIECES; i++) {
        say(pair->client, i * 100, 100);
        clock_sleep_us(500); /* so that most are chunks of their own */
    }
    for (uint32_t i = 0; i < PIECES; i++) hear(pair->server, i * 100, 100);
    assert_in_range(clock_monotonic_ms() - start_ms, DELAY_MS, SOON_MS); /* not 200 times 200 */

    static struct caller caller;
    static struct echo echo;
    proxy_delay(proxy, DELAY_MS / 4);
    echo_start(&echo);
    start_ms = clock_monotonic_ms();
    caller = (struct caller){.socket = dial(), .total = LARGE, .random = 9};
    while (callers_turn(&caller, 1) > 0) assert_true(clock_monotonic_ms() - start_ms < SOON_MS);
    assert_int_equal(caller.heard, LARGE);
    end_close(&caller.socket);
    echo_stop(&echo);
}

static void test_delay_ends(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        const struct pair *pair = pair_open();
        proxy_delay(proxy, 60000);
        say(pair->client, 0, 1000);
        hear_silence(pair->server, SILENCE_MS);
        if (i == 0)
            proxy_heal(proxy);
        else
            proxy_delay(proxy, 0);
        say(pair->client, 1000, 1000);
        hear(pair->server, 0, 2000); /* at once, and in order */
    }
}

/* --- cut --------------------------------------------------------------------------------- */

static void test_cut(void **state)
{
    static const uint32_t sizes[] = {8, 9, 100, 4097, 16000};
    uint64_t cut = 0, bytes = 0;

    (void)state;
    for (uint32_t i = 0; i < 2 * sizeof sizes / sizeof sizes[0]; i++) {
        const struct pair *pair = pair_open();
        int from = i % 2 == 0 ? pair->client : pair->server;
        int to = i % 2 == 0 ? pair->server : pair->client;
        uint32_t size = sizes[i / 2];
        proxy_cut(proxy);
        say(from, 3, 7); /* too small to be cut */
        hear(to, 3, 7);
        assert_int_equal(proxy_counts(proxy).cut, cut);
        say(from, 50, size);
        hear(to, 50, size / 2);
        hear_gone(to);
        hear_gone(from);
        bytes += 7 + size / 2;
        counts_are((struct proxy_counts){.connections = i + 1, .bytes = bytes, .cut = ++cut});
    }
}

static void test_cut_meets_who_is_open(void **state)
{
    (void)state;
    const struct pair *talking = pair_open(), *silent = pair_open();
    proxy_cut(proxy);
    const struct pair *later = pair_open();
    say(talking->client, 0, 100);
    hear(talking->server, 0, 50);
    hear_gone(talking->server);
    for (uint32_t i = 0; i < 5; i++) pair_talks(later);
    hear_silence(silent->client, SILENCE_MS);
    assert_int_equal(proxy_counts(proxy).cut, 1);
    say(silent->server, 0, 100); /* its turn comes with its next chunk */
    hear(silent->client, 0, 50);
    hear_gone(silent->client);
    hear_gone(silent->server);
    assert_int_equal(proxy_counts(proxy).cut, 2);
}

/* --- half-open --------------------------------------------------------------------------- */

static void test_half_open(void **state)
{
    (void)state;
    struct pair *asking = pair_open(), *leaving = pair_open(), *left = pair_open(),
                *dying = pair_open();
    pair_talks(asking);
    proxy_half_open(proxy);
    assert_int_equal(proxy_counts(proxy).half_open, 4);
    struct pair *later = pair_open();
    say(asking->client, 0, 1000);
    say(asking->server, 0, 1000);
    end_close(&leaving->client);
    end_close(&left->server);
    end_reset(&dying->client);
    pair_talks(later);
    hear_silence(asking->server, SILENCE_MS);
    hear_silence(asking->client, 0);
    hear_silence(leaving->server, 0);
    hear_silence(left->client, 0);
    hear_silence(dying->server, 0);

    proxy_half_open(proxy); /* again: only the new one is new to it */
    assert_int_equal(proxy_counts(proxy).half_open, 5);
    say(later->client, 0, 10);
    hear_silence(later->server, SILENCE_MS);
    assert_int_equal(proxy_counts(proxy).reset, 0);
    proxy_heal(proxy);
    hear_reset(asking->client);
    hear_reset(asking->server);
    hear_reset(leaving->server);
    hear_reset(left->client);
    hear_reset(dying->server);
    hear_reset(later->client);
    hear_reset(later->server);
    pair_talks(pair_open());
    counts_are((struct proxy_counts){
        .connections = 6, .bytes = UINT64_C(3) * 3000, .half_open = 5, .reset = 5});
}

/* A call has taken effect when it returns: for bytes sent after it and for connections opened
 * before and after it. */
static void test_a_fault_is_there_at_once(void **state)
{
    enum { ROUNDS = 100 };

    (void)state;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct pair *before = pair_dial(); /* perhaps not yet accepted by the proxy */
        proxy_half_open(proxy);
        assert_int_equal(proxy_counts(proxy).half_open, i + 1);
        struct pair *after = pair_dial();
        pair_accept(before);
        pair_accept(after);
        say(before->client, 0, 10);
        pair_talks(after);
        hear_silence(before->server, 0);
        proxy_heal(proxy);
        hear_reset(before->server);
        pair_talks(after);
        pairs_close();
        descriptors_fall_to(descriptors_ready); /* else the next round would freeze it */
    }
    const struct pair *pair = pair_open();
    for (uint32_t i = 0; i < ROUNDS; i++) pair_talks(pair);
    proxy_half_open(proxy);
    say(pair->client, 0, 100);
    hear_silence(pair->server, SILENCE_MS);
    assert_int_equal(proxy_counts(proxy).half_open, ROUNDS + 1);
}

/* --- reset, refusal ---------------------------------------------------------------------- */

static void test_reset(void **state)
{
    enum { OPEN = 20 };

    (void)state;
    proxy_reset(proxy); /* nothing is open */
    assert_int_equal(proxy_counts(proxy).reset, 0);
    for (uint32_t i = 0; i < OPEN; i++) pair_talks(pair_open());
    proxy_reset(proxy);
    assert_int_equal(proxy_counts(proxy).reset, OPEN);
    for (uint32_t i = 0; i < OPEN; i++) {
        hear_reset(pairs[i].client);
        hear_reset(pairs[i].server);
    }
    pair_talks(pair_open());
    assert_int_equal(proxy_counts(proxy).reset, OPEN);
}

static void test_refuse(void **state)
{
    enum { TRIES = 30 };

    (void)state;
    const struct pair *open = pair_open();
    pair_talks(open);
    proxy_refuse(proxy);
    hear_reset(open->client);
    hear_reset(open->server);
    for (uint32_t i = 0; i < TRIES; i++) {
        hear_refusal();
    }
    hear_silence(listener, 0); /* none has come to the server */
    proxy_heal(proxy);
    pair_talks(pair_open());
    counts_are((struct proxy_counts){
        .connections = 2, .refused = TRIES, .bytes = UINT64_C(2) * 3000, .reset = 1});
}

/* --- all of it, under load --------------------------------------------------------------- */

static void *tell_anything(void *context)
{
    static void (*const faults[])(struct proxy *) = {proxy_cut, proxy_half_open, proxy_reset,
                                                     proxy_refuse, proxy_heal};
    uint64_t *random = context;

    for (uint32_t i = 0; i < 150; i++) {
        uint32_t fault = next_random(random) % 6;
        if (fault < 5)
            faults[fault](proxy);
        else
            proxy_delay(proxy, next_random(random) % 20);
        clock_sleep_us(next_random(random) % 8000);
        if (next_random(random) % 2 == 0) proxy_heal(proxy);
    }
    proxy_heal(proxy);
    return NULL;
}

static void test_any_fault_at_any_time(void **state)
{
    enum { CALLERS = 12, TELLERS = 2 };
    static struct caller callers[CALLERS];
    static struct echo echo;
    uint64_t seeds[TELLERS] = {1, 2}, whole = 0, random = 3;
    pthread_t tellers[TELLERS];
    uint64_t deadline_ms = clock_monotonic_ms() + 3 * SOON_MS;

    (void)state;
    echo_start(&echo);
    for (uint32_t i = 0; i < CALLERS; i++) callers[i] = (struct caller){.socket = -1, .over = true};
    for (uint32_t i = 0; i < TELLERS; i++)
        assert_int_equal(pthread_create(&tellers[i], NULL, tell_anything, &seeds[i]), 0);
    while (proxy_counts(proxy).connections < 2000 && clock_monotonic_ms() < deadline_ms &&
           whole < 100) {
        for (uint32_t i = 0; i < CALLERS; i++) {
            if (!callers[i].over) continue;
            if (callers[i].total > 0 && callers[i].heard == callers[i].total) whole++;
            end_close(&callers[i].socket);
            callers[i] = (struct caller){.socket = dial_in_vain(),
                                         .start = next_random(&random) % NOISE_PRIME,
                                         .total = 1 + next_random(&random) % 300000,
                                         .random = next_random(&random)};
            callers[i].over = callers[i].socket < 0;
        }
        (void)callers_turn(callers, CALLERS);
    }
    for (uint32_t i = 0; i < TELLERS; i++) assert_int_equal(pthread_join(tellers[i], NULL), 0);
    while (callers_turn(callers, CALLERS) > 0) assert_true(clock_monotonic_ms() < deadline_ms);
    for (uint32_t i = 0; i < CALLERS; i++) end_close(&callers[i].socket);
    echo_stop(&echo);
    struct proxy_counts counts = proxy_counts(proxy);
    assert_true(whole > 0 && counts.cut > 0 && counts.half_open > 0 && counts.delayed > 0);
    assert_true(counts.refused > 0 && counts.reset >= counts.half_open / 2);
    pair_talks(pair_open());
}

static void test_close_resets(void **state)
{
    (void)state;
    const struct pair *pair = pair_open(), *frozen = pair_open();
    proxy_half_open(proxy);
    const struct pair *later = pair_open();
    proxy_close(proxy);
    proxy = NULL;
    hear_reset(pair->client);
    hear_reset(frozen->server);
    hear_reset(later->client);
    hear_reset(later->server);
    proxy_close(NULL);
}

static void test_it_cannot_be_opened(void **state)
{
    struct rlimit usual, none;
    struct proxy *unopened = proxy;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
    int lowest = dup(listener); /* the number that the next descriptor gets */
    assert_int_equal(close(lowest), 0);
    uint32_t before = descriptors_open();
    for (uint32_t room = 0; room < 2; room++) { /* for neither descriptor, then for one */
        none = (struct rlimit){.rlim_cur = (rlim_t)lowest + room, .rlim_max = usual.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        bool opened = proxy_open(&unopened, listener_port, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
        assert_false(opened);
        assert_null(unopened);
        assert_int_equal(err.kind, ERR_FATAL);
        assert_int_equal(strncmp(err.text, "could not open proxy: ", 22), 0);
        assert_int_equal(descriptors_open(), before);
    }
}

int main(void)
{
#define PROXIED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PROXIED(test_megabytes_both_ways),
        PROXIED(test_as_many_connections_as_it_says),
        PROXIED(test_an_end_does_not_overtake),
        PROXIED(test_a_server_that_is_away),
        PROXIED(test_back_pressure),
        PROXIED(test_a_sender_that_dies_under_back_pressure),
        PROXIED(test_a_reset_goes_through),
        PROXIED(test_it_sleeps_when_there_is_nothing_to_do),
        PROXIED(test_delay),
        PROXIED(test_delay_is_not_a_brake),
        PROXIED(test_delay_ends),
        PROXIED(test_cut),
        PROXIED(test_cut_meets_who_is_open),
        PROXIED(test_half_open),
        PROXIED(test_a_fault_is_there_at_once),
        PROXIED(test_reset),
        PROXIED(test_refuse),
        PROXIED(test_any_fault_at_any_time),
        PROXIED(test_close_resets),
        PROXIED(test_it_cannot_be_opened),
    };
    struct rlimit limit;
    uint64_t random = 2026;

    /* Both ends of each connection and both of the proxy's are in this one process. */
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    limit.rlim_cur = limit.rlim_max < 8192 ? limit.rlim_max : 8192;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    for (uint32_t i = 0; i < NOISE_SIZE; i++) noise[i] = (uint8_t)next_random(&random);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
