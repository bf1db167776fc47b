/*
 * cache.c - who is served from the cache, who asks, who waits. The order that makes it right:
 * tokens are read before the ledger is asked, and an entry counts only while they are the same; a
 * change takes its token away first, then what is near, then bars the flights that began before it.
 * What is near was found in Redis after its place's drops were counted, so a change that took its
 * token away before that is in what was found, and one that did so after it takes it away here too.
 */
#include "gateway/cache.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "gateway/cache_internal.h"
#include "gateway/cache_writer.h"
#include "gateway/near.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EARLY_PART = 10, US_PER_S = 1000000 }; /* fetched anew in the last tenth of its time */
enum { NEAR_US = 5 * US_PER_S };              /* and near for so long of it */

enum read_result { READ_NEAR, READ_HIT, READ_MISS, READ_SHARED, READ_OFF, READ_RESULTS };

static const char *const KINDS[] = {[CACHE_USER] = "user", [CACHE_TRANSACTION] = "transaction"};

struct cache {
    struct cache_options options;
    bool on;
    struct near *near;
    struct cache_store *store;
    struct cache_writer *writer;
    struct cache_events *events;
    struct flights *flights;
    _Atomic bool listening;
    _Atomic bool dirty;             /* a change could not be taken to Redis */
    _Atomic uint32_t renewed_as_of; /* how many connections had broken when all was forgotten */
    struct metric *reads[CACHE_KINDS][READ_RESULTS];
    struct metric *seconds, *refreshes, *dropped, *renewals, *lost, *up;
};

/* --- metrics ---------------------------------------------------------------------------------- */

