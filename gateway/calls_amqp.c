/*
 * calls_amqp.c - see calls_amqp.h.
 *
 * A line is one connection and its thread. Others put calls into its inbox, under its lock, and
 * wake it; whatever has been taken out of there belongs to the thread alone: the table of what is
 * under way, by number, and the same in the order of deadlines, which is that of sending, since all
 * wait equally long.
 */
#include "gateway/calls_amqp.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/health.h"
#include "base/log.h"
#include "client/rpc_amqp.h"
#include "protocol/properties.h"

#include <assert.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    BUCKETS = 4096, /* a power of two */
    ARENA_SIZE = 4 * RPC_REPLY_MAX,
    WAIT_MS = 1000,
    REPLIES_A_TURN = 256,
    PAUSE_FIRST_MS = 50,
    PAUSE_MOST_MS = 2000,
};

struct line {
    struct calls *calls;
    pthread_t thread;
    bool running;
    int wake; /* an eventfd: something is in the inbox, or it is time to go */
    pthread_mutex_t lock;
    struct call *inbox, **inbox_end; /* under the lock */
    bool open, stopping;             /* under the lock: whether the inbox takes calls */
    atomic_uint in_flight;
    /* The thread's own. */
    struct rpc *rpc;
    struct arena arena;
    struct backoff backoff;
    bool told; /* that it is not connected */
    struct call *table[BUCKETS];
    struct call *oldest, *youngest;
};

struct calls {
    struct calls_options options;
    struct line lines[CALLS_CONNECTIONS_MAX];
    pthread_mutex_t health; /* one line's news at a time: the last one is what is so */
    atomic_uint lines_open;
    atomic_uint_fast64_t numbers;
};

/* --- what is under way, in the thread ----------------------------------------------------- */

static struct call **place_of(struct line *line, uint64_t number)
{
    struct call **at = &line->table[number & (BUCKETS - 1)];

    while (*at != NULL && (*at)->number != number) at = &(*at)->chained;
    return at;
}

static void call_note(struct line *line, struct call *call)
{
    struct call **at = place_of(line, call->number);

    assert(*at == NULL);
    call->chained = NULL;
    *at = call;
    call->deadline_ms = clock_monotonic_ms() + line->calls->options.reply_timeout_ms;
    call->next = NULL;
    call->previous = line->youngest;
    if (line->youngest != NULL) line->youngest->next = call;
    if (line->oldest == NULL) line->oldest = call;
    line->youngest = call;
}

static void call_end(struct line *line, struct call *call, enum call_end end)
{
    struct call **at = place_of(line, call->number);

    assert(*at == call);
    *at = call->chained;
    *(call->previous == NULL ? &line->oldest : &call->previous->next) = call->next;
    *(call->next == NULL ? &line->youngest : &call->next->previous) = call->previous;
    atomic_fetch_sub(&line->in_flight, 1);
    call->end = end;
    call->ended(call);
}

static void expire(struct line *line)
{
    uint64_t now_ms = clock_monotonic_ms();

    while (line->oldest != NULL && line->oldest->deadline_ms <= now_ms)
        call_end(line, line->oldest, CALL_TIMED_OUT);
}

/* --- sending and receiving ---------------------------------------------------------------- */

static struct call *inbox_take(struct line *line)
{
    uint64_t counted;

    (void)!read(line->wake, &counted, sizeof counted); /* non-blocking: there may be nothing */
    (void)pthread_mutex_lock(&line->lock);
    struct call *first = line->inbox;
    line->inbox = NULL;
    line->inbox_end = &line->inbox;
    (void)pthread_mutex_unlock(&line->lock);
    return first;
}

/* After a failure the rest is noted all the same, so that it ends with the connection. A broker
 * that reads slowly holds up what is sent, not the deadlines of what was. */
static bool send_inbox(struct line *line, struct err *err)
{
    struct call *call = inbox_take(line);
    bool ok = true;

    while (call != NULL) {
        struct call *next = call->next;
        struct err why = {0};
        call_note(line, call);
        if (ok && !rpc_send(line->rpc, &call->message, &why)) {
            if (why.kind == ERR_REJECT) {
                call_end(line, call, CALL_UNSENT);
            } else {
                *err = why;
                ok = false;
            }
        }
        if (ok) expire(line);
        call = next;
    }
    return ok;
}

