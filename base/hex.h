/*
 * hex.h - bytes as lower-case hexadecimal digits.
 */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include "base/bytes.h"

/* text has room for 2 * size + 1. */
void hex_format(const uint8_t *data, size_t size, char *text);
/* Exactly 2 * size digits, in either case; else false. */
MUST_CHECK bool hex_parse(struct text text, uint8_t *data, size_t size);

#endif
