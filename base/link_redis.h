/*
 * link_redis.h - one connection to Redis, for those who keep nothing in it that they could not do
 * without. hiredis alone, blocking, every wait bounded; dead after any error, whatever it was.
 */
#ifndef BASE_LINK_REDIS_H
#define BASE_LINK_REDIS_H

#include "base/err.h"

#include <hiredis/hiredis.h>
#include <stdint.h>

enum { REDIS_TEXT_SIZE = 256 };

struct redis_address {
    char host[REDIS_TEXT_SIZE], user[REDIS_TEXT_SIZE], password[REDIS_TEXT_SIZE];
    int port, database;
};

/* redis://[[user]:password@]host[:port][/database]; ERR_FATAL for anything else. */
MUST_CHECK bool redis_address_parse(const char *url, struct redis_address *out, struct err *err);
/* Connects, logs in, selects the database. NULL when any of that failed. timeout_ms is for each
 * call, now and later. redisFree ends it. */
redisContext *redis_link_open(const struct redis_address *address, uint32_t timeout_ms);
/* Takes one answer; false when the connection is of no more use, or the server said no. */
bool redis_said_yes(void *reply);

#endif
