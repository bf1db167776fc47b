/*
 * link_redis.h - one connection to Redis, for those who keep nothing in it that they could not do
 * without. hiredis alone, blocking, every wait bounded; dead after any error, whatever it was.
 */
#ifndef BASE_LINK_REDIS_H
#define BASE_LINK_REDIS_H

#include "base/tls.h"

#include <hiredis/hiredis.h>
#include <stdint.h>

enum { REDIS_TEXT_SIZE = 256 };

struct redis_address {
    char host[REDIS_TEXT_SIZE], user[REDIS_TEXT_SIZE], password[REDIS_TEXT_SIZE];
    int port, database;
    bool has_tls;
    struct tls_files files;
};

struct redis_link {
    redisContext *redis; /* NULL: none */
    struct tls *tls;     /* NULL: plain */
};

/* redis://[[user]:password@]host[:port][/database], or rediss:// with ?cacertfile=PATH behind it;
 * ERR_FATAL for anything else. */
MUST_CHECK bool redis_address_parse(const char *url, struct redis_address *out, struct err *err);
/* Connects, logs in, selects the database, hears an answer. ERR_RETRY when any of that failed; out
 * is then none. timeout_ms is for each call, now and later; redis_link_close ends it. */
MUST_CHECK bool redis_link_open(struct redis_link *out, const struct redis_address *address,
                                uint32_t timeout_ms, struct err *err);
void redis_link_close(struct redis_link *link); /* none is fine; it is none afterwards */
/* Takes one answer; false when the connection is of no more use, or the server said no. */
bool redis_said_yes(void *reply);

#endif
