/*
 * cache_redis.c - a pool of connections behind one breaker. Each call takes a connection that is at
 * rest, or opens one, and gives it back; after any error it is closed instead. An entry is believed
 * only if it names the key that was asked for: a connection out of step, or a stranger's value, is
 * a miss.
 */
#include "gateway/cache_redis.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/link_redis.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINKS_MAX = 16,
    BREAKER_THRESHOLD = 3,
    BREAKER_PROBE_MS = 1000,
    LOCK_MS = 5000,
    PREFIX_SIZE = 64,
    NUMBER_SIZE = 16,
    DROPS_MAX = 64,
};

/* An entry's head; the key and the value follow. */
static const uint8_t MARK[4] = {'L', 'C', '0', '1'};
enum { HEAD_SIZE = sizeof MARK + 2 * sizeof(struct uuid) + 8 + 4 };

struct cache_store {
    struct redis_address address;
    uint32_t timeout_ms;
    char generation[PREFIX_SIZE];
    pthread_mutex_t lock; /* of what follows */
    struct breaker breaker;
    struct redis_link idle[LINKS_MAX];
    uint32_t idle_count, open_count;
    char problem[ERR_TEXT_SIZE]; /* why none could be opened, the last time; "": it could */
    _Atomic uint32_t breaks;
};

bool cache_store_open(struct cache_store **out, const char *url, const char *prefix,
                      uint32_t timeout_ms, struct err *err)
{
    struct cache_store *store = calloc(1, sizeof *store);

    *out = store;
    if (store == NULL) return err_set(err, ERR_FATAL, "could not open the cache: out of memory");
    (void)pthread_mutex_init(&store->lock, NULL);
    store->timeout_ms = timeout_ms;
    store->breaker = (struct breaker){.threshold = BREAKER_THRESHOLD, .probe_ms = BREAKER_PROBE_MS};
    int length = snprintf(store->generation, PREFIX_SIZE, "%s:cache:generation", prefix);
    assert(length > 0);
    assert(length < PREFIX_SIZE);
    return redis_address_parse(url, &store->address, err);
}

void cache_store_close(struct cache_store *store)
{
    if (store == NULL) return;
    assert(store->idle_count == store->open_count);
    for (uint32_t i = 0; i < store->idle_count; i++) redis_link_close(&store->idle[i]);
    (void)pthread_mutex_destroy(&store->lock);
    free(store);
}

uint32_t cache_store_breaks(const struct cache_store *store)
{
    return atomic_load(&store->breaks);
}

/* --- connections ---------------------------------------------------------------------------- */

static void opened(struct cache_store *store, const char *problem)
{
    (void)pthread_mutex_lock(&store->lock);
    (void)snprintf(store->problem, sizeof store->problem, "%s", problem);
    if (problem[0] != '\0') store->open_count--;
    if (problem[0] != '\0') breaker_report(&store->breaker, false, clock_monotonic_ms());
    (void)pthread_mutex_unlock(&store->lock);
    if (problem[0] != '\0') atomic_fetch_add(&store->breaks, 1);
}

void cache_store_problem(struct cache_store *store, char text[static ERR_TEXT_SIZE])
{
    (void)pthread_mutex_lock(&store->lock);
    memcpy(text, store->problem, ERR_TEXT_SIZE);
    (void)pthread_mutex_unlock(&store->lock);
}

/* False: the breaker is open, none is to be had, or all are in use. */
static bool take(struct cache_store *store, struct redis_link *link)
{
    struct err err;

    *link = (struct redis_link){.redis = NULL};
    (void)pthread_mutex_lock(&store->lock);
    bool may = breaker_allows(&store->breaker, clock_monotonic_ms());
    if (may && store->idle_count > 0) *link = store->idle[--store->idle_count];
    bool opens = may && link->redis == NULL && store->open_count < LINKS_MAX;
    if (opens) store->open_count++;
    (void)pthread_mutex_unlock(&store->lock);
    if (!opens) return link->redis != NULL;
    bool ok = redis_link_open(link, &store->address, store->timeout_ms, &err);
    opened(store, ok ? "" : err.text);
    return ok;
}

