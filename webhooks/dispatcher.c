/*
 * dispatcher.c - see dispatcher.h. The loop, its connections, and which endpoints there are.
 */
#include "webhooks/dispatcher_internal.h"

#include "base/clock.h"
#include "base/health.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/topology_amqp.h"
#include "ledger/migrate_pg.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    HEARTBEAT_S = 10,
    PREFETCH_EVENTS = 64,
    DELIVERIES_MAX = 64,
    IDLE_MS = 50,
    BUSY_MS = 5,
    STEP_MS = 100,
    REFRESH_MS = 1000,
    EXPIRE_MS = 10000,
    REMOVE_MS = 3000, /* by then every process has stopped taking from it */
    LEAVE_MS = 5000,
    ARENA_SIZE = 8 << 20,
    SCRATCH_SIZE = 4 << 20,
    SPLIT_SIZE = 64 << 20,
    FILES_BESIDE = 128,
};

/* --- opening ---------------------------------------------------------------------------------- */

/* One open file for each post. */
static void allow_files(struct dispatcher *dispatcher)
{
    uint32_t wanted = ENDPOINTS_MAX * dispatcher->settings->per_endpoint;
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    rlim_t most = limit.rlim_cur > 2 * FILES_BESIDE ? limit.rlim_cur - FILES_BESIDE : FILES_BESIDE;
    dispatcher->posts_max = most < wanted ? (uint32_t)most : wanted;
    if (most < wanted)
        log_info("at most %u posts at once: more open files are not allowed (ulimit -n)",
                 dispatcher->posts_max);
}

static bool open_posts(struct dispatcher *dispatcher, struct err *err)
{
    const struct dispatcher_settings *settings = dispatcher->settings;
    const struct posts_options options = {.connect_timeout_ms = settings->connect_timeout_ms,
                                          .timeout_ms = settings->post_timeout_ms,
                                          .allow_private = settings->allow_private,
                                          .ca_file = settings->ca_file};

    return dispatcher->posts != NULL || posts_open(&dispatcher->posts, &options, err);
}

bool dispatcher_open(struct dispatcher **out, const struct dispatcher_settings *settings,
                     struct err *err)
{
    struct dispatcher *dispatcher = calloc(1, sizeof *dispatcher);

    *out = dispatcher;
    if (dispatcher == NULL) return err_set(err, ERR_FATAL, "could not open: out of memory");
    dispatcher->settings = settings;
    dispatcher->backoff = (struct backoff){.first_ms = 100, .most_ms = 5000};
    dispatcher->jobs_end = &dispatcher->jobs;
    dispatcher->feeds_end = &dispatcher->feeds;
    delivery_report_open();
    health_require(HEALTH_POSTGRES);
    health_require(HEALTH_RABBITMQ);
    allow_files(dispatcher);
    if (!schedule_parse(settings->schedule, &dispatcher->schedule))
        return err_set(err, ERR_FATAL, "LEDGER_WEBHOOK_SCHEDULE is not understood");
    return names_make(&dispatcher->names, settings->prefix, 1, err) &&
           codec_open(&dispatcher->codec, err) && open_posts(dispatcher, err) &&
           arena_open(&dispatcher->arena, ARENA_SIZE, err) &&
           arena_open(&dispatcher->scratch, SCRATCH_SIZE, err) &&
           arena_open(&dispatcher->split_arena, SPLIT_SIZE, err) &&
           arena_open(&dispatcher->attempts_arena, SCRATCH_SIZE, err);
}

/* What was taken and not acknowledged will be delivered again. */
static void disconnect(struct dispatcher *dispatcher)
{
    posts_close(dispatcher->posts);
    dispatcher->posts = NULL;
    consumer_close(dispatcher->consumer);
    dispatcher->consumer = NULL;
    publisher_close(dispatcher->publisher);
    dispatcher->publisher = NULL;
    db_close(dispatcher->db);
    dispatcher->db = NULL;
    feeds_drop(dispatcher);
    jobs_drop(dispatcher);
    receipts_drop(dispatcher);
    dispatcher->attempts_count = 0;
    arena_reset(&dispatcher->attempts_arena);
    dispatcher->refresh_due_ms = 0;
    for (uint32_t i = 0; i < ENDPOINTS_MAX; i++)
        dispatcher->outlets[i].consumes = dispatcher->outlets[i].declared = false;
}

