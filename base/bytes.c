/*
 * bytes.c - see bytes.h.
 */
#include "base/bytes.h"

#include <assert.h>
#include <stdalign.h>
#include <string.h>
#include <sys/mman.h>

struct text text_of(const char *terminated)
{
    if (terminated == NULL) return (struct text){0};
    return (struct text){terminated, (uint32_t)strlen(terminated)};
}

bool text_equal(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

int text_compare(struct text a, struct text b)
{
    uint32_t common = a.length < b.length ? a.length : b.length;
    int order = common == 0 ? 0 : memcmp(a.bytes, b.bytes, common);

    if (order != 0) return order;
    return (a.length > b.length) - (a.length < b.length);
}

bool text_copy(struct text from, char *to, size_t to_size)
{
    assert(to_size > 0);
    to[0] = '\0';
    if (from.length >= to_size) return false;
    if (from.length > 0) memcpy(to, from.bytes, from.length);
    to[from.length] = '\0';
    return true;
}

/* Anonymous pages: the kernel gives them when they are touched, cleared. */
bool arena_open(struct arena *arena, size_t size, struct err *err)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    *arena = (struct arena){0};
    if (base == MAP_FAILED)
        return err_set(err, ERR_FATAL, "could not take %zu bytes of memory", size);
    *arena = (struct arena){.base = base, .size = size};
    return true;
}

void arena_close(struct arena *arena)
{
    if (arena->base != NULL) (void)munmap(arena->base, arena->size);
    *arena = (struct arena){0};
}

void arena_reset(struct arena *arena)
{
    arena->used = 0;
}

static size_t aligned(size_t used)
{
    return (used + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

void *arena_take(struct arena *arena, size_t size)
{
    size_t start = aligned(arena->used);

    assert(arena->used <= arena->size);
    if (start > arena->size || size > arena->size - start) return NULL;
    arena->used = start + size;
    return arena->base + start;
}

struct bytes arena_copy(struct arena *arena, const void *data, size_t size)
{
    uint8_t *copy;

    if (size > UINT32_MAX) return (struct bytes){NULL, UINT32_MAX};
    copy = arena_take(arena, size);
    if (copy != NULL && size > 0) memcpy(copy, data, size);
    return (struct bytes){copy, (uint32_t)size};
}

struct text arena_text(struct arena *arena, struct text from)
{
    struct bytes copy = arena_copy(arena, from.bytes, from.length);
    return (struct text){(const char *)copy.data, copy.size};
}

struct writer writer_over(void *memory, size_t capacity)
{
    return (struct writer){.data = memory, .capacity = capacity};
}

struct writer writer_in(struct arena *arena)
{
    size_t start = aligned(arena->used);

    if (start >= arena->size) return writer_over(NULL, 0);
    return writer_over(arena->base + start, arena->size - start);
}

bool writer_keep(struct writer *writer, struct arena *arena, struct bytes *out)
{
    if (writer->overflowed || writer->size > UINT32_MAX || writer->capacity == 0) return false;
    uint8_t *taken = arena_take(arena, writer->size);
    assert(taken == writer->data); /* nobody else took from the arena in between */
    *out = (struct bytes){taken, (uint32_t)writer->size};
    return true;
}

void write_bytes(struct writer *writer, const void *data, size_t size)
{
    if (size > writer->capacity - writer->size) writer->overflowed = true;
    if (writer->overflowed || size == 0) return;
    memcpy(writer->data + writer->size, data, size);
    writer->size += size;
}

void write_u8(struct writer *writer, uint8_t value)
{
    write_bytes(writer, &value, 1);
}

void write_u16(struct writer *writer, uint16_t value)
{
    uint8_t wire[] = {(uint8_t)(value >> 8), (uint8_t)value};
    write_bytes(writer, wire, sizeof wire);
}

void write_u32(struct writer *writer, uint32_t value)
{
    uint8_t wire[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
                      (uint8_t)value};
    write_bytes(writer, wire, sizeof wire);
}

void write_u64(struct writer *writer, uint64_t value)
{
    uint8_t wire[8];

    for (uint32_t i = 0; i < sizeof wire; i++) wire[i] = (uint8_t)(value >> (56 - 8 * i));
    write_bytes(writer, wire, sizeof wire);
}
