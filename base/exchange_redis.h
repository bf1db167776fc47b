/*
 * exchange_redis.h - a batch of commands in one write, and their answers without an object for
 * each: hiredis asks the heap for every command and every answer, here both stay in memory that is
 * there. A link that was used for this is for this alone; after a failure it is to be closed.
 */
#ifndef BASE_EXCHANGE_REDIS_H
#define BASE_EXCHANGE_REDIS_H

#include "base/bytes.h"
#include "base/link_redis.h"

/* A command: how many arguments it has, its name among them, and then each. It waits to be sent
 * until redis_send, or until an answer is asked for; these fail if there was no memory for it. */
void redis_put_command(struct redis_link *link, uint32_t arguments_count);
void redis_put_argument(struct redis_link *link, const void *data, size_t size);

/* For answers that are read later. */
MUST_CHECK bool redis_send(struct redis_link *link, uint64_t deadline_ms, struct err *err);

/* The value of the i-th key; a view that is good for this call. One that is absent has no call. */
typedef void redis_take(void *context, uint32_t i, struct bytes value);
/* False unless the next answer is an array of count values or absent ones; what was taken before
 * that was seen is then worth nothing. */
MUST_CHECK bool redis_read_values(struct redis_link *link, uint32_t count, redis_take *take,
                                  void *context, uint64_t deadline_ms, struct err *err);
/* False unless each of the next count answers is OK. */
MUST_CHECK bool redis_read_oks(struct redis_link *link, uint32_t count, uint64_t deadline_ms,
                               struct err *err);

#endif
