/*
 * it_tls_pump.c - what base/tls_pump.c promises, against a TLS server in this process: every byte
 * arrives, whoever is slow and whoever closes first; death is noticed; nothing stays behind.
 */
#include "tests/test.h"

#include "base/clock.h"
#include "base/tls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PART = 24000, TIMEOUT_MS = 10000, LINGER_MS = 400, LONG_MS = 20000 };
#define MUCH ((size_t)6 << 20)

static struct server {
    SSL_CTX *context;
    int listener, port;
    pthread_t thread;
    void (*serve)(struct server *server);
    int socket;
    SSL *ssl;
    size_t received;
    bool intact, said_goodbye;
} server;
static struct tls_files files;
static struct tls *tls;
static int plain;
static uint32_t linger_ms;
static struct err err;

static uint8_t byte_at(size_t place)
{
    return (uint8_t)((place * 2654435761U) >> 13);
}

/* --- the server ------------------------------------------------------------------------------ */

static void make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    char path[] = "/tmp/it-tls-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

    assert_non_null(key);
    assert_non_null(certificate);
    assert_non_null(file);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(certificate), -3600));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(certificate), 3600));
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_int_equal(X509_set_version(certificate, X509_VERSION_3), 1);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1");
    assert_non_null(names);
    assert_int_equal(X509_add_ext(certificate, names, -1), 1);
    X509_EXTENSION_free(names);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
    (void)snprintf(files.ca, sizeof files.ca, "%s", path);

    server.context = SSL_CTX_new(TLS_server_method());
    assert_non_null(server.context);
    assert_int_equal(SSL_CTX_use_certificate(server.context, certificate), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server.context, key), 1);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void *serve_one(void *context)
{
    struct server *one = context;

    one->socket = accept(one->listener, NULL, NULL);
    one->ssl = SSL_new(one->context);
    if (one->socket < 0 || one->ssl == NULL || SSL_set_fd(one->ssl, one->socket) != 1) abort();
    if (SSL_accept(one->ssl) == 1) one->serve(one);
    SSL_free(one->ssl);
    (void)close(one->socket);
    return NULL;
}

static void check_part(struct server *one, const uint8_t *bytes, int size)
{
    for (int i = 0; i < size; i++)
        if (bytes[i] != byte_at(one->received + (size_t)i)) one->intact = false;
    one->received += (size_t)size;
}

