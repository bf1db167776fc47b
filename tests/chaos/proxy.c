/*
 * proxy.c - see proxy.h. One thread and poll(); what other threads want is left under the lock and
 * taken by the thread, which alone touches sockets. Invariants: a pipe holds what one side sent and
 * the other has not yet taken, at most PIPE_SIZE bytes, in order; a side is read only while its
 * pipe has room, so back-pressure reaches the sender.
 */
#include "tests/chaos/proxy.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LINKS_MAX = 256,
    PIPE_SIZE = 256 * 1024,
    CHUNKS_MAX = 512,
    READ_SIZE = 16 * 1024,
    CUT_LEAST = 8,
    IDLE_MS = 1000,
};

enum side { CLIENT, SERVER, SIDES };

struct chunk {
    uint64_t due_us;
    uint32_t size;
};

struct pipe { /* from one side to the other */
    uint8_t bytes[PIPE_SIZE];
    uint32_t head, size; /* a ring */
    struct chunk chunks[CHUNKS_MAX];
    uint32_t chunks_first, chunks_count;
    bool ended; /* the sender will send no more */
    bool told;  /* and the receiver knows it */
};

struct link {
    int sockets[SIDES]; /* -1: a free place */
    bool connecting;    /* to the server */
    bool frozen;
    bool cut_next;            /* at the next chunk */
    bool closing;             /* once everything is forwarded */
    uint32_t delayed_in;      /* the delay that it was counted for */
    struct pipe pipes[SIDES]; /* by sender */
};

struct proxy {
    pthread_t thread;
    pthread_mutex_t lock;
    uint16_t server_port, port;
    int listener, wake;
    struct link *links[LINKS_MAX]; /* NULL: none */
    struct proxy_counts counts;
    /* wanted by others, taken by the thread */
    uint32_t delay_ms, delays; /* delays: counts the calls */
    bool ending, refusing, want_cut, want_half_open, want_reset, want_heal;
};

/* --- links ------------------------------------------------------------------------------- */

static void socket_end(int socket, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (socket < 0) return;
    if (reset) (void)setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(socket);
}

static void link_end(struct proxy *proxy, uint32_t i, bool reset)
{
    struct link *link = proxy->links[i];

    socket_end(link->sockets[CLIENT], reset);
    socket_end(link->sockets[SERVER], reset);
    free(link);
    proxy->links[i] = NULL;
}

static int socket_to(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int socket_number = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (socket_number < 0) return -1;
    if (connect(socket_number, (struct sockaddr *)&address, sizeof address) == 0 ||
        errno == EINPROGRESS)
        return socket_number;
    (void)close(socket_number);
    return -1;
}

static void accept_one(struct proxy *proxy, int client)
{
    int on = 1;
    uint32_t i = 0;

    while (i < LINKS_MAX && proxy->links[i] != NULL) i++;
    int server = proxy->refusing || i == LINKS_MAX ? -1 : socket_to(proxy->server_port);
    struct link *link = server < 0 ? NULL : calloc(1, sizeof *link);
    if (link == NULL) {
        proxy->counts.refused++;
        socket_end(server, true);
        socket_end(client, true);
        return;
    }
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    link->sockets[CLIENT] = client;
    link->sockets[SERVER] = server;
    link->connecting = true;
    proxy->links[i] = link;
    proxy->counts.connections++;
}

static void accept_all(struct proxy *proxy)
{
    for (;;) {
        int client = accept4(proxy->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) return;
        accept_one(proxy, client);
    }
}

/* --- bytes ------------------------------------------------------------------------------- */

static bool pipe_has_room(const struct pipe *pipe)
{
    return PIPE_SIZE - pipe->size >= READ_SIZE && pipe->chunks_count < CHUNKS_MAX;
}

static void pipe_put(struct pipe *pipe, const uint8_t *bytes, uint32_t size, uint64_t due_us)
{
    for (uint32_t i = 0; i < size; i++)
        pipe->bytes[(pipe->head + pipe->size + i) % PIPE_SIZE] = bytes[i];
    pipe->size += size;
    pipe->chunks[(pipe->chunks_first + pipe->chunks_count++) % CHUNKS_MAX] =
        (struct chunk){due_us, size};
}

/* False: the link is broken. */
static bool link_read(struct proxy *proxy, struct link *link, enum side from, uint64_t now_us)
{
    struct pipe *pipe = &link->pipes[from];
    uint8_t bytes[READ_SIZE];
    ssize_t got = recv(link->sockets[from], bytes, sizeof bytes, 0);

    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) {
        pipe->ended = true;
        return true;
    }
    uint32_t size = (uint32_t)got;
    if (link->cut_next && size >= CUT_LEAST) {
        size /= 2;
        link->cut_next = false;
        link->closing = true;
        proxy->counts.cut++;
    }
    if (proxy->delay_ms > 0 && link->delayed_in != proxy->delays) {
        link->delayed_in = proxy->delays;
        proxy->counts.delayed++;
    }
    pipe_put(pipe, bytes, size, now_us + (uint64_t)proxy->delay_ms * 1000);
    return true;
}

