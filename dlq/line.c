/*
 * line.c - see line.h. Written as msgpack and translated, as every JSON of the ledger is.
 */
#include "dlq/line.h"

#include "protocol/command.h"
#include "protocol/pack.h"

#include <openssl/evp.h>
#include <string.h>

enum { FIELDS_MAX = 24, BASE64_MAX = 64 << 20 };

/* Texts that are not UTF-8 are left out: the bytes have them. */
static void pack_valid(struct pack_map *map, const char *key, struct text text)
{
    if (utf8_is_valid(text)) pack_text(map, key, text);
}

static bool base64_write(struct bytes bytes, struct arena *arena, struct text *out)
{
    uint32_t length = (bytes.size + 2) / 3 * 4;
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

static void write_words(struct writer *writer, const char *words)
{
    write_bytes(writer, words, strlen(words));
}

bool line_write(const struct letter *letter, bool with_bytes, struct arena *arena,
                struct bytes *out)
{
    struct text properties, body;
    size_t used = arena->used;

    /* A body may be well-formed and have no JSON form (a NaN), or one that not every parser takes
       (NUL in a name), or be too large with the rest. */
    if (!line_people(letter, true, arena, out) || memmem(out->data, out->size, "\\u0000", 6)) {
        arena->used = used;
        if (!line_people(letter, false, arena, out)) return false;
    }
    if (!with_bytes) return true;
    if (!base64_write(letter->properties, arena, &properties) ||
        !base64_write(letter->body, arena, &body))
        return false;
    struct writer writer = writer_in(arena);
    write_bytes(&writer, out->data, out->size - 1); /* without the last brace */
    write_words(&writer, ",\"properties_base64\":\"");
    write_bytes(&writer, properties.bytes, properties.length);
    write_words(&writer, "\",\"body_base64\":\"");
    write_bytes(&writer, body.bytes, body.length);
    write_words(&writer, "\"}");
    return writer_keep(&writer, arena, out);
}

/* --- reading ----------------------------------------------------------------------------- */

static bool base64_read(struct text text, struct arena *arena, struct bytes *out)
{
    uint32_t padding = 0, size = text.length / 4 * 3;
    unsigned char *bytes = arena_take(arena, (size_t)size + 1);

    if (bytes == NULL || text.length % 4 != 0 || text.length > BASE64_MAX) return false;
    while (padding < 2 && padding < text.length && text.bytes[text.length - 1 - padding] == '=')
        padding++;
    *out = (struct bytes){bytes, size - padding};
    return size == 0 ||
           EVP_DecodeBlock(bytes, (const unsigned char *)text.bytes, (int)text.length) == (int)size;
}

bool line_read(struct bytes text, struct arena *arena, struct line *out, char *problem,
               size_t problem_size)
{
    static const char *const names[] = {"own_routing_key", "properties_base64", "body_base64"};
    struct properties parsed;
    struct text fields[3];

    *out = (struct line){0};
    if (!json_texts(text, names, 3, arena, fields, problem, problem_size)) return false;
    out->own_routing_key = fields[0];
    if (fields[1].length == 0)
        return problem_set(problem, problem_size, "properties_base64: missing");
    if (!base64_read(fields[1], arena, &out->properties) ||
        !properties_parse(out->properties, &parsed))
        return problem_set(problem, problem_size,
                           "properties_base64: not basic properties in base64");
    if (!base64_read(fields[2], arena, &out->body))
        return problem_set(problem, problem_size, "body_base64: not base64");
    return true;
}
