/*
 * properties_wire.c - the layout of basic properties: a word of flags, then the properties whose
 * flags are set, in the order of the flags.
 *
 * A part is kept as its bytes, so what is not understood is passed on as it came. Tables and lists
 * within the headers carry their size, so they are stepped over and never entered: nesting has no
 * depth here.
 */
#include "protocol/properties_wire.h"

#include <assert.h>
#include <strings.h>

enum { FLAG_FIRST = 0x8000, FLAGS_UNKNOWN = 0x0003 /* more flags follow; a property of nobody */ };

/* clang-format off */
static const struct form {
    uint8_t length_width; /* of the length before it; else it has this size */
    uint8_t size;
} forms[PROPERTIES_COUNT] = {
    [PROPERTY_CONTENT_TYPE]     = {1, 0},
    [PROPERTY_CONTENT_ENCODING] = {1, 0},
    [PROPERTY_HEADERS]          = {4, 0},
    [PROPERTY_DELIVERY_MODE]    = {0, 1},
    [PROPERTY_PRIORITY]         = {0, 1},
    [PROPERTY_CORRELATION_ID]   = {1, 0},
    [PROPERTY_REPLY_TO]         = {1, 0},
    [PROPERTY_EXPIRATION]       = {1, 0},
    [PROPERTY_MESSAGE_ID]       = {1, 0},
    [PROPERTY_TIMESTAMP]        = {0, 8},
    [PROPERTY_TYPE]             = {1, 0},
    [PROPERTY_USER_ID]          = {1, 0},
    [PROPERTY_APP_ID]           = {1, 0},
    [PROPERTY_CLUSTER_ID]       = {1, 0},
};
/* clang-format on */

static bool take(struct bytes *rest, uint64_t size, struct bytes *out)
{
    if (size > rest->size) return false;
    *out = (struct bytes){rest->data, (uint32_t)size};
    *rest = (struct bytes){rest->data + size, rest->size - (uint32_t)size};
    return true;
}

static bool take_number(struct bytes *rest, uint32_t width, uint64_t *out)
{
    struct bytes digits;

    if (!take(rest, width, &digits)) return false;
    *out = 0;
    for (uint32_t i = 0; i < width; i++) *out = *out << 8 | digits.data[i];
    return true;
}

static bool take_form(struct bytes *rest, struct form form, struct bytes *out)
{
    uint64_t size = form.size;

    if (form.length_width > 0 && !take_number(rest, form.length_width, &size)) return false;
    return take(rest, size, out);
}

bool parts_take(struct bytes raw, struct parts *out)
{
    uint64_t flags = 0;

    *out = (struct parts){0};
    if (!take_number(&raw, 2, &flags) || (flags & FLAGS_UNKNOWN) != 0) return false;
    for (uint32_t i = 0; i < PROPERTIES_COUNT; i++)
        if ((flags & FLAG_FIRST >> i) != 0 && !take_form(&raw, forms[i], &out->part[i]))
            return false;
    return raw.size == 0;
}

bool parts_write(const struct parts *parts, struct arena *arena, struct bytes *out)
{
    struct writer writer = writer_in(arena);
    uint32_t flags = 0;

    for (uint32_t i = 0; i < PROPERTIES_COUNT; i++)
        if (parts->part[i].data != NULL) flags |= FLAG_FIRST >> i;
    write_u16(&writer, (uint16_t)flags);

    for (uint32_t i = 0; i < PROPERTIES_COUNT; i++) {
        struct bytes part = parts->part[i];
        if (part.data == NULL) continue;
        assert(forms[i].length_width > 0 || part.size == forms[i].size);
        if (forms[i].length_width == 1 && part.size > SHORT_TEXT_MAX) return false;
        if (forms[i].length_width == 1) write_u8(&writer, (uint8_t)part.size);
        if (forms[i].length_width == 4) write_u32(&writer, part.size);
        write_bytes(&writer, part.data, part.size);
    }
    return writer_keep(&writer, arena, out);
}

static bool take_value(struct bytes *rest, uint8_t type, struct bytes *out)
{
    switch (type) {
    case 'V':
        return take(rest, 0, out);
    case 't':
    case 'b':
    case 'B':
        return take(rest, 1, out);
    case 's':
    case 'u':
        return take(rest, 2, out);
    case 'I':
    case 'i':
    case 'f':
        return take(rest, 4, out);
    case 'D':
        return take(rest, 5, out);
    case 'l':
    case 'd':
    case 'T':
        return take(rest, 8, out);
    case 'S':
    case 'x':
    case 'A':
    case 'F':
        return take_form(rest, (struct form){4, 0}, out);
    }
    return false;
}

bool entry_take(struct bytes *table, struct entry *out)
{
    struct bytes start = *table, name;
    uint64_t type = 0;

    *out = (struct entry){0};
    if (!take_form(table, (struct form){1, 0}, &name) || !take_number(table, 1, &type))
        return false;
    out->name = (struct text){(const char *)name.data, name.size};
    out->type = (uint8_t)type;
    if (!take_value(table, out->type, &out->value)) return false;
    out->whole = (struct bytes){start.data, start.size - table->size};
    return true;
}

bool header_name_equal(struct text a, struct text b)
{
    if (a.length != b.length) return false;
    return a.length == 0 || strncasecmp(a.bytes, b.bytes, a.length) == 0;
}
