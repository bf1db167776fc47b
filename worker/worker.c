/*
 * worker.c - connections, shards and the cycle, put together. Invariants:
 *  1. a queue is consumed only while its shard's lock is held, so two workers never fight over an
 * account;
 *  2. a shard is given up by ending the connection, with nothing in hand: that alone puts what was
 * delivered back at the head of its queue, and in order. A cancel does not: RabbitMQ 3.10 puts
 * deliveries that cross it back in the order of a hash when they are more than 32;
 *  3. acknowledgements travel on a connection that never publishes;
 *  4. when the database connection is lost the locks are too: a batch in hand waits for the next
 * connection, and if one of the locks is somebody else's by then, everything is given back to the
 * broker.
 */
#include "worker/worker.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/health.h"
#include "base/log.h"
#include "base/stop.h"
#include "ledger/migrate_pg.h"
#include "ledger/seen_redis.h"
#include "ledger/store_pg.h"
#include "outbox/outbox_pg.h"
#include "worker/answer.h"
#include "worker/cycle.h"
#include "worker/report.h"
#include "worker/shards_pg.h"
#include "worker/suspect_pg.h"
#include "worker/sweep_pg.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAIT_MS = 100,
    PAUSE_STEP_MS = 100,
    LEFT_FIRST_MS = 2000, /* what was left is tried again after so long, then twice, ... */
    LEFT_MOST_MS = 60000,
    ROLL_UP_MOST = 1000,
};

/* LEFT: not consumed any more, and still locked. */
enum shard_state { SHARD_NOT_OURS, SHARD_OURS, SHARD_LEFT };

struct worker {
    const struct worker_settings *settings;
    struct names names;
    struct db *db;
    struct consumer *consumer;
    struct seen *seen;
    struct answer *answer; /* for repeats that Redis knows, and where somebody may be waiting */
    struct store *store;
    struct cycle *cycle;
    struct cycle_io io;
    struct codec *codec; /* for what is kept in Redis, and for commands of its own */
    struct arena arena;  /* those commands */
    struct backoff backoff;
    char redis_problem[ERR_TEXT_SIZE]; /* what was logged of it; "" while it is up */
    bool consumer_broken;
    bool topology_applied;
    uint64_t balance_at_ms;
    /* Since something scheduled was left: from where on to look, and when from the first again. */
    struct sweep_place behind;
    uint64_t again_at_ms; /* 0: nothing was left */
    struct backoff left_backoff;
    uint64_t taken_us;
    enum shard_state shards[SHARDS_MAX];
    struct survey survey;
    struct uuid process; /* this one, among those that may have died over a message */
    struct uuid owed;    /* what it noted, and is to take back */
    bool owes;
};

/* --- the cycle's edges ------------------------------------------------------------------- */

static bool io_fetch(void *context, uint32_t wait_ms, struct delivery *out, uint32_t max,
                     struct arena *arena, uint32_t *count, struct err *err)
{
    struct worker *worker = context;

    worker->consumer_broken =
        !consumer_fetch(worker->consumer, wait_ms, out, max, arena, count, err);
    worker->taken_us = clock_monotonic_us();
    return !worker->consumer_broken;
}

/* The first that is asked about a batch: what had to wait in its queue is seen here. */
static void io_lookup(void *context, struct batch *batch)
{
    struct worker *worker = context;
    report_oldest(cycle_oldest_us(worker->cycle));
    seen_lookup(worker->seen, worker->codec, batch);
}

static void io_remember(void *context, struct batch *batch)
{
    struct worker *worker = context;
    seen_remember(worker->seen, worker->codec, batch);
}

static uint32_t io_direct(void *context)
{
    const struct worker *worker = context;
    return answer_is_ready(worker->answer) ? worker->settings->direct_replies : 0;
}

static bool io_answer(void *context, const struct outbox_row *rows, uint32_t count)
{
    struct worker *worker = context;
    return answer_send(worker->answer, rows, count);
}

static bool io_resolve(void *context, struct batch *batch, struct err *err)
{
    struct worker *worker = context;
    return store_resolve(worker->store, worker->db, batch, err);
}

