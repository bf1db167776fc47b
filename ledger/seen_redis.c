/*
 * seen_redis.c - one MGET a batch, one pipeline of SETs a batch. A value is the key's digest, the
 * command's fingerprint, and the reply as canonical msgpack. It is believed only if it begins with
 * the digest that was asked for: a connection out of step, or a stranger's value, is a miss.
 */
#include "ledger/seen_redis.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/link_redis.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_SIZE = 96, /* <prefix>:seen:<32 hex digits> */
    TTL_SIZE = 16,
    BREAKER_THRESHOLD = 3,
    BREAKER_PROBE_MS = 1000,
    HEAD_SIZE = 2 * sizeof(struct uuid),
};

struct seen {
    struct seen_options options; /* its texts are the caller's, and outlive this */
    bool on;
    struct redis_address address;
    struct redis_link link; /* dead after any error: never used again */
    struct err problem;     /* why it could not be opened, or went */
    struct breaker breaker;
    struct seen_counts counts;
    struct work *asked[BATCH_COMMANDS_MAX]; /* of the exchange under way */
    uint32_t asked_count;
    char keys[BATCH_COMMANDS_MAX][KEY_SIZE];
    const char *arguments[BATCH_COMMANDS_MAX + 1];
    size_t lengths[BATCH_COMMANDS_MAX + 1];
};

/* --- the connection --- */

static void disconnect(struct seen *seen)
{
    redis_link_close(&seen->link);
}

static bool connect_once(struct seen *seen)
{
    return seen->link.redis != NULL ||
           redis_link_open(&seen->link, &seen->address, seen->options.timeout_ms, &seen->problem);
}

typedef bool exchange(struct seen *seen, struct codec *codec, struct batch *batch);

/* Behind the breaker. Whatever goes wrong costs a few timeouts at most, and the connection. */
static void attempt(struct seen *seen, exchange *run, struct codec *codec, struct batch *batch)
{
    if (!breaker_allows(&seen->breaker, clock_monotonic_ms())) return;
    bool ok = connect_once(seen) && run(seen, codec, batch);
    if (!ok && seen->link.redis != NULL)
        err_set(&seen->problem, ERR_RETRY, "lost Redis: %s", seen->link.redis->errstr);
    if (!ok) disconnect(seen);
    if (!ok) seen->counts.errors++;
    breaker_report(&seen->breaker, ok, clock_monotonic_ms());
}

static bool greet(struct seen *seen, struct codec *codec, struct batch *batch)
{
    (void)codec;
    (void)batch;
    return redis_said_yes(redisCommand(seen->link.redis, "PING"));
}

bool seen_open(struct seen **out, const struct seen_options *options, struct err *err)
{
    struct seen *seen = calloc(1, sizeof *seen);

    *out = seen;
    if (seen == NULL) return err_set(err, ERR_FATAL, "could not open Redis: out of memory");
    seen->options = *options;
    seen->on = options->url[0] != '\0';
    seen->breaker = (struct breaker){.threshold = BREAKER_THRESHOLD, .probe_ms = BREAKER_PROBE_MS};
    if (!seen->on) return true;
    if (!redis_address_parse(options->url, &seen->address, err)) return false;
    attempt(seen, greet, NULL, NULL); /* so that its state is known from the start */
    return true;
}

void seen_close(struct seen *seen)
{
    if (seen == NULL) return;
    disconnect(seen);
    free(seen);
}

enum seen_state seen_state(const struct seen *seen)
{
    if (!seen->on) return SEEN_OFF;
    return seen->link.redis != NULL ? SEEN_UP : SEEN_DOWN;
}

const char *seen_problem(const struct seen *seen)
{
    return seen_state(seen) == SEEN_DOWN ? seen->problem.text : "";
}

struct seen_counts seen_counts(const struct seen *seen)
{
    return seen->counts;
}

/* Puts the work on the list, with its key. Only one that is kept decides. */
static void list_work(struct seen *seen, struct work *work)
{
    char *key = seen->keys[seen->asked_count];
    char hex[UUID_HEX_SIZE];

    /* A batch and its legs are answered together, by the database. */
    if (!ledger_is_kept(work) || work->is_leg || work->legs_count > 0) return;
    uuid_format_hex(&work->request->key_digest, hex);
    int length = snprintf(key, KEY_SIZE, "%s:seen:%s", seen->options.prefix, hex);
    assert(length > 0);
    assert(length < KEY_SIZE);
    seen->asked[seen->asked_count++] = work;
    seen->arguments[seen->asked_count] = key;
    seen->lengths[seen->asked_count] = (size_t)length;
}

/* --- looking up --- */

static void conflict(struct work *work)
{
    work->origin = ORIGIN_CONFLICT;
    work->reply = (struct reply){.result = RESULT_KEY_REUSED,
                                 .timestamp_us = clock_wall_us(),
                                 .trace_id = work->request->trace.trace_id};
}

