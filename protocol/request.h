/*
 * request.h - one message from the command queue, understood: who asks, under which key, traced
 * how, until when, and what. Decoding cannot fail: what is not a command carries its fault.
 */
#ifndef PROTOCOL_REQUEST_H
#define PROTOCOL_REQUEST_H

#include "protocol/command.h"
#include "protocol/properties.h"
#include "protocol/result.h"
#include "protocol/trace.h"

enum { KEY_LENGTH_MAX = 128, CALLER_LENGTH_MAX = 255 };

struct incoming { /* as it came from the broker */
    struct text exchange, routing_key, queue;
    struct bytes properties; /* wire form */
    struct bytes body;       /* empty when oversized */
    uint64_t body_size;
    bool oversized;
    bool redelivered;
    bool is_own; /* no broker brought it: the ledger asks itself, and needs no permission */
    struct uuid scheduled; /* no queue brought it: what was scheduled under this id is due */
};

struct request {
    struct incoming incoming;
    struct properties properties;
    struct trace trace;
    enum encoding encoding; /* of the body and so of the reply; msgpack when unknown */
    enum result fault;      /* RESULT_APPLIED: it is a command; else MALFORMED, UNKNOWN_TYPE, ... */
    char problem[PROBLEM_SIZE]; /* the sentence for a fault */
    bool has_type;
    struct text caller, key; /* the namespace (app_id, else user_id, else empty) and the key */
    struct text user_id;     /* checked by the broker; empty: none was given */
    bool is_own;             /* as in incoming */
    bool has_key;            /* always, for a command that changes something */
    struct uuid key_digest;  /* of caller and key; with `scheduled` of that alone */
    struct uuid fingerprint; /* of the command */
    int64_t deadline_us;     /* x-deadline; 0: none */
    int64_t at_us;           /* of what is imported: when it happened; 0: now */
    struct uuid scheduled;   /* that this is the execution of; zero: of none */
    struct command command;  /* with a fault at most its type, see has_type */
};

/* Of a batch request_decode leaves the legs: this reads them into `legs`, with room for
 * out->command.legs_count. They share the batch's trace, caller and times, and nobody waits for
 * their replies. False when one is wrong: then the batch's fault says which. */
MUST_CHECK bool request_decode_legs(struct codec *codec, struct arena *arena, struct request *out,
                                    struct request *legs);

void request_decode(struct codec *codec, const struct incoming *incoming,
                    const uint8_t random[static TRACE_RANDOM_SIZE], struct arena *arena,
                    struct request *out);

/* The same for a message whose body must not be looked at: everything but the body is read, and the
 * fault is the given one. */
void request_set_aside(const struct incoming *incoming, enum result fault,
                       const uint8_t random[static TRACE_RANDOM_SIZE], struct request *out);

/* RFC 3339 with zone, as 2026-11-23T07:00:00Z or ...00.123456+01:00, to microseconds since 1970. */
MUST_CHECK bool time_parse(struct text text, int64_t *wall_us);

#endif
