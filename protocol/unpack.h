/*
 * unpack.h - reads maps of known fields out of msgpack, without allocation and without recursion.
 * Every length is checked against the bytes that are there, whether or not the guard (codec.h) saw
 * them first.
 */
#ifndef PROTOCOL_UNPACK_H
#define PROTOCOL_UNPACK_H

#include "base/uuid.h"
#include "protocol/codec.h"
#include "protocol/command.h"

enum field_type {
    FIELD_TEXT,  /* struct text, a view; not empty */
    FIELD_INT,   /* int64_t */
    FIELD_BOOL,  /* bool */
    FIELD_UUID,  /* struct uuid, from 8-4-4-4-12 */
    FIELD_HEX,   /* struct uuid, from 32 hex digits */
    FIELD_TIME,  /* int64_t, microseconds, from RFC 3339 */
    FIELD_MAP,   /* struct bytes, the whole map, a view */
    FIELD_ARRAY, /* struct bytes, the whole array, a view */
};

struct field {
    const char *name;
    enum field_type type;
    void *target; /* untouched when the key is absent */
    bool required;
    bool present; /* an answer */
};

/* One map. Keys that are in no field are skipped; a doubled one, a wrong type or a missing required
 * field is refused by name in problem. */
MUST_CHECK bool unpack_fields(struct bytes map, struct field *fields, uint32_t count,
                              char problem[static PROBLEM_SIZE]);

/* Puts "<name>: " before the problem of a field's own fields; returns false. */
bool unpack_problem_in(const char *name, char problem[static PROBLEM_SIZE]);

/* A body as it came, to guarded msgpack in the arena: no larger than BODY_SIZE_MAX, exactly one
 * value. */
MUST_CHECK bool unpack_body(struct codec *codec, struct bytes body, enum encoding encoding,
                            struct arena *arena, struct bytes *out,
                            char problem[static PROBLEM_SIZE]);

#endif
