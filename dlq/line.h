/*
 * line.h - a dead letter as one line of JSON: for export and import, and for --output json. The
 * bytes are in base64, so that an import gives back what was exported, to the byte; the other keys
 * are for people and jq, and an import ignores them (but for one, see below). Pure.
 *
 *   {"id":"1234","reason":"malformed","error":"...","command":"deposit","account":"alice",
 *    "other_account":"bob","caller":"shop","key":"k-1","trace_id":"...","first_death":"RFC 3339",
 *    "last_death":"...","attempts":1,"queue":"...","exchange":"...","routing_key":"alice",
 *    "content_type":"application/msgpack","own_routing_key":"alice",
 *    "body":{...},"properties_base64":"...","body_base64":"..."}
 *
 * What is empty is left out, "body" too when it is not a well-formed value or has no JSON form
 * here. The routing key is the one thing that an import needs and the bytes do not hold: it is read
 * from "own_routing_key", or, when it is no UTF-8, from "own_routing_key_base64" beside the bytes.
 */
#ifndef DLQ_LINE_H
#define DLQ_LINE_H

#include "dlq/letter.h"

/* Without the newline. with_bytes false leaves out what is in base64. False: the arena is full. */
MUST_CHECK bool line_write(const struct letter *letter, bool with_bytes, struct arena *arena,
                           struct bytes *out);

struct line { /* what an import publishes */
    struct text own_routing_key;
    struct bytes properties, body;
};
/* problem gets a sentence. Properties that are unreadable are refused, and base64 that no
 * line_write would have written. */
MUST_CHECK bool line_read(struct bytes text, struct arena *arena, struct line *out, char *problem,
                          size_t problem_size);

#endif
