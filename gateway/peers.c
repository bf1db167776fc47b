/*
 * peers.c - see peers.h. One list for each state, the longest in it first; so a sweep looks only at
 * those that are due.
 *
 * Invariants:
 *  1. a socket is shut under the lock, and a peer is removed under the lock before its socket is
 *     closed; so a number that was given to somebody else meanwhile is never shut;
 *  2. a sweep has one time, for all that it does: it ends at the first that it has put behind the
 *     others itself, or that came later than this time.
 */
#include "gateway/peers.h"

#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

struct peer {
    int socket;
    enum peer_state state;
    bool shut;
    uint64_t since_ms;
    struct peer *next, *previous;
};

struct peers {
    pthread_mutex_t lock;
    struct peers_limits limits;
    struct peer *first[PEER_STATES], *last[PEER_STATES];
    uint32_t counts[PEER_STATES], count;
    uint32_t leaving; /* of those: shut, and not removed yet */
};

bool peers_open(struct peers **out, const struct peers_limits *limits, struct err *err)
{
    struct peers *peers = calloc(1, sizeof *peers);

    *out = peers;
    if (peers == NULL) return err_set(err, ERR_FATAL, "could not open peers: out of memory");
    (void)pthread_mutex_init(&peers->lock, NULL);
    peers->limits = *limits;
    return true;
}

void peers_close(struct peers *peers)
{
    if (peers == NULL) return;
    assert(peers->count == 0);
    (void)pthread_mutex_destroy(&peers->lock);
    free(peers);
}

static void put_in(struct peers *peers, struct peer *peer, enum peer_state state, uint64_t now_ms)
{
    peer->state = state;
    peer->since_ms = now_ms;
    peer->next = NULL;
    peer->previous = peers->last[state];
    *(peer->previous == NULL ? &peers->first[state] : &peer->previous->next) = peer;
    peers->last[state] = peer;
    peers->counts[state]++;
}

static void take_out(struct peers *peers, struct peer *peer)
{
    enum peer_state state = peer->state;

    *(peer->previous == NULL ? &peers->first[state] : &peer->previous->next) = peer->next;
    *(peer->next == NULL ? &peers->last[state] : &peer->next->previous) = peer->previous;
    peers->counts[state]--;
}

struct peer *peer_add(struct peers *peers, int socket)
{
    struct peer *peer = calloc(1, sizeof *peer);

    if (peer == NULL) return NULL;
    peer->socket = socket;
    (void)pthread_mutex_lock(&peers->lock);
    put_in(peers, peer, PEER_IDLE, clock_monotonic_ms());
    peers->count++;
    (void)pthread_mutex_unlock(&peers->lock);
    return peer;
}

void peer_remove(struct peers *peers, struct peer *peer)
{
    if (peer == NULL) return;
    (void)pthread_mutex_lock(&peers->lock);
    take_out(peers, peer);
    peers->count--;
    peers->leaving -= peer->shut;
    (void)pthread_mutex_unlock(&peers->lock);
    free(peer);
}

void peer_set(struct peers *peers, struct peer *peer, enum peer_state state)
{
    if (peer == NULL) return;
    (void)pthread_mutex_lock(&peers->lock);
    if (peer->state != state) {
        take_out(peers, peer);
        put_in(peers, peer, state, clock_monotonic_ms());
    }
    (void)pthread_mutex_unlock(&peers->lock);
}

/* What is shut goes to the end of its list, and is removed by its server soon. */
static void shut(struct peers *peers, struct peer *peer, uint64_t now_ms)
{
    enum peer_state state = peer->state;

    (void)shutdown(peer->socket, SHUT_RDWR);
    peers->leaving += !peer->shut;
    peer->shut = true;
    take_out(peers, peer);
    put_in(peers, peer, state, now_ms);
}

static uint32_t sweep_state(struct peers *peers, enum peer_state state, uint32_t limit_ms,
                            uint64_t now_ms)
{
    uint32_t count = 0;

    while (peers->first[state] != NULL && peers->first[state]->since_ms + limit_ms < now_ms) {
        shut(peers, peers->first[state], now_ms);
        count++;
    }
    return count;
}

/* Whom others need least. What waits for us is never shut. */
static struct peer *dispensable(const struct peers *peers)
{
    static const enum peer_state order[] = {PEER_IDLE, PEER_SENDING, PEER_READING};

    for (uint32_t i = 0; i < sizeof order / sizeof *order; i++) {
        struct peer *oldest = peers->first[order[i]];
        if (oldest != NULL && !oldest->shut) return oldest;
    }
    return NULL;
}

/* An eighth is kept free. */
static uint32_t make_room(struct peers *peers, uint64_t now_ms)
{
    uint32_t enough = peers->limits.connections_max - peers->limits.connections_max / 8;
    uint32_t count = 0;

    while (peers->count - peers->leaving > enough) {
        struct peer *peer = dispensable(peers);
        if (peer == NULL) break;
        shut(peers, peer, now_ms);
        count++;
    }
    return count;
}

uint32_t peers_sweep(struct peers *peers, uint64_t now_ms)
{
    (void)pthread_mutex_lock(&peers->lock);
    uint32_t count = sweep_state(peers, PEER_IDLE, peers->limits.idle_ms, now_ms) +
                     sweep_state(peers, PEER_SENDING, peers->limits.request_ms, now_ms) +
                     sweep_state(peers, PEER_READING, peers->limits.request_ms, now_ms) +
                     make_room(peers, now_ms);
    (void)pthread_mutex_unlock(&peers->lock);
    return count;
}

uint32_t peers_count(struct peers *peers)
{
    (void)pthread_mutex_lock(&peers->lock);
    uint32_t count = peers->count;
    (void)pthread_mutex_unlock(&peers->lock);
    return count;
}

uint32_t peers_in(struct peers *peers, enum peer_state state)
{
    (void)pthread_mutex_lock(&peers->lock);
    uint32_t count = peers->counts[state];
    (void)pthread_mutex_unlock(&peers->lock);
    return count;
}
