/*
 * cached.h - one request's read through the cache: found at once, to be asked for, or waited for.
 */
#ifndef GATEWAY_CACHED_H
#define GATEWAY_CACHED_H

#include "gateway/cache.h"

struct cached {             /* zeroed at first; cached_drop at last */
    struct cache_read read; /* first: see cached.c */
    struct cache *cache;
    void (*woke)(void *owner); /* after CACHED_WAIT, once, in another thread */
    void *owner;
    uint8_t *value; /* what was found, or what somebody else was told; NULL: nothing */
    uint32_t size;
    bool owes; /* a word to those who wait: what the ledger said */
};

enum cached_start { CACHED_FOUND, CACHED_ASK, CACHED_WAIT };

/* id and caller must last as long as the read. */
enum cached_start cached_begin(struct cached *cached, struct cache *cache, enum cache_kind kind,
                               struct text id, struct text caller, void (*woke)(void *owner),
                               void *owner);
/* After CACHED_ASK: what is to be served from now on; data NULL: nothing is. */
void cached_tell(struct cached *cached, struct bytes value);
/* Also of one that never came to an end, unless it waits. */
void cached_drop(struct cached *cached);

#endif
