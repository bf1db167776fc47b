/*
 * proxy.c - see proxy.h. One thread and poll(); what other threads want is left under the lock and
 * taken by the thread, which alone touches sockets. Invariant: when a call returns, what it asked
 * for is in force, for every connection that was open before it and for none that is opened after.
 */
#include "tests/chaos/proxy.h"

#include "base/clock.h"
#include "tests/chaos/proxy_link.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    LINKS_MAX = 256,
    IDLE_MS = 1000,
};

enum wish {                /* what other threads ask for */
            WISH_LOOK = 1, /* at what is due now */
            WISH_CUT = 2,
            WISH_HALF_OPEN = 4,
            WISH_RESET = 8,
            WISH_REFUSE = 16,
            WISH_HEAL = 32,
            WISH_END = 64,
};

struct proxy {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t taken; /* the wishes were */
    uint16_t server_port, port;
    int listener, wake;
    struct proxy_link *links[LINKS_MAX]; /* NULL: none */
    struct proxy_traffic traffic;
    uint32_t wishes; /* of enum wish; left by others, taken by the thread */
    bool ending, refusing;
};

/* --- the thread -------------------------------------------------------------------------- */

static void link_end(struct proxy *proxy, uint32_t i, bool reset)
{
    proxy_link_end(proxy->links[i], reset);
    proxy->links[i] = NULL;
}

static void accept_one(struct proxy *proxy, int client)
{
    struct proxy_link *link = NULL;
    uint32_t i = 0;

    while (i < LINKS_MAX && proxy->links[i] != NULL) i++;
    if (!proxy->refusing && i < LINKS_MAX) link = proxy_link_open(client, proxy->server_port);
    if (link == NULL) {
        proxy->traffic.counts.refused++;
        proxy_socket_end(client, true);
        return;
    }
    proxy->links[i] = link;
    proxy->traffic.counts.connections++;
}

static void accept_all(struct proxy *proxy)
{
    for (;;) {
        int client = accept4(proxy->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) return;
        accept_one(proxy, client);
    }
}

/* Carries out what was wanted of every open link, those that still wait to be accepted too, and
 * lets go whoever waits for that. */
static void take_wishes(struct proxy *proxy)
{
    uint32_t wishes = proxy->wishes;

    if (wishes == 0) return;
    accept_all(proxy);
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        struct proxy_link *link = proxy->links[i];
        if (link == NULL) continue;
        bool healed = (wishes & WISH_HEAL) != 0 && link->frozen;
        if ((wishes & WISH_HALF_OPEN) != 0 && !link->frozen) {
            link->frozen = true;
            proxy->traffic.counts.half_open++;
        }
        if ((wishes & WISH_CUT) != 0) link->cut_next = true;
        if ((wishes & (WISH_RESET | WISH_REFUSE)) == 0 && !healed) continue;
        proxy->traffic.counts.reset++;
        link_end(proxy, i, true);
    }
    if ((wishes & WISH_REFUSE) != 0) proxy->refusing = true;
    if ((wishes & WISH_HEAL) != 0) {
        proxy->refusing = false;
        proxy->traffic.delay_ms = 0;
    }
    proxy->ending = (wishes & WISH_END) != 0;
    proxy->wishes = 0;
    (void)pthread_cond_broadcast(&proxy->taken);
}

struct watch { /* what is polled, and for whom */
    struct pollfd polled[2 + PROXY_SIDES * LINKS_MAX];
    uint32_t link[2 + PROXY_SIDES * LINKS_MAX];
    enum proxy_side side[2 + PROXY_SIDES * LINKS_MAX];
    nfds_t count;
};

static int watch_all(const struct proxy *proxy, struct watch *watch)
{
    uint64_t now_us = clock_monotonic_us(), next_us = now_us + IDLE_MS * 1000;

    watch->count = 2;
    watch->polled[0] = (struct pollfd){.fd = proxy->wake, .events = POLLIN};
    watch->polled[1] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
    for (uint32_t i = 0; i < LINKS_MAX; i++) {
        const struct proxy_link *link = proxy->links[i];
        if (link == NULL || link->frozen) continue;
        for (enum proxy_side side = PROXY_CLIENT; side < PROXY_SIDES; side++) {
            short events = proxy_link_events(link, side, &proxy->traffic, &next_us);
            if (events < 0) continue;
            watch->polled[watch->count] =
                (struct pollfd){.fd = link->sockets[side], .events = events};
            watch->link[watch->count] = i;
            watch->side[watch->count++] = side;
        }
    }
    return next_us <= now_us ? 0 : (int)((next_us - now_us) / 1000) + 1;
}

