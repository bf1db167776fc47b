/*
 * browse_amqp.h - looks through the dead-letter queue from its head to where its end was when it
 * was opened. What was looked at and not taken goes back to where it was: neither the order nor the
 * number of the dead letters changes, if it is finished. (Their x-delivery-count does; nothing
 * reads it. One who is killed while he looks gives all back, and may change the order.)
 *
 * The queue must have an x-delivery-limit, as the ledger declares it, else RabbitMQ puts returned
 * messages behind new ones (rabbitmq-server pull request 3746); browse_open refuses one that was
 * declared otherwise. One who looks holds the letters: a second one at the same time would see the
 * rest only, so callers take turns (audit_pg.h). While they are held each letter costs the broker
 * about 1 KiB of memory.
 */
#ifndef DLQ_BROWSE_AMQP_H
#define DLQ_BROWSE_AMQP_H

#include "base/consumer_amqp.h"
#include "protocol/names.h"

struct browse;

struct browse_options {
    const char *url;
    const char *name; /* connection_name */
    const struct names *names;
    uint32_t timeout_ms;
    uint32_t body_max; /* a larger body is not read: delivery.oversized */
};

MUST_CHECK bool browse_open(struct browse **out, const struct browse_options *options,
                            struct err *err);
uint64_t browse_total(const struct browse *browse); /* letters there when it was opened */
/* The next letters, in order, at least one and at most max; *count 0: all have been seen. The
 * deliveries point into the arena, which must have consumer_arena_least(body_max) left. */
MUST_CHECK bool browse_next(struct browse *browse, struct delivery *out, uint32_t max,
                            struct arena *arena, uint32_t *count, struct err *err);
/* Takes one letter out of the queue, for good. */
MUST_CHECK bool browse_take(struct browse *browse, uint64_t tag, struct err *err);
/* Gives back what was not taken, and waits until the queue shows it again; with a failure in err,
 * without passing over the rest, and without waiting. NULL is fine. */
MUST_CHECK bool browse_finish(struct browse *browse, struct err *err);

#endif
