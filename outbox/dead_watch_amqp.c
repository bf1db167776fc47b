/*
 * dead_watch_amqp.c - see dead_watch_amqp.h. Invariants:
 *  1. the queue is looked at, and counted, only in our turn: while somebody goes through it, the
 * letters he has passed are not counted by the broker;
 *  2. the turn is given back after the letter: it is at the head again when the next one looks;
 *  3. only the thread touches its state, and it holds no lock while it can be cancelled.
 */
#include "outbox/dead_watch_amqp.h"

#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/link_amqp.h"
#include "base/log.h"
#include "base/metrics.h"
#include "outbox/dead_since.h"
#include "outbox/dead_turn_pg.h"
#include "protocol/names.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEP_MS = 100,
    LEAVE_MS = 700, /* to end by itself; then it is cancelled */
    TIMEOUT_MAX_MS = 2000,
    COMPLAIN_EVERY_MS = 60000,
    LOOK_MAX = 2000, /* of more letters than this only the number is told */
    US_PER_S = 1000000,
};

struct dead_watch {
    const struct relay_settings *settings;
    struct names names;
    struct arena arena; /* properties of letters; bodies are passed over */
    struct consumer *consumer;
    struct delivery letters_seen[LOOK_MAX];
    pthread_t thread;
    atomic_bool is_leaving, has_left;

    uint32_t count;
    int64_t since_us; /* when the oldest died; 0: there is none */
    uint64_t complain_at_ms;
    struct metric *letters, *oldest;
};

/* --- looking ----------------------------------------------------------------------------- */

/* A queue that is not there yet has no letters. */
static bool count_letters(struct dead_watch *watch, struct link *link, uint32_t *count,
                          struct err *err)
{
    const amqp_queue_declare_ok_t *found =
        amqp_queue_declare(link->state, LINK_CHANNEL, amqp_cstring_bytes(watch->names.dlq), true,
                           true, false, false, amqp_empty_table);
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(link->state);

    *count = found == NULL ? 0 : found->message_count;
    if (link_refusal_code(reply) == AMQP_NOT_FOUND) return true;
    return link_answered(link, reply, ERR_RETRY, err, "count the letters in %s", watch->names.dlq);
}

/* When the letter at the head died. All are taken and given back: RabbitMQ 3.10 would put a single
 * one behind others that have come back before it. */
static bool read_head(struct dead_watch *watch, uint32_t count, uint32_t timeout_ms,
                      int64_t *died_us, struct err *err)
{
    struct consumer_options options = {
        .url = watch->settings->amqp_url, .name = watch->settings->name, .timeout_ms = timeout_ms};
    uint64_t until_ms = clock_monotonic_ms() + timeout_ms;
    uint32_t seen = 0, fetched = 0;

    bool ok = consumer_open(&watch->consumer, &options, err) &&
              consumer_subscribe(watch->consumer, watch->names.dlq, 0, (uint16_t)count, err);
    while (ok && seen < count && clock_monotonic_ms() < until_ms) {
        arena_reset(&watch->arena);
        ok = consumer_fetch(watch->consumer, STEP_MS, watch->letters_seen, LOOK_MAX, &watch->arena,
                            &fetched, err);
        if (seen == 0 && fetched > 0) *died_us = dead_since_us(watch->letters_seen[0].properties);
        seen += fetched;
    }
    consumer_close(watch->consumer);
    watch->consumer = NULL;
    return ok;
}

static bool look_over(struct dead_watch *watch, struct link *link, uint32_t timeout_ms,
                      struct err *err)
{
    int64_t died_us = 0;
    uint32_t count;

    if (!count_letters(watch, link, &count, err)) return false;
    if (count > 0 && count <= LOOK_MAX && !read_head(watch, count, timeout_ms, &died_us, err))
        return false;
    watch->count = count;
    if (count == 0) watch->since_us = 0;
    if (count > 0 && (died_us > 0 || watch->since_us == 0))
        watch->since_us = died_us > 0 ? died_us : clock_wall_us();
    return true;
}

