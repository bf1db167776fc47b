/*
 * trace.h - W3C Trace Context (https://www.w3.org/TR/trace-context/) and X-Trace-Id.
 *
 * A valid traceparent is continued: same trace id, a new span id. Without one, an x-trace-id of 32
 * hex digits is the trace id; any other x-trace-id is carried on verbatim beside a new trace. A
 * malformed traceparent starts a new trace and is counted.
 */
#ifndef PROTOCOL_TRACE_H
#define PROTOCOL_TRACE_H

#include "base/uuid.h"
#include "protocol/properties.h"

enum {
    TRACEPARENT_SIZE = 56,
    TRACE_RANDOM_SIZE = 24,
    TRACE_VERBATIM_MAX = 128,
    TRACESTATE_MAX = 512
};

struct trace {
    struct uuid trace_id; /* never all zero */
    uint8_t parent_id[8]; /* the caller's span; zero when there was none */
    uint8_t span_id[8];   /* ours */
    uint8_t flags;
    bool was_malformed;
    /* Both are dropped when over their limit or not printable ASCII. */
    struct text tracestate; /* the caller's, untouched */
    struct text verbatim;   /* an x-trace-id that is not trace_id */
};

struct trace trace_begin(const struct properties *properties,
                         const uint8_t random[static TRACE_RANDOM_SIZE]);
/* 00-<trace id>-<our span id>-<flags> */
void traceparent_format(const struct trace *trace, char text[static TRACEPARENT_SIZE]);

#endif
