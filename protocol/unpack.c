/*
 * unpack.c - see unpack.h.
 *
 * Invariant: a target is written only with a value of its field's type, and every view lies within
 * the bytes given.
 */
#include "protocol/unpack.h"

#include "protocol/request.h"
#include "protocol/value.h"

#include <assert.h>
#include <stdio.h>

bool unpack_problem_in(const char *name, char problem[static PROBLEM_SIZE])
{
    char inner[PROBLEM_SIZE];

    (void)snprintf(inner, sizeof inner, "%s", problem);
    return problem_set(problem, PROBLEM_SIZE, "%s: %s", name, inner);
}

/* NULL when the value is what the field wants, and then it is in the target; else what it should
 * be. */
static const char *field_set(const struct field *field, struct bytes whole)
{
    struct bytes rest = whole;
    struct value value;

    if (!value_read(&rest, &value)) return "ends too early";
    bool is_text = value.type == VALUE_TEXT && value.text.length > 0;
    switch (field->type) {
    case FIELD_TEXT:
        if (!is_text) return "must be text, not empty";
        *(struct text *)field->target = value.text;
        return NULL;
    case FIELD_INT:
        if (value.type != VALUE_INTEGER) return "must be an integer of 64 bits";
        *(int64_t *)field->target = value.integer;
        return NULL;
    case FIELD_BOOL:
        if (value.type != VALUE_BOOL) return "must be true or false";
        *(bool *)field->target = value.boolean;
        return NULL;
    case FIELD_UUID:
        return is_text && uuid_parse(value.text, field->target) ? NULL : "must be a UUID as text";
    case FIELD_HEX:
        return is_text && uuid_parse_hex(value.text, field->target)
                   ? NULL
                   : "must be 32 lower-case hexadecimal digits";
    case FIELD_TIME:
        return is_text && time_parse(value.text, field->target) ? NULL : "must be an RFC 3339 time";
    case FIELD_MAP:
        if (value.type != VALUE_MAP) return "must be a map";
        *(struct bytes *)field->target = whole;
        return NULL;
    case FIELD_ARRAY:
        if (value.type != VALUE_ARRAY) return "must be a list";
        *(struct bytes *)field->target = whole;
        return NULL;
    }
    assert(false);
    return "";
}

static struct field *field_find(struct field *fields, uint32_t count, struct text name)
{
    for (uint32_t i = 0; i < count; i++)
        if (text_equal(text_of(fields[i].name), name)) return &fields[i];
    return NULL;
}

bool unpack_fields(struct bytes map, struct field *fields, uint32_t count,
                   char problem[static PROBLEM_SIZE])
{
    struct value head, key;
    struct bytes value;

    for (uint32_t i = 0; i < count; i++) assert(!fields[i].present);
    if (!value_read(&map, &head) || head.type != VALUE_MAP)
        return problem_set(problem, PROBLEM_SIZE, "body: must be a map");

    for (uint32_t i = 0; i < head.count; i++) {
        if (!value_read(&map, &key) || key.type != VALUE_TEXT)
            return problem_set(problem, PROBLEM_SIZE, "body: keys must be text");
        if (!value_take(&map, &value))
            return problem_set(problem, PROBLEM_SIZE, "body: ends too early");
        struct field *field = field_find(fields, count, key.text);
        if (field == NULL) continue;
        if (field->present)
            return problem_set(problem, PROBLEM_SIZE, "%s: is there twice", field->name);
        const char *wrong = field_set(field, value);
        if (wrong != NULL) return problem_set(problem, PROBLEM_SIZE, "%s: %s", field->name, wrong);
        field->present = true;
    }
    for (uint32_t i = 0; i < count; i++)
        if (fields[i].required && !fields[i].present)
            return problem_set(problem, PROBLEM_SIZE, "%s: is missing", fields[i].name);
    return true;
}

bool unpack_body(struct codec *codec, struct bytes body, enum encoding encoding,
                 struct arena *arena, struct bytes *out, char problem[static PROBLEM_SIZE])
{
    if (body.size > BODY_SIZE_MAX)
        return problem_set(problem, PROBLEM_SIZE, "body: is larger than 1 MiB");
    if (encoding == ENCODING_JSON) {
        if (!json_to_msgpack(codec, body, arena, out, problem, PROBLEM_SIZE)) return false;
    } else {
        *out = arena_copy(arena, body.data, body.size);
        if (out->data == NULL && out->size > 0)
            return problem_set(problem, PROBLEM_SIZE, "body: no memory is left");
    }
    const char *wrong = msgpack_problem(*out);
    return wrong == NULL || problem_set(problem, PROBLEM_SIZE, "body: %s", wrong);
}
