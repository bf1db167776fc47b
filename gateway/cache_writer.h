/*
 * cache_writer.h - puts entries into Redis in a thread of its own, so that nobody who has an answer
 * to give waits for it. What it cannot take at once it lets fall: an entry is only ever missed.
 */
#ifndef GATEWAY_CACHE_WRITER_H
#define GATEWAY_CACHE_WRITER_H

#include "gateway/cache_redis.h"

struct cache_writer;

/* The store must outlive it. */
MUST_CHECK bool cache_writer_open(struct cache_writer **out, struct cache_store *store,
                                  uint32_t ttl_s, struct err *err);
void cache_writer_close(struct cache_writer *writer); /* what waits is let fall; NULL is fine */
/* Copies everything. False: it was let fall. */
bool cache_writer_put(struct cache_writer *writer, const char *key, const char *tag,
                      const struct cache_tokens *tokens, struct bytes value);

#endif
