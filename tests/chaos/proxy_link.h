/*
 * proxy_link.h - one connection through the proxy: its two sockets and the bytes between them. Only
 * the proxy's thread touches it, under the proxy's lock.
 */
#ifndef TESTS_CHAOS_PROXY_LINK_H
#define TESTS_CHAOS_PROXY_LINK_H

#include "tests/chaos/proxy.h"

enum {
    PROXY_PIPE_SIZE = 256 * 1024,
    PROXY_CHUNKS_MAX = 512,
};

enum proxy_side { PROXY_CLIENT, PROXY_SERVER, PROXY_SIDES };

struct proxy_traffic {         /* what all links share */
    uint32_t delay_ms, delays; /* delays: counts how often it was set */
    struct proxy_counts counts;
};

struct proxy_chunk {
    uint64_t due_us;
    uint32_t size;
};

struct proxy_pipe { /* from one side to the other */
    uint8_t bytes[PROXY_PIPE_SIZE];
    uint32_t head, size; /* a ring */
    struct proxy_chunk chunks[PROXY_CHUNKS_MAX];
    uint32_t chunks_first, chunks_count;
    bool ended; /* the sender will send no more */
    bool told;  /* and the receiver knows it */
};

struct proxy_link {
    int sockets[PROXY_SIDES];
    bool connecting;                      /* to the server */
    bool frozen;                          /* not to be served */
    bool cut_next;                        /* at the next chunk */
    bool closing;                         /* once everything is forwarded */
    uint32_t delayed_in;                  /* the delay that it was counted for */
    struct proxy_pipe pipes[PROXY_SIDES]; /* by sender */
};

/* Closes a socket, with an RST if wanted; -1 is fine. */
void proxy_socket_end(int socket, bool reset);

/* Begins to connect to the server. NULL when that cannot be; then the client is still the caller's.
 */
MUST_CHECK struct proxy_link *proxy_link_open(int client, uint16_t server_port);
void proxy_link_end(struct proxy_link *link, bool reset);

/* What to poll this side for; 0: for its reset alone; -1: for nothing, it would only wake us again
 * and again. *next_us is lowered to when the next chunk is due. */
short proxy_link_events(const struct proxy_link *link, enum proxy_side side,
                        const struct proxy_traffic *traffic, uint64_t *next_us);

enum proxy_link_state { PROXY_LINK_OPEN, PROXY_LINK_DONE, PROXY_LINK_BROKEN };
/* Reads this side and writes both, as far as they go; events is what was polled for, revents what
 * came of it. */
enum proxy_link_state proxy_link_serve(struct proxy_link *link, enum proxy_side side, short events,
                                       short revents, struct proxy_traffic *traffic);

#endif