static void register_metrics(struct cache *cache)
{
    static const char *const labels[CACHE_KINDS][READ_RESULTS] = {
        {"kind=\"user\",result=\"near\"", "kind=\"user\",result=\"hit\"",
         "kind=\"user\",result=\"miss\"", "kind=\"user\",result=\"shared\"",
         "kind=\"user\",result=\"off\""},
        {"kind=\"transaction\",result=\"near\"", "kind=\"transaction\",result=\"hit\"",
         "kind=\"transaction\",result=\"miss\"", "kind=\"transaction\",result=\"shared\"",
         "kind=\"transaction\",result=\"off\""}};

    for (uint32_t kind = 0; kind < CACHE_KINDS; kind++)
        for (uint32_t result = 0; result < READ_RESULTS; result++)
            cache->reads[kind][result] = metric_register(
                METRIC_COUNTER, "ledger_cache_reads_total",
                "Reads of what may be cached: served from memory, from Redis, asked for, waited "
                "for, or not cached.",
                labels[kind][result]);
    cache->seconds = metric_register(METRIC_HISTOGRAM, "ledger_cache_look_seconds",
                                     "Time to look an entry up in Redis.", NULL);
    cache->refreshes = metric_register(METRIC_COUNTER, "ledger_cache_refreshes_total",
                                       "Entries fetched anew shortly before their end.", NULL);
    cache->dropped = metric_register(METRIC_COUNTER, "ledger_cache_dropped_total",
                                     "Users and transactions that an event has dropped.", NULL);
    cache->renewals = metric_register(METRIC_COUNTER, "ledger_cache_renewals_total",
                                      "Times that everything was forgotten.", NULL);
    cache->lost = metric_register(METRIC_COUNTER, "ledger_cache_lost_fills_total",
                                  "Answers that were not kept because too many waited.", NULL);
    cache->up = metric_register(METRIC_GAUGE, "ledger_cache_up",
                                "1 while the cache serves, 0 while every read is a miss.", NULL);
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool open_parts(struct cache *cache, struct err *err)
{
    const struct cache_options *options = &cache->options;

    return flights_open(&cache->flights, err) &&
           near_open(&cache->near, options->near_entries, err) &&
           cache_store_open(&cache->store, options->redis_url, options->prefix, options->timeout_ms,
                            err) &&
           cache_writer_open(&cache->writer, cache->store, options->ttl_s, err) &&
           cache_events_open(&cache->events, cache, options, err);
}

bool cache_open(struct cache **out, const struct cache_options *options, struct err *err)
{
    struct cache *cache = calloc(1, sizeof *cache);

    *out = NULL;
    if (cache == NULL) return err_set(err, ERR_FATAL, "could not open the cache: out of memory");
    cache->options = *options;
    cache->on = options->redis_url[0] != '\0';
    register_metrics(cache);
    if (cache->on && !open_parts(cache, err)) {
        cache_close(cache);
        return false;
    }
    *out = cache;
    return true;
}

void cache_close(struct cache *cache)
{
    if (cache == NULL) return;
    cache_events_close(cache->events);
    cache_writer_close(cache->writer);
    cache_store_close(cache->store);
    near_close(cache->near);
    flights_close(cache->flights);
    free(cache);
}

bool cache_is_on(const struct cache *cache)
{
    return cache->on;
}

static bool is_sound(const struct cache *cache)
{
    return !atomic_load(&cache->dirty) &&
           atomic_load(&cache->renewed_as_of) == cache_store_breaks(cache->store);
}

static bool serves(const struct cache *cache)
{
    return cache->on && atomic_load(&cache->listening) && is_sound(cache);
}

bool cache_is_up(const struct cache *cache)
{
    return !cache->on || serves(cache);
}

void cache_problem(const struct cache *cache, char text[static ERR_TEXT_SIZE])
{
    text[0] = '\0';
    if (cache->on) cache_store_problem(cache->store, text);
}

/* --- changes ---------------------------------------------------------------------------------- */

void cache_set_listening(struct cache *cache, bool listening)
{
    atomic_store(&cache->listening, listening);
    metric_set(cache->up, serves(cache));
}

void cache_drop_tags(struct cache *cache, const char *const *tags, uint32_t count)
{
    if (count == 0) return;
    if (!cache_store_drop(cache->store, tags, count)) atomic_store(&cache->dirty, true);
    for (uint32_t i = 0; i < count; i++) {
        near_drop(cache->near, tags[i]);
        flights_bar(cache->flights, tags[i]);
    }
    metric_add(cache->dropped, count);
}

void cache_renew(struct cache *cache, bool anyway)
{
    if (anyway) atomic_store(&cache->dirty, true);
    if (is_sound(cache)) return;
    uint32_t breaks = cache_store_breaks(cache->store);
    if (cache_store_clear(cache->store)) {
        near_clear(cache->near);
        flights_bar(cache->flights, NULL);
        atomic_store(&cache->renewed_as_of, breaks);
        atomic_store(&cache->dirty, false);
        metric_add(cache->renewals, 1);
    }
    metric_set(cache->up, serves(cache));
}

/* --- reading ---------------------------------------------------------------------------------- */

/* An id has no slash, so no two reads have one key. */
static bool make_key(const struct cache *cache, const struct cache_read *read,
                     char key[static CACHE_KEY_SIZE])
{
    int length = snprintf(key, CACHE_KEY_SIZE, "%s:cache:%s/%.*s/%.*s", cache->options.prefix,
                          KINDS[read->kind], TEXT_ARGS(read->id), TEXT_ARGS(read->caller));
    return length > 0 && length < CACHE_KEY_SIZE;
}

void cache_tag(const struct cache_options *options, enum cache_kind kind, struct text id,
               char tag[static CACHE_TAG_SIZE])
{
    int length = snprintf(tag, CACHE_TAG_SIZE, "%s:cache:tag:%s/%.*s", options->prefix, KINDS[kind],
                          TEXT_ARGS(id));
    assert(length > 0);
    assert(length < CACHE_TAG_SIZE);
}

static void landed(struct passenger *passenger, struct bytes value)
{
    struct cache_read *read = (struct cache_read *)passenger;

    read->ended(read, value);
}
_Static_assert(offsetof(struct cache_read, passenger) == 0, "said in cache.h");

static enum cache_look count(struct cache *cache, const struct cache_read *read,
                             enum read_result result, enum cache_look look)
{
    metric_add(cache->reads[read->kind][result], 1);
    return look;
}

/* Until it is to be fetched anew; less than nothing when that is due. */
static int64_t left_us(const struct cache *cache, const struct cache_found *found)
{
    int64_t early_us = (int64_t)cache->options.ttl_s * US_PER_S / EARLY_PART;

    return found->ends_us - early_us - clock_wall_us();
}

/* Whether the one who found it should rather fetch it anew, for all processes. */
static bool is_early(struct cache *cache, const char *key, const struct cache_found *found)
{
    bool mine = false;

    if (left_us(cache, found) > 0) return false;
    if (!cache_store_lock(cache->store, key, &mine) || !mine) return false;
    metric_add(cache->refreshes, 1);
    return true;
}

static void keep_near(struct cache *cache, const char *key, const char *tag, uint64_t drops,
                      const struct cache_found *found)
{
    int64_t for_us = left_us(cache, found);

    if (for_us <= 0) return;
    if (for_us > NEAR_US) for_us = NEAR_US;
    near_put(cache->near, key, tag, drops, clock_monotonic_us() + (uint64_t)for_us,
             (struct bytes){found->value, found->size});
}

/* Asks alone; nothing is kept unless the tokens are known. */
static void ask_tokens(struct cache *cache, struct cache_read *read, const char *tag)
{
    read->keeps = cache_store_tokens(cache->store, tag, cache->options.ttl_s, &read->tokens);
}

static enum cache_look board(struct cache *cache, struct cache_read *read, const char *key,
                             const char *tag)
{
    bool full;

    read->passenger = (struct passenger){.landed = landed};
    read->flight = flights_board(cache->flights, key, tag, &read->passenger, &full);
    if (read->flight == NULL && !full) return count(cache, read, READ_SHARED, CACHE_WAIT);
    ask_tokens(cache, read, tag);
    return count(cache, read, READ_MISS, CACHE_MISS);
}

enum cache_look cache_look(struct cache *cache, struct cache_read *read, uint8_t **value,
                           uint32_t *size)
{
    struct cache_found found = {0};
    char key[CACHE_KEY_SIZE], tag[CACHE_TAG_SIZE];
    uint64_t start_us = clock_monotonic_us(), drops;

    read->flight = NULL;
    read->keeps = false;
    bool may = serves(cache) && (read->kind != CACHE_TRANSACTION || cache->options.transactions);
    if (!may || !make_key(cache, read, key)) return count(cache, read, READ_OFF, CACHE_MISS);
    cache_tag(&cache->options, read->kind, read->id, tag);
    if (near_look(cache->near, key, tag, start_us, value, size, &drops))
        return count(cache, read, READ_NEAR, CACHE_HIT);
    if (!cache_store_get(cache->store, key, tag, &found))
        return count(cache, read, READ_OFF, CACHE_MISS);
    metric_observe(cache->seconds, (double)(clock_monotonic_us() - start_us) / US_PER_S);
    /* What was found may have come from a server that forgot a change: see cache_store_breaks. */
    if (found.value == NULL || !serves(cache)) {
        free(found.value);
        return board(cache, read, key, tag);
    }
    if (!is_early(cache, key, &found)) {
        keep_near(cache, key, tag, drops, &found);
        *value = found.value;
        *size = found.size;
        return count(cache, read, READ_HIT, CACHE_HIT);
    }
    free(found.value);
    ask_tokens(cache, read, tag);
    return count(cache, read, READ_MISS, CACHE_MISS);
}

void cache_end(struct cache *cache, struct cache_read *read, struct bytes value, bool keep)
{
    char key[CACHE_KEY_SIZE], tag[CACHE_TAG_SIZE];

    if (keep && read->keeps && value.data != NULL && make_key(cache, read, key)) {
        cache_tag(&cache->options, read->kind, read->id, tag);
        if (!cache_writer_put(cache->writer, key, tag, &read->tokens, value))
            metric_add(cache->lost, 1);
    }
    if (read->flight != NULL) flights_land(cache->flights, read->flight, value);
    read->flight = NULL;
}