static void give_back(struct cache_store *store, struct redis_link *link, bool ok)
{
    if (!ok) atomic_fetch_add(&store->breaks, 1);
    (void)pthread_mutex_lock(&store->lock);
    breaker_report(&store->breaker, ok, clock_monotonic_ms());
    if (ok)
        store->idle[store->idle_count++] = *link;
    else
        store->open_count--;
    (void)pthread_mutex_unlock(&store->lock);
    if (!ok) redis_link_close(link);
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_uuid(const redisReply *reply)
{
    return reply->type == REDIS_REPLY_STRING && reply->len == sizeof(struct uuid);
}

static uint64_t read_number(const uint8_t *from, uint32_t size)
{
    uint64_t number = 0;

    for (uint32_t i = 0; i < size; i++) number = number << 8 | from[i];
    return number;
}

/* Leaves out as it is for a miss. */
static bool take_entry(const redisReply *entry, const redisReply *tag, const redisReply *generation,
                       const char *key, struct cache_found *out)
{
    size_t key_size = strlen(key);

    if (entry->type != REDIS_REPLY_STRING || !is_uuid(tag) || !is_uuid(generation)) return true;
    if (entry->len < HEAD_SIZE + key_size || memcmp(entry->str, MARK, sizeof MARK) != 0)
        return true;
    const uint8_t *at = (const uint8_t *)entry->str + sizeof MARK;
    if (memcmp(at, generation->str, sizeof(struct uuid)) != 0) return true;
    at += sizeof(struct uuid);
    if (memcmp(at, tag->str, sizeof(struct uuid)) != 0) return true;
    at += sizeof(struct uuid);
    int64_t ends_us = (int64_t)read_number(at, 8);
    if (read_number(at + 8, 4) != key_size) return true;
    at += 12;
    if (memcmp(at, key, key_size) != 0) return true;
    size_t size = entry->len - HEAD_SIZE - key_size;
    uint8_t *value = malloc(size + 1); /* never of nothing */
    if (value == NULL) return true;
    memcpy(value, at + key_size, size);
    *out = (struct cache_found){value, (uint32_t)size, ends_us};
    return true;
}

bool cache_store_get(struct cache_store *store, const char *key, const char *tag,
                     struct cache_found *out)
{
    struct redis_link link;

    *out = (struct cache_found){0};
    if (!take(store, &link)) return false;
    redisReply *reply = redisCommand(link.redis, "MGET %s %s %s", key, tag, store->generation);
    bool ok = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
              take_entry(reply->element[0], reply->element[1], reply->element[2], key, out);
    if (reply != NULL) freeReplyObject(reply);
    give_back(store, &link, ok);
    return ok;
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool next_answer(redisContext *redis, redisReply **out)
{
    void *reply = NULL;

    *out = NULL;
    if (redisGetReply(redis, &reply) != REDIS_OK || reply == NULL) return false;
    *out = reply;
    return (*out)->type != REDIS_REPLY_ERROR;
}

/* One SET that keeps what is there, for each token, and one GET of what is there then. */
static bool ask_tokens(struct cache_store *store, redisContext *redis, const char *tag,
                       uint32_t ttl_s)
{
    struct uuid fresh[2];

    random_bytes(fresh, sizeof fresh);
    return redisAppendCommand(redis, "SET %s %b NX", store->generation, fresh[0].bytes,
                              sizeof fresh[0].bytes) == REDIS_OK &&
           redisAppendCommand(redis, "SET %s %b NX EX %u", tag, fresh[1].bytes,
                              sizeof fresh[1].bytes, 2 * ttl_s) == REDIS_OK &&
           redisAppendCommand(redis, "MGET %s %s", store->generation, tag) == REDIS_OK;
}

bool cache_store_tokens(struct cache_store *store, const char *tag, uint32_t ttl_s,
                        struct cache_tokens *out)
{
    struct redis_link link;
    redisReply *reply = NULL;

    if (!take(store, &link)) return false;
    bool ok = ask_tokens(store, link.redis, tag, ttl_s);
    for (uint32_t i = 0; ok && i < 3; i++) {
        ok = next_answer(link.redis, &reply);
        if (ok && i == 2)
            ok = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                 is_uuid(reply->element[0]) && is_uuid(reply->element[1]);
        if (ok && i == 2) {
            memcpy(out->generation.bytes, reply->element[0]->str, sizeof out->generation.bytes);
            memcpy(out->tag.bytes, reply->element[1]->str, sizeof out->tag.bytes);
        }
        if (reply != NULL) freeReplyObject(reply);
    }
    give_back(store, &link, ok);
    return ok;
}

bool cache_store_lock(struct cache_store *store, const char *key, bool *mine)
{
    struct redis_link link;

    *mine = false;
    if (!take(store, &link)) return false;
    redisReply *reply = redisCommand(link.redis, "SET %s:refresh 1 NX PX %d", key, LOCK_MS);
    bool ok = reply != NULL && reply->type != REDIS_REPLY_ERROR;
    *mine = ok && reply->type == REDIS_REPLY_STATUS;
    if (reply != NULL) freeReplyObject(reply);
    give_back(store, &link, ok);
    return ok;
}

/* NULL when memory is short. */
static uint8_t *make_entry(const char *key, const struct cache_tokens *tokens, uint32_t ttl_s,
                           struct bytes value, size_t *size)
{
    size_t key_size = strlen(key), capacity = HEAD_SIZE + key_size + value.size;
    uint8_t *memory = malloc(capacity);

    if (memory == NULL) return NULL;
    struct writer writer = writer_over(memory, capacity);
    write_bytes(&writer, MARK, sizeof MARK);
    write_bytes(&writer, tokens->generation.bytes, sizeof tokens->generation.bytes);
    write_bytes(&writer, tokens->tag.bytes, sizeof tokens->tag.bytes);
    write_u64(&writer, (uint64_t)(clock_wall_us() + (int64_t)ttl_s * 1000000));
    write_u32(&writer, (uint32_t)key_size);
    write_bytes(&writer, key, key_size);
    write_bytes(&writer, value.data, value.size);
    assert(!writer.overflowed);
    *size = writer.size;
    return memory;
}

bool cache_store_put(struct cache_store *store, const char *key, const char *tag,
                     const struct cache_tokens *tokens, uint32_t ttl_s, struct bytes value)
{
    size_t size = 0;
    uint8_t *entry = make_entry(key, tokens, ttl_s, value, &size);
    struct redis_link link;
    redisReply *reply = NULL;

    if (entry == NULL || !take(store, &link)) {
        free(entry);
        return false;
    }
    /* The tag lasts as long as what hangs on it; one that was dropped stays so. */
    redisContext *redis = link.redis;
    bool ok = redisAppendCommand(redis, "SET %s %b EX %u", key, entry, size, ttl_s) == REDIS_OK &&
              redisAppendCommand(redis, "EXPIRE %s %u", tag, 2 * ttl_s) == REDIS_OK;
    for (uint32_t i = 0; ok && i < 2; i++) {
        ok = next_answer(link.redis, &reply);
        if (reply != NULL) freeReplyObject(reply);
    }
    give_back(store, &link, ok);
    free(entry);
    return ok;
}

bool cache_store_drop(struct cache_store *store, const char *const *tags, uint32_t count)
{
    const char *arguments[DROPS_MAX + 1] = {"DEL"};
    size_t lengths[DROPS_MAX + 1] = {3};

    for (uint32_t from = 0; from < count; from += DROPS_MAX) {
        uint32_t part = count - from < DROPS_MAX ? count - from : DROPS_MAX;
        struct redis_link link;
        if (!take(store, &link)) return false;
        for (uint32_t i = 0; i < part; i++) {
            arguments[1 + i] = tags[from + i];
            lengths[1 + i] = strlen(tags[from + i]);
        }
        bool ok = redis_said_yes(redisCommandArgv(link.redis, (int)part + 1, arguments, lengths));
        give_back(store, &link, ok);
        if (!ok) return false;
    }
    return true;
}

bool cache_store_clear(struct cache_store *store)
{
    const char *const keys[] = {store->generation};
    return cache_store_drop(store, keys, 1);
}
