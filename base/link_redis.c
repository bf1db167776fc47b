/*
 * link_redis.c - see link_redis.h. hiredis frees nothing of its own after an error, so who gets
 * NULL has nothing to do.
 */
#include "base/link_redis.h"

#include "base/bytes.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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

static bool parse_url(const char *url, struct redis_address *out, const char **query)
{
    struct text rest = text_of(url), login, user = {0}, database = TEXT_LITERAL("0"), host, scheme;
    struct text port = TEXT_LITERAL("6379");

    if (!cut(&rest, ':', &scheme) || strncmp(rest.bytes, "//", 2) != 0) return false;
    out->has_tls = text_equal(scheme, text_of("rediss"));
    if (!out->has_tls && !text_equal(scheme, text_of("redis"))) return false;
    rest = (struct text){rest.bytes + 2, rest.length - 2};
    if (cut(&rest, '@', &login)) {
        if (!cut(&login, ':', &user)) return false;
        if (!text_copy(login, out->password, sizeof out->password)) return false;
        if (!text_copy(user, out->user, sizeof out->user)) return false;
    }
    if (cut(&rest, '?', &host)) {
        if (!out->has_tls) return false;
        *query = rest.bytes; /* the rest of the URL */
        rest = host;
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
    const char *query = NULL;

    *out = (struct redis_address){.database = 0};
    if (parse_url(url, out, &query)) return tls_files_parse(query, &out->files, err);
    return err_set(err, ERR_FATAL,
                   "could not open Redis: the URL is not "
                   "redis://[[user]:password@]host[:port][/database], or rediss:// with "
                   "?cacertfile=PATH behind it");
}

bool redis_said_yes(void *reply)
{
    bool yes = reply != NULL && ((redisReply *)reply)->type != REDIS_REPLY_ERROR;

    if (reply != NULL) freeReplyObject(reply);
    return yes;
}

/* --- a connection ---------------------------------------------------------------------------- */

static bool connect_plainly(struct redis_link *link, const struct redis_address *address,
                            struct timeval timeout, struct err *err)
{
    link->redis = redisConnectWithTimeout(address->host, address->port, timeout);
    if (link->redis != NULL && link->redis->err == 0) return true;
    return err_set(err, ERR_RETRY, "could not connect to Redis at %s:%d: %s", address->host,
                   address->port, link->redis == NULL ? "out of memory" : link->redis->errstr);
}

/* hiredis waits as its end of the socket pair does, which must block, for as long as it was told.
 */
static bool connect_by_tls(struct redis_link *link, const struct redis_address *address,
                           uint32_t timeout_ms, struct err *err)
{
    const struct tls_options options = {.server = "Redis",
                                        .plain = "redis://",
                                        .host = address->host,
                                        .port = address->port,
                                        .files = &address->files,
                                        .timeout_ms = timeout_ms,
                                        .linger_ms = timeout_ms};
    int plain;

    if (!tls_open(&link->tls, &plain, &options, err)) return false;
    if (fcntl(plain, F_SETFL, 0) == 0) link->redis = redisConnectFd(plain);
    if (link->redis != NULL) return true;
    (void)close(plain);
    return err_set(err, ERR_RETRY, "could not connect to Redis: out of memory");
}

/* One answer. A refusal may be of this command alone, unless it is about the login. */
static bool hear(const struct redis_link *link, void *answer, bool is_login, struct err *err)
{
    redisReply *reply = answer;
    bool ok = reply != NULL && (reply->type != REDIS_REPLY_ERROR ||
                                (!is_login && strncmp(reply->str, "NOAUTH", 6) != 0));

    if (!ok && reply != NULL) err_set(err, ERR_RETRY, "could not log in to Redis: %s", reply->str);
    if (reply == NULL)
        err_set(err, ERR_RETRY, "could not talk to Redis: %s%s", link->redis->errstr,
                link->tls == NULL ? "; if this is its port for TLS, use rediss://" : "");
    if (reply != NULL) freeReplyObject(reply);
    return ok;
}

static bool log_in(const struct redis_link *link, const struct redis_address *address,
                   struct err *err)
{
    redisContext *redis = link->redis;
    const char *user = address->user, *password = address->password;

    if (password[0] != '\0' && user[0] == '\0' &&
        !hear(link, redisCommand(redis, "AUTH %s", password), true, err))
        return false;
    if (password[0] != '\0' && user[0] != '\0' &&
        !hear(link, redisCommand(redis, "AUTH %s %s", user, password), true, err))
        return false;
    if (address->database != 0 &&
        !hear(link, redisCommand(redis, "SELECT %d", address->database), true, err))
        return false;
    return hear(link, redisCommand(redis, "PING"), false, err);
}

static void end(struct redis_link *link, struct err *failure)
{
    if (link->redis != NULL) redisFree(link->redis);
    tls_close(link->tls, failure);
    *link = (struct redis_link){.redis = NULL};
}

bool redis_link_open(struct redis_link *out, const struct redis_address *address,
                     uint32_t timeout_ms, struct err *err)
{
    struct timeval timeout = {.tv_sec = timeout_ms / 1000,
                              .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};

    *out = (struct redis_link){.redis = NULL};
    bool ok = address->has_tls ? connect_by_tls(out, address, timeout_ms, err)
                               : connect_plainly(out, address, timeout, err);
    if (ok && redisSetTimeout(out->redis, timeout) != REDIS_OK)
        ok = err_set(err, ERR_RETRY, "could not connect to Redis: no time-out could be set");
    ok = ok && log_in(out, address, err);
    if (!ok) end(out, err);
    return ok;
}

void redis_link_close(struct redis_link *link)
{
    end(link, NULL);
}
