/*
 * tls.c - opening and closing. See tls.h. Everything until the thread runs happens within one
 * deadline, on a socket that never blocks.
 */
#include "base/tls.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/tls_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { KEEPALIVE_IDLE_S = 10, KEEPALIVE_EVERY_S = 5, KEEPALIVE_COUNT = 3, PORT_SIZE = 12 };

/* Debian's, which curl uses as well; OpenSSL's own default names a folder that an image may lack.
 */
static const char SYSTEM_CA[] = "/etc/ssl/certs/ca-certificates.crt";

/* --- what the URL says ---------------------------------------------------------------------- */

static bool take_path(struct text name, struct text path, struct tls_files *out)
{
    char *target = NULL;

    if (text_equal(name, text_of("cacertfile"))) target = out->ca;
    if (text_equal(name, text_of("certfile"))) target = out->cert;
    if (text_equal(name, text_of("keyfile"))) target = out->key;
    return target != NULL && path.length > 0 && text_copy(path, target, TLS_PATH_SIZE);
}

bool tls_files_parse(const char *query, struct tls_files *out, struct err *err)
{
    const char *at = query == NULL ? "" : query;
    bool ok = true;

    *out = (struct tls_files){.ca = ""};
    while (ok && *at != '\0') {
        size_t size = strcspn(at, "&"), name = strcspn(at, "=&");
        ok = name < size &&
             take_path((struct text){at, (uint32_t)name},
                       (struct text){at + name + 1, (uint32_t)(size - name - 1)}, out);
        at += size + (at[size] == '&');
    }
    if (ok && (out->cert[0] == '\0') == (out->key[0] == '\0')) return true;
    return err_set(err, ERR_FATAL,
                   "could not read the URL: after '?' there may be cacertfile=PATH, and certfile="
                   "PATH with keyfile=PATH, with & between, each under %d bytes",
                   TLS_PATH_SIZE);
}

/* --- the connection ------------------------------------------------------------------------- */

/* Waits for events; false with errno ETIMEDOUT at the deadline. */
static bool await_socket(int socket, short events, uint64_t until_ms)
{
    struct pollfd watched = {.fd = socket, .events = events};

    while (true) {
        uint64_t now_ms = clock_monotonic_ms();
        int ready = now_ms >= until_ms ? 0 : poll(&watched, 1, (int)(until_ms - now_ms));
        if (ready > 0) return true;
        if (ready == 0) errno = ETIMEDOUT;
        if (ready == 0 || errno != EINTR) return false;
    }
}

/* Nagle would hold heartbeats back. A system that refuses the others loses only that a silent death
 * is noticed within half a minute. */
static void set_options(int socket)
{
    const int on = 1, idle_s = KEEPALIVE_IDLE_S, every_s = KEEPALIVE_EVERY_S;
    const int count = KEEPALIVE_COUNT;

    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

/* -1, with errno, when nobody takes us. */
static int connect_to(const struct addrinfo *address, uint64_t until_ms)
{
    int problem = 0;
    socklen_t size = sizeof problem;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) return -1;
    set_options(fd);
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) return fd;
    if (errno != EINPROGRESS || !await_socket(fd, POLLOUT, until_ms) ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0)
        problem = errno;
    if (problem == 0) return fd;
    (void)close(fd);
    errno = problem;
    return -1;
}

static bool connect_by_name(struct tls *tls, const struct tls_options *options, uint64_t until_ms,
                            struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char port[PORT_SIZE];

    (void)snprintf(port, sizeof port, "%d", options->port);
    int result = getaddrinfo(options->host, port, &hints, &found);
    if (result != 0)
        return err_set(err, ERR_RETRY, "could not connect to %s at %s:%d: %s", options->server,
                       options->host, options->port, gai_strerror(result));
    for (const struct addrinfo *one = found; one != NULL && tls->socket < 0; one = one->ai_next)
        tls->socket = connect_to(one, until_ms);
    int problem = errno;
    freeaddrinfo(found);
    if (tls->socket >= 0) return true;
    return err_set(err, ERR_RETRY, "could not connect to %s at %s:%d: %s", options->server,
                   options->host, options->port, strerror(problem));
}

/* --- whom to trust, and what we show --------------------------------------------------------- */

static bool no_file(const char *what, const char *path, struct err *err)
{
    return err_set(err, ERR_RETRY, "could not use %s %s: %s", what, path, tls_error_text());
}

static bool load_files(SSL_CTX *context, const struct tls_files *files, struct err *err)
{
    if (files->ca[0] == '\0') {
        if (SSL_CTX_load_verify_file(context, SYSTEM_CA) != 1 &&
            SSL_CTX_set_default_verify_paths(context) != 1)
            return no_file("the system's CAs", SYSTEM_CA, err);
    } else if (SSL_CTX_load_verify_file(context, files->ca) != 1) {
        return no_file("cacertfile", files->ca, err);
    }
    if (files->cert[0] == '\0') return true;
    if (SSL_CTX_use_certificate_chain_file(context, files->cert) != 1)
        return no_file("certfile", files->cert, err);
    if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1)
        return no_file("keyfile", files->key, err);
    return true;
}

/* The name goes to the server as well, which may have several; an address may not. */
static bool expect_host(SSL *ssl, const char *host)
{
    struct in6_addr address;
    bool is_address =
        inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;

    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (is_address) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    return SSL_set1_host(ssl, host) == 1 && /* the macro for the second has no const */
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)host) == 1;
}

