/*
 * pack.c - see pack.h. The format: https://github.com/msgpack/msgpack/blob/master/spec.md
 *
 * Invariant: what is written between pack_map_open and pack_map_close is exactly one map, whose
 * head counts the fields that were not left out.
 */
#include "protocol/pack.h"

#include "base/clock.h"

#include <assert.h>

enum { FIXMAP = 0x80, MAP16 = 0xde, FIXARRAY = 0x90, ARRAY16 = 0xdc, ARRAY32 = 0xdd };
enum { FIXSTR = 0xa0, STR8 = 0xd9, STR16 = 0xda, STR32 = 0xdb, FALSE = 0xc2, TRUE = 0xc3 };
enum { UINT8 = 0xcc, UINT16, UINT32, UINT64, INT8 = 0xd0, INT16, INT32, INT64 };
enum { FIX_COUNT_MAX = 15, FIX_TEXT_MAX = 31, FIX_NUMBER_MIN = -32, FIX_NUMBER_MAX = 127 };

struct pack_map pack_map_open(struct writer *writer, uint32_t most)
{
    struct pack_map map = {.writer = writer, .at = writer->size, .most = most};

    assert(most <= UINT16_MAX);
    if (most <= FIX_COUNT_MAX) {
        write_u8(writer, FIXMAP);
        return map;
    }
    write_u8(writer, MAP16);
    write_u16(writer, 0);
    return map;
}

void pack_map_close(struct pack_map *map)
{
    assert(map->count <= map->most);
    if (map->writer->overflowed) return;

    uint8_t *head = map->writer->data + map->at;
    if (map->most <= FIX_COUNT_MAX) {
        head[0] = (uint8_t)(FIXMAP | map->count);
        return;
    }
    head[1] = (uint8_t)(map->count >> 8);
    head[2] = (uint8_t)map->count;
}

void pack_key(struct pack_map *map, const char *key)
{
    map->count++;
    pack_text_value(map->writer, text_of(key));
}

void pack_text(struct pack_map *map, const char *key, struct text value)
{
    if (value.length == 0) return;
    pack_key(map, key);
    pack_text_value(map->writer, value);
}

void pack_int(struct pack_map *map, const char *key, int64_t value)
{
    pack_key(map, key);
    pack_int_value(map->writer, value);
}

void pack_bool(struct pack_map *map, const char *key, bool value)
{
    pack_key(map, key);
    write_u8(map->writer, value ? TRUE : FALSE);
}

void pack_uuid(struct pack_map *map, const char *key, const struct uuid *value)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(value, text);
    pack_text(map, key, (struct text){text, sizeof text - 1});
}

void pack_hex(struct pack_map *map, const char *key, const struct uuid *value)
{
    char text[UUID_HEX_SIZE];

    uuid_format_hex(value, text);
    pack_text(map, key, (struct text){text, sizeof text - 1});
}

void pack_time(struct pack_map *map, const char *key, int64_t wall_us)
{
    char text[TIME_TEXT_SIZE];

    time_format(wall_us, text);
    pack_text(map, key, (struct text){text, sizeof text - 1});
}

void pack_raw(struct pack_map *map, const char *key, struct bytes value)
{
    if (value.size == 0) return;
    pack_key(map, key);
    write_bytes(map->writer, value.data, value.size);
}

void pack_array_value(struct writer *writer, uint32_t count)
{
    if (count <= FIX_COUNT_MAX) {
        write_u8(writer, (uint8_t)(FIXARRAY | count));
    } else if (count <= UINT16_MAX) {
        write_u8(writer, ARRAY16);
        write_u16(writer, (uint16_t)count);
    } else {
        write_u8(writer, ARRAY32);
        write_u32(writer, count);
    }
}

void pack_text_value(struct writer *writer, struct text value)
{
    if (value.length <= FIX_TEXT_MAX) {
        write_u8(writer, (uint8_t)(FIXSTR | value.length));
    } else if (value.length <= UINT8_MAX) {
        write_u8(writer, STR8);
        write_u8(writer, (uint8_t)value.length);
    } else if (value.length <= UINT16_MAX) {
        write_u8(writer, STR16);
        write_u16(writer, (uint16_t)value.length);
    } else {
        write_u8(writer, STR32);
        write_u32(writer, value.length);
    }
    write_bytes(writer, value.bytes, value.length);
}

static void write_negative(struct writer *writer, int64_t value)
{
    assert(value < 0);
    if (value >= FIX_NUMBER_MIN) {
        write_u8(writer, (uint8_t)value);
    } else if (value >= INT8_MIN) {
        write_u8(writer, INT8);
        write_u8(writer, (uint8_t)value);
    } else if (value >= INT16_MIN) {
        write_u8(writer, INT16);
        write_u16(writer, (uint16_t)value);
    } else if (value >= INT32_MIN) {
        write_u8(writer, INT32);
        write_u32(writer, (uint32_t)value);
    } else {
        write_u8(writer, INT64);
        write_u64(writer, (uint64_t)value);
    }
}

void pack_int_value(struct writer *writer, int64_t value)
{
    if (value < 0) {
        write_negative(writer, value);
    } else if (value <= FIX_NUMBER_MAX) {
        write_u8(writer, (uint8_t)value);
    } else if (value <= UINT8_MAX) {
        write_u8(writer, UINT8);
        write_u8(writer, (uint8_t)value);
    } else if (value <= UINT16_MAX) {
        write_u8(writer, UINT16);
        write_u16(writer, (uint16_t)value);
    } else if (value <= UINT32_MAX) {
        write_u8(writer, UINT32);
        write_u32(writer, (uint32_t)value);
    } else {
        write_u8(writer, UINT64);
        write_u64(writer, (uint64_t)value);
    }
}
