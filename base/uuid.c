/*
 * uuid.c - see uuid.h.
 */
#include "base/uuid.h"

#include "base/hex.h"

#include <string.h>

struct uuid uuid_v7(uint64_t unix_ms, const uint8_t random[static UUID_RANDOM_SIZE])
{
    struct uuid uuid;

    for (int i = 0; i < 6; i++) uuid.bytes[i] = (uint8_t)(unix_ms >> (8 * (5 - i)));
    memcpy(uuid.bytes + 6, random, UUID_RANDOM_SIZE);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x70); /* version 7 */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80); /* variant 10 */
    return uuid;
}

void uuid_format_hex(const struct uuid *uuid, char text[static UUID_HEX_SIZE])
{
    hex_format(uuid->bytes, sizeof uuid->bytes, text);
}

void uuid_format(const struct uuid *uuid, char text[static UUID_TEXT_SIZE])
{
    char hex[UUID_HEX_SIZE];
    int at = 0;

    uuid_format_hex(uuid, hex);
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20) text[at++] = '-';
        text[at++] = hex[i];
    }
    text[at] = '\0';
}

static int digit_of(char c, bool upper_too)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (upper_too && c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool parse_digits(const char digits[static 32], bool upper_too, struct uuid *out)
{
    for (int i = 0; i < 16; i++) {
        int high = digit_of(digits[2 * i], upper_too), low = digit_of(digits[2 * i + 1], upper_too);
        if (high < 0 || low < 0) return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool uuid_parse(struct text text, struct uuid *out)
{
    char digits[32];
    int at = 0;

    if (text.length != UUID_TEXT_SIZE - 1) return false;
    for (uint32_t i = 0; i < text.length; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash && text.bytes[i] != '-') return false;
        if (!dash) digits[at++] = text.bytes[i];
    }
    return parse_digits(digits, true, out);
}

bool uuid_parse_hex(struct text text, struct uuid *out)
{
    return text.length == UUID_HEX_SIZE - 1 && parse_digits(text.bytes, false, out);
}

int uuid_compare(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool uuid_is_zero(const struct uuid *uuid)
{
    static const struct uuid zero;
    return uuid_compare(uuid, &zero) == 0;
}
