/*
 * value.h - reads msgpack one value at a time, straight from the bytes: no allocation, no
 * recursion, no length believed that the bytes do not cover. The guard, the JSON writer, the
 * canonical form and the command decoder all stand on these two functions.
 */
#ifndef PROTOCOL_VALUE_H
#define PROTOCOL_VALUE_H

#include "base/bytes.h"

enum value_type {
    VALUE_NIL,
    VALUE_BOOL,
    VALUE_INTEGER,
    VALUE_LARGE, /* an integer above INT64_MAX */
    VALUE_FLOAT,
    VALUE_TEXT,
    VALUE_BINARY,
    VALUE_EXTENSION,
    VALUE_ARRAY,
    VALUE_MAP,
};

struct value { /* the member that belongs to the type is meaningful, no other */
    enum value_type type;
    bool boolean;
    int64_t integer;
    uint64_t large;
    double real;
    struct text text; /* a view; of VALUE_TEXT alone */
    uint32_t count;   /* elements of an array, pairs of a map: they follow in the bytes */
};

/* Takes the first value off rest; of an array or a map only its head. False when it is cut short or
 * no msgpack, and then rest is undefined. */
MUST_CHECK bool value_read(struct bytes *rest, struct value *out);

/* Takes the first value with all that it contains, as bytes. */
MUST_CHECK bool value_take(struct bytes *rest, struct bytes *whole);

/* How many values a map or an array contains directly; 0 for all others. */
uint64_t value_children(const struct value *value);

#endif
