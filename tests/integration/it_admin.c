/*
 * it_admin.c - the admin port asked over real sockets, by callers who are well behaved, too large,
 * too slow, or too many.
 */
#include "base/admin_http.h"
#include "base/clock.h"
#include "base/health.h"
#include "base/metrics.h"
#include "tests/test.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* IDLE_MS: how long the server bears a connection that says nothing; see base/admin_http.c. */
enum { ANSWER_SIZE = 64 * 1024, WAIT_MS = 5000, IDLE_MS = 5000, SLACK_MS = 3000, CROWD = 100 };

static struct admin *admin;
static struct err err;
static char answer[ANSWER_SIZE];

static int set_up(void **state)
{
    (void)state;
    if (admin_open(&admin, "127.0.0.1", 0, &err)) return 0;
    print_error("%s\n", err.text);
    return 1;
}

static int tear_down(void **state)
{
    (void)state;
    admin_close(admin);
    return 0;
}

/* --- small steps ----------------------------------------------------------------------------- */

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(admin_port(admin))};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* What the server has not read when it closes is lost to nobody: that is its refusal. */
static void say(int fd, const char *bytes, size_t size)
{
    (void)send(fd, bytes, size, MSG_NOSIGNAL);
}

/* Reads until the server closes; false when it has not done so after wait_ms. */
static bool hear(int fd, int wait_ms)
{
    uint64_t end_ms = clock_monotonic_ms() + (uint64_t)wait_ms;
    size_t size = 0;

    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        answer[size] = '\0';
        if (now_ms >= end_ms || poll(&readable, 1, (int)(end_ms - now_ms)) == 0) return false;
        ssize_t got = recv(fd, answer + size, sizeof answer - 1 - size, 0);
        if (got <= 0) return true;
        size += (size_t)got;
    }
}

