/*
 * backoff.c - see backoff.h.
 */
#include "base/backoff.h"

#include <assert.h>

uint32_t backoff_next_ms(struct backoff *backoff, uint32_t random)
{
    uint64_t delay_ms = backoff->first_ms;

    assert(backoff->first_ms > 0);
    for (uint32_t i = 0; i < backoff->attempts && delay_ms < backoff->most_ms; i++) delay_ms *= 2;
    if (delay_ms > backoff->most_ms) delay_ms = backoff->most_ms;
    if (backoff->attempts < UINT32_MAX) backoff->attempts++;
    return (uint32_t)(delay_ms - random % (delay_ms / 2 + 1));
}

void backoff_reset(struct backoff *backoff)
{
    backoff->attempts = 0;
}

bool breaker_is_open(const struct breaker *breaker)
{
    return breaker->failures >= breaker->threshold;
}

bool breaker_would_allow(const struct breaker *breaker, uint64_t now_ms)
{
    return !breaker_is_open(breaker) || now_ms >= breaker->next_probe_ms;
}

bool breaker_allows(struct breaker *breaker, uint64_t now_ms)
{
    if (!breaker_would_allow(breaker, now_ms)) return false;
    if (breaker_is_open(breaker))
        breaker->next_probe_ms = now_ms + breaker->probe_ms; /* this call is the one probe */
    return true;
}

void breaker_report(struct breaker *breaker, bool succeeded, uint64_t now_ms)
{
    if (succeeded) {
        breaker->failures = 0;
        return;
    }
    if (!breaker_is_open(breaker)) breaker->failures++;
    if (breaker_is_open(breaker)) breaker->next_probe_ms = now_ms + breaker->probe_ms;
}