/* A reply to a call that was given up, or a second one, is nobody's. */
static void take_reply(struct line *line, const struct rpc_reply *raw)
{
    struct properties properties;
    char text[CORRELATION_SIZE];
    char *end = NULL;

    if (!properties_parse(raw->properties, &properties) ||
        !text_copy(properties.correlation_id, text, sizeof text))
        return;
    uint64_t number = strtoull(text, &end, 16);
    struct call *call = *place_of(line, number);
    if (*end != '\0' || call == NULL) return;
    call->reply = malloc(raw->body.size > 0 ? raw->body.size : 1);
    if (call->reply == NULL) return; /* it times out, and may be asked for again */
    if (raw->body.size > 0) memcpy(call->reply, raw->body.data, raw->body.size);
    call->reply_size = raw->body.size;
    call_end(line, call, CALL_ANSWERED);
}

static uint32_t wait_of(const struct line *line)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (line->oldest == NULL) return WAIT_MS;
    if (line->oldest->deadline_ms <= now_ms) return 0;
    uint64_t left_ms = line->oldest->deadline_ms - now_ms;
    return left_ms < WAIT_MS ? (uint32_t)left_ms : WAIT_MS;
}

static bool receive(struct line *line, struct err *err)
{
    uint32_t wait_ms = wait_of(line);
    bool got = true;

    for (uint32_t i = 0; got && i < REPLIES_A_TURN; i++) { /* then it is the senders' turn */
        struct rpc_reply raw;
        arena_reset(&line->arena);
        if (!rpc_receive(line->rpc, wait_ms, &line->arena, &raw, &got, err)) return false;
        if (got) take_reply(line, &raw);
        wait_ms = 0;
    }
    return true;
}

/* --- open or not -------------------------------------------------------------------------- */

static void set_open(struct line *line, bool open)
{
    (void)pthread_mutex_lock(&line->lock);
    bool changed = line->open != open;
    line->open = open;
    (void)pthread_mutex_unlock(&line->lock);
    if (!changed) return;
    (void)pthread_mutex_lock(&line->calls->health);
    if (open) atomic_fetch_add(&line->calls->lines_open, 1);
    if (!open) atomic_fetch_sub(&line->calls->lines_open, 1);
    health_set(HEALTH_RABBITMQ, calls_connected(line->calls) ? HEALTH_UP : HEALTH_DOWN);
    (void)pthread_mutex_unlock(&line->calls->health);
}

static bool is_stopping(struct line *line)
{
    (void)pthread_mutex_lock(&line->lock);
    bool stopping = line->stopping;
    (void)pthread_mutex_unlock(&line->lock);
    return stopping;
}

static void disconnect(struct line *line)
{
    set_open(line, false);
    rpc_close(line->rpc);
    line->rpc = NULL;
    for (struct call *call = inbox_take(line), *next; call != NULL; call = next) {
        next = call->next;
        call_note(line, call);
    }
    while (line->oldest != NULL) call_end(line, line->oldest, CALL_LOST);
}

static void pause_line(struct line *line)
{
    struct pollfd watched = {.fd = line->wake, .events = POLLIN};
    uint32_t random;

    random_bytes(&random, sizeof random);
    (void)poll(&watched, 1, (int)backoff_next_ms(&line->backoff, random));
}

static bool connect_line(struct line *line, struct err *err)
{
    const struct calls_options *options = &line->calls->options;

    if (!rpc_open(&line->rpc, options->url, options->name, options->timeout_ms, err)) return false;
    rpc_wake_by(line->rpc, line->wake);
    backoff_reset(&line->backoff);
    log_info("connected to RabbitMQ");
    line->told = false;
    return true;
}

static bool turn(struct line *line, struct err *err)
{
    if (line->rpc == NULL && !connect_line(line, err)) return false;
    set_open(line, !rpc_blocked(line->rpc));
    if (!send_inbox(line, err) || !receive(line, err)) return false;
    expire(line);
    return true;
}

static void *run(void *context)
{
    struct line *line = context;
    struct err err;

    while (!is_stopping(line)) {
        if (turn(line, &err)) continue;
        if (!line->told) log_warn("will try again: %s", err.text);
        line->told = true;
        disconnect(line);
        if (!is_stopping(line)) pause_line(line);
    }
    disconnect(line);
    return NULL;
}

/* --- for everybody ------------------------------------------------------------------------ */

