/*
 * value.c - see value.h. The format: https://github.com/msgpack/msgpack/blob/master/spec.md
 *
 * A head byte is either the whole story (nil, booleans, small numbers, the size of something small)
 * or one of the 32 from 0xc0 to 0xdf, which say in a fixed pattern how wide the number behind them
 * is.
 */
#include "protocol/value.h"

#include <string.h>

enum { EXTENSION_TYPE_SIZE = 1 };

static bool take(struct bytes *rest, uint64_t size, const uint8_t **out)
{
    if (size > rest->size) return false;
    *out = rest->data;
    rest->data += size;
    rest->size -= (uint32_t)size;
    return true;
}

static bool take_number(struct bytes *rest, uint32_t width, uint64_t *out)
{
    const uint8_t *data = NULL;

    if (!take(rest, width, &data)) return false;
    *out = 0;
    for (uint32_t i = 0; i < width; i++) *out = *out << 8 | data[i];
    return true;
}

static bool take_text(struct bytes *rest, uint64_t size, struct value *out)
{
    const uint8_t *data = NULL;

    if (!take(rest, size, &data)) return false;
    *out = (struct value){.type = VALUE_TEXT, .text = {(const char *)data, (uint32_t)size}};
    return true;
}

static bool skip(struct bytes *rest, uint64_t size, enum value_type type, struct value *out)
{
    const uint8_t *data = NULL;

    *out = (struct value){.type = type};
    return take(rest, size, &data);
}

static bool read_float(struct bytes *rest, uint32_t width, struct value *out)
{
    uint64_t bits = 0;
    float single = 0;

    *out = (struct value){.type = VALUE_FLOAT};
    if (!take_number(rest, width, &bits)) return false;
    if (width == sizeof out->real) {
        memcpy(&out->real, &bits, sizeof out->real);
        return true;
    }
    uint32_t half = (uint32_t)bits;
    memcpy(&single, &half, sizeof single);
    out->real = (double)single;
    return true;
}

static bool read_unsigned(struct bytes *rest, uint32_t width, struct value *out)
{
    uint64_t number = 0;

    if (!take_number(rest, width, &number)) return false;
    if (number > INT64_MAX)
        *out = (struct value){.type = VALUE_LARGE, .large = number};
    else
        *out = (struct value){.type = VALUE_INTEGER, .integer = (int64_t)number};
    return true;
}

static bool read_signed(struct bytes *rest, uint32_t width, struct value *out)
{
    uint64_t number = 0;
    uint32_t unused_bits = 64 - 8 * width;

    *out = (struct value){.type = VALUE_INTEGER};
    if (!take_number(rest, width, &number)) return false;
    out->integer = (int64_t)(number << unused_bits) >> unused_bits;
    return true;
}

/* Heads 0xc0 to 0xdf. The width of what follows doubles from one head to the next of its kind. */
static bool read_wide(struct bytes *rest, uint8_t head, struct value *out)
{
    uint64_t size = 0;

    switch (head) {
    case 0xc0:
        *out = (struct value){.type = VALUE_NIL};
        return true;
    case 0xc2:
    case 0xc3:
        *out = (struct value){.type = VALUE_BOOL, .boolean = head == 0xc3};
        return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take_number(rest, 1U << (head - 0xc4), &size) && skip(rest, size, VALUE_BINARY, out);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return take_number(rest, 1U << (head - 0xc7), &size) &&
               skip(rest, size + EXTENSION_TYPE_SIZE, VALUE_EXTENSION, out);
    case 0xca:
    case 0xcb:
        return read_float(rest, 4U << (head - 0xca), out);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return read_unsigned(rest, 1U << (head - 0xcc), out);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return read_signed(rest, 1U << (head - 0xd0), out);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return skip(rest, (1U << (head - 0xd4)) + EXTENSION_TYPE_SIZE, VALUE_EXTENSION, out);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take_number(rest, 1U << (head - 0xd9), &size) && take_text(rest, size, out);
    case 0xdc:
    case 0xdd:
    case 0xde:
    case 0xdf:
        if (!take_number(rest, 2U << ((head - 0xdc) & 1), &size)) return false;
        *out =
            (struct value){.type = head < 0xde ? VALUE_ARRAY : VALUE_MAP, .count = (uint32_t)size};
        return true;
    }
    return false; /* 0xc1 is never used */
}

bool value_read(struct bytes *rest, struct value *out)
{
    const uint8_t *head = NULL;

    *out = (struct value){.type = VALUE_NIL};
    if (!take(rest, 1, &head)) return false;
    if (*head >= 0xc0 && *head < 0xe0) return read_wide(rest, *head, out);
    if (*head >= 0xa0 && *head < 0xc0) return take_text(rest, *head & 0x1f, out);

    if (*head < 0x80 || *head >= 0xe0)
        *out = (struct value){.type = VALUE_INTEGER, .integer = (int8_t)*head};
    else
        *out =
            (struct value){.type = *head < 0x90 ? VALUE_MAP : VALUE_ARRAY, .count = *head & 0x0f};
    return true;
}

uint64_t value_children(const struct value *value)
{
    if (value->type == VALUE_MAP) return 2 * (uint64_t)value->count;
    return value->type == VALUE_ARRAY ? value->count : 0;
}

bool value_take(struct bytes *rest, struct bytes *whole)
{
    struct value value;
    struct bytes start = *rest;

    for (uint64_t missing = 1; missing > 0; missing--) {
        if (!value_read(rest, &value)) return false;
        missing += value_children(&value);
    }
    *whole = (struct bytes){start.data, start.size - rest->size};
    return true;
}
