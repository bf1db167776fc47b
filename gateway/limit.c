/*
 * limit.c - a set-associative table: a caller's hash says the set, and within it he is found by the
 * whole hash. The hash is keyed at random, so that nobody can choose whose bucket he pushes out.
 * Time is kept as the moment at which a bucket is full: one number, no rounding that adds up.
 */
#include "gateway/limit.h"

#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 8, V4_SIZE = 4, V6_SIZE = 16, NS_PER_US = 1000, NS_PER_S = 1000000000 };

struct bucket {
    uint64_t hash;    /* 0: nobody's */
    uint64_t full_ns; /* when it is full again */
};

struct limit {
    struct limit_options options;
    uint64_t key[2];
    pthread_mutex_t lock;
    uint32_t sets; /* a power of 2 */
    struct bucket *buckets;
};

bool limit_open(struct limit **out, const struct limit_options *options, struct err *err)
{
    struct limit *limit = calloc(1, sizeof *limit);

    *out = NULL;
    if (limit == NULL) return err_set(err, ERR_FATAL, "could not open the limit: out of memory");
    limit->options = *options;
    assert(options->rate == 0 || options->burst > 0);
    limit->sets = 1;
    while (limit->sets * WAYS < options->callers) limit->sets *= 2;
    limit->buckets = calloc(limit->sets, WAYS * sizeof *limit->buckets);
    if (limit->buckets == NULL) {
        free(limit);
        return err_set(err, ERR_FATAL, "could not open the limit: out of memory");
    }
    random_bytes(limit->key, sizeof limit->key);
    (void)pthread_mutex_init(&limit->lock, NULL);
    *out = limit;
    return true;
}

void limit_close(struct limit *limit)
{
    if (limit == NULL) return;
    (void)pthread_mutex_destroy(&limit->lock);
    free(limit->buckets);
    free(limit);
}

bool limit_is_on(const struct limit *limit)
{
    return limit->options.rate > 0;
}

/* A keyed mix of eight bytes at a time: not a cryptographic one, but its key is secret and its
 * values are never shown. */
static uint64_t hash_of(const struct limit *limit, struct text caller)
{
    uint64_t hash = limit->key[0] ^ caller.length;

    for (uint32_t at = 0; at < caller.length; at += 8) {
        uint64_t part = 0;
        memcpy(&part, caller.bytes + at, caller.length - at < 8 ? caller.length - at : 8);
        hash = (hash ^ part) * UINT64_C(0x9e3779b97f4a7c15) ^ limit->key[1];
        hash ^= hash >> 29;
        hash *= UINT64_C(0xbf58476d1ce4e5b9);
        hash ^= hash >> 32;
    }
    return hash == 0 ? 1 : hash;
}

/* His bucket, or the one that is given to him. */
static struct bucket *find(const struct limit *limit, uint64_t hash)
{
    struct bucket *set = &limit->buckets[(hash & (limit->sets - 1)) * WAYS];
    struct bucket *fullest = set;

    for (uint32_t i = 0; i < WAYS; i++) {
        if (set[i].hash == hash) return &set[i];
        if (set[i].full_ns < fullest->full_ns) fullest = &set[i];
    }
    *fullest = (struct bucket){.hash = hash};
    return fullest;
}

static uint32_t seconds_up(uint64_t ns)
{
    return (uint32_t)((ns + NS_PER_S - 1) / NS_PER_S);
}

struct limit_verdict limit_take(struct limit *limit, struct text caller, uint64_t now_us)
{
    uint64_t token_ns = limit->options.rate == 0 ? 0 : NS_PER_S / limit->options.rate;
    uint64_t most_ns = token_ns * limit->options.burst, now_ns = now_us * NS_PER_US;
    struct limit_verdict verdict = {.allowed = true, .remaining = limit->options.burst};

    if (limit->options.rate == 0) return verdict;
    uint64_t hash = hash_of(limit, caller);
    (void)pthread_mutex_lock(&limit->lock);
    struct bucket *bucket = find(limit, hash);
    uint64_t full_ns = bucket->full_ns > now_ns ? bucket->full_ns : now_ns;
    verdict.allowed = full_ns + token_ns <= now_ns + most_ns;
    if (verdict.allowed) full_ns += token_ns;
    bucket->full_ns = full_ns;
    (void)pthread_mutex_unlock(&limit->lock);
    /* Another one who came later may have been here before us: then it is full beyond our time. */
    uint64_t left_ns = full_ns < now_ns + most_ns ? now_ns + most_ns - full_ns : 0;
    verdict.remaining = (uint32_t)(left_ns / token_ns);
    verdict.reset_s = seconds_up(full_ns - now_ns);
    if (!verdict.allowed) verdict.retry_after_s = seconds_up(full_ns + token_ns - now_ns - most_ns);
    return verdict;
}

struct text limit_address(const uint8_t *bytes, uint32_t size, char text[static LIMIT_ADDRESS_SIZE])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    int length;

    if (size == V6_SIZE && memcmp(bytes, mapped, sizeof mapped) == 0)
        return limit_address(bytes + sizeof mapped, V4_SIZE, text);
    assert(size == V4_SIZE || size == V6_SIZE);
    if (size == V4_SIZE)
        length = snprintf(text, LIMIT_ADDRESS_SIZE, "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2],
                          bytes[3]);
    else
        length = snprintf(text, LIMIT_ADDRESS_SIZE, "%02x%02x:%02x%02x:%02x%02x:%02x%02x", bytes[0],
                          bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]);
    assert(length > 0);
    assert(length < LIMIT_ADDRESS_SIZE);
    return (struct text){text, (uint32_t)length};
}
void limit_headers(const struct limit *limit, const struct limit_verdict *verdict,
                   char policy[static LIMIT_HEADER_SIZE], char state[static LIMIT_HEADER_SIZE])
{
    const struct limit_options *options = &limit->options;
    uint32_t window_s = (options->burst + options->rate - 1) / options->rate;

    (void)snprintf(policy, LIMIT_HEADER_SIZE, "\"caller\";q=%u;w=%u", options->burst, window_s);
    (void)snprintf(state, LIMIT_HEADER_SIZE, "\"caller\";r=%u;t=%u", verdict->remaining,
                   verdict->reset_s);
}