static bool io_load(void *context, struct batch *batch, struct err *err)
{
    struct worker *worker = context;
    return store_look_at_policy(worker->store, worker->db, clock_monotonic_us(), err) &&
           store_load(worker->store, worker->db, batch, err);
}

static bool io_commit(void *context, const struct batch *batch, const struct outbox_row *rows,
                      uint32_t rows_count, struct err *err)
{
    struct worker *worker = context;
    struct answers answers = {0};

    return store_save(worker->store, worker->db, batch, &answers, err) &&
           outbox_append(worker->db, rows, rows_count, batch->arena, &answers, err) &&
           store_commit(worker->db, &answers, err);
}

static void io_abandon(void *context)
{
    struct worker *worker = context;
    query_abandon(worker->db);
}

static bool io_reject(void *context, uint64_t tag, struct err *err)
{
    struct worker *worker = context;
    worker->consumer_broken = !consumer_reject(worker->consumer, tag, err);
    return !worker->consumer_broken;
}

static bool io_ack(void *context, uint64_t tag, struct err *err)
{
    struct worker *worker = context;
    worker->consumer_broken = !consumer_ack(worker->consumer, tag, true, err);
    return !worker->consumer_broken;
}

static bool io_suspect(void *context, const struct uuid *digest, uint32_t *times, struct err *err)
{
    struct worker *worker = context;
    if (!suspect_begin(worker->db, &worker->process, digest, times, err)) return false;
    report_suspect(*times);
    return true;
}

/* A note that stays would count this process among those that may have died. */
static bool give_back_owed(struct worker *worker, struct err *err)
{
    if (!worker->owes) return true;
    worker->owes = !suspect_give_back(worker->db, &worker->process, &worker->owed, err);
    return !worker->owes;
}

/* Now, or when the database is back: no other is begun before. */
static void io_give_back(void *context, const struct uuid *digest)
{
    struct worker *worker = context;
    struct err ignored = {0};

    assert(!worker->owes);
    worker->owed = *digest;
    worker->owes = true;
    if (worker->db == NULL) return;
    query_abandon(worker->db);
    if (db_usable(worker->db) && !give_back_owed(worker, &ignored)) query_abandon(worker->db);
}

/* A note that stays although its message is settled does no harm. */
static void io_acquit(void *context, const struct uuid *digest)
{
    struct worker *worker = context;
    struct err ignored = {0};
    if (!suspect_settle(worker->db, digest, &ignored)) query_abandon(worker->db);
}

static void io_report(void *context, const struct batch *batch)
{
    struct worker *worker = context;
    report_batch(batch, worker->taken_us, clock_monotonic_us());
}

/* --- opening and closing ----------------------------------------------------------------- */

static bool open_parts(struct worker *worker, struct err *err)
{
    const struct worker_settings *settings = worker->settings;
    struct seen_options seen = {.url = settings->redis_url,
                                .prefix = settings->prefix,
                                .timeout_ms = settings->redis_timeout_ms,
                                .ttl_s = settings->redis_ttl_s,
                                .batch_min = settings->redis_batch_min};
    struct answer_options answer = {.url = settings->amqp_url,
                                    .name = settings->name,
                                    .heartbeat_s = settings->heartbeat_s,
                                    .timeout_ms = settings->timeout_ms};
    struct cycle_options cycle = {.io = &worker->io,
                                  .names = &worker->names,
                                  .event_encoding = (enum encoding)settings->event_encoding,
                                  .batch_max = settings->batch_max,
                                  .crash_limit = settings->crash_limit};

    return names_make(&worker->names, settings->prefix, settings->shards, err) &&
           codec_open(&worker->codec, err) && seen_open(&worker->seen, &seen, err) &&
           arena_open(&worker->arena, SWEEP_ARENA_SIZE, err) &&
           answer_open(&worker->answer, &answer, err) && store_open(&worker->store, err) &&
           cycle_open(&worker->cycle, &cycle, err);
}