/* The whole answer of one request on a connection of its own; returns its code. */
static int ask_within(const char *method, const char *path, int wait_ms)
{
    char request[256];
    int fd = dial(), code = 0;

    int size = snprintf(request, sizeof request,
                        "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
    say(fd, request, (size_t)size);
    if (!hear(fd, wait_ms)) fail_msg("no answer to %s %s within %d ms", method, path, wait_ms);
    (void)close(fd);
    if (sscanf(answer, "HTTP/1.1 %d", &code) != 1) fail_msg("%s", answer);
    return code;
}

static int ask(const char *method, const char *path)
{
    return ask_within(method, path, WAIT_MS);
}

static const char *body(void)
{
    const char *end = strstr(answer, "\r\n\r\n");

    assert_non_null(end);
    return end + 4;
}

static const char *status(void)
{
    static char word[32];
    json_t *json = json_loads(body(), JSON_REJECT_DUPLICATES, NULL);

    if (json == NULL) fail_msg("%s", answer);
    (void)snprintf(word, sizeof word, "%s", json_string_value(json_object_get(json, "status")));
    json_decref(json);
    return word;
}

/* --- tests ----------------------------------------------------------------------------------- */

static void ready_follows_the_components(void **state)
{
    (void)state;
    health_require(HEALTH_POSTGRES);
    health_optional(HEALTH_REDIS);
    assert_int_equal(ask("GET", "/health/ready"), 503);
    assert_string_equal(status(), "unavailable");
    health_set(HEALTH_POSTGRES, HEALTH_UP);
    assert_int_equal(ask("GET", "/health/ready"), 200);
    assert_string_equal(status(), "degraded");
    health_set(HEALTH_REDIS, HEALTH_UP);
    assert_int_equal(ask("GET", "/health/ready"), 200);
    assert_string_equal(status(), "ready");
    assert_non_null(strstr(answer, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(answer, "Cache-Control: no-store\r\n"));
    health_set(HEALTH_POSTGRES, HEALTH_DOWN);
    assert_int_equal(ask("GET", "/health/ready?verbose=1"), 503);
    assert_int_equal(ask("GET", "/health"), 503);
    assert_string_equal(status(), "unavailable");
    assert_int_equal(ask("GET", "/health/live"), 200);
    assert_string_equal(status(), "live");
}

static void metrics_are_there(void **state)
{
    (void)state;
    metric_add(metric_register(METRIC_COUNTER, "it_admin_total", "Of this test.", NULL), 42);
    assert_int_equal(ask("GET", "/metrics"), 200);
    assert_non_null(strstr(answer, "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(body(), "\nit_admin_total 42\n"));
    assert_non_null(strstr(body(), "\nprocess_open_fds "));
}

static void head_is_get_without_a_body(void **state)
{
    static const char *const paths[] = {"/metrics", "/health/live", "/nothing"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        int code = ask("GET", paths[i]);
        assert_true(strlen(body()) > 0);
        assert_int_equal(ask("HEAD", paths[i]), code);
        assert_string_equal(body(), "");
        assert_non_null(strstr(answer, "Content-Length: "));
    }
}

static void what_is_not_there_is_404(void **state)
{
    static const char *const paths[] = {"/",        "/metrics/", "/health/",
                                        "/healthz", "/METRICS",  "/health/live/../../etc/passwd",
                                        "/%00",     "//metrics"};

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        assert_int_equal(ask("GET", paths[i]), 404);
        assert_non_null(strstr(body(), "/metrics"));
    }
}

static void only_get_and_head_are_allowed(void **state)
{
    static const char *const methods[] = {"POST",  "PUT",   "DELETE", "OPTIONS",
                                          "TRACE", "PATCH", "get"};

    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        assert_int_equal(ask(methods[i], "/metrics"), 405);
        assert_non_null(strstr(answer, "Allow: GET, HEAD\r\n"));
    }
}

/* A body that nobody wants is not read into memory. */
static void a_body_is_refused(void **state)
{
    static const char head[] =
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
    static const char part[4096];
    int fd = dial();

    (void)state;
    say(fd, head, sizeof head - 1);
    say(fd, part, sizeof part);
    assert_true(hear(fd, WAIT_MS));
    assert_int_equal(strncmp(answer, "HTTP/1.1 405 ", 13), 0);
    (void)close(fd);
}

static void an_oversized_request_is_refused(void **state)
{
    static char path[20000];
    static const char header[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nX: ";

    (void)state;
    memset(path, 'a', sizeof path);
    for (int round = 0; round < 2; round++) {
        int fd = dial();
        if (round == 0) say(fd, "GET /", 5);
        if (round == 1) say(fd, header, sizeof header - 1);
        say(fd, path, sizeof path);
        say(fd, " HTTP/1.1\r\n\r\n", 13);
        assert_true(hear(fd, WAIT_MS));
        if (answer[0] != '\0') /* else it was closed on us while we spoke */
            assert_int_equal(strncmp(answer, "HTTP/1.1 4", 10), 0);
        (void)close(fd);
    }
    assert_int_equal(ask("GET", "/metrics"), 200);
}

/* No request, half of one, or none that is HTTP: refused or cut off, soon enough. */
static void who_makes_no_request_is_cut_off(void **state)
{
    static const char *const parts[] = {
        "",     "GET /met",    "GET /metrics HTTP/1.1\r\nHost: x\r\n",
        "\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03\r\n\r\n",
    };
    enum { PARTS = sizeof parts / sizeof parts[0] };
    int fds[PARTS];

    (void)state;
    for (int i = 0; i < PARTS; i++) {
        fds[i] = dial();
        say(fds[i], parts[i], strlen(parts[i]));
    }
    uint64_t end_ms = clock_monotonic_ms() + IDLE_MS + SLACK_MS;
    for (int i = 0; i < PARTS; i++) {
        if (!hear(fds[i], (int)(end_ms - clock_monotonic_ms()))) fail_msg("not closed: %d", i);
        if (answer[0] != '\0') assert_true(strncmp(answer + strlen("HTTP/1."), "1 4", 3) == 0);
        (void)close(fds[i]);
    }
    assert_int_equal(ask("GET", "/metrics"), 200);
}

/* Above the limit a newcomer waits until the silent ones are cut off, and no longer. */
static void a_silent_crowd_does_not_stop_others_for_long(void **state)
{
    int crowd[CROWD];

    (void)state;
    for (int i = 0; i < CROWD; i++) crowd[i] = dial();
    assert_int_equal(ask_within("GET", "/health/live", IDLE_MS + SLACK_MS), 200);
    for (int i = 0; i < CROWD; i++) (void)close(crowd[i]);
    uint64_t began_ms = clock_monotonic_ms();
    assert_int_equal(ask("GET", "/health/live"), 200);
    assert_in_range(clock_monotonic_ms() - began_ms, 0, 1000 + PAUSE_MS);
}

static void what_cannot_be_had_names_the_setting(void **state)
{
    static const char *const addresses[] = {"", "localhost", "::1", "127.0.0", "256.0.0.1"};
    struct admin *second = NULL;
    char wanted[64];

    (void)state;
    assert_false(admin_open(&second, "127.0.0.1", admin_port(admin), &err));
    assert_null(second);
    assert_int_equal(err.kind, ERR_FATAL);
    (void)snprintf(wanted, sizeof wanted, "could not listen on 127.0.0.1 port %u: Address already",
                   admin_port(admin));
    assert_non_null(strstr(err.text, wanted));
    assert_non_null(strstr(err.text, "LEDGER_HTTP_PORT"));
    assert_false(admin_open(&second, "192.0.2.1", 0, &err)); /* not an address of this machine */
    assert_int_equal(err.kind, ERR_FATAL);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        assert_false(admin_open(&second, addresses[i], 0, &err));
        assert_int_equal(err.kind, ERR_FATAL);
        assert_non_null(strstr(err.text, "LEDGER_HTTP_ADDRESS"));
    }
}

/* Closed with callers in the middle of a request, and opened again on the same port. */
static void it_closes_at_once_and_opens_again(void **state)
{
    uint16_t port = admin_port(admin);
    int fd = dial();

    (void)state;
    say(fd, "GET /met", 8);
    assert_int_equal(ask("GET", "/health/live"), 200);
    uint64_t began_ms = clock_monotonic_ms();
    admin_close(admin);
    admin = NULL;
    assert_in_range(clock_monotonic_ms() - began_ms, 0, 1000 + PAUSE_MS);
    if (!admin_open(&admin, "127.0.0.1", port, &err)) fail_msg("%s", err.text);
    assert_int_equal(admin_port(admin), port);
    assert_int_equal(ask("GET", "/health/live"), 200);
    (void)close(fd);
}

#define SERVED(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(ready_follows_the_components),
        SERVED(metrics_are_there),
        SERVED(head_is_get_without_a_body),
        SERVED(what_is_not_there_is_404),
        SERVED(only_get_and_head_are_allowed),
        SERVED(a_body_is_refused),
        SERVED(an_oversized_request_is_refused),
        SERVED(who_makes_no_request_is_cut_off),
        SERVED(a_silent_crowd_does_not_stop_others_for_long),
        SERVED(what_cannot_be_had_names_the_setting),
        SERVED(it_closes_at_once_and_opens_again),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
