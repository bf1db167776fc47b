/*
 * cache.h - reads of what hardly ever changes, past the ledger: users' static data and committed
 * transactions, kept in Redis, filled on a miss, and what is read often in memory as well (near.h).
 * Balances have no place here.
 *
 * Ensures:
 *  1. what changed is not served once the event of the change has come: the events are listened to
 *     on a queue of this process's own, and while they are not, nothing is served;
 *  2. an answer that was on its way when the change came is not kept;
 *  3. of those who miss the same thing at once, one asks the ledger; shortly before an entry ends
 *     one process fetches it anew, while the others serve what is there;
 *  4. without Redis, or without RabbitMQ, every read is a miss: slower, and right.
 */
#ifndef GATEWAY_CACHE_H
#define GATEWAY_CACHE_H

#include "gateway/cache_redis.h"
#include "gateway/flight.h"

struct cache;

enum cache_kind { CACHE_USER, CACHE_TRANSACTION, CACHE_KINDS };

struct cache_options {     /* texts are kept: they must outlive the cache */
    const char *redis_url; /* empty: nothing is cached */
    const char *amqp_url;  /* for the events */
    const char *prefix;    /* of the keys in Redis, and of the exchange of events */
    const char *name;      /* of the connection */
    uint32_t timeout_ms;   /* connecting to Redis, and each command: tens of ms */
    uint32_t ttl_s;
    uint32_t near_entries; /* in memory; 0: none */
    uint32_t amqp_timeout_ms;
    bool transactions; /* and so every event is listened to, not only those of users */
};

struct cache_read {             /* the caller's memory, until it has ended */
    struct passenger passenger; /* first: see cache.c */
    enum cache_kind kind;
    struct text id;     /* of the user or transaction, as in the path: judged already */
    struct text caller; /* who asks: another's answer may not be his to see */
    /* After CACHE_WAIT, once, in another thread, which must not be held up. value is good during
     * the call; its data is NULL when there is none: ask the ledger, without cache_end. */
    void (*ended)(struct cache_read *read, struct bytes value);
    void *owner;
    /* cache.c's own */
    struct flight *flight;
    bool keeps;
    struct cache_tokens tokens;
};

enum cache_look {
    CACHE_HIT,  /* value and size are set: malloc'ed, the caller's */
    CACHE_MISS, /* ask the ledger, then call cache_end, exactly once */
    CACHE_WAIT, /* somebody is asking already: `ended` will be called */
};

/* Starts the threads, waits for nobody. ERR_FATAL for a URL that is none. */
MUST_CHECK bool cache_open(struct cache **out, const struct cache_options *options,
                           struct err *err);
/* Every read must have ended. NULL is fine. */
void cache_close(struct cache *cache);

enum cache_look cache_look(struct cache *cache, struct cache_read *read, uint8_t **value,
                           uint32_t *size);
/* What the ledger said, for those who wait; data NULL: nothing. `keep`: it may be served again, as
 * it was found. Copies the value; does not wait for Redis. */
void cache_end(struct cache *cache, struct cache_read *read, struct bytes value, bool keep);

/* Whether it serves at all; true when it is off. */
bool cache_is_up(const struct cache *cache);
bool cache_is_on(const struct cache *cache);
/* Why Redis could not be reached, the last time; "" when it could. */
void cache_problem(const struct cache *cache, char text[static ERR_TEXT_SIZE]);

#endif
