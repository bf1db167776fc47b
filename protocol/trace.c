/*
 * trace.c - see trace.h. What is carried on verbatim is printable ASCII, whatever came: it goes
 * into logs and into the headers of other systems.
 */
#include "protocol/trace.h"

#include "base/hex.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { PARENT_LENGTH = TRACEPARENT_SIZE - 1, PARENT_SPAN_AT = 36, PARENT_FLAGS_AT = 53 };
enum { FLAG_SAMPLED = 0x01, FLAG_RANDOM = 0x02, FLAGS_KNOWN = FLAG_SAMPLED | FLAG_RANDOM };
enum { TRACE_ID_AT = 3, TRACE_ID_LENGTH = 32, VERSION_INVALID = 0xff };

static bool is_printable(struct text text)
{
    for (uint32_t i = 0; i < text.length; i++)
        if (text.bytes[i] < ' ' || text.bytes[i] > '~') return false;
    return true;
}

/* Lower case only, as the standard demands. */
static bool parse_lower(const char *text, uint8_t *out, uint32_t size)
{
    static const char digits[] = "0123456789abcdef";

    for (uint32_t i = 0; i < size; i++) {
        const char *high = memchr(digits, text[2 * i], 16);
        const char *low = memchr(digits, text[2 * i + 1], 16);
        if (high == NULL || low == NULL) return false;
        out[i] = (uint8_t)((high - digits) << 4 | (low - digits));
    }
    return true;
}

static bool is_zero(const uint8_t *bytes, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++)
        if (bytes[i] != 0) return false;
    return true;
}

/* A later version may be longer, behind another dash; what we know of it is the same. */
static bool parent_parse(struct text text, struct trace *out)
{
    uint8_t version = 0;

    if (text.length < PARENT_LENGTH || !parse_lower(text.bytes, &version, 1)) return false;
    if (version == VERSION_INVALID) return false;
    if (version == 0 && text.length != PARENT_LENGTH) return false;
    if (text.length > PARENT_LENGTH && text.bytes[PARENT_LENGTH] != '-') return false;
    if (text.bytes[TRACE_ID_AT - 1] != '-' || text.bytes[PARENT_SPAN_AT - 1] != '-' ||
        text.bytes[PARENT_FLAGS_AT - 1] != '-')
        return false;
    if (!parse_lower(text.bytes + TRACE_ID_AT, out->trace_id.bytes, sizeof out->trace_id.bytes) ||
        !parse_lower(text.bytes + PARENT_SPAN_AT, out->parent_id, sizeof out->parent_id) ||
        !parse_lower(text.bytes + PARENT_FLAGS_AT, &out->flags, 1))
        return false;
    out->flags &= FLAGS_KNOWN;
    return !uuid_is_zero(&out->trace_id) && !is_zero(out->parent_id, sizeof out->parent_id);
}

/* All of the randomness, made not zero where a zero would be invalid. */
static struct trace trace_new(const uint8_t random[static TRACE_RANDOM_SIZE])
{
    struct trace trace = {.flags = FLAG_SAMPLED};

    _Static_assert(sizeof trace.trace_id + sizeof trace.span_id == TRACE_RANDOM_SIZE, "all of it");
    memcpy(trace.trace_id.bytes, random, sizeof trace.trace_id.bytes);
    memcpy(trace.span_id, random + sizeof trace.trace_id.bytes, sizeof trace.span_id);
    if (uuid_is_zero(&trace.trace_id)) trace.trace_id.bytes[0] = 1;
    if (is_zero(trace.span_id, sizeof trace.span_id)) trace.span_id[0] = 1;
    return trace;
}

struct trace trace_begin(const struct properties *properties,
                         const uint8_t random[static TRACE_RANDOM_SIZE])
{
    struct trace fresh = trace_new(random), trace = fresh;
    struct text state = properties->tracestate, given = properties->trace_id;
    struct uuid given_id;

    if (parent_parse(properties->traceparent, &trace)) {
        if (state.length <= TRACESTATE_MAX && is_printable(state)) trace.tracestate = state;
    } else {
        trace = fresh;
        trace.was_malformed = properties->traceparent.length > 0;
        if (uuid_parse_hex(given, &given_id) && !uuid_is_zero(&given_id)) trace.trace_id = given_id;
    }

    bool is_ours =
        uuid_parse_hex(given, &given_id) && uuid_compare(&given_id, &trace.trace_id) == 0;
    if (!is_ours && given.length <= TRACE_VERBATIM_MAX && is_printable(given))
        trace.verbatim = given;
    assert(!uuid_is_zero(&trace.trace_id));
    assert(!is_zero(trace.span_id, sizeof trace.span_id));
    return trace;
}

void traceparent_format(const struct trace *trace, char text[static TRACEPARENT_SIZE])
{
    _Static_assert(PARENT_FLAGS_AT + 2 == PARENT_LENGTH, "the flags are last");
    memcpy(text, "00-", TRACE_ID_AT);
    uuid_format_hex(&trace->trace_id, text + TRACE_ID_AT);
    text[PARENT_SPAN_AT - 1] = '-';
    hex_format(trace->span_id, sizeof trace->span_id, text + PARENT_SPAN_AT);
    text[PARENT_FLAGS_AT - 1] = '-';
    hex_format(&trace->flags, 1, text + PARENT_FLAGS_AT);
}