/* False for a miss. */
static bool take_value(struct work *work, const redisReply *value, struct codec *codec,
                       struct arena *arena)
{
    const struct request *request = work->request;
    char problem[PROBLEM_SIZE];
    struct reply reply;

    if (value->type != REDIS_REPLY_STRING || value->len <= HEAD_SIZE) return false;
    if (memcmp(value->str, request->key_digest.bytes, sizeof(struct uuid)) != 0) return false;
    struct bytes body = arena_copy(arena, value->str + HEAD_SIZE, (size_t)value->len - HEAD_SIZE);
    if (body.data == NULL || !reply_decode(codec, body, ENCODING_MSGPACK, arena, &reply, problem))
        return false;
    if (memcmp(value->str + sizeof(struct uuid), request->fingerprint.bytes, sizeof(struct uuid)) !=
        0) {
        conflict(work);
        return true;
    }
    work->origin = ORIGIN_CACHED;
    work->reply = reply;
    work->reply.replayed = true;
    return true;
}

static bool ask(struct seen *seen, struct codec *codec, struct batch *batch)
{
    redisReply *reply;

    seen->arguments[0] = "MGET";
    seen->lengths[0] = strlen(seen->arguments[0]);
    reply = redisCommandArgv(seen->link.redis, (int)seen->asked_count + 1, seen->arguments,
                             seen->lengths);
    bool ok =
        reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == seen->asked_count;
    for (uint32_t i = 0; ok && i < seen->asked_count; i++)
        if (take_value(seen->asked[i], reply->element[i], codec, batch->arena)) seen->counts.hits++;
    if (reply != NULL) freeReplyObject(reply);
    return ok;
}

void seen_lookup(struct seen *seen, struct codec *codec, struct batch *batch)
{
    uint64_t hits = seen->counts.hits;

    seen->asked_count = 0;
    if (!seen->on) return;
    for (uint32_t i = 0; i < batch->works_count; i++)
        if (batch->works[i].origin == ORIGIN_NONE) list_work(seen, &batch->works[i]);
    if (seen->asked_count < seen->options.batch_min) return;
    if (seen->asked_count > 0) attempt(seen, ask, codec, batch);
    seen->counts.misses += seen->asked_count - (seen->counts.hits - hits);
}

/* --- remembering --- */

/* False when there is no room: then it is not remembered. */
static bool make_value(const struct work *work, struct codec *codec, struct arena *arena,
                       struct bytes *value)
{
    struct reply reply = work->reply;
    struct bytes body;

    reply.replayed = false;
    if (!reply_encode(codec, &reply, ENCODING_MSGPACK, arena, &body)) return false;
    struct writer writer = writer_in(arena);
    write_bytes(&writer, work->request->key_digest.bytes, sizeof(struct uuid));
    write_bytes(&writer, work->request->fingerprint.bytes, sizeof(struct uuid));
    write_bytes(&writer, body.data, body.size);
    return writer_keep(&writer, arena, value);
}

/* All are sent before the first answer is read; the deadline is one for all. */
static bool tell(struct seen *seen, struct codec *codec, struct batch *batch)
{
    uint32_t sent = 0;
    struct bytes value;
    char ttl[TTL_SIZE];

    int ttl_length = snprintf(ttl, sizeof ttl, "%u", seen->options.ttl_s);
    for (uint32_t i = 0; i < seen->asked_count; i++) {
        if (!make_value(seen->asked[i], codec, batch->arena, &value)) break;
        const char *arguments[] = {"SET", seen->keys[i], (const char *)value.data, "EX", ttl};
        const size_t lengths[] = {3, strlen(seen->keys[i]), value.size, 2, (size_t)ttl_length};
        if (redisAppendCommandArgv(seen->link.redis, 5, arguments, lengths) != REDIS_OK)
            return false;
        sent++;
    }
    uint64_t deadline_ms = clock_monotonic_ms() + seen->options.timeout_ms;
    for (uint32_t i = 0; i < sent; i++) {
        void *reply = NULL;
        if (clock_monotonic_ms() > deadline_ms) return false;
        if (redisGetReply(seen->link.redis, &reply) != REDIS_OK || !redis_said_yes(reply))
            return false;
    }
    return true;
}

void seen_remember(struct seen *seen, struct codec *codec, struct batch *batch)
{
    seen->asked_count = 0;
    if (!seen->on) return;
    for (uint32_t i = 0; i < batch->works_count; i++) {
        enum origin origin = batch->works[i].origin;
        if (origin == ORIGIN_DECIDED || origin == ORIGIN_REPEATED)
            list_work(seen, &batch->works[i]);
    }
    if (seen->asked_count > 0) attempt(seen, tell, codec, batch);
}