static bool look(struct dead_watch *watch, struct err *err)
{
    const struct relay_settings *settings = watch->settings;
    uint32_t timeout_ms =
        settings->timeout_ms < TIMEOUT_MAX_MS ? settings->timeout_ms : TIMEOUT_MAX_MS;
    struct db_options db_options = {.url = settings->database_url,
                                    .application_name = settings->name,
                                    .role = settings->database_role,
                                    .connect_timeout_ms = timeout_ms,
                                    .answer_timeout_ms = timeout_ms};
    struct link_options link_options = {settings->amqp_url, settings->name, 0, timeout_ms};
    struct db *turn = NULL;
    struct link *link = NULL;

    if (!dead_turn_take(&turn, &db_options, watch->names.dlq, err)) return false;
    if (turn == NULL) return true; /* somebody else's: what was seen last stands */
    bool ok = link_open(&link, &link_options, err) && look_over(watch, link, timeout_ms, err);
    link_close(link);
    db_close(turn);
    return ok;
}

/* --- the thread -------------------------------------------------------------------------- */

static void show(const struct dead_watch *watch)
{
    int64_t age_us = watch->since_us == 0 ? 0 : clock_wall_us() - watch->since_us;

    metric_set(watch->letters, watch->count);
    metric_set(watch->oldest, age_us < 0 ? 0 : (double)age_us / US_PER_S);
}

static void complain(struct dead_watch *watch, const struct err *err)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (now_ms < watch->complain_at_ms) return;
    watch->complain_at_ms = now_ms + COMPLAIN_EVERY_MS;
    log_warn("the dead letters are not counted: %s", err->text);
}

static void rest(struct dead_watch *watch)
{
    uint64_t until_ms = clock_monotonic_ms() + (uint64_t)watch->settings->dead_watch_s * 1000;

    while (!atomic_load(&watch->is_leaving) && clock_monotonic_ms() < until_ms)
        clock_sleep_ms(STEP_MS);
}

/* It can be cancelled only while it looks: nothing there takes a lock that others wait for. */
static void *run(void *context)
{
    struct dead_watch *watch = context;
    int ignored;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
    while (!atomic_load(&watch->is_leaving)) {
        struct err err = {0};
        (void)pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &ignored);
        bool ok = look(watch, &err);
        (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ignored);
        if (!ok) complain(watch, &err);
        show(watch);
        rest(watch);
    }
    atomic_store(&watch->has_left, true);
    return NULL;
}

/* Signals are for the relay's thread, whose waits they end. */
static bool start(struct dead_watch *watch, struct err *err)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&watch->thread, NULL, run, watch);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0) return true;
    return err_set(err, ERR_FATAL, "could not start a thread: %s", strerror(failure));
}

static bool prepare(struct dead_watch *watch, struct err *err)
{
    watch->letters = metric_register(METRIC_GAUGE, "ledger_dead_letters",
                                     "Letters in the dead-letter queue.", NULL);
    watch->oldest =
        metric_register(METRIC_GAUGE, "ledger_dead_letter_oldest_seconds",
                        "For how long the letter at its head has been dead; 0: none.", NULL);
    return names_make(&watch->names, watch->settings->prefix, watch->settings->shards, err) &&
           arena_open(&watch->arena, 8 * consumer_arena_least(0), err);
}

bool dead_watch_open(struct dead_watch **out, const struct relay_settings *settings,
                     struct err *err)
{
    *out = NULL;
    if (settings->dead_watch_s == 0) return true;
    struct dead_watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return err_set(err, ERR_FATAL, "could not watch the dead letters: out of memory");
    watch->settings = settings;
    if (prepare(watch, err) && start(watch, err)) {
        *out = watch;
        return true;
    }
    arena_close(&watch->arena);
    free(watch);
    return false;
}

/* Cancelled in a wait for a server that does not answer, it leaves its connections to the end of
 * the process, which follows. */
void dead_watch_close(struct dead_watch *watch)
{
    uint64_t until_ms = clock_monotonic_ms() + LEAVE_MS;

    if (watch == NULL) return;
    atomic_store(&watch->is_leaving, true);
    while (!atomic_load(&watch->has_left) && clock_monotonic_ms() < until_ms) clock_sleep_ms(10);
    if (!atomic_load(&watch->has_left)) (void)pthread_cancel(watch->thread);
    (void)pthread_join(watch->thread, NULL);
    arena_close(&watch->arena);
    free(watch);
}