bool worker_open(struct worker **out, const struct worker_settings *settings, struct err *err)
{
    struct worker *worker = calloc(1, sizeof *worker);

    *out = worker;
    if (worker == NULL) return err_set(err, ERR_FATAL, "could not open worker: out of memory");
    worker->settings = settings;
    random_bytes(&worker->process, sizeof worker->process);
    worker->backoff = (struct backoff){.first_ms = 100, .most_ms = 5000};
    worker->left_backoff = (struct backoff){.first_ms = LEFT_FIRST_MS, .most_ms = LEFT_MOST_MS};
    worker->io = (struct cycle_io){.context = worker,
                                   .fetch = io_fetch,
                                   .lookup = io_lookup,
                                   .remember = io_remember,
                                   .direct = io_direct,
                                   .answer = io_answer,
                                   .resolve = io_resolve,
                                   .load = io_load,
                                   .commit = io_commit,
                                   .abandon = io_abandon,
                                   .reject = io_reject,
                                   .ack = io_ack,
                                   .suspect = io_suspect,
                                   .give_back = io_give_back,
                                   .acquit = io_acquit,
                                   .report = io_report};
    health_require(HEALTH_POSTGRES);
    health_require(HEALTH_RABBITMQ);
    if (settings->redis_url[0] != '\0') health_optional(HEALTH_REDIS);
    return open_parts(worker, err);
}

void worker_close(struct worker *worker)
{
    if (worker == NULL) return;
    consumer_close(worker->consumer);
    db_close(worker->db);
    cycle_close(worker->cycle);
    store_close(worker->store);
    answer_close(worker->answer);
    seen_close(worker->seen);
    codec_close(worker->codec);
    arena_close(&worker->arena);
    free(worker);
}

/* --- shards ------------------------------------------------------------------------------ */

static uint32_t count_shards(const struct worker *worker, enum shard_state state)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < worker->names.shards; i++) count += worker->shards[i] == state;
    return count;
}

static bool subscribe(struct worker *worker, uint32_t shard, struct err *err)
{
    worker->consumer_broken = !consumer_subscribe(worker->consumer, worker->names.shard[shard],
                                                  shard, (uint16_t)worker->settings->prefetch, err);
    return !worker->consumer_broken;
}

static bool take_shard(struct worker *worker, uint32_t shard, struct err *err)
{
    bool locked = false;

    assert(worker->shards[shard] == SHARD_NOT_OURS);
    if (!shards_lock(worker->db, worker->settings->prefix, shard, &locked, err)) return false;
    if (!locked) return true; /* somebody was faster */
    worker->shards[shard] = SHARD_OURS;
    return subscribe(worker, shard, err);
}

/* Acknowledgements first: RabbitMQ forgets those that the end overtakes. */
static bool end_consumer(struct worker *worker, struct err *err)
{
    assert(!cycle_holds(worker->cycle));
    for (uint32_t i = 0; i < worker->names.shards; i++) {
        if (worker->shards[i] != SHARD_OURS) continue;
        worker->consumer_broken =
            !consumer_land_acks(worker->consumer, worker->names.shard[i], err);
        if (worker->consumer_broken) return false;
    }
    consumer_close(worker->consumer);
    worker->consumer = NULL;
    return true;
}

static bool unlock_left_shards(struct worker *worker, struct err *err)
{
    for (uint32_t i = 0; i < worker->names.shards; i++) {
        if (worker->shards[i] != SHARD_LEFT) continue;
        if (!shards_unlock(worker->db, worker->settings->prefix, i, err)) return false;
        worker->shards[i] = SHARD_NOT_OURS;
        log_info("gave up shard %s", worker->names.shard[i]);
    }
    return true;
}

static bool connect_consumer(struct worker *worker, struct err *err);

/* Goes on with those that stay. */
static bool leave_shards(struct worker *worker, const struct plan *plan, struct err *err)
{
    if (plan->release_count == 0) return true;
    if (!end_consumer(worker, err)) return false;
    for (uint32_t i = 0; i < plan->release_count; i++)
        if (worker->shards[plan->release[i]] == SHARD_OURS)
            worker->shards[plan->release[i]] = SHARD_LEFT;
    if (!connect_consumer(worker, err)) return false;
    for (uint32_t i = 0; i < worker->names.shards; i++)
        if (worker->shards[i] == SHARD_OURS && !subscribe(worker, i, err)) return false;
    return true;
}

/* As long as a look finds some that are settled, the next one is soon: after what the queues have
 * brought meanwhile. */
