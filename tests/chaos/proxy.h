/*
 * proxy.h - a TCP proxy for one server, between the ledger's processes and it, that misbehaves when
 * told to. It runs in a thread of its own; any thread may tell it.
 */
#ifndef TESTS_CHAOS_PROXY_H
#define TESTS_CHAOS_PROXY_H

#include "base/err.h"

#include <stdint.h>

struct proxy;

/* Listens on a free port of 127.0.0.1, connects each client to server_port there. */
MUST_CHECK bool proxy_open(struct proxy **out, uint16_t server_port, struct err *err);
void proxy_close(struct proxy *proxy); /* resets every connection; NULL is fine */
uint16_t proxy_port(const struct proxy *proxy);

/* From now on every byte, either way, arrives so much later (and in order). 0: at once. */
void proxy_delay(struct proxy *proxy, uint32_t delay_ms);
/* Each connection, at its next chunk of 8 bytes or more in either direction: half of the chunk is
 * forwarded, then both sides are closed. Once per connection that is open now. */
void proxy_cut(struct proxy *proxy);
/* Every open connection: nothing is forwarded any more and nothing is closed, whatever either side
 * does, until proxy_heal; then those connections are reset. New ones go through. */
void proxy_half_open(struct proxy *proxy);
/* Every open connection is reset (RST to both sides) now. */
void proxy_reset(struct proxy *proxy);
/* New connections are refused, and the open ones reset, until proxy_heal. */
void proxy_refuse(struct proxy *proxy);
/* Ends delay, half-open and refusal. */
void proxy_heal(struct proxy *proxy);

struct proxy_counts { /* since it was opened */
    uint64_t connections, refused, bytes;
    uint64_t delayed, cut, half_open, reset; /* connections that each fault has really met */
};
struct proxy_counts proxy_counts(struct proxy *proxy);

#endif
