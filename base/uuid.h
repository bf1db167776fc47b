/*
 * uuid.h - 16-byte identifiers: UUIDv7 (RFC 9562, section 5.7), digests cut to 16 bytes, trace ids.
 */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "base/bytes.h"

enum { UUID_TEXT_SIZE = 37, UUID_HEX_SIZE = 33, UUID_RANDOM_SIZE = 10 };

struct uuid {
    uint8_t bytes[16];
};

/* unix_ms in the upper 48 bits, then version, variant and the given random bits. */
struct uuid uuid_v7(uint64_t unix_ms, const uint8_t random[static UUID_RANDOM_SIZE]);
void uuid_format(const struct uuid *uuid, char text[static UUID_TEXT_SIZE]); /* 8-4-4-4-12, lower */
void uuid_format_hex(const struct uuid *uuid, char text[static UUID_HEX_SIZE]);
/* Exactly 36 characters, either case; else false. */
MUST_CHECK bool uuid_parse(struct text text, struct uuid *out);
/* Exactly 32 lower-case hex digits (as a W3C trace id); else false. */
MUST_CHECK bool uuid_parse_hex(struct text text, struct uuid *out);
int uuid_compare(const struct uuid *a, const struct uuid *b);
bool uuid_is_zero(const struct uuid *uuid);

#endif