static bool prepare(struct tls *tls, const struct tls_options *options, struct err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    bool ok = context != NULL && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;

    if (!ok) err_set(err, ERR_RETRY, "could not prepare TLS: %s", tls_error_text());
    ok = ok && load_files(context, options->files, err);
    if (ok) {
        tls->ssl = SSL_new(context);
        ok = tls->ssl != NULL && SSL_set_app_data(tls->ssl, tls) == 1 &&
             SSL_set_fd(tls->ssl, tls->socket) == 1 && expect_host(tls->ssl, options->host);
        if (!ok) err_set(err, ERR_RETRY, "could not prepare TLS: %s", tls_error_text());
    }
    if (ok) SSL_set_verify(tls->ssl, SSL_VERIFY_PEER, tls_note_refusal);
    if (ok) (void)SSL_set_options(tls->ssl, SSL_OP_NO_RENEGOTIATION); /* writes only write */
    if (ok)
        (void)SSL_set_mode(tls->ssl,
                           SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_free(context); /* the connection holds it */
    return ok;
}

/* --- the handshake ---------------------------------------------------------------------------- */

/* PostgreSQL answers its request with one byte, and begins TLS after an S. */
static bool ask_postgres(const struct tls *tls, uint64_t until_ms)
{
    static const uint8_t request[] = {0, 0, 0, 8, 4, 210, 22, 47};
    char answer = 0;

    return send(tls->socket, request, sizeof request, MSG_NOSIGNAL) == (ssize_t)sizeof request &&
           await_socket(tls->socket, POLLIN, until_ms) && recv(tls->socket, &answer, 1, 0) == 1 &&
           answer == 'S';
}

static bool shake_hands(struct tls *tls, const struct tls_options *options, uint64_t until_ms,
                        struct err *err)
{
    while (true) {
        ERR_clear_error();
        errno = 0;
        int result = SSL_connect(tls->ssl);
        if (result == 1) return true;
        int wanted = SSL_get_error(tls->ssl, result);
        if (wanted != SSL_ERROR_WANT_READ && wanted != SSL_ERROR_WANT_WRITE)
            return tls_explain(tls, options, err);
        if (!await_socket(tls->socket, wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until_ms))
            return err_set(err, ERR_RETRY,
                           "could not connect to %s at %s:%d by TLS: no handshake within %u ms; is "
                           "this its port for TLS?",
                           options->server, options->host, options->port, options->timeout_ms);
    }
}

/* OpenSSL writes to a socket that may be closed already; the signal of that is nobody's. */
static bool shake_hands_quietly(struct tls *tls, const struct tls_options *options,
                                uint64_t until_ms, struct err *err)
{
    const struct timespec none = {0};
    sigset_t broken_pipe, before;

    (void)sigemptyset(&broken_pipe);
    (void)sigaddset(&broken_pipe, SIGPIPE);
    (void)pthread_sigmask(SIG_BLOCK, &broken_pipe, &before);
    bool ok = shake_hands(tls, options, until_ms, err);
    if (sigismember(&before, SIGPIPE) == 0)
        while (sigtimedwait(&broken_pipe, NULL, &none) > 0) continue;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

/* --- the thread ------------------------------------------------------------------------------- */

static bool start(struct tls *tls, int *plain, struct err *err)
{
    int ends[2];
    sigset_t all, before;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
        return err_set(err, ERR_RETRY, "could not open a socket pair: %s", strerror(errno));
    tls->inner = ends[0];
    (void)sigfillset(&all); /* signals are for others */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&tls->thread, NULL, tls_pump, tls);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    tls->runs = result == 0;
    if (tls->runs)
        *plain = ends[1];
    else
        (void)close(ends[1]);
    return tls->runs || err_set(err, ERR_RETRY, "could not start a thread: %s", strerror(result));
}

bool tls_open(struct tls **out, int *plain, const struct tls_options *options, struct err *err)
{
    uint64_t until_ms = clock_monotonic_ms() + options->timeout_ms;
    struct tls *tls = calloc(1, sizeof *tls);

    *out = NULL;
    *plain = -1;
    if (tls == NULL) return err_set(err, ERR_RETRY, "could not prepare TLS: out of memory");
    tls->socket = tls->inner = -1;
    tls->linger_ms = options->linger_ms;
    bool ok = connect_by_name(tls, options, until_ms, err) && prepare(tls, options, err);
    if (ok && options->asks_postgres && !ask_postgres(tls, until_ms))
        ok = err_set(err, ERR_RETRY, "could not connect to %s by TLS: it does not offer it",
                     options->server);
    ok = ok && shake_hands_quietly(tls, options, until_ms, err) && start(tls, plain, err);
    if (ok)
        *out = tls;
    else
        tls_close(tls, NULL);
    return ok;
}

void tls_close(struct tls *tls, struct err *failure)
{
    if (tls == NULL) return;
    if (tls->runs) {
        int result = pthread_join(tls->thread, NULL);
        assert(result == 0);
        (void)result;
    } else {
        SSL_free(tls->ssl);
        if (tls->socket >= 0) (void)close(tls->socket);
        if (tls->inner >= 0) (void)close(tls->inner);
    }
    if (failure != NULL && tls->why[0] != '\0') {
        size_t length = strlen(failure->text);
        (void)snprintf(failure->text + length, sizeof failure->text - length, "; %s", tls->why);
    }
    free(tls);
}
