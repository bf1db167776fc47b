/*
 * peers.h - the connections of clients, and how long each may take for what it is at. A slow client
 * (or one that is slow on purpose) holds a connection no longer than that, however it drips.
 *
 * Under pressure, when nearly all connections are taken, those that have been idle longest go
 * first, then those that have been sending or reading longest, so that newcomers always get in.
 */
#ifndef GATEWAY_PEERS_H
#define GATEWAY_PEERS_H

#include "base/err.h"

#include <stdint.h>

struct peers;
struct peer;

enum peer_state {
    PEER_IDLE,    /* between requests, and until the headers of one are complete */
    PEER_SENDING, /* the body */
    PEER_WAITING, /* for us: no limit here */
    PEER_READING, /* the answer */
    PEER_STATES
};

struct peers_limits {
    uint32_t idle_ms, request_ms; /* request_ms: sending a body, reading an answer */
    uint32_t connections_max;
};

MUST_CHECK bool peers_open(struct peers **out, const struct peers_limits *limits, struct err *err);
void peers_close(struct peers *peers); /* NULL is fine; no peer may be left */

/* NULL when memory is short: such a connection has no limit but the server's own. All thread safe.
 */
struct peer *peer_add(struct peers *peers, int socket);
void peer_remove(struct peers *peers, struct peer *peer); /* before its socket is closed */
void peer_set(struct peers *peers, struct peer *peer, enum peer_state state);

/* Shuts the sockets of those that took too long, which ends them; call it a few times a second,
 * with clock_monotonic_ms(). How many. */
uint32_t peers_sweep(struct peers *peers, uint64_t now_ms);
uint32_t peers_count(struct peers *peers);
uint32_t peers_in(struct peers *peers, enum peer_state state);

#endif
