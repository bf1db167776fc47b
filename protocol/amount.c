/*
 * amount.c - money in decimal text, to and from a 64-bit count of minor units. No floating point
 * anywhere, and every multiplication is checked.
 */
#include "protocol/amount.h"

#include <assert.h>
#include <stdio.h>

enum { DIGITS_MAX = 19 }; /* as many as INT64_MAX has */

static const int64_t powers_of_ten[SCALE_MAX + 1] = {
    1,
    10,
    100,
    1000,
    10000,
    100000,
    1000000,
    10000000,
    100000000,
    1000000000,
    10000000000,
    100000000000,
    1000000000000,
    10000000000000,
    100000000000000,
    1000000000000000,
    10000000000000000,
    100000000000000000,
    1000000000000000000,
};

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Appends a run of digits to *value; counts them. Sums downwards, where there is one number more.
 */
static bool take_digits(struct text *rest, int64_t *value, uint32_t *count)
{
    for (*count = 0; rest->length > 0 && is_digit(*rest->bytes); ++*count) {
        int64_t digit = *rest->bytes - '0';
        if (__builtin_mul_overflow(*value, 10, value)) return false;
        if (__builtin_sub_overflow(*value, digit, value)) return false;
        rest->bytes++;
        rest->length--;
    }
    return *count > 0;
}

bool amount_parse(struct text text, struct amount *out)
{
    int64_t value = 0;
    uint32_t whole = 0, decimals = 0;
    bool is_negative = text.length > 0 && *text.bytes == '-';
    struct text rest = {text.bytes + (is_negative ? 1 : 0), text.length - (is_negative ? 1 : 0)};

    *out = (struct amount){0};
    if (!take_digits(&rest, &value, &whole)) return false;
    if (rest.length > 0 && *rest.bytes == '.') {
        rest = (struct text){rest.bytes + 1, rest.length - 1};
        if (!take_digits(&rest, &value, &decimals)) return false;
    }
    if (rest.length > 0 || whole + decimals > DIGITS_MAX) return false;
    if (!is_negative && __builtin_sub_overflow(0, value, &value)) return false;

    for (; decimals > 0 && value % 10 == 0; decimals--) value /= 10;
    assert(decimals <= SCALE_MAX);
    *out = (struct amount){.value = value, .digits = (uint8_t)decimals, .is_decimal = true};
    return true;
}

bool amount_to_minor(const struct amount *amount, uint8_t scale, int64_t *out)
{
    assert(scale <= SCALE_MAX);
    *out = amount->value;
    if (!amount->is_decimal) return true;
    if (amount->digits > scale) return false;
    return !__builtin_mul_overflow(amount->value, powers_of_ten[scale - amount->digits], out);
}

void amount_format(int64_t minor, uint8_t scale, char text[static AMOUNT_TEXT_SIZE])
{
    uint64_t magnitude = minor < 0 ? 0 - (uint64_t)minor : (uint64_t)minor;

    assert(scale <= SCALE_MAX);
    uint64_t unit = (uint64_t)powers_of_ten[scale];
    int length = snprintf(text, AMOUNT_TEXT_SIZE, "%s%ju", minor < 0 ? "-" : "",
                          (uintmax_t)(magnitude / unit));
    if (scale > 0)
        length += snprintf(text + length, AMOUNT_TEXT_SIZE - (size_t)length, ".%0*ju", scale,
                           (uintmax_t)(magnitude % unit));
    assert(length < AMOUNT_TEXT_SIZE);
}
