/*
 * exchange.h - one HTTP request from its headers to its answer, without HTTP's library: what has
 * come of it, the calls to the ledger that it makes, and what is answered.
 *
 *   begin ──► body ... ──► turn ──► WAIT ──► send ──(all calls have ended: resume)──► turn ──►
 * ANSWER
 *
 * A client that hangs up changes nothing: the calls are under way, and end by themselves.
 */
#ifndef GATEWAY_EXCHANGE_H
#define GATEWAY_EXCHANGE_H

#include "gateway/answer.h"
#include "gateway/ask.h"
#include "gateway/cache.h"
#include "gateway/calls_amqp.h"
#include "gateway/guard.h"
#include "gateway/workspace.h"

#include <stdatomic.h>

struct bodies { /* of all requests, in bytes */
    atomic_size_t used;
    size_t most;
};

struct gateway { /* what all requests share */
    struct calls *calls;
    struct text exchange; /* of commands */
    struct cache *cache;
    struct guard *guard;
    struct text
        app_id; /* the namespace of idempotency keys of those whom the guard has no name for */
    bool names_callers; /* to the policy: the caller is also the command's user_id */
    uint32_t body_max;
    struct bodies *bodies;
    void (*resume)(void *connection); /* from another thread */
};

enum { PAIRS_MAX = 16 };

struct asked { /* views of the request, good until it is answered */
    const char *method, *path;
    struct text key, traceparent, tracestate, trace_id, content_type, content_length;
    struct text authorization, if_none_match;
    struct text address; /* of the client, see limit.h */
    bool has_key, has_length, has_authorization, is_chunked;
    bool is_ambiguous; /* a header that counts came twice */
    struct ask_pair pairs[PAIRS_MAX];
    uint32_t pairs_count;
    bool has_more_pairs;
};

enum turn { TURN_ANSWER, TURN_WAIT, TURN_ADMIN /* health and such, by route */ };

struct exchange;

/* NULL when memory is short. */
struct exchange *exchange_new(const struct gateway *gateway, void *connection,
                              const struct asked *asked);
void exchange_free(struct exchange *exchange); /* NULL is fine; no call may be under way */

/* Before the body: true when that is not even to be read, and out says why. */
bool exchange_refuses_body(struct exchange *exchange, struct workspace *workspace,
                           struct answer *out);
/* The largest body that is read, if only to be dropped. */
size_t exchange_drops_max(const struct gateway *gateway);
/* A part of the body; what is beyond the limit is dropped, and the answer is 413. */
void exchange_body(struct exchange *exchange, const void *data, size_t size);

/* With all of the body, and again when resumed. After TURN_WAIT call exchange_send, when nothing
 * forbids that `resume` comes at once. */
enum turn exchange_turn(struct exchange *exchange, struct workspace *workspace, struct answer *out);
void exchange_send(struct exchange *exchange);

enum route exchange_route(const struct exchange *exchange);
const struct trace *exchange_trace(const struct exchange *exchange);
uint64_t exchange_started_us(const struct exchange *exchange);

#endif
