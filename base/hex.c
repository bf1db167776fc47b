/*
 * hex.c - see hex.h.
 */
#include "base/hex.h"

void hex_format(const uint8_t *data, size_t size, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *text++ = digits[data[i] >> 4];
        *text++ = digits[data[i] & 15];
    }
    *text = '\0';
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool hex_parse(struct text text, uint8_t *data, size_t size)
{
    if (text.length != 2 * size) return false;
    for (size_t i = 0; i < size; i++) {
        int high = digit_of(text.bytes[2 * i]), low = digit_of(text.bytes[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        data[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