static bool decide_due(struct worker *worker, const struct incoming *incoming, uint32_t count,
                       bool alone, struct decided *decided, struct err *err)
{
    worker->taken_us = clock_monotonic_us();
    if (!cycle_decide(worker->cycle, incoming, count, alone, decided, err)) return false;
    if (decided->settled > 0) worker->balance_at_ms = 0;
    if (decided->left > 0)
        log_warn("%u commands that are due stay so: %s", decided->left, decided->why.text);
    return true;
}

/* Expires the holds that are due. */
static bool expire_holds(struct worker *worker, struct err *err)
{
    struct incoming incoming[SWEEP_MOST];
    struct decided decided;
    uint32_t count = 0;

    arena_reset(&worker->arena);
    if (!sweep_find(worker->db, worker->codec, &worker->arena, incoming, &count, err)) return false;
    return count == 0 || decide_due(worker, incoming, count, false, &decided, err);
}

/* What was left is tried again later, from the first on. Meanwhile what is due behind it is not to
 * wait: however many are left, the looks go past them. */
static void look_again(struct worker *worker)
{
    if (clock_monotonic_ms() < worker->again_at_ms) return;
    worker->behind = (struct sweep_place){0};
    worker->again_at_ms = 0;
    cycle_forget_left(worker->cycle);
}

static void go_past(struct worker *worker, const struct sweep *sweep, const struct decided *decided)
{
    uint32_t looked = decided->settled + decided->left, random;

    if (decided->left == 0 && worker->again_at_ms == 0) {
        backoff_reset(&worker->left_backoff);
        return;
    }
    worker->behind = sweep->places[looked - 1];
    worker->balance_at_ms = 0; /* there may be more behind them */
    if (worker->again_at_ms != 0) return;
    random_bytes(&random, sizeof random);
    worker->again_at_ms = clock_monotonic_ms() + backoff_next_ms(&worker->left_backoff, random);
}

/* Executes the commands that are due. That it is at it is noted beforehand: where the note of
 * another process is found, that may have died over one of them. */
static bool execute_scheduled(struct worker *worker, struct err *err)
{
    static const struct uuid note = {{0}}; /* no digest of a message */
    static struct sweep sweep;
    struct decided decided;
    uint32_t times = 0;

    arena_reset(&worker->arena);
    look_again(worker);
    if (!sweep_scheduled(worker->db, &worker->arena, worker->behind, &sweep, err)) return false;
    report_overdue(sweep.waited_us);
    if (sweep.count == 0) return true;
    if (!suspect_begin(worker->db, &worker->process, &note, &times, err) ||
        !decide_due(worker, sweep.incoming, sweep.count, times > 1, &decided, err))
        return false;
    go_past(worker, &sweep, &decided);
    return suspect_settle(worker->db, &note, err);
}

/* The owner of the first shard keeps the house. */
static bool keep_house(struct worker *worker, struct err *err)
{
    uint32_t rolled = 0;

    return expire_holds(worker, err) && execute_scheduled(worker, err) &&
           store_roll_up(worker->db, ROLL_UP_MOST, &rolled, err) && suspect_clean(worker->db, err);
}

/* Once every balance_every_ms: looks who is there, gives up what is too much, takes what is free.
 */
static bool balance_shards(struct worker *worker, struct err *err)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct plan plan;
    uint32_t own;

    if (now_ms < worker->balance_at_ms) return true;
    worker->balance_at_ms = now_ms + worker->settings->balance_every_ms;
    worker->survey.shards = worker->names.shards;
    if (!shards_survey(worker->db, worker->settings->prefix, &worker->survey, err)) return false;
    shards_plan(&worker->survey, &plan);
    if (!leave_shards(worker, &plan, err)) return false;
    own = count_shards(worker, SHARD_OURS);
    for (uint32_t i = 0; i < plan.acquire_count && own < plan.quota; i++) {
        if (worker->shards[plan.acquire[i]] != SHARD_NOT_OURS) continue;
        if (!take_shard(worker, plan.acquire[i], err)) return false;
        if (worker->shards[plan.acquire[i]] != SHARD_OURS) continue;
        own++;
        log_info("took shard %s", worker->names.shard[plan.acquire[i]]);
    }
    report_shards(own);
    if (worker->shards[0] == SHARD_OURS) return keep_house(worker, err);
    report_overdue(0);
    return true;
}

