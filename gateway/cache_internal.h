/*
 * cache_internal.h - between cache.c, which serves, and cache_events_amqp.c, which hears of
 * changes.
 */
#ifndef GATEWAY_CACHE_INTERNAL_H
#define GATEWAY_CACHE_INTERNAL_H

#include "gateway/cache.h"

enum { CACHE_TAG_SIZE = 192 };

void cache_tag(const struct cache_options *options, enum cache_kind kind, struct text id,
               char tag[static CACHE_TAG_SIZE]);

void cache_set_listening(struct cache *cache, bool listening);
/* What hangs on these tags counts no more. When Redis does not take it, nothing is served until
 * cache_renew has. */
void cache_drop_tags(struct cache *cache, const char *const *tags, uint32_t count);
/* Forgets everything if it may hold what was changed meanwhile, or if `anyway`. While Redis does
 * not take that nothing is served: to be called again and again. */
void cache_renew(struct cache *cache, bool anyway);

/* The thread that listens. */
struct cache_events;
MUST_CHECK bool cache_events_open(struct cache_events **out, struct cache *cache,
                                  const struct cache_options *options, struct err *err);
void cache_events_close(struct cache_events *events); /* NULL is fine */

#endif
