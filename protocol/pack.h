/*
 * pack.h - msgpack written straight into a writer: shortest forms, no allocation, no library.
 *
 * A map's size is filled in when it is closed, so that an encoder reads as the list of its fields.
 * An empty text or raw value is left out, key and all. Running over the writer's end is
 * the writer's to remember (bytes.h): nothing here fails.
 */
#ifndef PROTOCOL_PACK_H
#define PROTOCOL_PACK_H

#include "base/uuid.h"

struct pack_map {
    struct writer *writer;
    size_t at;
    uint32_t most, count;
};

/* `most` is how many fields it may get: up to 15 the map's head is one byte, else three. */
struct pack_map pack_map_open(struct writer *writer, uint32_t most);
void pack_map_close(struct pack_map *map);

void pack_text(struct pack_map *map, const char *key, struct text value);
void pack_int(struct pack_map *map, const char *key, int64_t value);
void pack_bool(struct pack_map *map, const char *key, bool value);
void pack_uuid(struct pack_map *map, const char *key, const struct uuid *value); /* 8-4-4-4-12 */
void pack_hex(struct pack_map *map, const char *key, const struct uuid *value);  /* 32 digits */
void pack_time(struct pack_map *map, const char *key, int64_t wall_us);          /* RFC 3339 */
void pack_raw(struct pack_map *map, const char *key, struct bytes value); /* one msgpack value */
/* A key alone: its value is written next, by one of those below or by pack_map_open. */
void pack_key(struct pack_map *map, const char *key);

void pack_array_value(struct writer *writer, uint32_t count); /* its elements follow */
void pack_text_value(struct writer *writer, struct text value);
void pack_int_value(struct writer *writer, int64_t value);

#endif
