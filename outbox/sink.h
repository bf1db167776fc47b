/*
 * sink.h - where a relay's messages go: RabbitMQ or Kafka. What reads the outbox, leads, and moves
 * the cursor (relay_process.c) knows no more of it than this.
 *
 * A sink connects by itself, when it is polled: not before the first page is in hand, as sorting a
 * large backlog takes the database so long that a broker would have given up the silent connection.
 */
#ifndef OUTBOX_SINK_H
#define OUTBOX_SINK_H

#include "base/health.h"
#include "base/publisher_amqp.h"
#include "outbox/row.h"

struct sink_io {
    const char *name; /* of its cursor and its lock, and its label in metrics */
    enum health_component component;
    const char *component_name;
    bool events_only; /* replies and dead letters are not for it */
    bool rotates;     /* its leader also rotates the outbox */

    /* Makes or checks what messages are published to, on a connection of its own. */
    bool (*prepare)(void *context, struct err *err);
    /* Each as the function of the same meaning in publisher_amqp.h; without a connection there is
     * no room. A row that the sink can never carry is published as something that tells so: it must
     * not hold up all others. */
    uint32_t (*room)(void *context);
    bool (*publish)(void *context, const struct outbox_row *row, uint64_t epoch, uint64_t *sequence,
                    struct err *err);
    bool (*poll)(void *context, uint32_t wait_ms, struct confirm *out, uint32_t max,
                 uint32_t *count, struct err *err);
    /* Why nothing may be published for now; NULL: it may. */
    const char *(*blocked)(void *context);
    void (*disconnect)(void *context); /* also when it is not connected */
    void (*close)(void *context);      /* frees context; NULL is fine */
};

struct sink {
    const struct sink_io *io;
    void *context;
};

struct relay_settings;

/* The settings outlive the sink. After a failure, too, it is to be closed. */
MUST_CHECK bool sink_amqp_open(struct sink *out, const struct relay_settings *settings,
                               struct err *err);
MUST_CHECK bool sink_kafka_open(struct sink *out, const struct relay_settings *settings,
                                struct err *err);

#endif
