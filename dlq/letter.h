/*
 * letter.h - one dead letter, understood as far as it can be: why it died, whose command it was,
 * and the message that a replay publishes. Reading cannot fail: what is not there, or not readable,
 * is empty. Pure.
 *
 * A letter that came through the outbox carries x-ledger-* headers (outbox/dead_letter.h). One that
 * the broker itself gave up carries x-first-death-reason, x-first-death-queue,
 * x-first-death-exchange and x-death (RabbitMQ, "Dead Letter Exchanges"): its reason is "expired",
 * or, for what a worker rejected as oversized, "body_too_large".
 */
#ifndef DLQ_LETTER_H
#define DLQ_LETTER_H

#include "protocol/codec.h"
#include "protocol/properties.h"

#include <stdint.h>

enum { LETTER_ID_SIZE = 24 };

struct letter {
    /* Its place in the outbox (x-ledger-position) as a decimal number; of one that the broker gave
     * up, "b" and 16 hex digits of a SHA-256 over what a replay would publish. The same each time
     * it is looked at. */
    char id[LETTER_ID_SIZE];
    struct text reason, error, queue, exchange;
    struct text routing_key; /* what it had as a command: of x-ledger-routing-key, else its own */
    struct text type;        /* the command's word, whether known or not */
    struct text caller;      /* app_id, else the user_id it had */
    struct text key;         /* the header idempotency-key, else message_id */
    struct text account, other_account;    /* account, or from and to; of the body */
    struct text trace_id;                  /* of x-trace-id, else the 32 digits in traceparent */
    int64_t first_death_us, last_death_us; /* 0: unknown */
    int64_t attempts;                      /* how many times it has died, at least 1 */
    struct text own_routing_key;           /* the one it was dead-lettered with */
    struct properties parsed;
    struct bytes properties, body;
    struct bytes decoded; /* the body as msgpack; empty when it is no well-formed value */
};

/* It was for an endpoint of a webhook, and is no command: its reason begins with webhook_. One that
 * the broker gave up has its sender's headers, who may have written there what he likes. */
bool letter_is_webhook(const struct letter *letter);

/* Everything in out points into the arena, or to where the arguments point. */
void letter_read(struct codec *codec, struct text routing_key, struct bytes properties,
                 struct bytes body, struct arena *arena, struct letter *out);

/* The properties that a replay publishes: those it had as a command. Left out are x-death,
 * x-first-death-*, x-last-death-*, x-delivery-count, CC and BCC (the broker would send copies), and
 * x-ledger-* but for x-ledger-first-death and x-ledger-attempts, which a second death carries on.
 * Its user_id cannot be had back (the broker refuses a foreign one); the one given here, which may
 * be empty, is that of who replays it. The namespace of its key must stay: without an app_id, the
 * user_id it had becomes its app_id, and one that had neither gets no user_id. Its expiration stays
 * left out. False when the arena is full or the properties are unreadable. */
MUST_CHECK bool letter_replay_properties(const struct letter *letter, struct text user_id,
                                         struct arena *arena, struct bytes *out);

#endif
