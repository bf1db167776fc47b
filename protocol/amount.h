/*
 * amount.h - money on the wire and for people. Never a float.
 */
#ifndef PROTOCOL_AMOUNT_H
#define PROTOCOL_AMOUNT_H

#include "base/bytes.h"

enum { SCALE_MAX = 18 };

/* An integer of minor units (is_decimal false), or a decimal string: value / 10^digits major units.
 * Whether it fits is known only once the account's asset is. */
struct amount {
    int64_t value;
    uint8_t digits;
    bool is_decimal;
};

/* "12.34", "-0.5", "7": at most 19 digits in all, trailing zeros after the point dropped. */
MUST_CHECK bool amount_parse(struct text text, struct amount *out);
/* Minor units at this scale; false when it has more decimals than that or overflows. */
MUST_CHECK bool amount_to_minor(const struct amount *amount, uint8_t scale, int64_t *out);
/* Minor units as a decimal with `scale` digits after the point, for people. */
enum { AMOUNT_TEXT_SIZE = 24 };
void amount_format(int64_t minor, uint8_t scale, char text[static AMOUNT_TEXT_SIZE]);

#endif
