/*
 * cached.c - see cached.h.
 */
#include "gateway/cached.h"

#include <stdlib.h>
#include <string.h>

/* What came is good during this call only. */
static void ended(struct cache_read *read, struct bytes value)
{
    struct cached *cached = (struct cached *)read;

    cached->value = value.data == NULL ? NULL : malloc(value.size + 1U);
    if (cached->value != NULL) {
        memcpy(cached->value, value.data, value.size);
        cached->size = value.size;
    }
    cached->woke(cached->owner);
}
_Static_assert(offsetof(struct cached, read) == 0, "said in cached.h");

enum cached_start cached_begin(struct cached *cached, struct cache *cache, enum cache_kind kind,
                               struct text id, struct text caller, void (*woke)(void *owner),
                               void *owner)
{
    *cached = (struct cached){.read = {.kind = kind, .id = id, .caller = caller, .ended = ended},
                              .cache = cache,
                              .woke = woke,
                              .owner = owner};
    switch (cache_look(cache, &cached->read, &cached->value, &cached->size)) {
    case CACHE_HIT:
        return CACHED_FOUND;
    case CACHE_WAIT:
        return CACHED_WAIT;
    case CACHE_MISS:
        break;
    }
    cached->owes = true;
    return CACHED_ASK;
}

void cached_tell(struct cached *cached, struct bytes value)
{
    if (!cached->owes) return;
    cached->owes = false;
    cache_end(cached->cache, &cached->read, value, value.data != NULL);
}

void cached_drop(struct cached *cached)
{
    cached_tell(cached, (struct bytes){0});
    free(cached->value);
    cached->value = NULL;
}
