/*
 * wire.h - what the tests of messages share: known values, random values, equality, and bodies cut
 * short.
 */
#ifndef TESTS_WIRE_H
#define TESTS_WIRE_H

#include "base/uuid.h"
#include "protocol/codec.h"
#include "protocol/pack.h"
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIRE_ARENA_SIZE = 8 << 20 };

/* clang-format off */
/* 019aaf11-2233-7444-8555-66778899aabb, 4bf92f3577b34da6a3ce929d0e0e4736, 2026-11-23T12:00:00Z */
#define WIRE_TRANSACTION {{0x01, 0x9a, 0xaf, 0x11, 0x22, 0x33, 0x74, 0x44, \
                           0x85, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb}}
#define WIRE_TRACE_ID {{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, \
                        0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36}}
#define WIRE_NOON_US 1795435200000000

#define WIRE_TEXT(literal) {"" literal, sizeof(literal) - 1}
#define WIRE_BYTES(literal) {(const uint8_t *)"" literal, sizeof(literal) - 1}
/* clang-format on */

static inline struct bytes wire_bytes(struct text text)
{
    return (struct bytes){(const uint8_t *)text.bytes, text.length};
}

static inline bool wire_bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool wire_uuid_equal(struct uuid a, struct uuid b)
{
    return uuid_compare(&a, &b) == 0;
}

/* A copy of the first `size` bytes that ends where the block ends, so that a sanitizer sees one
 * read too far; the caller frees *block. */
static inline struct bytes wire_cut(struct bytes body, uint32_t size, uint8_t **block)
{
    *block = malloc(size + 1);
    assert_non_null(*block);
    memcpy(*block + 1, body.data, size);
    return (struct bytes){*block + 1, size};
}

/* Often one where the width of its msgpack form changes. */
static inline int64_t wire_random_int(void)
{
    int64_t edge = (int64_t)(UINT64_MAX >> (1 + rand() % 63));
    int64_t any = (int64_t)((uint64_t)rand() << 33 ^ (uint64_t)rand() << 11 ^ (uint64_t)rand());
    int64_t choices[] = {any >> rand() % 63, edge, edge / 2 + 1, -1 - edge, -2 - edge / 2};

    return choices[rand() % 5];
}

/* One to `most` characters; now and then one that JSON escapes or that is longer than a byte. */
static inline struct text wire_random_text(struct arena *arena, uint32_t most)
{
    static const char *const strange[] = {"\"", "\\", "\n", "\x01", "é", "€", "𐍈"};
    struct writer writer = writer_in(arena);
    struct bytes bytes;

    for (uint32_t left = 1 + (uint32_t)rand() % most; left > 0; left--) {
        const char *odd = strange[rand() % 7];
        if (rand() % 20 == 0)
            write_bytes(&writer, odd, strlen(odd));
        else
            write_u8(&writer, (uint8_t)(' ' + rand() % 95));
    }
    assert_true(writer_keep(&writer, arena, &bytes));
    return (struct text){(const char *)bytes.data, bytes.size};
}

static inline struct text wire_random_optional(struct arena *arena, uint32_t most)
{
    return rand() % 3 == 0 ? (struct text){0} : wire_random_text(arena, most);
}

static inline struct uuid wire_random_uuid(void)
{
    struct uuid uuid;

    for (size_t i = 0; i < sizeof uuid.bytes; i++) uuid.bytes[i] = (uint8_t)rand();
    return uuid;
}

static inline int64_t wire_random_time(void)
{
    return (int64_t)rand() * 1000000 + rand() % 1000000;
}

static inline struct bytes wire_random_metadata(struct arena *arena)
{
    struct writer writer = writer_in(arena);
    struct bytes bytes;

    if (rand() % 3 == 0) return (struct bytes){0};
    uint32_t count = (uint32_t)rand() % 20;
    struct pack_map map = pack_map_open(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        char key[8];
        (void)snprintf(key, sizeof key, "k%u", i);
        pack_int(&map, key, wire_random_int());
    }
    pack_map_close(&map);
    assert_true(writer_keep(&writer, arena, &bytes));
    return bytes;
}

#endif
