/*
 * limit.h - how many requests a caller may make: a token bucket for each, in a table that does not
 * grow. Pure: the time is passed in. Each replica counts for itself.
 *
 * A bucket that has filled up again is as good as none, so the table forgets those first; when all
 * of a set are in use it forgets the fullest, whose caller loses nothing but a bit of patience.
 * More callers than it holds are therefore let through rather than kept out.
 */
#ifndef GATEWAY_LIMIT_H
#define GATEWAY_LIMIT_H

#include "base/bytes.h"

struct limit; /* used by any number of threads */

struct limit_options {
    uint32_t rate;    /* requests a second, for ever; 0: no limit */
    uint32_t burst;   /* at once; at least 1 */
    uint32_t callers; /* about how many are told apart */
};

struct limit_verdict {
    bool allowed;
    uint32_t remaining;     /* requests at once, after this one */
    uint32_t reset_s;       /* until the bucket is full, rounded up */
    uint32_t retry_after_s; /* when refused: at least 1 */
};

MUST_CHECK bool limit_open(struct limit **out, const struct limit_options *options,
                           struct err *err);
void limit_close(struct limit *limit); /* NULL is fine */

/* Takes one token of this caller's, if there is one. `caller` is any bytes that name him: an
 * identity, or limit_address. */
struct limit_verdict limit_take(struct limit *limit, struct text caller, uint64_t now_us);
bool limit_is_on(const struct limit *limit);

/* What of an address counts as one caller: an IPv4 address, or the first 64 bits of an IPv6 one,
 * which is what a household is given. `bytes` is in network order, 4 or 16 of them. */
enum { LIMIT_ADDRESS_SIZE = 24 };
struct text limit_address(const uint8_t *bytes, uint32_t size,
                          char text[static LIMIT_ADDRESS_SIZE]);

/* The values of the headers of draft-ietf-httpapi-ratelimit-headers: RateLimit-Policy, RateLimit.
 */
enum { LIMIT_HEADER_SIZE = 64 };
void limit_headers(const struct limit *limit, const struct limit_verdict *verdict,
                   char policy[static LIMIT_HEADER_SIZE], char state[static LIMIT_HEADER_SIZE]);

#endif
