/*
 * bytes.h - views of memory that somebody else owns, and the arena that owns it.
 *
 * A view never outlives what it points to; for everything that belongs to one batch that is the
 * batch's arena, which is taken once at start and reset each cycle.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct text { /* not terminated; bytes may be NULL only when length is 0 */
    const char *bytes;
    uint32_t length;
};

struct bytes {
    const uint8_t *data;
    uint32_t size;
};

/* For printf: "%.*s", TEXT_ARGS(text). */
#define TEXT_ARGS(text) ((int)(text).length), ((text).bytes == NULL ? "" : (text).bytes)
#define TEXT_LITERAL(literal) ((struct text){"" literal, sizeof(literal) - 1})
/* The same, where C wants a constant: in static tables. */
#define TEXT_CONSTANT(literal)                                                                     \
    {                                                                                              \
        "" literal, sizeof(literal) - 1                                                            \
    }

struct text text_of(const char *terminated); /* NULL gives the empty text */
bool text_equal(struct text a, struct text b);
int text_compare(struct text a, struct text b); /* byte order, as COLLATE "C" sorts */
/* Copies into a terminated string; false, and an empty string, when it does not fit. */
MUST_CHECK bool text_copy(struct text from, char *to, size_t to_size);

/* A bump allocator over one block. Pages never used cost no memory. */
struct arena {
    uint8_t *base;
    size_t size;
    size_t used;
};

MUST_CHECK bool arena_open(struct arena *arena, size_t size, struct err *err);
void arena_close(struct arena *arena);
void arena_reset(struct arena *arena);
/* Memory aligned for any type, not cleared; NULL when the arena is full (an ordinary answer:
 * the caller says what was too large). */
void *arena_take(struct arena *arena, size_t size);
/* A copy inside the arena; on a full arena data is NULL and size is not 0. */
struct bytes arena_copy(struct arena *arena, const void *data, size_t size);
struct text arena_text(struct arena *arena, struct text from);

/* A writer over caller's memory, or over what is left of an arena. Past the end it writes nothing
 * and stays overflowed: check once, at the end. */
struct writer {
    uint8_t *data;
    size_t capacity;
    size_t size;
    bool overflowed;
};

struct writer writer_over(void *memory, size_t capacity);
/* All that is left of the arena; writer_keep then takes exactly what was written. Nothing else may
 * take from the arena between the two. */
struct writer writer_in(struct arena *arena);
/* False, and nothing taken, when it overflowed. */
MUST_CHECK bool writer_keep(struct writer *writer, struct arena *arena, struct bytes *out);
void write_bytes(struct writer *writer, const void *data, size_t size);
void write_u8(struct writer *writer, uint8_t value);
void write_u16(struct writer *writer, uint16_t value); /* these three in network byte order */
void write_u32(struct writer *writer, uint32_t value);
void write_u64(struct writer *writer, uint64_t value);

#endif
