/*
 * backoff.h - how long to wait before the next attempt: exponential, with full jitter, so that a
 * fleet does not come back in step. And the breaker that stops asking a server that does not
 * answer. Pure: time and randomness are passed in.
 */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct backoff {
    uint32_t first_ms, most_ms;
    uint32_t attempts;
};

/* A delay between half and all of min(most, first * 2^attempts); counts the attempt. */
uint32_t backoff_next_ms(struct backoff *backoff, uint32_t random);
void backoff_reset(struct backoff *backoff);

/* Closed: calls go through. After `threshold` failures in a row it opens; while open nothing is
 * called, but once per `probe_ms` one call may try. One success closes it. */
struct breaker {
    uint32_t threshold, probe_ms;
    uint32_t failures;
    uint64_t next_probe_ms; /* meaningful while open */
};

/* What breaker_allows would say, without taking the one try. */
bool breaker_would_allow(const struct breaker *breaker, uint64_t now_ms);
bool breaker_allows(struct breaker *breaker, uint64_t now_ms);
void breaker_report(struct breaker *breaker, bool succeeded, uint64_t now_ms);
bool breaker_is_open(const struct breaker *breaker);

#endif
