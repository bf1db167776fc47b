/*
 * checkpoint.c - see checkpoint.h.
 */
#include "protocol/checkpoint.h"

#include "base/hex.h"
#include "protocol/pack.h"
#include "protocol/unpack.h"

#include <assert.h>
#include <string.h>

enum { HEADER_TAG = 0x04, FIELDS = 9, HEX_SIZE = 2 * SIGNATURE_SIZE + 1 };

void checkpoint_header(const struct checkpoint *checkpoint,
                       uint8_t header[static CHECKPOINT_HEADER_SIZE])
{
    struct writer writer = writer_over(header, CHECKPOINT_HEADER_SIZE);

    write_u8(&writer, HEADER_TAG);
    write_u64(&writer, (uint64_t)checkpoint->number);
    write_bytes(&writer, checkpoint->previous.bytes, SHA256_SIZE);
    write_bytes(&writer, checkpoint->root.bytes, SHA256_SIZE);
    write_u64(&writer, (uint64_t)checkpoint->leaves);
    write_u64(&writer, (uint64_t)checkpoint->created_us);
    write_bytes(&writer, checkpoint->key, KEY_ID_SIZE);
    assert(!writer.overflowed);
    assert(writer.size == CHECKPOINT_HEADER_SIZE);
}

void checkpoint_hash(const struct checkpoint *checkpoint, struct sha256 *out)
{
    uint8_t header[CHECKPOINT_HEADER_SIZE];

    checkpoint_header(checkpoint, header);
    sha256_begin();
    sha256_add(header, sizeof header);
    sha256_end(out);
}

bool checkpoint_sign(struct checkpoint *checkpoint, const struct ed25519 *key, struct err *err)
{
    uint8_t header[CHECKPOINT_HEADER_SIZE];

    memcpy(checkpoint->key, ed25519_id(key), KEY_ID_SIZE);
    checkpoint_header(checkpoint, header);
    return ed25519_sign(key, (struct bytes){header, sizeof header}, checkpoint->signature, err);
}

bool checkpoint_verify(const struct checkpoint *checkpoint, const struct ed25519 *key)
{
    uint8_t header[CHECKPOINT_HEADER_SIZE];

    checkpoint_header(checkpoint, header);
    return memcmp(checkpoint->key, ed25519_id(key), KEY_ID_SIZE) == 0 &&
           ed25519_verify(key, (struct bytes){header, sizeof header}, checkpoint->signature);
}

static void pack_digits(struct pack_map *map, const char *key, const uint8_t *data, size_t size)
{
    char text[HEX_SIZE];

    assert(2 * size < sizeof text);
    hex_format(data, size, text);
    pack_text(map, key, text_of(text));
}

bool checkpoint_encode(const struct checkpoint *checkpoint, enum encoding encoding,
                       struct arena *arena, struct bytes *out)
{
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, FIELDS);

    pack_text(&map, "event_type", text_of(CHECKPOINT_EVENT));
    pack_int(&map, "number", checkpoint->number);
    pack_digits(&map, "previous", checkpoint->previous.bytes, SHA256_SIZE);
    pack_digits(&map, "root", checkpoint->root.bytes, SHA256_SIZE);
    pack_int(&map, "leaves", checkpoint->leaves);
    pack_int(&map, "created_us", checkpoint->created_us);
    pack_time(&map, "timestamp", checkpoint->created_us);
    pack_digits(&map, "key", checkpoint->key, KEY_ID_SIZE);
    pack_digits(&map, "signature", checkpoint->signature, SIGNATURE_SIZE);
    pack_map_close(&map);
    if (!writer_keep(&writer, arena, out)) return false;
    return encoding == ENCODING_MSGPACK || msgpack_to_json(*out, arena, out);
}

bool checkpoint_decode(struct codec *codec, struct bytes body, enum encoding encoding,
                       struct arena *arena, struct checkpoint *out,
                       char problem[static PROBLEM_SIZE])
{
    struct text event_type = {0}, previous = {0}, root = {0}, key = {0}, signature = {0};
    int64_t timestamp_us;
    struct bytes map;
    struct field fields[FIELDS] = {
        {.name = "event_type", .type = FIELD_TEXT, .target = &event_type, .required = true},
        {.name = "number", .type = FIELD_INT, .target = &out->number, .required = true},
        {.name = "previous", .type = FIELD_TEXT, .target = &previous, .required = true},
        {.name = "root", .type = FIELD_TEXT, .target = &root, .required = true},
        {.name = "leaves", .type = FIELD_INT, .target = &out->leaves, .required = true},
        {.name = "created_us", .type = FIELD_INT, .target = &out->created_us, .required = true},
        {.name = "timestamp", .type = FIELD_TIME, .target = &timestamp_us},
        {.name = "key", .type = FIELD_TEXT, .target = &key, .required = true},
        {.name = "signature", .type = FIELD_TEXT, .target = &signature, .required = true},
    };

    *out = (struct checkpoint){0};
    if (!unpack_body(codec, body, encoding, arena, &map, problem) ||
        !unpack_fields(map, fields, FIELDS, problem))
        return false;
    if (!text_equal(event_type, text_of(CHECKPOINT_EVENT)))
        return problem_set(problem, PROBLEM_SIZE, "event_type: must be " CHECKPOINT_EVENT);
    if (hex_parse(previous, out->previous.bytes, SHA256_SIZE) &&
        hex_parse(root, out->root.bytes, SHA256_SIZE) && hex_parse(key, out->key, KEY_ID_SIZE) &&
        hex_parse(signature, out->signature, SIGNATURE_SIZE))
        return true;
    return problem_set(problem, PROBLEM_SIZE,
                       "previous, root, key and signature: must be hexadecimal, of 32, 32, 8 and "
                       "64 bytes");
}
