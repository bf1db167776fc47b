/*
 * it_exchange.c - answers of Redis as no Redis gives them, over a pair of sockets: cut, nested, of
 * another kind or number, endless. Only what was asked for is taken, and nothing takes long.
 */
#include "base/clock.h"
#include "base/exchange_redis.h"
#include "tests/test.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMEOUT_MS = 60, WANTED = 2, TEXT_SIZE = 64, LARGEST = 2 << 20 };

static struct redis_link link_under_test;
static int peer;
static struct err err;
static char taken[WANTED][TEXT_SIZE];

static int set_up(void **state)
{
    struct timeval timeout = {.tv_usec = (suseconds_t)TIMEOUT_MS * 1000};
    int pair[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    peer = pair[1];
    link_under_test = (struct redis_link){.redis = redisConnectFd(pair[0])};
    assert_non_null(link_under_test.redis);
    assert_int_equal(redisSetTimeout(link_under_test.redis, timeout), REDIS_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    redis_link_close(&link_under_test);
    (void)close(peer);
    return 0;
}

static void answer(const char *text)
{
    assert_int_equal(write(peer, text, strlen(text)), strlen(text));
}

static uint64_t soon_ms(void)
{
    return clock_monotonic_ms() + TIMEOUT_MS;
}

static void take(void *context, uint32_t i, struct bytes value)
{
    assert_ptr_equal(context, taken);
    assert_in_range(i, 0, WANTED - 1);
    assert_true(
        text_copy((struct text){(const char *)value.data, value.size}, taken[i], TEXT_SIZE));
}

static bool read_values(void)
{
    memset(taken, 0, sizeof taken);
    err = (struct err){.kind = ERR_NONE};
    return redis_read_values(&link_under_test, WANTED, take, taken, soon_ms(), &err);
}

static void commands_are_sent_with_their_sizes(void **state)
{
    static const char expected[] = "*3\r\n$4\r\nMGET\r\n$3\r\na\0b\r\n$0\r\n\r\n"
                                   "*1\r\n$4\r\nPING\r\n";
    char sent[sizeof expected];

    (void)state;
    redis_put_command(&link_under_test, 3);
    redis_put_argument(&link_under_test, "MGET", 4);
    redis_put_argument(&link_under_test, "a\0b", 3);
    redis_put_argument(&link_under_test, "", 0);
    redis_put_command(&link_under_test, 1);
    redis_put_argument(&link_under_test, "PING", 4);
    assert_int_equal(recv(peer, sent, sizeof sent, MSG_DONTWAIT), -1); /* not yet */
    answer("*2\r\n$1\r\na\r\n$-1\r\n+OK\r\n");
    assert_true(read_values());
    assert_true(redis_read_oks(&link_under_test, 1, soon_ms(), &err));
    assert_int_equal(recv(peer, sent, sizeof sent, MSG_DONTWAIT), sizeof expected - 1);
    assert_memory_equal(sent, expected, sizeof expected - 1);
}

static void values_are_those_at_their_places(void **state)
{
    static const struct {
        const char *answer, *first, *second;
    } right[] = {
        {"*2\r\n$1\r\na\r\n$2\r\nbc\r\n", "a", "bc"},
        {"*2\r\n$-1\r\n$4\r\n\r\n\r\n\r\n", "", "\r\n\r\n"},
        {"*2\r\n$1\r\na\r\n$-1\r\n", "a", ""},
        {"*2\r\n$-1\r\n$-1\r\n", "", ""},
        {"*2\r\n$0\r\n\r\n*-1\r\n", "", ""}, /* an absent array is as absent */
    };

    (void)state;
    for (uint32_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        answer(right[i].answer);
        if (!read_values()) fail_msg("%s: %s", right[i].answer, err.text);
        assert_string_equal(taken[0], right[i].first);
        assert_string_equal(taken[1], right[i].second);
    }
}

static void another_answer_is_refused(void **state)
{
    static const char *const wrong[] = {
        "*1\r\n$1\r\na\r\n",
        "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        "*3\r\n$1\r\na\r\n$1\r\nb\r\n:1\r\n",
        "*3\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "*2\r\n+a\r\n+b\r\n",
        "*2\r\n$1\r\na\r\n-ERR no more\r\n",
        "*2\r\n*0\r\n$1\r\na\r\n",
        "*2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        "*1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        "$1\r\na\r\n",
        "$-1\r\n",
        ":2\r\n",
        "+OK\r\n",
        "*2\r\n$1\r\na\r\n",           /* and then nothing */
        "*2\r\n$1\r\na\r\n$9\r\nbcde", /* likewise */
        "*2\r\n$1\r\na\r\n$9223372036854775807\r\nb\r\n",
        "*2\r\n$1\r\na\r\n$-2\r\nb\r\n",
        "*2147483648\r\n",
        "*4294967298\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*99999999999999999999\r\n",
        "HTTP/1.1 400 Bad Request\r\n",
    };

    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        answer(wrong[i]);
        if (read_values()) fail_msg("%s", wrong[i]);
        assert_int_equal(err.kind, ERR_RETRY);
        (void)tear_down(state);
        (void)set_up(state);
    }
}

static void what_redis_said_is_told(void **state)
{
    (void)state;
    answer("-MOVED 3999 10.0.0.1:6381\r\n");
    assert_false(read_values());
    assert_string_equal(err.text, "lost Redis: MOVED 3999 10.0.0.1:6381");
}

static void only_ok_is_ok(void **state)
{
    static const char *const wrong[] = {
        "+OK\r\n",
        "+OK\r\n-OOM command not allowed\r\n",
        "+PONG\r\n+OK\r\n",
        "$2\r\nOK\r\n+OK\r\n",
        ":1\r\n+OK\r\n",
        "*1\r\n+OK\r\n+OK\r\n",
        "*2\r\n+OK\r\n+OK\r\n",
    };

    answer("+OK\r\n+OK\r\n");
    assert_true(redis_read_oks(&link_under_test, 2, soon_ms(), &err));
    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        answer(wrong[i]);
        if (redis_read_oks(&link_under_test, 2, soon_ms(), &err)) fail_msg("%s", wrong[i]);
        (void)tear_down(state);
        (void)set_up(state);
    }
}

