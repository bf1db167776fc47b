/*
 * consumer_amqp.h - deliveries in, acknowledgements out. A connection that never publishes: under a
 * memory alarm the broker stops reading from connections that do. One channel; several queues.
 *
 * rabbitmq-c beats only inside its own calls: call consumer_fetch or consumer_beat more often than
 * half the heartbeat. Every wait is bounded. After an error the connection is of no more use; what
 * was not acknowledged is delivered again.
 */
#ifndef BASE_CONSUMER_AMQP_H
#define BASE_CONSUMER_AMQP_H

#include "base/bytes.h"

struct consumer;

struct delivery {
    uint64_t tag;
    uint32_t queue; /* the number given to consumer_subscribe */
    bool redelivered;
    bool oversized;     /* body over body_max: it was read and dropped, body is empty */
    uint64_t body_size; /* as announced */
    struct text exchange;
    struct text routing_key;
    struct bytes properties; /* basic properties as on the wire: see protocol/properties.h */
    struct bytes body;
};

struct consumer_options {
    const char *url;  /* amqp://user:password@host:port/vhost, or amqps:// */
    const char *name; /* connection_name, seen in the broker's list */
    uint32_t heartbeat_s;
    uint32_t timeout_ms; /* connect, login, RPC, and the rest of a delivery that has begun */
    uint32_t body_max;
};

/* Logs in with the capabilities consumer_cancel_notify and connection.blocked. ERR_RETRY when the
 * broker is away, ERR_FATAL when it refuses the login or the URL is wrong. */
MUST_CHECK bool consumer_open(struct consumer **out, const struct consumer_options *options,
                              struct err *err);
/* NULL is fine. A quorum queue puts what was delivered and not acknowledged back at its head, in
 * order; behind what had come back before, so nobody may take less than was given back: all
 * consumers of a queue need the same prefetch. It may forget acknowledgements that reached it just
 * before (some hundred ms under load) and deliver those again; see consumer_land_acks. */
void consumer_close(struct consumer *consumer);

/* prefetch counts for this queue's consumer alone; 0 is 2000 for a quorum queue. */
MUST_CHECK bool consumer_subscribe(struct consumer *consumer, const char *queue, uint32_t number,
                                   uint16_t prefetch, struct err *err);
/* The same for a queue of this connection's own, which is made here, gets what the exchange is sent
 * from now on under any of the keys, and is gone with the connection. */
MUST_CHECK bool consumer_listen(struct consumer *consumer, const char *exchange,
                                const char *const *keys, uint32_t keys_count, uint32_t number,
                                uint16_t prefetch, struct err *err);
/* Stops new deliveries of that queue. Those on their way are still fetched afterwards; once
 * consumer_fetch returns none, none is left, here or at the broker: what it had assigned to us and
 * not sent it has put back. To the head of a quorum queue only if the queue has an
 * x-delivery-limit, however large; else to the tail, and the order is lost (rabbitmq-server pull
 * request 3746). */
MUST_CHECK bool consumer_cancel(struct consumer *consumer, uint32_t number, struct err *err);

/* Takes what has arrived: waits at most wait_ms for the first delivery and not at all for more;
 * ends at max deliveries or when the arena has less than consumer_arena_least(body_max) left, which
 * it must have at the start. Everything in out points into the arena. Zero deliveries is success.
 * ERR_RETRY: connection or channel gone, a queue deleted under us (basic.cancel from the broker,
 * named in the text). */
size_t consumer_arena_least(uint32_t body_max);
MUST_CHECK bool consumer_fetch(struct consumer *consumer, uint32_t wait_ms, struct delivery *out,
                               uint32_t max, struct arena *arena, uint32_t *count, struct err *err);
/* Sends a heartbeat when one is due, reads nothing: for while a batch is held. */
MUST_CHECK bool consumer_beat(struct consumer *consumer, struct err *err);

/* Acknowledgements leave at once when the socket takes them, else with the next call. */
MUST_CHECK bool consumer_ack(struct consumer *consumer, uint64_t tag, bool multiple,
                             struct err *err);
/* Comes back when a quorum queue has every acknowledgement sent so far: before the connection is
 * closed, which would else forget some. Deliveries on their way are gathered in memory meanwhile.
 */
MUST_CHECK bool consumer_land_acks(struct consumer *consumer, const char *queue, struct err *err);
/* Not requeued: the broker dead-letters it by the queue's policy. */
MUST_CHECK bool consumer_reject(struct consumer *consumer, uint64_t tag, struct err *err);

#endif
