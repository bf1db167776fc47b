/*
 * codec_json.c - JSON to msgpack (jansson parses, msgpack-c writes) and back (written by hand: it
 * is a page, and jansson would build a tree first).
 *
 * Both directions recurse, and only as deep as the guards let anything be. Numbers keep their kind
 * on the way: an integer stays an integer to the last digit, a float is written so that it reads as
 * a float.
 */
#include "protocol/codec.h"
#include "protocol/sink.h"
#include "protocol/value.h"

#include <jansson.h>
#include <math.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int pack_json(msgpack_packer *packer, json_t *json);

static int pack_object(msgpack_packer *packer, json_t *object)
{
    const char *key;
    json_t *value;
    int status = msgpack_pack_map(packer, json_object_size(object));

    json_object_foreach(object, key, value)
    {
        status |= msgpack_pack_str_with_body(packer, key, strlen(key));
        status |= pack_json(packer, value);
    }
    return status;
}

static int pack_array(msgpack_packer *packer, json_t *array)
{
    size_t count = json_array_size(array);
    int status = msgpack_pack_array(packer, count);

    for (size_t i = 0; i < count; i++) status |= pack_json(packer, json_array_get(array, i));
    return status;
}

static int pack_json(msgpack_packer *packer, json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return pack_object(packer, json);
    case JSON_ARRAY:
        return pack_array(packer, json);
    case JSON_STRING:
        return msgpack_pack_str_with_body(packer, json_string_value(json),
                                          json_string_length(json));
    case JSON_INTEGER:
        return msgpack_pack_int64(packer, json_integer_value(json));
    case JSON_REAL:
        return msgpack_pack_double(packer, json_real_value(json));
    case JSON_TRUE:
        return msgpack_pack_true(packer);
    case JSON_FALSE:
        return msgpack_pack_false(packer);
    case JSON_NULL:
        return msgpack_pack_nil(packer);
    }
    return -1;
}

bool json_to_msgpack(struct codec *codec, struct bytes json, struct arena *arena, struct bytes *out,
                     char *problem, size_t problem_size)
{
    json_error_t error;
    msgpack_packer packer;
    struct writer writer = writer_in(arena);
    const char *wrong = json_problem(json);

    (void)codec;
    *out = (struct bytes){0};
    if (wrong != NULL) return problem_set(problem, problem_size, "body: %s", wrong);
    json_t *root = json_loadb(json.size > 0 ? (const char *)json.data : "", json.size,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root == NULL)
        return problem_set(problem, problem_size, "body: not JSON: %s (line %d, column %d)",
                           error.text, error.line, error.column);

    msgpack_packer_init(&packer, &writer, sink_write);
    bool packed = pack_json(&packer, root) == 0;
    json_decref(root);
    if (packed && writer_keep(&writer, arena, out)) return true;
    return problem_set(problem, problem_size, "body: no memory is left for it");
}

static void write_literal(struct writer *writer, const char *literal)
{
    write_bytes(writer, literal, strlen(literal));
}

static void write_string(struct writer *writer, struct text text)
{
    static const char short_forms[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
    uint32_t plain = 0; /* where the run of bytes that need no escape began */

    write_u8(writer, '"');
    for (uint32_t i = 0; i < text.length; i++) {
        uint8_t byte = (uint8_t)text.bytes[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
        write_bytes(writer, text.bytes + plain, i - plain);
        plain = i + 1;

        char escape[8];
        const char *form = byte == 0 ? NULL : strchr(short_forms, byte);
        if (form != NULL)
            (void)snprintf(escape, sizeof escape, "\\%c", letters[form - short_forms]);
        else
            (void)snprintf(escape, sizeof escape, "\\u%04x", byte);
        write_literal(writer, escape);
    }
    if (text.length > plain) write_bytes(writer, text.bytes + plain, text.length - plain);
    write_u8(writer, '"');
}

/* As few digits as read back as the same number; 17 always do. */
static void write_real(struct writer *writer, double real)
{
    char text[32]; /* %.17g takes at most 24 */

    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, real);
        if (!islessgreater(strtod(text, NULL), real)) break;
    }
    write_literal(writer, text);
    if (strpbrk(text, ".e") == NULL) write_literal(writer, ".0");
}