static void serve(struct proxy *proxy, const struct watch *watch, nfds_t n)
{
    const struct pollfd *polled = &watch->polled[n];
    struct proxy_link *link = proxy->links[watch->link[n]];

    if (link == NULL || link->frozen || polled->revents == 0) return;
    enum proxy_link_state state =
        proxy_link_serve(link, watch->side[n], polled->events, polled->revents, &proxy->traffic);
    if (state != PROXY_LINK_OPEN) link_end(proxy, watch->link[n], state == PROXY_LINK_BROKEN);
}

static void *proxy_run(void *context)
{
    static _Thread_local struct watch watch;
    struct proxy *proxy = context;

    (void)pthread_mutex_lock(&proxy->lock);
    while (!proxy->ending) {
        uint64_t woken;
        int wait_ms = watch_all(proxy, &watch);
        (void)pthread_mutex_unlock(&proxy->lock);
        int ready = poll(watch.polled, watch.count, wait_ms);
        (void)pthread_mutex_lock(&proxy->lock);
        if (ready <= 0) continue;
        if (watch.polled[0].revents != 0 && read(proxy->wake, &woken, sizeof woken) < 0) continue;
        take_wishes(proxy);
        for (nfds_t n = 2; n < watch.count; n++) serve(proxy, &watch, n);
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

static void proxy_free(struct proxy *proxy)
{
    proxy_socket_end(proxy->listener, false);
    proxy_socket_end(proxy->wake, false);
    free(proxy);
}

bool proxy_open(struct proxy **out, uint16_t server_port, struct err *err)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    bool ok;

    *out = NULL;
    if (proxy == NULL) return err_set(err, ERR_FATAL, "could not open proxy: out of memory");
    proxy->server_port = server_port;
    ok = listen_on(proxy);
    if (!ok) {
        (void)err_set(err, ERR_FATAL, "could not open proxy: %s", strerror(errno));
    } else if (pthread_mutex_init(&proxy->lock, NULL) != 0 ||
               pthread_cond_init(&proxy->taken, NULL) != 0 ||
               pthread_create(&proxy->thread, NULL, proxy_run, proxy) != 0) {
        ok = err_set(err, ERR_FATAL, "could not open proxy: no thread");
    }
    if (ok)
        *out = proxy;
    else
        proxy_free(proxy);
    return ok;
}

uint16_t proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

/* Returns when the thread has taken the wish, so that what the caller does next meets it. The
 * thread is woken and waits for nothing but poll, so this is bounded by one turn of it. */
static void tell(struct proxy *proxy, enum wish wish)
{
    static const uint64_t one = 1;

    (void)pthread_mutex_lock(&proxy->lock);
    proxy->wishes |= wish;
    ssize_t written = write(proxy->wake, &one, sizeof one);
    assert(written == sizeof one);
    while ((proxy->wishes & wish) != 0) (void)pthread_cond_wait(&proxy->taken, &proxy->lock);
    (void)pthread_mutex_unlock(&proxy->lock);
}

void proxy_close(struct proxy *proxy)
{
    if (proxy == NULL) return;
    tell(proxy, WISH_END);
    (void)pthread_join(proxy->thread, NULL);
    (void)pthread_cond_destroy(&proxy->taken);
    (void)pthread_mutex_destroy(&proxy->lock);
    proxy_free(proxy);
}

void proxy_delay(struct proxy *proxy, uint32_t delay_ms)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->traffic.delay_ms = delay_ms;
    proxy->traffic.delays++;
    (void)pthread_mutex_unlock(&proxy->lock);
    tell(proxy, WISH_LOOK);
}

void proxy_cut(struct proxy *proxy)
{
    tell(proxy, WISH_CUT);
}

void proxy_half_open(struct proxy *proxy)
{
    tell(proxy, WISH_HALF_OPEN);
}

void proxy_reset(struct proxy *proxy)
{
    tell(proxy, WISH_RESET);
}

void proxy_refuse(struct proxy *proxy)
{
    tell(proxy, WISH_REFUSE);
}

void proxy_heal(struct proxy *proxy)
{
    tell(proxy, WISH_HEAL);
}

struct proxy_counts proxy_counts(struct proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->lock);
    struct proxy_counts counts = proxy->traffic.counts;
    (void)pthread_mutex_unlock(&proxy->lock);
    return counts;
}
