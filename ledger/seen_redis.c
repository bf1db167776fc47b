/*
 * seen_redis.c - one MGET a batch, one pipeline of SETs a batch. A value is the key's digest, the
 * command's fingerprint, and the reply as canonical msgpack. It is believed only if it begins with
 * the digest that was asked for: a connection out of step, or a stranger's value, is a miss.
 */
#include "ledger/seen_redis.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/exchange_redis.h"

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
    char key[KEY_SIZE];          /* up to the digits, which each use adds */
    size_t key_begins;           /* where those go */
    char ttl[TTL_SIZE];
    bool on;
    struct redis_address address;
    struct redis_link link; /* dead after any error: never used again */
    struct err problem;     /* why it could not be opened, or went */
    struct breaker breaker;
    struct seen_counts counts;
    struct work *asked[BATCH_COMMANDS_MAX]; /* of the exchange under way */
    uint32_t asked_count;
    uint32_t owed;                            /* answers to what was told, not yet read */
    struct bytes replies[BATCH_COMMANDS_MAX]; /* their values without the digest; NULL: none */
    struct arena *arena;                      /* where those are */
};

/* --- the connection --- */

static void disconnect(struct seen *seen)
{
    seen->owed = 0;
    redis_link_close(&seen->link);
}

static bool connect_once(struct seen *seen)
{
    return seen->link.redis != NULL ||
           redis_link_open(&seen->link, &seen->address, seen->options.timeout_ms, &seen->problem);
}

typedef bool exchange(struct seen *seen, struct codec *codec, struct batch *batch);

static uint64_t deadline_ms(const struct seen *seen)
{
    return clock_monotonic_ms() + seen->options.timeout_ms;
}

static bool take_owed(struct seen *seen)
{
    uint32_t owed = seen->owed;

    seen->owed = 0;
    return redis_read_oks(&seen->link, owed, deadline_ms(seen), &seen->problem);
}

/* Behind the breaker. Whatever goes wrong costs a few timeouts at most, and the connection. */
static void attempt(struct seen *seen, exchange *run, struct codec *codec, struct batch *batch)
{
    if (!breaker_allows(&seen->breaker, clock_monotonic_ms())) return;
    bool ok = connect_once(seen) && take_owed(seen) && (run == NULL || run(seen, codec, batch));
    if (!ok) disconnect(seen);
    if (!ok) seen->counts.errors++;
    breaker_report(&seen->breaker, ok, clock_monotonic_ms());
}

bool seen_open(struct seen **out, const struct seen_options *options, struct err *err)
{
    struct seen *seen = calloc(1, sizeof *seen);

    *out = seen;
    if (seen == NULL) return err_set(err, ERR_FATAL, "could not open Redis: out of memory");
    seen->options = *options;
    seen->on = options->url[0] != '\0';
    int begins = snprintf(seen->key, KEY_SIZE, "%s:seen:", options->prefix);
    assert(begins > 0);
    assert(begins <= KEY_SIZE - UUID_HEX_SIZE);
    seen->key_begins = (size_t)begins;
    (void)snprintf(seen->ttl, sizeof seen->ttl, "%u", options->ttl_s);
    seen->breaker = (struct breaker){.threshold = BREAKER_THRESHOLD, .probe_ms = BREAKER_PROBE_MS};
    if (!seen->on) return true;
    if (!redis_address_parse(options->url, &seen->address, err)) return false;
    attempt(seen, NULL, NULL, NULL); /* so that its state is known from the start */
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

/* Puts the work on the list. Only one that is kept decides. */
static void list_work(struct seen *seen, struct work *work)
{
    /* A batch and its legs are answered together, by the database. */
    if (!ledger_is_kept(work) || work->is_leg || work->legs_count > 0) return;
    seen->asked[seen->asked_count++] = work;
}

static void put_key(struct seen *seen, const struct work *work)
{
    uuid_format_hex(&work->request->key_digest, seen->key + seen->key_begins);
    redis_put_argument(&seen->link, seen->key, seen->key_begins + UUID_HEX_SIZE - 1);
}

/* --- looking up --- */

static void conflict(struct work *work)
{
    work->origin = ORIGIN_CONFLICT;
    work->reply = (struct reply){.result = RESULT_KEY_REUSED,
                                 .timestamp_us = clock_wall_us(),
                                 .trace_id = work->request->trace.trace_id};
}

/* A value that is not the key's own costs no memory. */
static void take_value(void *context, uint32_t i, struct bytes value)
{
    struct seen *seen = context;
    const struct uuid *digest = &seen->asked[i]->request->key_digest;

    if (value.size <= HEAD_SIZE) return;
    if (memcmp(value.data, digest->bytes, sizeof *digest) != 0) return;
    seen->replies[i] =
        arena_copy(seen->arena, value.data + sizeof *digest, value.size - sizeof *digest);
}

/* False for a miss. */
static bool believe(struct work *work, struct bytes value, struct codec *codec, struct arena *arena)
{
    const struct uuid *fingerprint = &work->request->fingerprint;
    char problem[PROBLEM_SIZE];
    struct reply reply;

    if (value.data == NULL) return false;
    struct bytes body = {value.data + sizeof *fingerprint,
                         value.size - (uint32_t)sizeof *fingerprint};
    if (!reply_decode(codec, body, ENCODING_MSGPACK, arena, &reply, problem)) return false;
    if (memcmp(value.data, fingerprint->bytes, sizeof *fingerprint) != 0) {
        conflict(work);
        return true;
    }
    work->origin = ORIGIN_CACHED;
    work->reply = reply;
    work->reply.replayed = true;
    return true;
}

/* Nothing is believed before all of it has come. */
static bool ask(struct seen *seen, struct codec *codec, struct batch *batch)
{
    struct arena *arena = seen->arena = batch->arena;
    size_t used = arena->used;

    redis_put_command(&seen->link, seen->asked_count + 1);
    redis_put_argument(&seen->link, "MGET", 4);
    for (uint32_t i = 0; i < seen->asked_count; i++) put_key(seen, seen->asked[i]);
    memset(seen->replies, 0, seen->asked_count * sizeof seen->replies[0]);
    if (!redis_read_values(&seen->link, seen->asked_count, take_value, seen, deadline_ms(seen),
                           &seen->problem)) {
        arena->used = used;
        return false;
    }
    for (uint32_t i = 0; i < seen->asked_count; i++)
        if (believe(seen->asked[i], seen->replies[i], codec, arena)) seen->counts.hits++;
    return true;
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

static void put_value(struct seen *seen, const struct work *work, struct bytes value)
{
    redis_put_command(&seen->link, 5);
    redis_put_argument(&seen->link, "SET", 3);
    put_key(seen, work);
    redis_put_argument(&seen->link, value.data, value.size);
    redis_put_argument(&seen->link, "EX", 2);
    redis_put_argument(&seen->link, seen->ttl, strlen(seen->ttl));
}

/* The answers are read when there is something to ask, or nothing else to do: nobody waits. */
static bool tell(struct seen *seen, struct codec *codec, struct batch *batch)
{
    struct arena *arena = batch->arena;
    size_t used = arena->used;
    struct bytes value;
    uint32_t put = 0;

    while (put < seen->asked_count && make_value(seen->asked[put], codec, arena, &value)) {
        put_value(seen, seen->asked[put++], value);
        arena->used = used;
    }
    arena->used = used;
    seen->owed = put;
    return redis_send(&seen->link, deadline_ms(seen), &seen->problem);
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

void seen_idle(struct seen *seen)
{
    if (seen->owed > 0) attempt(seen, NULL, NULL, NULL);
}