static bool write_json(struct writer *writer, struct bytes *rest);

static bool write_items(struct writer *writer, struct bytes *rest, uint32_t count)
{
    write_u8(writer, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) write_u8(writer, ',');
        if (!write_json(writer, rest)) return false;
    }
    write_u8(writer, ']');
    return true;
}

static bool write_pairs(struct writer *writer, struct bytes *rest, uint32_t count)
{
    struct value key;

    write_u8(writer, '{');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) write_u8(writer, ',');
        if (!value_read(rest, &key) || key.type != VALUE_TEXT) return false;
        write_string(writer, key.text);
        write_u8(writer, ':');
        if (!write_json(writer, rest)) return false;
    }
    write_u8(writer, '}');
    return true;
}

static bool write_json(struct writer *writer, struct bytes *rest)
{
    char number[24];
    struct value value;

    if (!value_read(rest, &value)) return false;
    switch (value.type) {
    case VALUE_NIL:
        write_literal(writer, "null");
        return true;
    case VALUE_BOOL:
        write_literal(writer, value.boolean ? "true" : "false");
        return true;
    case VALUE_INTEGER:
        (void)snprintf(number, sizeof number, "%jd", (intmax_t)value.integer);
        write_literal(writer, number);
        return true;
    case VALUE_LARGE:
        (void)snprintf(number, sizeof number, "%ju", (uintmax_t)value.large);
        write_literal(writer, number);
        return true;
    case VALUE_FLOAT:
        if (!isfinite(value.real)) return false;
        write_real(writer, value.real);
        return true;
    case VALUE_TEXT:
        write_string(writer, value.text);
        return true;
    case VALUE_ARRAY:
        return write_items(writer, rest, value.count);
    case VALUE_MAP:
        return write_pairs(writer, rest, value.count);
    case VALUE_BINARY:
    case VALUE_EXTENSION:
        return false;
    }
    return false;
}

bool msgpack_to_json(struct bytes msgpack, struct arena *arena, struct bytes *out)
{
    struct writer writer = writer_in(arena);

    *out = (struct bytes){0};
    if (msgpack_problem(msgpack) != NULL) return false;
    return write_json(&writer, &msgpack) && writer_keep(&writer, arena, out);
}

static bool take_texts(json_t *object, const char *const *names, uint32_t count,
                       struct arena *arena, struct text *out, char *problem, size_t problem_size)
{
    for (uint32_t i = 0; i < count; i++) {
        json_t *value = json_object_get(object, names[i]);
        out[i] = (struct text){0};
        if (value == NULL) continue;
        if (!json_is_string(value))
            return problem_set(problem, problem_size, "%s: not a string", names[i]);
        out[i] = arena_text(
            arena, (struct text){json_string_value(value), (uint32_t)json_string_length(value)});
        if (out[i].bytes == NULL && out[i].length > 0)
            return problem_set(problem, problem_size, "%s: too large", names[i]);
    }
    return true;
}

bool json_texts(struct bytes json, const char *const *names, uint32_t count, struct arena *arena,
                struct text *out, char *problem, size_t problem_size)
{
    json_error_t wrong;
    /* What else the object holds is of no matter: numbers of any size, a name twice. */
    json_t *object = json_loadb((const char *)json.data, json.size,
                                JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &wrong);
    bool ok;

    if (json_is_object(object))
        ok = take_texts(object, names, count, arena, out, problem, problem_size);
    else
        ok = problem_set(problem, problem_size, "not a JSON object%s%s", object == NULL ? ": " : "",
                         object == NULL ? wrong.text : "");
    json_decref(object);
    return ok;
}
