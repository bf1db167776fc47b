/*
 * cache_redis.h - what the cache keeps in Redis, for cache.c alone: entries, and the tokens by
 * which they are told to be old. An entry names the tokens that were there when what it holds was
 * asked for; it counts only while both still are. So a tag is dropped by deleting one key, whatever
 * hangs on it, and an entry that was made of an answer from before that can be written but never
 * read.
 *
 *     <prefix>:cache:<kind>/<id>/<caller>   entry: tokens, when it ends, its own key, the value
 *     <prefix>:cache:tag:<kind>/<id>        token of all that is kept of one user or transaction
 *     <prefix>:cache:generation             token of everything
 *     <entry>:refresh                       lock of the one process that fetches it early
 */
#ifndef GATEWAY_CACHE_REDIS_H
#define GATEWAY_CACHE_REDIS_H

#include "base/uuid.h"

enum { CACHE_KEY_SIZE = 448, CACHE_VALUE_MAX = 128 << 10 };

struct cache_store; /* used by any number of threads, over a few connections */

struct cache_tokens {
    struct uuid generation, tag;
};

struct cache_found {
    uint8_t *value; /* malloc'ed, the caller's; NULL: a miss */
    uint32_t size;
    int64_t ends_us; /* wall clock */
};

/* ERR_FATAL only for a URL that is none. */
MUST_CHECK bool cache_store_open(struct cache_store **out, const char *url, const char *prefix,
                                 uint32_t timeout_ms, struct err *err);
void cache_store_close(struct cache_store *store); /* NULL is fine */

/* All of these: false when Redis did not answer, or the breaker is open. */

/* The entry, if there is one that counts. */
MUST_CHECK bool cache_store_get(struct cache_store *store, const char *key, const char *tag,
                                struct cache_found *out);
/* The tokens that hold now, made when absent: to be asked for before the ledger is. */
MUST_CHECK bool cache_store_tokens(struct cache_store *store, const char *tag, uint32_t ttl_s,
                                   struct cache_tokens *out);
/* Whether this process is the one to fetch an entry that ends soon. */
MUST_CHECK bool cache_store_lock(struct cache_store *store, const char *key, bool *mine);
MUST_CHECK bool cache_store_put(struct cache_store *store, const char *key, const char *tag,
                                const struct cache_tokens *tokens, uint32_t ttl_s,
                                struct bytes value);
MUST_CHECK bool cache_store_drop(struct cache_store *store, const char *const *tags,
                                 uint32_t count);
MUST_CHECK bool cache_store_clear(struct cache_store *store);

/* How many connections have broken: behind each may be a server that has forgotten what was
 * dropped.
 */
uint32_t cache_store_breaks(const struct cache_store *store);
/* Why no connection could be opened, the last time; "" when it could. */
void cache_store_problem(struct cache_store *store, char text[static ERR_TEXT_SIZE]);

#endif
