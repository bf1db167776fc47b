/*
 * array.h - builds PostgreSQL's binary form of parameters: one-dimensional arrays and scalars.
 * Pure; the memory is the arena's. (The format: array_recv in the server; each element is its
 * length and its binary form.)
 */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include "base/bytes.h"
#include "base/uuid.h"

enum array_type {
    ARRAY_INT2,
    ARRAY_INT4,
    ARRAY_INT8,
    ARRAY_TEXT,
    ARRAY_BYTEA,
    ARRAY_UUID,
    ARRAY_TIME,
    ARRAY_TID,
    ARRAY_BOOL
};

struct array { /* one at a time per arena: begin, add..., end */
    struct arena *arena;
    struct writer writer;
    uint32_t count;
    bool has_null;
};

void array_begin(struct array *array, struct arena *arena, enum array_type type);
void array_add_null(struct array *array);
void array_add_int(struct array *array, enum array_type width, int64_t value); /* INT2/4/8 */
void array_add_text(struct array *array, struct text value);
void array_add_bytes(struct array *array, struct bytes value); /* BYTEA; TID as it was read */
void array_add_uuid(struct array *array, const struct uuid *value);
void array_add_bool(struct array *array, bool value);
void array_add_time(struct array *array, int64_t wall_us);
/* ERR_REJECT when the arena was too small ("batch too large"): a smaller batch may fit. */
MUST_CHECK bool array_end(struct array *array, struct bytes *out, struct err *err);

/* Of an array of one: its element, a view into it. NULL data: it is null. */
struct bytes array_only(struct bytes array);

/* Scalars in binary, in the arena. */
struct bytes binary_int64(struct arena *arena, int64_t value);
struct bytes binary_int32(struct arena *arena, int32_t value);
struct bytes binary_time(struct arena *arena, int64_t wall_us);
/* Of a timestamp as PostgreSQL sends it. INT64_MAX where none is that late: no column of ours holds
 * infinity, unless somebody wrote it there. */
int64_t binary_wall_us(int64_t since_2000_us);

#endif
