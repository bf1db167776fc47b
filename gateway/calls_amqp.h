/*
 * calls_amqp.h - commands and queries to the ledger, many at once, over a few connections to
 * RabbitMQ: each a thread, with replies by direct reply-to, matched by correlation id.
 *
 * Ensures: each call that was sent ends exactly once: answered, timed out, or lost with its
 * connection. The last two say nothing of what the ledger did or will do with it.
 */
#ifndef GATEWAY_CALLS_AMQP_H
#define GATEWAY_CALLS_AMQP_H

#include "base/publisher_amqp.h"

struct calls;

struct calls_options {
    const char *url, *name; /* kept: must outlive the calls */
    uint32_t connections;   /* 1 to CALLS_CONNECTIONS_MAX */
    uint32_t in_flight_max; /* on each connection */
    uint32_t reply_timeout_ms;
    uint32_t timeout_ms; /* connecting */
};
enum { CALLS_CONNECTIONS_MAX = 16 };

enum call_end {
    CALL_ANSWERED,
    CALL_TIMED_OUT,
    CALL_LOST,   /* the connection broke while it was under way */
    CALL_UNSENT, /* nothing left: no connection, or too many calls under way */
};

struct call {               /* the caller's memory, which must last until it has ended */
    uint64_t number;        /* from calls_number; its correlation id, see calls_correlation */
    struct message message; /* its memory too must last */
    void (*ended)(struct call *call); /* in the connection's thread: must not wait */
    void *owner;
    enum call_end end;
    uint8_t *reply; /* CALL_ANSWERED: malloc'ed, the caller's; application/msgpack */
    uint32_t reply_size;
    /* calls_amqp.c's own */
    uint64_t deadline_ms;
    struct call *next, *previous, *chained;
};

/* Starts the connections, does not wait for them. */
MUST_CHECK bool calls_open(struct calls **out, const struct calls_options *options,
                           struct err *err);
/* Ends every call that has not, as CALL_LOST; from then on none can be sent. */
void calls_stop(struct calls *calls);
void calls_close(struct calls *calls); /* after calls_stop, if it was open; NULL is fine */

/* The number of a new call, never 0, and the correlation id that its message must carry. */
uint64_t calls_number(struct calls *calls);
enum { CORRELATION_SIZE = 17 };
void calls_correlation(uint64_t number, char text[static CORRELATION_SIZE]);

/* Calls of one routing key take one connection, so they arrive in order as long as that lives.
 * False, with call->end set and nothing sent, when it cannot be sent now: `ended` is not called. */
MUST_CHECK bool calls_send(struct calls *calls, struct call *call);

uint32_t calls_in_flight(const struct calls *calls);
bool calls_connected(const struct calls *calls); /* at least one connection takes calls */

#endif
