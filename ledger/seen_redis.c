/*
 * seen_redis.c - see seen_redis.h. One MGET a batch, one pipeline of SETs a batch. A value is the
 * key's digest, the command's fingerprint, and the reply as canonical msgpack; it is believed only
 * if it starts with the digest that was asked for, so that a connection out of step, or a
 * stranger's value, is a miss.
 */
#include "ledger/seen_redis.h"

#include "base/backoff.h"
#include "base/clock.h"

#include <assert.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_SIZE = 96, /* "<prefix>:seen:" and 32 hex digits */
    HOST_SIZE = 256,
    PASSWORD_SIZE = 256,
    BREAKER_THRESHOLD = 3,
    BREAKER_PROBE_MS = 1000,
    HEAD_SIZE = 2 * sizeof(struct uuid),
};

struct seen {
    struct seen_options options;
    char host[HOST_SIZE], user[HOST_SIZE], password[PASSWORD_SIZE];
    int port, database;
    redisContext *redis; /* NULL: not connected. Dead after any error: never used again */
    struct breaker breaker;
    struct seen_counts counts;
    char keys[BATCH_COMMANDS_MAX][KEY_SIZE];
    const char *arguments[BATCH_COMMANDS_MAX + 1];
    size_t lengths[BATCH_COMMANDS_MAX + 1];
    struct work *asked[BATCH_COMMANDS_MAX];
};

/* --- the address
 * --------------------------------------------------------------------------------------------- */

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

/* redis://[[user]:password@]host[:port][/database] */
static bool parse_url(struct seen *seen, const char *url)
{
    static const char scheme[] = "redis://";
    struct text rest = text_of(url), login, user = {0}, database = TEXT_LITERAL("0"), host;
    struct text port = TEXT_LITERAL("6379");

    if (strncmp(url, scheme, sizeof scheme - 1) != 0) return false;
    rest = (struct text){rest.bytes + sizeof scheme - 1, rest.length - (uint32_t)sizeof scheme + 1};
    if (cut(&rest, '@', &login)) {
        if (!cut(&login, ':', &user)) return false;
        if (!text_copy(login, seen->password, sizeof seen->password)) return false;
        if (!text_copy(user, seen->user, sizeof seen->user)) return false;
    }
    if (cut(&rest, '/', &host)) {
        if (rest.length > 0) database = rest;
        rest = host;
    }
    if (cut(&rest, ':', &host)) {
        port = rest;
        rest = host;
    }
    return rest.length > 0 && text_copy(rest, seen->host, sizeof seen->host) &&
           parse_number(port, 65535, &seen->port) &&
           parse_number(database, 1000000, &seen->database);
}

/* --- the connection
 * ------------------------------------------------------------------------------------------ */

static void disconnect(struct seen *seen)
{
    if (seen->redis != NULL) redisFree(seen->redis);
    seen->redis = NULL;
}

/* Takes one answer; false when the connection is of no more use, or the server said no. */
static bool answer_is_good(redisReply *reply)
{
    bool good = reply != NULL && reply->type != REDIS_REPLY_ERROR;

    if (reply != NULL) freeReplyObject(reply);
    return good;
}

static bool log_in(struct seen *seen)
{
    bool ok = true;

    if (seen->password[0] != '\0' && seen->user[0] == '\0')
        ok = answer_is_good(redisCommand(seen->redis, "AUTH %s", seen->password));
    if (seen->password[0] != '\0' && seen->user[0] != '\0')
        ok = answer_is_good(redisCommand(seen->redis, "AUTH %s %s", seen->user, seen->password));
    if (ok && seen->database != 0)
        ok = answer_is_good(redisCommand(seen->redis, "SELECT %d", seen->database));
    return ok;
}

static bool connect(struct seen *seen)
{
    struct timeval timeout = {.tv_sec = seen->options.timeout_ms / 1000,
                              .tv_usec = (suseconds_t)(seen->options.timeout_ms % 1000) * 1000};

    if (seen->redis != NULL) return true;
    seen->redis = redisConnectWithTimeout(seen->host, seen->port, timeout);
    return seen->redis != NULL && seen->redis->err == 0 &&
           redisSetTimeout(seen->redis, timeout) == REDIS_OK && log_in(seen);
}

bool seen_open(struct seen **out, const struct seen_options *options, struct err *err)
{
    struct seen *seen = calloc(1, sizeof *seen);

    *out = seen;
    if (seen == NULL) return err_set(err, ERR_FATAL, "could not open Redis: out of memory");
    seen->options = *options;
    seen->breaker = (struct breaker){.threshold = BREAKER_THRESHOLD, .probe_ms = BREAKER_PROBE_MS};
    if (options->url[0] == '\0' || parse_url(seen, options->url)) return true;
    return err_set(err, ERR_FATAL,
                   "could not open Redis: LEDGER_REDIS_URL is not"
                   " redis://[[user]:password@]host[:port][/database]");
}

void seen_close(struct seen *seen)
{
    if (seen == NULL) return;
    disconnect(seen);
    free(seen);
}

enum seen_state seen_state(const struct seen *seen)
{
    if (seen->options.url[0] == '\0') return SEEN_OFF;
    return breaker_is_open(&seen->breaker) || seen->redis == NULL ? SEEN_DOWN : SEEN_UP;
}

struct seen_counts seen_counts(const struct seen *seen)
{
    return seen->counts;
}

/* Runs one exchange behind the breaker. Whatever goes wrong costs a time-out at most, and the
 * connection. */
static void attempt(struct seen *seen, uint32_t count,
                    bool (*exchange)(struct seen *seen, uint32_t count, struct codec *codec,
                                     struct batch *batch),
                    struct codec *codec, struct batch *batch)
{
    bool ok;

