/*
 * exchange_redis.c - RESP written by hand, read by hiredis with object functions of our own, which
 * make none. Ensures:
 *  1. a peer's answer costs memory for its largest string alone, and that is bounded;
 *  2. what was not asked for is not counted, so an answer is right only if nothing is missing.
 */
#include "base/exchange_redis.h"

#include "base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    ANSWER_SIZE_MAX = 1 << 20,
    HEAD_SIZE = sizeof "*18446744073709551615\r\n",
    REFUSAL_SIZE = 128
};

/* --- commands --- */

/* Only its memory can fail; hiredis then keeps that, and neither sends nor reads any more. */
static void put(struct redis_link *link, const void *data, size_t size)
{
    (void)redisAppendFormattedCommand(link->redis, data, size);
}

/* Six for each SET: snprintf would be the larger part of them. */
static void put_head(struct redis_link *link, char kind, size_t number)
{
    char head[HEAD_SIZE];
    size_t at = sizeof head;

    head[--at] = '\n';
    head[--at] = '\r';
    for (; number > 9; number /= 10) head[--at] = (char)('0' + number % 10);
    head[--at] = (char)('0' + number);
    head[--at] = kind;
    put(link, head + at, sizeof head - at);
}

void redis_put_command(struct redis_link *link, uint32_t arguments_count)
{
    put_head(link, '*', arguments_count);
}

void redis_put_argument(struct redis_link *link, const void *data, size_t size)
{
    put_head(link, '$', size);
    put(link, data, size);
    put(link, "\r\n", 2);
}

bool redis_send(struct redis_link *link, uint64_t deadline_ms, struct err *err)
{
    int sent = 0;

    while (redisBufferWrite(link->redis, &sent) == REDIS_OK) {
        if (sent) return true;
        if (clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY, "lost Redis: not sent in time");
    }
    return err_set(err, ERR_RETRY, "lost Redis: %s", link->redis->errstr);
}

/* --- answers --- */

/* What one answer may be, and what it was. */
struct answer {
    uint32_t count; /* of the values in it */
    redis_take *take;
    void *context;
    uint32_t values; /* seen, absent ones too */
    bool is_ok;
    char refusal[REFUSAL_SIZE];
};

/* Of the array itself, not of one inside it, and that is as long as it should be. */
static bool is_value(const redisReadTask *task, const struct answer *answer)
{
    const redisReadTask *array = task->parent;
    return array != NULL && array->parent == NULL && (uint64_t)array->elements == answer->count;
}

/* These return what hiredis takes for an object; it only may not be NULL. */
static void *take_string(const redisReadTask *task, char *data, size_t size)
{
    struct answer *answer = task->privdata;

    if (task->type == REDIS_REPLY_ERROR)
        (void)snprintf(answer->refusal, REFUSAL_SIZE, "%.*s",
                       size < REFUSAL_SIZE ? (int)size : REFUSAL_SIZE, data);
    if (task->type == REDIS_REPLY_STATUS && task->parent == NULL)
        answer->is_ok = size == 2 && memcmp(data, "OK", 2) == 0;
    if (task->type == REDIS_REPLY_STRING && is_value(task, answer)) {
        answer->values++;
        answer->take(answer->context, (uint32_t)task->idx,
                     (struct bytes){(const uint8_t *)data, (uint32_t)size});
    }
    return answer;
}

static void *take_nil(const redisReadTask *task)
{
    struct answer *answer = task->privdata;

    if (is_value(task, answer)) answer->values++;
    return answer;
}

/* Those that are not here give hiredis's own markers. Nothing is made, so nothing is freed. */
static redisReplyObjectFunctions functions = {.createString = take_string, .createNil = take_nil};

/* Sends what waits to be sent, then reads until the answer is whole. */
static bool await(const struct redis_link *link, struct answer *answer, uint64_t deadline_ms,
                  struct err *err)
{
    redisContext *redis = link->redis;
    redisReader *reader = redis->reader;
    void *object = NULL;
    int sent = 0;

    reader->fn = &functions;
    reader->privdata = answer;
    while (redisGetReplyFromReader(redis, &object) == REDIS_OK && object == NULL) {
        if (clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY, "lost Redis: no answer in time");
        if (reader->len > ANSWER_SIZE_MAX)
            return err_set(err, ERR_RETRY, "lost Redis: an answer is too large");
        int done = sent ? redisBufferRead(redis) : redisBufferWrite(redis, &sent);
        if (done != REDIS_OK) break;
    }
    if (object == NULL) return err_set(err, ERR_RETRY, "lost Redis: %s", redis->errstr);
    return true;
}

static bool unexpected(const struct answer *answer, struct err *err)
{
    return err_set(err, ERR_RETRY, "lost Redis: %s",
                   answer->refusal[0] == '\0' ? "an answer to something else" : answer->refusal);
}

bool redis_read_values(struct redis_link *link, uint32_t count, redis_take *take, void *context,
                       uint64_t deadline_ms, struct err *err)
{
    struct answer answer = {.count = count, .take = take, .context = context};

    assert(count > 0);
    if (!await(link, &answer, deadline_ms, err)) return false;
    return answer.values == count || unexpected(&answer, err);
}

bool redis_read_oks(struct redis_link *link, uint32_t count, uint64_t deadline_ms, struct err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        struct answer answer = {.count = 0};
        if (!await(link, &answer, deadline_ms, err)) return false;
        if (!answer.is_ok) return unexpected(&answer, err);
    }
    return true;
}
