/*
 * codec_guard.c - bodies are held to their limits before anything is made of them.
 *
 * Nothing here recurses or allocates; the cost is one pass over the bytes. After the msgpack guard
 * every claimed length is true, so what walks the same bytes later can neither run over nor run
 * long.
 */
#include "protocol/codec.h"
#include "protocol/value.h"

#include <assert.h>

static const char TOO_LARGE[] = "larger than 1 MiB";
static const char TOO_DEEP[] = "nested deeper than 8 levels";
static const char TOO_MANY[] = "more than 131072 values";
_Static_assert(BODY_SIZE_MAX == 1 << 20, "the sentence says so");
_Static_assert(BODY_DEPTH_MAX == 8, "the sentence says so");
_Static_assert(BODY_ITEMS_MAX == 131072, "the sentence says so");

const char *msgpack_problem(struct bytes body)
{
    uint64_t missing[BODY_DEPTH_MAX + 1] = {1}; /* values still to come, at each level */
    uint32_t depth = 0;
    struct value value;

    if (body.size > BODY_SIZE_MAX) return TOO_LARGE;
    for (uint32_t items = 0; items < BODY_ITEMS_MAX; items++) {
        if (!value_read(&body, &value)) return "cut short, or not msgpack";
        if (value.type == VALUE_TEXT && !utf8_is_valid(value.text)) return "a text is not UTF-8";
        missing[depth]--;

        if (value.type == VALUE_ARRAY || value.type == VALUE_MAP) {
            uint64_t children = value_children(&value);
            if (children > body.size) return "cut short: a claimed length is not covered";
            if (depth == BODY_DEPTH_MAX) return TOO_DEEP;
            missing[++depth] = children;
        }
        while (depth > 0 && missing[depth] == 0) depth--;
        if (missing[0] == 0 && depth == 0) return body.size == 0 ? NULL : "bytes after the value";
    }
    return TOO_MANY;
}

/* The byte after the string that begins at `at`, or the end. */
static uint32_t string_end(struct bytes body, uint32_t at)
{
    assert(body.data[at] == '"');
    for (at++; at < body.size && body.data[at] != '"'; at++)
        if (body.data[at] == '\\') at++;
    return at < body.size ? at + 1 : body.size;
}

/* Each value but the first stands behind one of [ { , : so counting these counts the values (an
 * empty list or map counts twice). */
const char *json_problem(struct bytes body)
{
    uint32_t depth = 0, items = 1;

    if (body.size > BODY_SIZE_MAX) return TOO_LARGE;
    for (uint32_t at = 0; at < body.size;) {
        uint8_t byte = body.data[at];
        if (byte == '"') {
            at = string_end(body, at);
            continue;
        }
        at++;
        if (byte == '[' || byte == '{') depth++;
        if ((byte == ']' || byte == '}') && depth > 0) depth--;
        if (byte == '[' || byte == '{' || byte == ',' || byte == ':') items++;
        if (depth > BODY_DEPTH_MAX) return TOO_DEEP;
        if (items > BODY_ITEMS_MAX) return TOO_MANY;
    }
    return NULL;
}