    if (!breaker_allows(&seen->breaker, clock_monotonic_ms())) return;
    ok = connect(seen) && exchange(seen, count, codec, batch);
    if (!ok) disconnect(seen);
    breaker_report(&seen->breaker, ok, clock_monotonic_ms());
    if (!ok) seen->counts.errors++;
}

static void format_key(struct seen *seen, uint32_t at, const struct uuid *digest)
{
    char hex[UUID_HEX_SIZE];

    uuid_format_hex(digest, hex);
    int length = snprintf(seen->keys[at], KEY_SIZE, "%s:seen:%s", seen->options.prefix, hex);
    assert(length > 0 && length < KEY_SIZE);
}

/* --- looking up
 * -------------------------------------------------------------------------------------------------
 */

static void take_value(struct seen *seen, struct work *work, const redisReply *value,
                       struct codec *codec, struct batch *batch)
{
    char problem[PROBLEM_SIZE];
    struct uuid fingerprint;
    struct reply reply;

    if (value->type != REDIS_REPLY_STRING || value->len <= (int)HEAD_SIZE ||
        memcmp(value->str, work->request->key_digest.bytes, sizeof(struct uuid)) != 0) {
        seen->counts.misses++;
        return;
    }
    memcpy(fingerprint.bytes, value->str + sizeof(struct uuid), sizeof fingerprint.bytes);
    if (uuid_compare(&fingerprint, &work->request->fingerprint) != 0) {
        seen->counts.misses++; /* another payload: the database says so, with its own clock */
        return;
    }
    struct bytes body =
        arena_copy(batch->arena, value->str + HEAD_SIZE, (size_t)value->len - HEAD_SIZE);
    if (body.data == NULL ||
        !reply_decode(codec, body, ENCODING_MSGPACK, batch->arena, &reply, problem)) {
        seen->counts.misses++;
        return;
    }
    seen->counts.hits++;
    work->origin = ORIGIN_CACHED;
    work->reply = reply;
    work->reply.replayed = true;
}

static bool ask(struct seen *seen, uint32_t count, struct codec *codec, struct batch *batch)
{
    redisReply *reply;
    bool ok;

    seen->arguments[0] = "MGET";
    seen->lengths[0] = 4;
    for (uint32_t i = 0; i < count; i++) {
        format_key(seen, i, &seen->asked[i]->request->key_digest);
        seen->arguments[i + 1] = seen->keys[i];
        seen->lengths[i + 1] = strlen(seen->keys[i]);
    }
    reply = redisCommandArgv(seen->redis, (int)count + 1, seen->arguments, seen->lengths);
    ok = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == count;
    for (uint32_t i = 0; ok && i < count; i++)
        take_value(seen, seen->asked[i], reply->element[i], codec, batch);
    if (reply != NULL) freeReplyObject(reply);
    return ok;
}

void seen_lookup(struct seen *seen, struct codec *codec, struct batch *batch)
{
    uint32_t count = 0;

    if (seen->options.url[0] == '\0') return;
    for (uint32_t i = 0; i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        if (work->origin == ORIGIN_NONE && command_changes(work->request->command.type))
            seen->asked[count++] = work;
    }
    if (count > 0) attempt(seen, count, ask, codec, batch);
}

/* --- remembering
 * ------------------------------------------------------------------------------------------------
 */

static bool append(struct seen *seen, uint32_t at, struct codec *codec, struct batch *batch,
                   uint32_t *appended)
{
    const struct work *work = seen->asked[at];
    struct reply reply = work->reply;
    struct writer head = writer_in(batch->arena);
    struct bytes kept, body;
    char ttl[16];

    reply.replayed = false;
    write_bytes(&head, work->request->key_digest.bytes, sizeof(struct uuid));
    write_bytes(&head, work->request->fingerprint.bytes, sizeof(struct uuid));
    if (!writer_keep(&head, batch->arena, &kept)) return true; /* no room: not remembered */
    if (!reply_encode(codec, &reply, ENCODING_MSGPACK, batch->arena, &body)) return true;
    uint8_t *value = arena_take(batch->arena, kept.size + body.size);
    if (value == NULL) return true;
    memcpy(value, kept.data, kept.size);
    memcpy(value + kept.size, body.data, body.size);
    format_key(seen, at, &work->request->key_digest);
    int length = snprintf(ttl, sizeof ttl, "%u", seen->options.ttl_s);
    const char *arguments[] = {"SET", seen->keys[at], (const char *)value, "EX", ttl};
    size_t lengths[] = {3, strlen(seen->keys[at]), kept.size + body.size, 2, (size_t)length};
    ++*appended;
    return redisAppendCommandArgv(seen->redis, 5, arguments, lengths) == REDIS_OK;
}

static bool tell(struct seen *seen, uint32_t count, struct codec *codec, struct batch *batch)
{
    uint32_t appended = 0;
    bool ok = true;

    for (uint32_t i = 0; ok && i < count; i++) ok = append(seen, i, codec, batch, &appended);
    for (uint32_t i = 0; ok && i < appended; i++) {
        void *reply = NULL;
        ok = redisGetReply(seen->redis, &reply) == REDIS_OK && answer_is_good(reply);
    }
    return ok;
}

void seen_remember(struct seen *seen, struct codec *codec, struct batch *batch)
{
    uint32_t count = 0;

    if (seen->options.url[0] == '\0') return;
    for (uint32_t i = 0; i < batch->works_count; i++) {
        struct work *work = &batch->works[i];
        bool known = work->origin == ORIGIN_DECIDED || work->origin == ORIGIN_REPEATED;
        if (known && command_changes(work->request->command.type)) seen->asked[count++] = work;
    }
    if (count > 0) attempt(seen, count, tell, codec, batch);
}