void dispatcher_close(struct dispatcher *dispatcher)
{
    if (dispatcher == NULL) return;
    disconnect(dispatcher);
    codec_close(dispatcher->codec);
    arena_close(&dispatcher->arena);
    arena_close(&dispatcher->scratch);
    arena_close(&dispatcher->split_arena);
    arena_close(&dispatcher->attempts_arena);
    free(dispatcher);
}

/* --- connections ------------------------------------------------------------------------------ */

static bool connect_database(struct dispatcher *dispatcher, struct err *err)
{
    const struct dispatcher_settings *settings = dispatcher->settings;
    const struct db_options options = {.url = settings->database_url,
                                       .application_name = settings->name,
                                       .role = settings->database_role,
                                       .connect_timeout_ms = settings->timeout_ms,
                                       .answer_timeout_ms = settings->timeout_ms};

    if (dispatcher->db != NULL) return true;
    if (!db_open(&dispatcher->db, &options, err) || !migrate_check(dispatcher->db, err))
        return false;
    health_set(HEALTH_POSTGRES, HEALTH_UP);
    log_info("connected to PostgreSQL");
    return true;
}

/* The relay or a worker makes the exchange of events: until then this is tried again. */
static bool declare(struct dispatcher *dispatcher, struct err *err)
{
    static struct queues_topology topology;

    queues_topology(&dispatcher->names, &dispatcher->schedule, &topology);
    if (topology_apply(dispatcher->settings->amqp_url, &topology.topology, TOPOLOGY_DECLARE, err))
        return true;
    err->kind = ERR_RETRY;
    return false;
}

static bool connect_broker(struct dispatcher *dispatcher, struct err *err)
{
    const struct dispatcher_settings *settings = dispatcher->settings;
    const struct consumer_options consumer = {.url = settings->amqp_url,
                                              .name = settings->name,
                                              .heartbeat_s = HEARTBEAT_S,
                                              .timeout_ms = settings->timeout_ms,
                                              .body_max = BODY_SIZE_MAX};
    const struct publisher_options publisher = {.url = settings->amqp_url,
                                                .name = settings->name,
                                                .heartbeat_s = HEARTBEAT_S,
                                                .timeout_ms = settings->timeout_ms,
                                                .window = WINDOW};

    if (dispatcher->consumer != NULL) return true;
    if (!declare(dispatcher, err) || !publisher_open(&dispatcher->publisher, &publisher, err) ||
        !consumer_open(&dispatcher->consumer, &consumer, err))
        return false;
    return true;
}

/* --- endpoints -------------------------------------------------------------------------------- */

static struct outlet *outlet_of(struct dispatcher *dispatcher, const char *id)
{
    struct outlet *vacant = NULL;

    for (uint32_t i = 0; i < ENDPOINTS_MAX; i++) {
        struct outlet *outlet = &dispatcher->outlets[i];
        if (outlet->used && strcmp(outlet->endpoint.id, id) == 0) return outlet;
        if (!outlet->used && vacant == NULL) vacant = outlet;
    }
    return vacant;
}

static uint32_t number_of(const struct dispatcher *dispatcher, const struct outlet *outlet)
{
    return QUEUE_FIRST + (uint32_t)(outlet - dispatcher->outlets);
}

/* A paused one has its queue all the same: events gather there. */
static bool declare_new(struct dispatcher *dispatcher, const struct endpoint *endpoints,
                        uint32_t count, struct err *err)
{
    static struct queues_topology topology;

    queues_begin(&topology);
    for (uint32_t i = 0; i < count; i++) {
        const struct outlet *outlet = outlet_of(dispatcher, endpoints[i].id);
        if (outlet != NULL && !outlet->declared && !endpoints[i].removed)
            queues_add(&dispatcher->names, &endpoints[i], &topology);
    }
    return topology.topology.queues_count == 0 ||
           topology_apply(dispatcher->settings->amqp_url, &topology.topology, TOPOLOGY_DECLARE,
                          err);
}

static bool begin_outlet(struct dispatcher *dispatcher, struct outlet *outlet, struct err *err)
{
    uint16_t prefetch = (uint16_t)dispatcher->settings->per_endpoint;
    char queue[TOPOLOGY_NAME_SIZE];

    queue_of_endpoint(&dispatcher->names, outlet->endpoint.id, queue);
    if (!consumer_subscribe(dispatcher->consumer, queue, number_of(dispatcher, outlet), prefetch,
                            err))
        return false;
    outlet->consumes = true;
    log_info("endpoint %s is posted to", outlet->endpoint.id);
    return true;
}

