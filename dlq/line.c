/*
 * line.c - see line.h. Written as msgpack and translated, as every JSON of the ledger is.
 */
#include "dlq/line.h"

#include "protocol/command.h"
#include "protocol/pack.h"

#include <openssl/evp.h>
#include <string.h>

enum { FIELDS_MAX = 24, BASE64_MAX = 64 << 20, BASE64_GROUP = 4 };

/* Texts that are not UTF-8 are left out: the bytes have them. */
static void pack_valid(struct pack_map *map, const char *key, struct text text)
{
    if (utf8_is_valid(text)) pack_text(map, key, text);
}

static bool base64_write(struct bytes bytes, struct arena *arena, struct text *out)
{
    uint32_t length = (bytes.size + 2) / 3 * BASE64_GROUP;
    unsigned char *text = arena_take(arena, (size_t)length + 1);

    if (text == NULL || bytes.size > BASE64_MAX) return false;
    *out = (struct text){(const char *)text, length};
    return length == 0 || EVP_EncodeBlock(text, bytes.data, (int)bytes.size) == (int)length;
}

static void pack_times(struct pack_map *map, const struct letter *letter)
{
    if (letter->first_death_us > 0) pack_time(map, "first_death", letter->first_death_us);
    if (letter->last_death_us > 0) pack_time(map, "last_death", letter->last_death_us);
    pack_int(map, "attempts", letter->attempts);
}

static void pack_letter(struct pack_map *map, const struct letter *letter)
{
    pack_text(map, "id", text_of(letter->id));
    pack_valid(map, "reason", letter->reason);
    pack_valid(map, "error", letter->error);
    pack_valid(map, "command", letter->type);
    pack_valid(map, "account", letter->account);
    pack_valid(map, "other_account", letter->other_account);
    pack_valid(map, "caller", letter->caller);
    pack_valid(map, "key", letter->key);
    pack_valid(map, "trace_id", letter->trace_id);
    pack_times(map, letter);
    pack_valid(map, "queue", letter->queue);
    pack_valid(map, "exchange", letter->exchange);
    pack_valid(map, "routing_key", letter->routing_key);
    pack_valid(map, "content_type", letter->parsed.content_type);
    pack_valid(map, "own_routing_key", letter->own_routing_key);
}

/* All but the bytes, as a JSON object. */
static bool line_people(const struct letter *letter, bool with_body, struct arena *arena,
                        struct bytes *out)
{
    struct writer writer = writer_in(arena);
    struct pack_map map = pack_map_open(&writer, FIELDS_MAX);
    struct bytes packed;

    pack_letter(&map, letter);
    if (with_body) pack_raw(&map, "body", letter->decoded);
    pack_map_close(&map);
    return writer_keep(&writer, arena, &packed) && msgpack_to_json(packed, arena, out);
}

static void write_text(struct writer *writer, struct text text)
{
    write_bytes(writer, text.bytes, text.length);
}

static void write_member(struct writer *writer, const char *name, struct text base64)
{
    write_text(writer, TEXT_LITERAL(",\""));
    write_text(writer, text_of(name));
    write_text(writer, TEXT_LITERAL("\":\""));
    write_text(writer, base64);
    write_text(writer, TEXT_LITERAL("\""));
}

/* Puts the bytes behind what is there for people. */
static bool line_bytes(const struct letter *letter, struct arena *arena, struct bytes *out)
{
    struct text own = letter->own_routing_key, key = {0}, properties, body;

    if (!utf8_is_valid(own) &&
        !base64_write((struct bytes){(const uint8_t *)own.bytes, own.length}, arena, &key))
        return false;
    if (!base64_write(letter->properties, arena, &properties) ||
        !base64_write(letter->body, arena, &body))
        return false;
    struct writer writer = writer_in(arena);
    write_bytes(&writer, out->data, out->size - 1); /* without the last brace */
    if (key.length > 0) write_member(&writer, "own_routing_key_base64", key);
    write_member(&writer, "properties_base64", properties);
    write_member(&writer, "body_base64", body);
    write_text(&writer, TEXT_LITERAL("}"));
    return writer_keep(&writer, arena, out);
}

bool line_write(const struct letter *letter, bool with_bytes, struct arena *arena,
                struct bytes *out)
{
    size_t used = arena->used;

    /* A body may be well-formed and have no JSON form (a NaN), or one that not every parser takes
       (NUL in a name), or be too large with the rest. */
    if (!line_people(letter, true, arena, out) || memmem(out->data, out->size, "\\u0000", 6)) {
        arena->used = used;
        if (!line_people(letter, false, arena, out)) return false;
    }
    return !with_bytes || line_bytes(letter, arena, out);
}

/* --- reading ----------------------------------------------------------------------------- */

/* EVP_DecodeBlock takes '=' anywhere for zero bits, and passes over bits beyond the last byte. */
static bool base64_is_exact(struct text text, struct bytes bytes)
{
    unsigned char last[BASE64_GROUP + 1];
    uint32_t before = text.length - BASE64_GROUP, size = bytes.size - before / BASE64_GROUP * 3;

    return memchr(text.bytes, '=', before) == NULL &&
           EVP_EncodeBlock(last, bytes.data + bytes.size - size, (int)size) == BASE64_GROUP &&
           memcmp(last, text.bytes + before, BASE64_GROUP) == 0;
}

static bool base64_read(struct text text, struct arena *arena, struct bytes *out)
{
    uint32_t padding = 0, size = text.length / BASE64_GROUP * 3;
    unsigned char *bytes = arena_take(arena, (size_t)size + 1);

    if (bytes == NULL || text.length % BASE64_GROUP != 0 || text.length > BASE64_MAX) return false;
    while (padding < 2 && padding < text.length && text.bytes[text.length - 1 - padding] == '=')
        padding++;
    *out = (struct bytes){bytes, size - padding};
    if (size == 0) return true;
    return EVP_DecodeBlock(bytes, (const unsigned char *)text.bytes, (int)text.length) ==
               (int)size &&
           base64_is_exact(text, *out);
}

bool line_read(struct bytes text, struct arena *arena, struct line *out, char *problem,
               size_t problem_size)
{
    static const char *const names[] = {"own_routing_key", "properties_base64", "body_base64",
                                        "own_routing_key_base64"};
    struct properties parsed;
    struct text fields[4];
    struct bytes key;

    *out = (struct line){0};
    if (!json_texts(text, names, 4, arena, fields, problem, problem_size)) return false;
    out->own_routing_key = fields[0];
    if (fields[1].length == 0)
        return problem_set(problem, problem_size, "properties_base64: missing");
    if (!base64_read(fields[1], arena, &out->properties) ||
        !properties_parse(out->properties, &parsed))
        return problem_set(problem, problem_size,
                           "properties_base64: not basic properties in base64");
    if (!base64_read(fields[2], arena, &out->body))
        return problem_set(problem, problem_size, "body_base64: not base64");
    if (!base64_read(fields[3], arena, &key))
        return problem_set(problem, problem_size, "own_routing_key_base64: not base64");
    if (key.size > 0) out->own_routing_key = (struct text){(const char *)key.data, key.size};
    return true;
}
