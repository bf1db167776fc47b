/*
 * link_redis.c - see link_redis.h. hiredis frees nothing of its own after an error, so who gets
 * NULL has nothing to do.
 */
#include "base/link_redis.h"

#include "base/bytes.h"

#include <string.h>

enum { PORT_MAX = 65535, DATABASE_MAX = 1000000 };

static bool cut(struct text *rest, char end, struct text *part)
{
    const char *at = rest->length == 0 ? NULL : memchr(rest->bytes, end, rest->length);

    if (at == NULL) return false;
    *part = (struct text){rest->bytes, (uint32_t)(at - rest->bytes)};
    *rest = (struct text){at + 1, rest->length - part->length - 1};
    return true;
}

static bool parse_number(struct text text, int most, int *out)
{
    *out = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9' || *out > most) return false;
        *out = *out * 10 + (text.bytes[i] - '0');
    }
    return text.length > 0 && *out <= most;
}

static bool parse_url(const char *url, struct redis_address *out)
{
    static const char scheme[] = "redis://";
    struct text rest = text_of(url), login, user = {0}, database = TEXT_LITERAL("0"), host;
    struct text port = TEXT_LITERAL("6379");

    if (strncmp(url, scheme, sizeof scheme - 1) != 0) return false;
    rest = (struct text){rest.bytes + sizeof scheme - 1, rest.length - (uint32_t)sizeof scheme + 1};
    if (cut(&rest, '@', &login)) {
        if (!cut(&login, ':', &user)) return false;
        if (!text_copy(login, out->password, sizeof out->password)) return false;
        if (!text_copy(user, out->user, sizeof out->user)) return false;
    }
    if (cut(&rest, '/', &host)) {
        if (rest.length > 0) database = rest;
        rest = host;
    }
    if (cut(&rest, ':', &host)) {
        port = rest;
        rest = host;
    }
    return rest.length > 0 && text_copy(rest, out->host, sizeof out->host) &&
           parse_number(port, PORT_MAX, &out->port) &&
           parse_number(database, DATABASE_MAX, &out->database);
}

bool redis_address_parse(const char *url, struct redis_address *out, struct err *err)
{
    *out = (struct redis_address){.database = 0};
    if (parse_url(url, out)) return true;
    return err_set(err, ERR_FATAL,
                   "could not open Redis: the URL is not "
                   "redis://[[user]:password@]host[:port][/database]");
}

bool redis_said_yes(void *reply)
{
    bool yes = reply != NULL && ((redisReply *)reply)->type != REDIS_REPLY_ERROR;

    if (reply != NULL) freeReplyObject(reply);
    return yes;
}

static bool log_in(redisContext *redis, const struct redis_address *address)
{
    bool ok = true;

    if (address->password[0] != '\0' && address->user[0] == '\0')
        ok = redis_said_yes(redisCommand(redis, "AUTH %s", address->password));
    if (address->password[0] != '\0' && address->user[0] != '\0')
        ok = redis_said_yes(redisCommand(redis, "AUTH %s %s", address->user, address->password));
    if (ok && address->database != 0)
        ok = redis_said_yes(redisCommand(redis, "SELECT %d", address->database));
    return ok;
}

redisContext *redis_link_open(const struct redis_address *address, uint32_t timeout_ms)
{
    struct timeval timeout = {.tv_sec = timeout_ms / 1000,
                              .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
    redisContext *redis = redisConnectWithTimeout(address->host, address->port, timeout);

    if (redis != NULL && redis->err == 0 && redisSetTimeout(redis, timeout) == REDIS_OK &&
        log_in(redis, address))
        return redis;
    if (redis != NULL) redisFree(redis);
    return NULL;
}