static bool end_outlet(struct dispatcher *dispatcher, struct outlet *outlet, struct err *err)
{
    outlet->consumes = false;
    outlet->failing_since_ms = 0;
    log_info("endpoint %s is not posted to any more", outlet->endpoint.id);
    return consumer_cancel(dispatcher->consumer, number_of(dispatcher, outlet), err);
}

static bool remove_outlet(struct dispatcher *dispatcher, struct outlet *outlet, struct err *err)
{
    char queue[TOPOLOGY_NAME_SIZE];

    queue_of_endpoint(&dispatcher->names, outlet->endpoint.id, queue);
    if (!topology_delete_queue(dispatcher->settings->amqp_url, queue, err) ||
        !endpoint_forget(dispatcher->db, outlet->endpoint.id, err))
        return false;
    log_info("endpoint %s is removed, with its queue", outlet->endpoint.id);
    return true;
}

static bool update_outlet(struct dispatcher *dispatcher, struct outlet *outlet,
                          const struct endpoint *endpoint, struct err *err)
{
    bool wanted = !endpoint->paused && !endpoint->removed;
    uint64_t now_ms = clock_monotonic_ms();

    outlet->used = true;
    outlet->endpoint = *endpoint;
    if (endpoint->removed && outlet->removed_ms == 0) outlet->removed_ms = now_ms;
    outlet->declared = true;
    if (wanted && !outlet->consumes) return begin_outlet(dispatcher, outlet, err);
    if (!wanted && outlet->consumes) return end_outlet(dispatcher, outlet, err);
    return outlet->removed_ms == 0 || now_ms - outlet->removed_ms < REMOVE_MS ||
           remove_outlet(dispatcher, outlet, err);
}

static bool has_jobs(const struct dispatcher *dispatcher, const struct outlet *outlet)
{
    for (const struct job *job = dispatcher->jobs; job != NULL; job = job->next)
        if (job->outlet == outlet) return true;
    return false;
}

/* Those that are in no row any more. */
static bool forget_outlets(struct dispatcher *dispatcher, const struct endpoint *endpoints,
                           uint32_t count, struct err *err)
{
    for (uint32_t i = 0; i < ENDPOINTS_MAX; i++) {
        struct outlet *outlet = &dispatcher->outlets[i];
        bool there = false;
        for (uint32_t k = 0; k < count && outlet->used && !there; k++)
            there = strcmp(endpoints[k].id, outlet->endpoint.id) == 0;
        if (!outlet->used || there) continue;
        if (outlet->consumes && !end_outlet(dispatcher, outlet, err)) return false;
        if (!has_jobs(dispatcher, outlet)) *outlet = (struct outlet){.used = false};
    }
    return true;
}

static bool refresh(struct dispatcher *dispatcher, struct err *err)
{
    static struct endpoint endpoints[ENDPOINTS_MAX];
    uint32_t count;

    if (clock_monotonic_ms() < dispatcher->refresh_due_ms) return true;
    dispatcher->refresh_due_ms = clock_monotonic_ms() + REFRESH_MS;
    if (!endpoints_read(dispatcher->db, endpoints, &count, err) ||
        !forget_outlets(dispatcher, endpoints, count, err) ||
        !declare_new(dispatcher, endpoints, count, err))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct outlet *outlet = outlet_of(dispatcher, endpoints[i].id);
        if (outlet != NULL && !update_outlet(dispatcher, outlet, &endpoints[i], err)) return false;
    }
    return true;
}

/* --- the loop --------------------------------------------------------------------------------- */

/* Events are taken only when the endpoints are known. */
static bool connect_all(struct dispatcher *dispatcher, struct err *err)
{
    bool is_new = dispatcher->consumer == NULL;

    if (!open_posts(dispatcher, err) || !connect_database(dispatcher, err) ||
        !connect_broker(dispatcher, err) || !refresh(dispatcher, err))
        return false;
    if (!is_new) return true;
    if (!consumer_subscribe(dispatcher->consumer, dispatcher->names.webhooks, QUEUE_EVENTS,
                            PREFETCH_EVENTS, err))
        return false;
    backoff_reset(&dispatcher->backoff);
    health_set(HEALTH_RABBITMQ, HEALTH_UP);
    log_info("connected to RabbitMQ");
    return true;
}

static bool take(struct dispatcher *dispatcher, uint32_t wait_ms, struct err *err)
{
    static struct delivery deliveries[DELIVERIES_MAX];
    uint32_t count;

    arena_reset(&dispatcher->arena);
    if (!consumer_fetch(dispatcher->consumer, wait_ms, deliveries, DELIVERIES_MAX,
                        &dispatcher->arena, &count, err))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        bool ok = deliveries[i].queue == QUEUE_EVENTS ? feed_take(dispatcher, &deliveries[i], err)
                                                      : job_take(dispatcher, &deliveries[i], err);
        if (!ok) return false;
    }
    return true;
}

