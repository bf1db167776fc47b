/*
 * cache_events_amqp.c - hears of changes, on a queue that is this process's own and gone with its
 * connection. What happened while there was none is not known, so with each new queue everything is
 * forgotten first; what it cannot read may be anything, and is taken for everything too.
 */
#include "base/backoff.h"
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/log.h"
#include "gateway/cache_internal.h"
#include "protocol/event_list.h"
#include "protocol/names.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEARTBEAT_S = 10,
    PREFETCH = 2000,
    DELIVERIES_MAX = 256,
    WAIT_MS = 100,
    FIRST_PAUSE_MS = 100,
    MOST_PAUSE_MS = 3000,
    ARENA_SIZE = 16 << 20,
    SCRATCH_SIZE = 8 << 20,
    TAGS_MAX = 4096,
    TAGS_PER_EVENT = 3,
    QUEUE = 0,
};

struct cache_events {
    struct cache *cache;
    struct cache_options options;
    struct names names;
    struct codec *codec;
    struct arena arena, scratch;
    struct delivery deliveries[DELIVERIES_MAX];
    char tags[TAGS_MAX][CACHE_TAG_SIZE];
    const char *tag_list[TAGS_MAX];
    uint32_t tags_count;
    bool forgets; /* all, for what came could not be read */
    pthread_t thread;
    _Atomic bool is_leaving;
};

/* --- what an event changes -------------------------------------------------------------------- */

static void add_tag(struct cache_events *events, enum cache_kind kind, struct text id)
{
    if (events->tags_count == TAGS_MAX) {
        events->forgets = true;
        return;
    }
    char *tag = events->tags[events->tags_count];
    cache_tag(&events->options, kind, id, tag);
    events->tag_list[events->tags_count++] = tag;
}

static void add_transaction(struct cache_events *events, const struct uuid *id)
{
    char text[UUID_TEXT_SIZE];

    if (!events->options.transactions || uuid_is_zero(id)) return;
    uuid_format(id, text);
    add_tag(events, CACHE_TRANSACTION, text_of(text));
}

/* A user: his name, his metadata, his accounts. A transaction: what became of it since. */
static void take_event(struct cache_events *events, const struct event *event)
{
    bool of_user = event->type == EVENT_USER_UPDATED || event->type == EVENT_ACCOUNT_OPENED;

    if (of_user && id_is_valid(event->user_id)) add_tag(events, CACHE_USER, event->user_id);
    add_transaction(events, &event->refers);
    add_transaction(events, &event->scheduled);
}

static void take_delivery(struct cache_events *events, const struct delivery *delivery)
{
    static const char checkpoint[] = "checkpoint.created";
    char problem[PROBLEM_SIZE];
    struct event_list list;

    if (text_equal(delivery->routing_key, text_of(checkpoint))) return;
    arena_reset(&events->scratch);
    bool is_json = delivery->body.size > 0 && delivery->body.data[0] == '{';
    if (delivery->oversized || !event_list_decode(events->codec, delivery->body,
                                                  is_json ? ENCODING_JSON : ENCODING_MSGPACK,
                                                  &events->scratch, &list, problem)) {
        events->forgets = true;
        return;
    }
    add_transaction(events, &list.scheduled);
    for (uint32_t i = 0; i < list.count; i++) take_event(events, &list.events[i]);
}

/* --- the connection --------------------------------------------------------------------------- */

static bool listen_to_events(struct cache_events *events, struct consumer **consumer,
                             struct err *err)
{
    static const char *const users[] = {"user.updated", "account.opened", EVENT_LIST_WORD};
    static const char *const all[] = {"#"};
    struct consumer_options options = {.url = events->options.amqp_url,
                                       .name = events->options.name,
                                       .heartbeat_s = HEARTBEAT_S,
                                       .timeout_ms = events->options.amqp_timeout_ms,
                                       .body_max = BODY_SIZE_MAX};
    bool is_all = events->options.transactions;

    return consumer_open(consumer, &options, err) &&
           consumer_listen(*consumer, events->names.events, is_all ? all : users,
                           is_all ? 1 : sizeof users / sizeof *users, QUEUE, PREFETCH, err);
}

/* Everything is taken to Redis before it is acknowledged and before the next is taken. */
static bool take_events(struct cache_events *events, struct consumer *consumer, struct err *err)
{
    uint32_t count;

    arena_reset(&events->arena);
    events->tags_count = 0;
    events->forgets = false;
    if (!consumer_fetch(consumer, WAIT_MS, events->deliveries, DELIVERIES_MAX, &events->arena,
                        &count, err))
        return false;
    for (uint32_t i = 0; i < count; i++) take_delivery(events, &events->deliveries[i]);
    cache_drop_tags(events->cache, events->tag_list, events->tags_count);
    cache_renew(events->cache, events->forgets);
    return count == 0 || consumer_ack(consumer, events->deliveries[count - 1].tag, true, err);
}

/* Until the connection breaks. */
static void serve(struct cache_events *events, struct consumer *consumer, struct err *err)
{
    /* The queue is there: what happens from now on is in it. */
    cache_renew(events->cache, true);
    cache_set_listening(events->cache, true);
    while (!atomic_load(&events->is_leaving) && take_events(events, consumer, err)) continue;
}

static void *run(void *context)
{
    struct cache_events *events = context;
    struct backoff backoff = {.first_ms = FIRST_PAUSE_MS, .most_ms = MOST_PAUSE_MS};
    uint32_t random;

    while (!atomic_load(&events->is_leaving)) {
        struct consumer *consumer = NULL;
        struct err err = {0};
        if (listen_to_events(events, &consumer, &err)) {
            backoff_reset(&backoff);
            log_info("the cache hears of changes");
            serve(events, consumer, &err);
        }
        cache_set_listening(events->cache, false);
        consumer_close(consumer);
        if (atomic_load(&events->is_leaving)) break;
        log_warn("nothing is served from the cache: %s", err.text);
        random_bytes(&random, sizeof random);
        clock_sleep_ms(backoff_next_ms(&backoff, random));
    }
    return NULL;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Signals are for the main thread. */
static bool start(struct cache_events *events, struct err *err)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&events->thread, NULL, run, events);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0) return true;
    return err_set(err, ERR_FATAL, "could not start a thread: %s", strerror(failure));
}

static void release(struct cache_events *events)
{
    codec_close(events->codec);
    arena_close(&events->arena);
    arena_close(&events->scratch);
    free(events);
}

bool cache_events_open(struct cache_events **out, struct cache *cache,
                       const struct cache_options *options, struct err *err)
{
    struct cache_events *events = calloc(1, sizeof *events);

    *out = NULL;
    if (events == NULL) return err_set(err, ERR_FATAL, "could not open the cache: out of memory");
    events->cache = cache;
    events->options = *options;
    if (names_make(&events->names, options->prefix, 1, err) && codec_open(&events->codec, err) &&
        arena_open(&events->arena, ARENA_SIZE, err) &&
        arena_open(&events->scratch, SCRATCH_SIZE, err) && start(events, err)) {
        *out = events;
        return true;
    }
    release(events);
    return false;
}

void cache_events_close(struct cache_events *events)
{
    if (events == NULL) return;
    atomic_store(&events->is_leaving, true);
    (void)pthread_join(events->thread, NULL);
    release(events);
}