static bool line_open(struct line *line, struct calls *calls, struct err *err)
{
    line->calls = calls;
    line->inbox_end = &line->inbox;
    line->backoff = (struct backoff){PAUSE_FIRST_MS, PAUSE_MOST_MS, 0};
    line->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (line->wake < 0) return err_set(err, ERR_FATAL, "could not make an eventfd");
    if (!arena_open(&line->arena, ARENA_SIZE, err)) return false;
    line->running = pthread_create(&line->thread, NULL, run, line) == 0;
    return line->running || err_set(err, ERR_FATAL, "could not start a thread");
}

bool calls_open(struct calls **out, const struct calls_options *options, struct err *err)
{
    struct calls *calls = calloc(1, sizeof *calls);

    *out = NULL;
    if (calls == NULL) return err_set(err, ERR_FATAL, "could not open calls: out of memory");
    assert(options->connections > 0);
    assert(options->connections <= CALLS_CONNECTIONS_MAX);
    calls->options = *options;
    (void)pthread_mutex_init(&calls->health, NULL);
    /* Replies to what an earlier process or connection asked must not meet a call of this one. */
    uint32_t random;
    random_bytes(&random, sizeof random);
    atomic_init(&calls->numbers, (uint64_t)random << 32);
    for (uint32_t i = 0; i < options->connections; i++) {
        calls->lines[i].wake = -1;
        (void)pthread_mutex_init(&calls->lines[i].lock, NULL);
    }
    for (uint32_t i = 0; i < options->connections; i++) {
        if (line_open(&calls->lines[i], calls, err)) continue;
        calls_stop(calls);
        calls_close(calls);
        return false;
    }
    *out = calls;
    return true;
}

static void line_wake(struct line *line)
{
    uint64_t one = 1;

    (void)!write(line->wake, &one, sizeof one); /* fails only when it is awake already */
}

void calls_stop(struct calls *calls)
{
    for (uint32_t i = 0; i < calls->options.connections; i++) {
        struct line *line = &calls->lines[i];
        (void)pthread_mutex_lock(&line->lock);
        line->stopping = true;
        (void)pthread_mutex_unlock(&line->lock);
        line_wake(line);
    }
    for (uint32_t i = 0; i < calls->options.connections; i++) {
        struct line *line = &calls->lines[i];
        if (line->running) (void)pthread_join(line->thread, NULL);
        line->running = false;
    }
}

void calls_close(struct calls *calls)
{
    if (calls == NULL) return;
    for (uint32_t i = 0; i < calls->options.connections; i++) {
        struct line *line = &calls->lines[i];
        assert(!line->running);
        if (line->wake >= 0) (void)close(line->wake);
        if (line->arena.base != NULL) arena_close(&line->arena);
        (void)pthread_mutex_destroy(&line->lock);
    }
    (void)pthread_mutex_destroy(&calls->health);
    free(calls);
}

uint64_t calls_number(struct calls *calls)
{
    return atomic_fetch_add(&calls->numbers, 1) + 1;
}

void calls_correlation(uint64_t number, char text[static CORRELATION_SIZE])
{
    (void)snprintf(text, CORRELATION_SIZE, "%016" PRIx64, number);
}

static bool line_send(struct line *line, struct call *call)
{
    bool full = atomic_fetch_add(&line->in_flight, 1) >= line->calls->options.in_flight_max;

    (void)pthread_mutex_lock(&line->lock);
    bool taken = line->open && !full;
    bool first = line->inbox == NULL;
    if (taken) {
        call->next = NULL;
        *line->inbox_end = call;
        line->inbox_end = &call->next;
    }
    (void)pthread_mutex_unlock(&line->lock);
    if (!taken) atomic_fetch_sub(&line->in_flight, 1);
    if (taken && first) line_wake(line);
    return taken;
}

/* FNV-1a. */
static uint32_t hash_of(struct text text)
{
    uint32_t hash = 2166136261U;

    for (uint32_t i = 0; i < text.length; i++) hash = (hash ^ (uint8_t)text.bytes[i]) * 16777619U;
    return hash;
}

bool calls_send(struct calls *calls, struct call *call)
{
    uint32_t count = calls->options.connections, first = hash_of(call->message.routing_key);

    call->reply = NULL;
    call->reply_size = 0;
    for (uint32_t i = 0; i < count; i++)
        if (line_send(&calls->lines[(first + i) % count], call)) return true;
    call->end = CALL_UNSENT;
    return false;
}

uint32_t calls_in_flight(const struct calls *calls)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < calls->options.connections; i++)
        count += atomic_load(&calls->lines[i].in_flight);
    return count;
}

bool calls_connected(const struct calls *calls)
{
    return atomic_load(&calls->lines_open) > 0;
}