static bool is_idle(const struct dispatcher *dispatcher)
{
    return dispatcher->jobs == NULL && dispatcher->feeds == NULL && dispatcher->receipts == NULL;
}

/* Waits for posts; without any for confirms, or for the broker to take messages again. What is
 * under way comes first: new events take all the room that there is. */
static bool work(struct dispatcher *dispatcher, struct err *err)
{
    uint32_t wait_ms = posts_in_flight(dispatcher->posts) > 0 ? BUSY_MS : 0;

    if (!jobs_turn(dispatcher, wait_ms, err) || !feeds_turn(dispatcher, err)) return false;
    bool waits = posts_in_flight(dispatcher->posts) == 0 && !is_idle(dispatcher);
    return receipts_turn(dispatcher, waits ? BUSY_MS : 0, err) &&
           (clock_monotonic_ms() < dispatcher->flush_due_ms || attempts_flush(dispatcher, err));
}

static void report(const struct dispatcher *dispatcher)
{
    uint64_t now_ms = clock_monotonic_ms(), failing_ms = 0;
    uint32_t endpoints = 0;

    for (uint32_t i = 0; i < ENDPOINTS_MAX; i++) {
        const struct outlet *outlet = &dispatcher->outlets[i];
        endpoints += outlet->consumes;
        if (outlet->used && outlet->failing_since_ms != 0 &&
            now_ms - outlet->failing_since_ms > failing_ms)
            failing_ms = now_ms - outlet->failing_since_ms;
    }
    delivery_report_state(
        endpoints, dispatcher->posts == NULL ? 0 : posts_in_flight(dispatcher->posts), failing_ms);
}

static bool expire(struct dispatcher *dispatcher, struct err *err)
{
    if (clock_monotonic_ms() < dispatcher->expire_due_ms) return true;
    dispatcher->expire_due_ms = clock_monotonic_ms() + EXPIRE_MS;
    return attempts_expire(dispatcher->db, dispatcher->settings->keep_days,
                           schedule_lost_s(&dispatcher->schedule), err) &&
           wake_missed(dispatcher, err);
}

static bool turn(struct dispatcher *dispatcher, struct err *err)
{
    return connect_all(dispatcher, err) && expire(dispatcher, err) &&
           take(dispatcher, is_idle(dispatcher) ? IDLE_MS : 0, err) && work(dispatcher, err);
}

/* One of the two is away; which one, its connection tells. */
static void note_failure(struct dispatcher *dispatcher)
{
    bool database = dispatcher->db == NULL || !db_usable(dispatcher->db);

    health_set(database ? HEALTH_POSTGRES : HEALTH_RABBITMQ, HEALTH_DOWN);
    delivery_report_transient(database ? REPORT_POSTGRES : REPORT_RABBITMQ);
}

bool dispatcher_turn(struct dispatcher *dispatcher, struct err *err)
{
    health_beat();
    bool ok = turn(dispatcher, err);
    if (!ok) {
        note_failure(dispatcher);
        disconnect(dispatcher);
    }
    report(dispatcher);
    return ok;
}

void dispatcher_pause(struct dispatcher *dispatcher)
{
    uint32_t random, left_ms;

    random_bytes(&random, sizeof random);
    for (left_ms = backoff_next_ms(&dispatcher->backoff, random);
         left_ms > 0 && !stop_requested();) {
        uint32_t step_ms = left_ms < STEP_MS ? left_ms : STEP_MS;
        clock_sleep_ms(step_ms);
        left_ms -= step_ms;
        health_beat();
        report(dispatcher);
    }
}

void dispatcher_leave(struct dispatcher *dispatcher)
{
    uint64_t until_ms = clock_monotonic_ms() + LEAVE_MS;
    struct err err = {0};

    if (dispatcher->consumer == NULL) return;
    dispatcher->leaves = true;
    log_info("stopping: %u posts are under way", posts_in_flight(dispatcher->posts));
    do {
        if (work(dispatcher, &err)) continue;
        log_warn("what was under way will be delivered again: %s", err.text);
        return;
    } while ((posts_in_flight(dispatcher->posts) > 0 || dispatcher->receipts != NULL) &&
             clock_monotonic_ms() < until_ms);
    if (!attempts_flush(dispatcher, &err)) log_warn("attempts are not on record: %s", err.text);
}
