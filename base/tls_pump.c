/*
 * tls_pump.c - the thread between a TLS connection and the plain end of it.
 *
 * Ensures:
 *  1. bytes arrive in order and whole, each way: one is taken only when those before it are given;
 *  2. who does not read is not read for: each way holds one buffer, and then waits;
 *  3. an end is passed on behind the bytes before it, each way by itself;
 *  4. when the server is dead the plain end is closed at once, behind what came from it;
 *  5. when the plain end is closed, what was sent leaves, and the server may close first, so that
 *     nothing is lost to a reset; but within linger_ms all is over.
 */
#include "base/clock.h"
#include "base/tls_internal.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FLOW_SIZE = 16 * 1024 }; /* one record of TLS */

struct flow {
    uint8_t bytes[FLOW_SIZE];
    size_t from, size; /* what is not given yet */
    bool ended;        /* no more will come */
    bool closed;       /* and the other side knows */
};

struct pump {
    struct tls *tls;
    struct flow up, down;              /* to the server, and from it */
    bool moved;                        /* in this turn; then nobody waits */
    bool left;                         /* the plain end is closed: nobody reads what comes down */
    uint64_t until_ms;                 /* then: the end of all */
    short socket_events, inner_events; /* what to wait for */
};

static void took(struct pump *pump, struct flow *flow, size_t size)
{
    assert(flow->size == 0);
    flow->from = 0;
    flow->size = size;
    pump->moved = true;
}

static void gave(struct pump *pump, struct flow *flow, size_t size)
{
    assert(size <= flow->size);
    flow->from += size;
    flow->size -= size;
    pump->moved = true;
}

/* That is progress once, not each time: a turn that changes nothing must lead to a wait. */
static void end(struct pump *pump, struct flow *flow)
{
    pump->moved = pump->moved || !flow->ended;
    flow->ended = true;
}

/* The plain end was closed: what it sent has some time to leave. */
static void plain_left(struct pump *pump)
{
    if (pump->left) return;
    pump->left = true;
    pump->until_ms = clock_monotonic_ms() + pump->tls->linger_ms;
}

/* Nothing goes to the server any more, and nothing else comes from it. */
static void server_died(struct pump *pump)
{
    tls_explain_end(pump->tls->why);
    (void)shutdown(pump->tls->inner, SHUT_RD); /* who sends learns of it */
    end(pump, &pump->down);
    end(pump, &pump->up);
    pump->up.size = 0;
    pump->up.closed = true;
}

/* A call of OpenSSL that could not go on: what it waits for, or that it never will. A server's
 * goodbye ends what comes from it; OpenSSL also gives it as the reason why a later write failed. */
static void tls_waits(struct pump *pump, int result, bool reads)
{
    int reason = SSL_get_error(pump->tls->ssl, result);

    if (reason == SSL_ERROR_WANT_READ)
        pump->socket_events |= POLLIN;
    else if (reason == SSL_ERROR_WANT_WRITE)
        pump->socket_events |= POLLOUT;
    else if (reason == SSL_ERROR_ZERO_RETURN && reads)
        end(pump, &pump->down);
    else
        server_died(pump);
}

static bool would_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

static void take_down(struct pump *pump)
{
    struct flow *flow = &pump->down;

    if (flow->size > 0 || flow->ended) return;
    ERR_clear_error();
    int result = SSL_read(pump->tls->ssl, flow->bytes, FLOW_SIZE);
    if (result > 0)
        took(pump, flow, (size_t)result);
    else
        tls_waits(pump, result, true);
}

static void give_down(struct pump *pump)
{
    struct flow *flow = &pump->down;

    if (flow->size > 0 && !pump->left) {
        ssize_t sent = send(pump->tls->inner, flow->bytes + flow->from, flow->size,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0)
            gave(pump, flow, (size_t)sent);
        else if (would_wait())
            pump->inner_events |= POLLOUT;
        else
            plain_left(pump);
    }
    if (pump->left && flow->size > 0) gave(pump, flow, flow->size);
    if (!flow->ended || flow->size > 0 || flow->closed) return;
    (void)shutdown(pump->tls->inner, SHUT_WR);
    flow->closed = true;
}

static void take_up(struct pump *pump)
{
    struct flow *flow = &pump->up;

    if (flow->size > 0 || flow->ended) return;
    ssize_t got = recv(pump->tls->inner, flow->bytes, FLOW_SIZE, MSG_DONTWAIT);
    if (got > 0)
        took(pump, flow, (size_t)got);
    else if (got < 0 && would_wait())
        pump->inner_events |= POLLIN;
    else /* closed; with an error, when something was not read */
        end(pump, flow);
}

static void give_up(struct pump *pump)
{
    struct flow *flow = &pump->up;
    int result;

    ERR_clear_error();
    if (flow->size > 0) {
        result = SSL_write(pump->tls->ssl, flow->bytes + flow->from, (int)flow->size);
        if (result > 0)
            gave(pump, flow, (size_t)result);
        else
            tls_waits(pump, result, false);
    }
    if (!flow->ended || flow->size > 0 || flow->closed) return;
    result = SSL_shutdown(pump->tls->ssl);
    if (result < 0 && SSL_get_error(pump->tls->ssl, result) == SSL_ERROR_WANT_WRITE) {
        pump->socket_events |= POLLOUT;
        return;
    }
    (void)shutdown(pump->tls->socket, SHUT_WR);
    flow->closed = true;
}

/* False when the time after the plain end was closed is over. */
static bool await(struct pump *pump)
{
    uint64_t now_ms = clock_monotonic_ms();
    int wait_ms = -1;

    if (pump->left && now_ms >= pump->until_ms) return false;
    if (pump->left) wait_ms = (int)(pump->until_ms - now_ms);
    /* One that is not waited for would still tell of its end, again and again: so it is left out;
     * the plain one only when that is known, which is why it is in here even without events. */
    struct pollfd watched[] = {
        {.fd = pump->socket_events == 0 ? -1 : pump->tls->socket, .events = pump->socket_events},
        {.fd = pump->left ? -1 : pump->tls->inner, .events = pump->inner_events}};
    int ready = poll(watched, 2, wait_ms);
    assert(ready >= 0 || errno == EINTR);
    if (ready > 0 && (watched[1].revents & (POLLHUP | POLLERR)) != 0) plain_left(pump);
    return true;
}

void *tls_pump(void *context)
{
    struct pump pump = {.tls = context};
    bool goes_on = true;

    while (goes_on) {
        pump.moved = false;
        pump.socket_events = pump.inner_events = 0;
        take_down(&pump);
        give_down(&pump);
        take_up(&pump);
        give_up(&pump);
        goes_on = !(pump.up.closed && pump.down.closed);
        if (goes_on && !pump.moved) goes_on = await(&pump);
        if (pump.left && clock_monotonic_ms() >= pump.until_ms) goes_on = false;
    }
    SSL_free(pump.tls->ssl);
    (void)close(pump.tls->socket);
    (void)close(pump.tls->inner);
    return NULL;
}