/* --- connections ------------------------------------------------------------------------- */

/* Everything in hand is the broker's again; the locks that are left are given up on the way back.
 */
static void disconnect_consumer(struct worker *worker)
{
    cycle_drop(worker->cycle);
    consumer_close(worker->consumer);
    worker->consumer = NULL;
    worker->consumer_broken = false;
    for (uint32_t i = 0; i < worker->names.shards; i++)
        if (worker->shards[i] == SHARD_OURS) worker->shards[i] = SHARD_LEFT;
    health_set(HEALTH_RABBITMQ, HEALTH_DOWN);
}

/* The locks went with the connection. Shards that are still being consumed stay ours for now: see
 * lock_again. */
static void disconnect_db(struct worker *worker)
{
    db_close(worker->db);
    worker->db = NULL;
    if (worker->consumer == NULL) memset(worker->shards, 0, sizeof worker->shards);
    health_set(HEALTH_POSTGRES, HEALTH_DOWN);
}

/* The shards that were ours before the database connection was lost must be ours again. */
static bool lock_again(struct worker *worker, struct err *err)
{
    for (uint32_t i = 0; i < worker->names.shards; i++) {
        bool locked = false;
        if (worker->shards[i] == SHARD_NOT_OURS) continue;
        if (!shards_lock(worker->db, worker->settings->prefix, i, &locked, err)) return false;
        if (locked) continue;
        log_warn("shard %s went to another worker; giving everything back", worker->names.shard[i]);
        disconnect_consumer(worker); /* the locks just taken go with the database connection */
        return err_set(err, ERR_RETRY, "could not lock shard %u again: another worker has it", i);
    }
    return true;
}

static bool connect_db(struct worker *worker, struct err *err)
{
    const struct worker_settings *settings = worker->settings;
    struct db_options options = {.url = settings->database_url,
                                 .application_name = settings->name,
                                 .role = settings->database_role,
                                 .connect_timeout_ms = settings->timeout_ms,
                                 .answer_timeout_ms = settings->answer_timeout_ms,
                                 .lock_timeout_ms = settings->answer_timeout_ms / 2};

    if (worker->db != NULL) return true;
    if (!db_open(&worker->db, &options, err) || !migrate_check(worker->db, err) ||
        !store_tune(worker->store, worker->db, err) ||
        !shards_register(worker->db, settings->prefix, &worker->survey.self, err) ||
        !lock_again(worker, err)) {
        if (worker->db != NULL) disconnect_db(worker);
        return false;
    }
    health_set(HEALTH_POSTGRES, HEALTH_UP);
    log_info("connected to PostgreSQL as backend %d", worker->survey.self);
    return true;
}

static bool connect_consumer(struct worker *worker, struct err *err)
{
    const struct worker_settings *settings = worker->settings;
    struct consumer_options options = {.url = settings->amqp_url,
                                       .name = settings->name,
                                       .heartbeat_s = settings->heartbeat_s,
                                       .timeout_ms = settings->timeout_ms,
                                       .body_max = BODY_SIZE_MAX};

    if (worker->consumer != NULL) return true;
    if (!unlock_left_shards(worker, err)) return false;
    worker->balance_at_ms = 0;
    if (!worker->topology_applied) {
        static struct names_topology topology;
        names_topology(&worker->names, &topology);
        if (!topology_apply(settings->amqp_url, &topology.topology,
                            (enum topology_mode)settings->topology_mode, err))
            return false;
        worker->topology_applied = true;
    }
    if (!consumer_open(&worker->consumer, &options, err)) {
        consumer_close(worker->consumer);
        worker->consumer = NULL;
        return false;
    }
    health_set(HEALTH_RABBITMQ, HEALTH_UP);
    log_info("connected to RabbitMQ");
    return true;
}

/* Each problem once, not each time. */
static void log_redis(struct worker *worker)
{
    const char *problem = seen_problem(worker->seen);

    if (strcmp(problem, worker->redis_problem) == 0) return;
    if (problem[0] != '\0')
        log_warn("Redis is not used: %s", problem);
    else
        log_info("Redis is used again");
    (void)snprintf(worker->redis_problem, sizeof worker->redis_problem, "%s", problem);
}