static bool chunk_is_due(const struct pipe *pipe, uint64_t now_us)
{
    return pipe->chunks_count > 0 && pipe->chunks[pipe->chunks_first].due_us <= now_us;
}

/* Forwards what is due and what the receiver takes. False: the link is broken. */
static bool link_write(struct proxy *proxy, struct link *link, enum side from, uint64_t now_us)
{
    int to = link->sockets[from == CLIENT ? SERVER : CLIENT];
    struct pipe *pipe = &link->pipes[from];

    while (chunk_is_due(pipe, now_us)) {
        struct chunk *chunk = &pipe->chunks[pipe->chunks_first];
        uint32_t straight = PIPE_SIZE - pipe->head;
        uint32_t size = chunk->size < straight ? chunk->size : straight;
        ssize_t sent = send(to, pipe->bytes + pipe->head, size, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        pipe->head = (pipe->head + (uint32_t)sent) % PIPE_SIZE;
        pipe->size -= (uint32_t)sent;
        chunk->size -= (uint32_t)sent;
        proxy->counts.bytes += (uint64_t)sent;
        if (chunk->size > 0) continue;
        pipe->chunks_first = (pipe->chunks_first + 1) % CHUNKS_MAX;
        pipe->chunks_count--;
    }
    if (pipe->ended && !pipe->told && pipe->size == 0) {
        pipe->told = true;
        if (shutdown(to, SHUT_WR) != 0) return false;
    }
    return true;
}

static bool link_is_done(const struct link *link)
{
    const struct pipe *there = &link->pipes[CLIENT], *back = &link->pipes[SERVER];

    if (there->size > 0 || back->size > 0) return false;
    return link->closing || (there->told && back->told);
}

/* --- the thread -------------------------------------------------------------------------- */

/* What was wanted of every open link. */
static void take_wishes(struct proxy *proxy)
{
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct link *link = proxy->links[i];
        if (link == NULL) continue;
        if (proxy->want_half_open && !link->frozen) {
            link->frozen = true;
            proxy->counts.half_open++;
        }
        if (proxy->want_cut) link->cut_next = true;
        bool reset = proxy->want_reset || proxy->refusing || (proxy->want_heal && link->frozen);
        if (!reset) continue;
        proxy->counts.reset++;
        link_end(proxy, i, true);
    }
    proxy->want_half_open = proxy->want_cut = proxy->want_reset = proxy->want_heal = false;
}

struct watch { /* what is polled, and for whom */
    struct pollfd polled[2 + SIDES * LINKS_MAX];
    uint32_t link[2 + SIDES * LINKS_MAX];
    enum side side[2 + SIDES * LINKS_MAX];
    nfds_t count;
};

static short events_of(const struct link *link, enum side side, uint64_t now_us, uint64_t *next_us)
{
    const struct pipe *in = &link->pipes[side],
                      *out = &link->pipes[side == CLIENT ? SERVER : CLIENT];
    short events = 0;

    if (link->connecting) return side == SERVER ? POLLOUT : 0;
    if (!in->ended && !link->closing && pipe_has_room(in)) events |= POLLIN;
    if (chunk_is_due(out, now_us))
        events |= POLLOUT;
    else if (out->chunks_count > 0 && out->chunks[out->chunks_first].due_us < *next_us)
        *next_us = out->chunks[out->chunks_first].due_us;
    return events;
}

static int watch_all(struct proxy *proxy, struct watch *watch, uint64_t now_us)
{
    uint64_t next_us = now_us + IDLE_MS * 1000;

    watch->count = 2;
    watch->polled[0] = (struct pollfd){.fd = proxy->wake, .events = POLLIN};
    watch->polled[1] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        const struct link *link = proxy->links[i];
        if (link == NULL || link->frozen) continue;
        for (enum side side = CLIENT; side < SIDES; side++) {
            short events = events_of(link, side, now_us, &next_us);
            if (events == 0) continue; /* else a hang-up would wake us again and again */
            watch->polled[watch->count] =
                (struct pollfd){.fd = link->sockets[side], .events = events};
            watch->link[watch->count] = i;
            watch->side[watch->count++] = side;
        }
    }
    return (int)((next_us - now_us) / 1000) + 1;
}