static void a_closed_link_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(shutdown(peer, SHUT_RDWR), 0);
    (void)signal(SIGPIPE, SIG_IGN); /* as every process of ours */
    redis_put_command(&link_under_test, 1);
    redis_put_argument(&link_under_test, "PING", 4);
    assert_false(redis_read_oks(&link_under_test, 1, soon_ms(), &err));
    assert_false(read_values());
}

/* A peer that says one thing, and then another again and again, as long as somebody listens. */
static void assert_endless_is_ended(const char *first, const char *again, size_t size,
                                    uint32_t pause_ms, const char *because)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (ssize_t sent = write(peer, first, strlen(first)); sent > 0;
             sent = write(peer, again, size))
            clock_sleep_ms(pause_ms);
        _exit(0);
    }
    uint64_t began_ms = clock_monotonic_ms();
    assert_false(read_values());
    assert_in_range(clock_monotonic_ms() - began_ms, 0, TIMEOUT_MS + PAUSE_MS);
    assert_non_null(strstr(err.text, because));
    assert_in_range(link_under_test.redis->reader->len, 0, LARGEST);
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void endless_answers_are_ended(void **state)
{
    static char much[1 << 16];

    memset(much, 'x', sizeof much);
    assert_endless_is_ended("*2\r\n$500000000\r\n", "x", 1, 5, "in time");
    (void)tear_down(state);
    (void)set_up(state);
    assert_endless_is_ended("*2000000000\r\n", ":1\r\n", 4, 5, "in time");
    (void)tear_down(state);
    (void)set_up(state);
    /* Until it is too large, or, on a slow machine, too late. */
    assert_endless_is_ended("*2\r\n$500000000\r\n", much, sizeof much, 0, "lost Redis");
    (void)tear_down(state);
    (void)set_up(state);
    assert_endless_is_ended("+", much, sizeof much, 0, "lost Redis");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(commands_are_sent_with_their_sizes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_are_those_at_their_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_answer_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_redis_said_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_ok_is_ok, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_closed_link_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(endless_answers_are_ended, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
