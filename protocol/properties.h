/*
 * properties.h - AMQP 0-9-1 basic properties in their wire form (AMQP 0-9-1 specification, 4.2.5.5
 * field tables, 4.2.6 content header): read into views, written, and extended. Pure; every length
 * is checked. Keeping the wire form keeps the original of a dead letter untouched, whatever it
 * held.
 */
#ifndef PROTOCOL_PROPERTIES_H
#define PROTOCOL_PROPERTIES_H

#include "base/bytes.h"

struct properties { /* absent ones are empty */
    struct text content_type, type, message_id, correlation_id, reply_to, expiration;
    struct text app_id, user_id;
    /* headers, matched by name without regard to case; S (long string) and x (bytes) are accepted
     */
    struct text idempotency_key, traceparent, tracestate, trace_id /* x-trace-id */,
        deadline /* x-deadline */;
    bool has_idempotency_key;
    int64_t timestamp_s;    /* as its sender gave it, which may be anything; 0 when absent */
    int64_t delivery_count; /* x-delivery-count; 0 when absent */
    const char *
        wrong_header; /* the name of one of the above with another type, or twice; NULL when fine */
};

/* False, and *out empty, when the bytes are not properties; the views point into raw. */
MUST_CHECK bool properties_parse(struct bytes raw, struct properties *out);

struct header {
    struct text name;
    struct text text; /* a long string, unless is_number: then a 64-bit integer */
    int64_t number;
    bool is_number;
};

struct properties_out { /* empty texts are left out; delivery mode is persistent, always */
    struct text content_type, type, message_id, correlation_id, reply_to, app_id, user_id;
    int64_t timestamp_s; /* 0: left out */
    const struct header *headers;
    uint32_t headers_count;
};

/* False when the arena is full or a short string is over 255 bytes. */
MUST_CHECK bool properties_write(const struct properties_out *in, struct arena *arena,
                                 struct bytes *out);

/* The same properties with more headers at the end of the table; those of the same names (without
 * regard to case) that are there already are replaced. With as_dead_letter two properties are left
 * out, whose values then belong into headers: user_id (the broker refuses a foreign one) and
 * expiration (a dead letter never expires). */
MUST_CHECK bool properties_extend(struct bytes raw, const struct header *headers, uint32_t count,
                                  bool as_dead_letter, struct arena *arena, struct bytes *out);

#endif