static bool is_connected(int socket)
{
    int problem = 0;
    socklen_t size = sizeof problem;

    return getsockopt(socket, SOL_SOCKET, SO_ERROR, &problem, &size) == 0 && problem == 0;
}

static void serve(struct proxy *proxy, const struct watch *watch, nfds_t n, uint64_t now_us)
{
    uint32_t i = watch->link[n];
    struct link *link = proxy->links[i];
    enum side side = watch->side[n];
    short events = watch->polled[n].revents;
    bool ok = true;

    if (link == NULL || events == 0) return;
    if (link->connecting) {
        ok = is_connected(link->sockets[SERVER]);
        link->connecting = false;
    } else if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 &&
               (watch->polled[n].events & POLLIN) != 0) {
        ok = link_read(proxy, link, side, now_us);
    } else if ((events & POLLERR) != 0) {
        ok = false;
    }
    for (enum side from = CLIENT; from < SIDES && ok && !link->connecting; from++)
        ok = link_write(proxy, link, from, now_us);
    if (!ok)
        link_end(proxy, i, true);
    else if (link_is_done(link))
        link_end(proxy, i, false);
}

static void *proxy_run(void *context)
{
    static _Thread_local struct watch watch;
    struct proxy *proxy = context;

    (void)pthread_mutex_lock(&proxy->lock);
    while (!proxy->ending) {
        uint64_t woken;
        take_wishes(proxy);
        int wait_ms = watch_all(proxy, &watch, clock_monotonic_us());
        (void)pthread_mutex_unlock(&proxy->lock);
        int ready = poll(watch.polled, watch.count, wait_ms);
        (void)pthread_mutex_lock(&proxy->lock);
        if (ready <= 0) continue;
        if (watch.polled[0].revents != 0 && read(proxy->wake, &woken, sizeof woken) < 0) continue;
        for (nfds_t n = 2; n < watch.count; n++) serve(proxy, &watch, n, clock_monotonic_us());
        if (watch.polled[1].revents != 0) accept_all(proxy);
    }
    for (uint32_t i = 0; i < LINKS_MAX; i++)
        if (proxy->links[i] != NULL) link_end(proxy, i, true);
    (void)pthread_mutex_unlock(&proxy->lock);
    return NULL;
}

/* --- opening and telling ----------------------------------------------------------------- */

static bool listen_on(struct proxy *proxy)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    proxy->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (proxy->listener < 0 || proxy->wake < 0 ||
        bind(proxy->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(proxy->listener, 128) != 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&address, &size) != 0)
        return false;
    proxy->port = ntohs(address.sin_port);
    return true;
}

bool proxy_open(struct proxy **out, uint16_t server_port, struct err *err)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);

    *out = proxy;
    if (proxy == NULL) return err_set(err, ERR_FATAL, "could not open proxy: out of memory");
    proxy->server_port = server_port;
    if (!listen_on(proxy))
        return err_set(err, ERR_FATAL, "could not open proxy: %s", strerror(errno));
    if (pthread_mutex_init(&proxy->lock, NULL) != 0 ||
        pthread_create(&proxy->thread, NULL, proxy_run, proxy) != 0)
        return err_set(err, ERR_FATAL, "could not open proxy: no thread");
    return true;
}

uint16_t proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

/* Under the lock: makes the thread look. */
static void wake(struct proxy *proxy)
{
    static const uint64_t one = 1;
    ssize_t written = write(proxy->wake, &one, sizeof one);

    assert(written == sizeof one || errno == EAGAIN);
    (void)pthread_mutex_unlock(&proxy->lock);
}

void proxy_close(struct proxy *proxy)
{
    if (proxy == NULL) return;
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->ending = true;
    wake(proxy);
    (void)pthread_join(proxy->thread, NULL);
    (void)pthread_mutex_destroy(&proxy->lock);
    (void)close(proxy->listener);
    (void)close(proxy->wake);
    free(proxy);
}

void proxy_delay(struct proxy *proxy, uint32_t delay_ms)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->delay_ms = delay_ms;
    proxy->delays++;
    wake(proxy);
}

void proxy_cut(struct proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->want_cut = true;
    wake(proxy);
}

void proxy_half_open(struct proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->want_half_open = true;
    wake(proxy);
}

void proxy_reset(struct proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->want_reset = true;
    wake(proxy);
}

void proxy_refuse(struct proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->refusing = true;
    wake(proxy);
}

void proxy_heal(struct proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->delay_ms = 0;
    proxy->refusing = false;
    proxy->want_heal = true;
    wake(proxy);
}

struct proxy_counts proxy_counts(struct proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->lock);
    struct proxy_counts counts = proxy->counts;
    (void)pthread_mutex_unlock(&proxy->lock);
    return counts;
}