static void show_redis(struct worker *worker)
{
    struct seen_counts counts = seen_counts(worker->seen);

    log_redis(worker);
    report_redis(counts.hits, counts.misses, counts.errors);
    if (seen_state(worker->seen) == SEEN_OFF) return;
    health_set(HEALTH_REDIS, seen_state(worker->seen) == SEEN_UP ? HEALTH_UP : HEALTH_DOWN);
}

/* --- the turn ---------------------------------------------------------------------------- */

static bool turn(struct worker *worker, struct err *err)
{
    uint32_t taken = 0;

    if (!connect_db(worker, err) || !give_back_owed(worker, err)) return false;
    if (!connect_consumer(worker, err)) return false;
    if (!cycle_holds(worker->cycle) && !balance_shards(worker, err)) return false;
    uint32_t wait_ms = worker->balance_at_ms == 0 ? 0 : WAIT_MS;
    if (!cycle_turn(worker->cycle, wait_ms, &taken, err)) return false;
    answer_idle(worker->answer);
    if (taken == 0) seen_idle(worker->seen);
    show_redis(worker);
    if (taken == 0) log_flush();
    return true;
}

/* After a failed turn: what is broken goes, so that the next one opens it anew. */
static void disconnect_broken(struct worker *worker)
{
    report_transient(worker->consumer_broken ? "rabbitmq" : "postgres");
    if (worker->consumer_broken) {
        worker->topology_applied = false; /* a queue may be gone */
        disconnect_consumer(worker);
    }
    if (worker->db == NULL) return;
    if (!db_usable(worker->db)) {
        disconnect_db(worker);
    } else if (worker->consumer == NULL) {
        disconnect_db(
            worker); /* who cannot consume must not count among those who share the shards */
        health_set(HEALTH_POSTGRES, HEALTH_UP);
    } else {
        query_abandon(worker->db);
    }
}

bool worker_turn(struct worker *worker, struct err *err)
{
    health_beat();
    bool ok = turn(worker, err);
    if (ok)
        backoff_reset(&worker->backoff);
    else
        disconnect_broken(worker);
    report_oldest(cycle_oldest_us(worker->cycle));
    return ok;
}

/* Commands that come while nothing can be decided wait as well: unread, nobody would know. */
static void keep_consumer(struct worker *worker)
{
    struct err ignored = {0};

    if (worker->consumer == NULL) return;
    if (!consumer_beat(worker->consumer, &ignored) || !cycle_take(worker->cycle, &ignored))
        disconnect_consumer(worker);
}

void worker_pause(struct worker *worker)
{
    uint32_t random, left_ms;

    random_bytes(&random, sizeof random);
    left_ms = backoff_next_ms(&worker->backoff, random);
    while (left_ms > 0 && !stop_requested()) {
        uint32_t step_ms = left_ms < PAUSE_STEP_MS ? left_ms : PAUSE_STEP_MS;
        clock_sleep_ms(step_ms);
        left_ms -= step_ms;
        health_beat();
        keep_consumer(worker);
        report_oldest(cycle_oldest_us(worker->cycle));
    }
}

/* What cannot be decided now is the broker's again when the connection ends. */
static bool finish_batch(struct worker *worker, struct err *err)
{
    uint32_t taken;

    if (!give_back_owed(worker, err)) return false;
    if (!cycle_holds(worker->cycle)) return true;
    if (cycle_turn(worker->cycle, 0, &taken, err)) return true;
    if (err->kind != ERR_FATAL) cycle_drop(worker->cycle);
    return false;
}

bool worker_drain(struct worker *worker, struct err *err)
{
    if (worker->consumer == NULL || worker->db == NULL) return true;
    if (!finish_batch(worker, err)) return false;
    if (!end_consumer(worker, err)) return false;
    for (uint32_t i = 0; i < worker->names.shards; i++)
        if (worker->shards[i] == SHARD_OURS) worker->shards[i] = SHARD_LEFT;
    return unlock_left_shards(worker, err);
}
