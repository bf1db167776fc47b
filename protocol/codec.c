/*
 * codec.c - what both encodings share: their names, the rule for text, and sentences about what is
 * wrong.
 */
#include "protocol/codec.h"
#include "protocol/sink.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

/* clang-format off */
static const struct {
    const char *name;
    enum encoding encoding;
} content_types[] = {
    {"application/msgpack",     ENCODING_MSGPACK},
    {"application/json",        ENCODING_JSON},
    {"application/x-msgpack",   ENCODING_MSGPACK},
    {"application/vnd.msgpack", ENCODING_MSGPACK},
    {"",                        ENCODING_MSGPACK},
};
/* clang-format on */
enum { CONTENT_TYPES_COUNT = sizeof content_types / sizeof *content_types };

bool encoding_parse(struct text content_type, enum encoding *out)
{
    uint32_t length = 0;

    while (length < content_type.length && content_type.bytes[length] != ';') length++;
    while (length > 0 && content_type.bytes[length - 1] == ' ') length--;
    for (uint32_t i = 0; i < CONTENT_TYPES_COUNT; i++) {
        struct text name = text_of(content_types[i].name);
        if (name.length != length) continue;
        if (length > 0 && strncasecmp(name.bytes, content_type.bytes, length) != 0) continue;
        *out = content_types[i].encoding;
        return true;
    }
    return false;
}

const char *encoding_content_type(enum encoding encoding)
{
    return encoding == ENCODING_JSON ? "application/json" : "application/msgpack";
}

/* The length of the sequence that this byte begins, and the least code point worth that length. */
static uint32_t sequence_length(uint8_t first, uint32_t *least)
{
    *least = first < 0xe0 ? 0x80 : first < 0xf0 ? 0x800 : 0x10000;
    if (first >= 0xc2 && first < 0xe0) return 2;
    if (first >= 0xe0 && first < 0xf0) return 3;
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

bool utf8_is_valid(struct text text)
{
    uint32_t least = 0;

    for (uint32_t i = 0; i < text.length;) {
        uint8_t first = (uint8_t)text.bytes[i];
        if (first < 0x80) {
            i++;
            continue;
        }
        uint32_t length = sequence_length(first, &least);
        if (length == 0 || length > text.length - i) return false;

        uint32_t point = first & (0x7fU >> length);
        for (uint32_t k = 1; k < length; k++) {
            uint8_t next = (uint8_t)text.bytes[i + k];
            if ((next & 0xc0) != 0x80) return false;
            point = point << 6 | (next & 0x3f);
        }
        if (point < least || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
        i += length;
    }
    return true;
}

int sink_write(void *writer, const char *bytes, size_t size)
{
    write_bytes(writer, bytes, size);
    return 0;
}

enum { QUOTE_MAX = 40 };

bool problem_set(char *problem, size_t problem_size, const char *format, ...)
{
    va_list arguments;

    assert(problem_size > 0);
    va_start(arguments, format);
    int length = vsnprintf(problem, problem_size, format, arguments);
    va_end(arguments);
    if (length < 0) problem[0] = '\0';
    for (char *at = problem; *at != '\0'; at++)
        if (*at < ' ' || *at > '~') *at = '?';
    return false;
}

struct text problem_quote(struct text text)
{
    return (struct text){text.bytes, text.length < QUOTE_MAX ? text.length : QUOTE_MAX};
}