static void take_all(struct server *one)
{
    uint8_t bytes[PART];
    int got;

    while ((got = SSL_read(one->ssl, bytes, sizeof bytes)) > 0) check_part(one, bytes, got);
    one->said_goodbye = (SSL_get_shutdown(one->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
}

static void take_all_slowly(struct server *one)
{
    clock_sleep_ms(200);
    take_all(one);
}

static void give_much(struct server *one)
{
    uint8_t bytes[PART];

    for (size_t at = 0; at < MUCH;) {
        size_t size = MUCH - at < sizeof bytes ? MUCH - at : sizeof bytes;
        for (size_t i = 0; i < size; i++) bytes[i] = byte_at(at + i);
        if (SSL_write(one->ssl, bytes, (int)size) <= 0) return;
        at += size;
    }
    (void)SSL_shutdown(one->ssl);
}

static void echo(struct server *one)
{
    uint8_t bytes[PART];
    int got;

    while ((got = SSL_read(one->ssl, bytes, sizeof bytes)) > 0) {
        check_part(one, bytes, got);
        if (SSL_write(one->ssl, bytes, got) != got) return;
    }
}

static void take_all_then_give(struct server *one)
{
    take_all(one);
    give_much(one);
}

static void reset(struct server *one)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(one->socket, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

/* As a broker that shuts down does: its goodbye first, and then nobody is there. */
static void say_goodbye_and_reset(struct server *one)
{
    (void)SSL_shutdown(one->ssl);
    clock_sleep_ms(200);
    reset(one);
}

static void never_read(struct server *one)
{
    (void)one;
    clock_sleep_ms(LINGER_MS + PAUSE_MS + 500);
}

/* --- the client ------------------------------------------------------------------------------- */

static void open_to(void (*serve)(struct server *))
{
    const struct tls_options options = {.server = "a test",
                                        .plain = "nothing",
                                        .host = "127.0.0.1",
                                        .port = server.port,
                                        .files = &files,
                                        .timeout_ms = TIMEOUT_MS,
                                        .linger_ms = linger_ms};

    server.serve = serve;
    server.received = 0;
    server.intact = true;
    server.said_goodbye = false;
    assert_int_equal(pthread_create(&server.thread, NULL, serve_one, &server), 0);
    if (!tls_open(&tls, &plain, &options, &err)) fail_msg("%s", err.text);
}

/* How long it took. */
static uint64_t close_all(void)
{
    uint64_t from_ms = clock_monotonic_ms();

    (void)close(plain);
    tls_close(tls, NULL);
    uint64_t took_ms = clock_monotonic_ms() - from_ms;
    assert_int_equal(pthread_join(server.thread, NULL), 0);
    return took_ms;
}

static bool await_plain(short events)
{
    struct pollfd watched = {.fd = plain, .events = events};

    return poll(&watched, 1, TIMEOUT_MS) == 1;
}

static void send_much(void)
{
    uint8_t bytes[PART];

    for (size_t at = 0; at < MUCH;) {
        size_t size = MUCH - at < sizeof bytes ? MUCH - at : sizeof bytes;
        for (size_t i = 0; i < size; i++) bytes[i] = byte_at(at + i);
        ssize_t sent = send(plain, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) assert_true(await_plain(POLLOUT));
        if (sent < 0 && errno != EAGAIN) fail_msg("send: %s", strerror(errno));
        if (sent > 0) at += (size_t)sent;
    }
}

/* To the end; how much. */
static size_t receive_all(void)
{
    uint8_t bytes[PART];
    size_t place = 0;

    while (true) {
        ssize_t got = recv(plain, bytes, sizeof bytes, 0);
        if (got == 0) return place;
        if (got < 0 && errno == EAGAIN) assert_true(await_plain(POLLIN));
        if (got < 0 && errno != EAGAIN) return place;
        for (ssize_t i = 0; i < got; i++)
            if (bytes[i] != byte_at(place + (size_t)i)) fail_msg("byte %zu is another", place);
        if (got > 0) place += (size_t)got;
    }
}

static void test_what_was_sent_arrives_though_closed_at_once(void **state)
{
    (void)state;
    open_to(take_all_slowly);
    send_much();
    assert_true(close_all() < LONG_MS);
    assert_int_equal(server.received, MUCH);
    assert_true(server.intact);
    assert_true(server.said_goodbye);
}

static void test_what_the_server_sent_arrives_before_its_end(void **state)
{
    (void)state;
    open_to(give_much);
    clock_sleep_ms(200); /* all that fits is on its way */
    assert_int_equal(receive_all(), MUCH);
    (void)close_all();
}

static void *send_in_thread(void *context)
{
    send_much();
    (void)shutdown(plain, SHUT_WR);
    return context;
}

static void test_both_ways_at_once(void **state)
{
    pthread_t sender;

    (void)state;
    open_to(echo);
    assert_int_equal(pthread_create(&sender, NULL, send_in_thread, NULL), 0);
    clock_sleep_ms(100); /* nobody reads what comes back, so nobody may go on */
    assert_int_equal(receive_all(), MUCH);
    assert_int_equal(pthread_join(sender, NULL), 0);
    (void)close_all();
    assert_true(server.intact);
}

static void test_half_is_closed(void **state)
{
    (void)state;
    open_to(take_all_then_give);
    send_much();
    assert_int_equal(shutdown(plain, SHUT_WR), 0);
    assert_int_equal(receive_all(), MUCH);
    (void)close_all();
    assert_int_equal(server.received, MUCH);
    assert_true(server.said_goodbye);
}

static void test_death_is_noticed(void **state)
{
    uint8_t byte = 0;

    (void)state;
    open_to(reset);
    uint64_t from_ms = clock_monotonic_ms();
    assert_int_equal(receive_all(), 0);
    while (send(plain, &byte, 1, MSG_NOSIGNAL) == 1)
        assert_true(clock_monotonic_ms() - from_ms < PAUSE_MS);
    assert_int_equal(errno, EPIPE);
    assert_true(clock_monotonic_ms() - from_ms < PAUSE_MS);
    assert_true(close_all() < PAUSE_MS);
}

static void test_goodbye_before_death(void **state)
{
    uint8_t bytes[PART] = {0};

    (void)state;
    open_to(say_goodbye_and_reset);
    uint64_t from_ms = clock_monotonic_ms();
    assert_int_equal(receive_all(), 0);
    while (errno != EPIPE) {
        assert_true(clock_monotonic_ms() - from_ms < PAUSE_MS);
        if (send(plain, bytes, sizeof bytes, MSG_NOSIGNAL) < 0 && errno == EAGAIN)
            clock_sleep_ms(1);
    }
    assert_true(close_all() < PAUSE_MS);
}

static void test_who_does_not_read_holds_nobody_up(void **state)
{
    uint8_t bytes[PART] = {0};

    (void)state;
    linger_ms = LINGER_MS;
    open_to(never_read);
    while (send(plain, bytes, sizeof bytes, MSG_NOSIGNAL) > 0) clock_sleep_ms(1);
    assert_int_equal(errno, EAGAIN);
    assert_true(close_all() < LINGER_MS + PAUSE_MS);
    linger_ms = LONG_MS;
}

static void test_left_alone_by_a_server_that_talks(void **state)
{
    (void)state;
    open_to(give_much); /* for longer than anybody is there to read it */
    assert_true(close_all() < LONG_MS);
}

static uint32_t count_of(const char *folder)
{
    DIR *entries = opendir(folder);
    uint32_t count = 0;

    assert_non_null(entries);
    while (readdir(entries) != NULL) count++;
    (void)closedir(entries);
    return count;
}

static void test_nothing_stays(void **state)
{
    (void)state;
    uint32_t threads = count_of("/proc/self/task"), open_files = count_of("/proc/self/fd");
    for (int i = 0; i < 20; i++) {
        open_to(take_all);
        assert_int_equal(send(plain, "", 1, MSG_NOSIGNAL), 1);
        (void)close_all();
        assert_int_equal(server.received, 1);
    }
    assert_int_equal(count_of("/proc/self/task"), threads);
    assert_int_equal(count_of("/proc/self/fd"), open_files);
}

static int begin(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    (void)state;
    (void)signal(SIGPIPE, SIG_IGN); /* for the server here; the client does without */
    linger_ms = LONG_MS;
    make_certificate();
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server.listener, 4), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&address, &size), 0);
    server.port = ntohs(address.sin_port);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    (void)unlink(files.ca);
    (void)close(server.listener);
    SSL_CTX_free(server.context);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_sent_arrives_though_closed_at_once),
        cmocka_unit_test(test_what_the_server_sent_arrives_before_its_end),
        cmocka_unit_test(test_both_ways_at_once),
        cmocka_unit_test(test_half_is_closed),
        cmocka_unit_test(test_death_is_noticed),
        cmocka_unit_test(test_goodbye_before_death),
        cmocka_unit_test(test_who_does_not_read_holds_nobody_up),
        cmocka_unit_test(test_left_alone_by_a_server_that_talks),
        cmocka_unit_test(test_nothing_stays),
    };

    return cmocka_run_group_tests(tests, begin, finish);
}
