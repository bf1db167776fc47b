/*
 * webhook.h - one event on its way to one endpoint, as it lies in a queue: the body is what will be
 * posted, the properties say whose it is and what was tried. Pure.
 *
 *   message_id, type, timestamp            of the event; message_id becomes the header webhook-id
 *   x-webhook-endpoint, x-webhook-account  where to; whose order it is in
 *   x-webhook-position                     its place in the outbox, and in its batch
 *   x-webhook-tries                        how many posts failed
 *   traceparent, tracestate, x-trace-id    as the event had them
 */
#ifndef WEBHOOKS_WEBHOOK_H
#define WEBHOOKS_WEBHOOK_H

#include "base/bytes.h"

struct webhook { /* absent texts are empty */
    struct text id, type, endpoint, account;
    int64_t position; /* 0: it is in no order */
    int64_t tries, timestamp_s;
    struct text traceparent, tracestate, trace_id;
    struct text first_death; /* of one that was a dead letter before */
    int64_t deaths;
};

/* False when the properties cannot be read. One with an empty endpoint is for nobody yet: an event
 * as the relay publishes it, whose position is that of x-ledger-position. What is to become an HTTP
 * header and is not printable ASCII is taken for absent. */
MUST_CHECK bool webhook_read(struct bytes properties, struct webhook *out);
/* The 32 digits of traceparent, else what x-trace-id said; may be empty. */
struct text webhook_trace(const struct webhook *webhook);

/* False when the arena is full. */
MUST_CHECK bool webhook_write(const struct webhook *webhook, struct arena *arena,
                              struct bytes *out);

/* Of a dead letter, as outbox/dead_letter.h tells of its headers. Published to `queue` again it
 * begins anew. */
struct death {
    const char *reason; /* a word that begins with webhook_ */
    const char *error, *queue;
    int64_t now_us;
};
MUST_CHECK bool webhook_write_dead(const struct webhook *webhook, const struct death *death,
                                   struct arena *arena, struct bytes *out);
/* Of a message that is no webhook, as it came. */
MUST_CHECK bool webhook_write_unread(struct bytes properties, const struct death *death,
                                     struct arena *arena, struct bytes *out);

#endif
