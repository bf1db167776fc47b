/*
 * browse_amqp.c - see browse_amqp.h. Letters are held unacknowledged while one looks, and closing
 * the connection gives them back: RabbitMQ 3.10 does that in their order, while it takes those of
 * one basic.nack in the order of a hash when they are more than 32.
 *
 * Invariants:
 *  1. letters are held in parts, each by a connection of its own, as an acknowledgement costs the
 *     broker 0.2 ms for each 1,000 letters that its channel holds before that one. Only the last
 *     part is open. It is cancelled when it is full, with nothing on its way (else the broker would
 *     put that back out of order), before the next one begins; so each holds letters later than
 *     those of all before it, and they are closed in that order;
 *  2. what the broker got back before it keeps in a list of its own, ahead of the queue, and adds
 *     to that list's end. Before giving back we therefore hold all of it: the letters that come as
 *     redelivered, which are the first ones.
 */
#include "dlq/browse_amqp.h"

#include "base/clock.h"
#include "base/link_amqp.h"
#include "base/topology_amqp.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    HEARTBEAT_S = 60,
    POLL_MS = 5,
    FETCH_MS = 200,
    PASSED_MAX = 256,
    PART_LEAST = 20000,
    PART_MOST = UINT16_MAX, /* of a prefetch count; 0, "no limit", is 2000 for a quorum queue */
    PARTS_MAX = 120,
    DLX = 3,           /* among the exchanges of names_topology */
    PARTS_USUAL = 100, /* of a very long queue; the rest is for hold_all_returned */
    PART_SHIFT = 48,   /* above a letter's tag on its connection, its part */
};

struct part {
    struct consumer *consumer;
    uint16_t prefetch; /* it is full when it holds so many */
    uint32_t held;
    bool taken_from;
};

struct browse {
    struct browse_options options;
    struct link *link; /* for counting */
    uint64_t total, seen;
    struct part parts[PARTS_MAX];
    uint32_t parts_count;               /* the last one is open */
    bool reached_new;                   /* the last letter had not been looked at before */
    bool failed;                        /* a connection is of no more use */
    struct delivery passed[PASSED_MAX]; /* letters that nobody is to see */
    struct arena scratch;               /* theirs */
};

/* What is ready: neither held by somebody nor taken. */
static bool count_ready(struct browse *browse, uint64_t *count, struct err *err)
{
    struct link *link = browse->link;
    const char *queue = browse->options.names->dlq;

    if (!link_flush(link, err)) return false;
    const amqp_queue_declare_ok_t *found =
        amqp_queue_declare(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue), true, true, false,
                           false, amqp_empty_table);
    *count = found != NULL ? found->message_count : 0;
    return link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, err, "look into %s",
                         queue);
}

/* With its exchange, as the ledger declares them; RabbitMQ refuses when it is there with other
 * arguments. */
static bool check_queue(const struct browse_options *options, struct err *err)
{
    struct names_topology *own = calloc(1, sizeof *own);
    bool ok;

    if (own == NULL) return err_set(err, ERR_FATAL, "could not look: out of memory");
    names_topology(options->names, own);
    struct topology dead = {.exchanges = &own->exchanges[DLX],
                            .exchanges_count = 1,
                            .queues = &own->queues[options->names->shards],
                            .queues_count = 1,
                            .bindings = &own->bindings[options->names->shards + 1],
                            .bindings_count = 1};
    ok = topology_apply(options->url, &dead, TOPOLOGY_DECLARE, err);
    free(own);
    return ok;
}

/* The smallest parts that hold all. */
static uint16_t part_size(uint64_t total, uint64_t left)
{
    uint64_t size = (total + PARTS_USUAL - 1) / PARTS_USUAL;

    if (size < PART_LEAST) size = PART_LEAST;
    return (uint16_t)(size < left ? size : left);
}

bool browse_open(struct browse **out, const struct browse_options *options, struct err *err)
{
    struct browse *browse = calloc(1, sizeof *browse);
    struct link_options link = {options->url, options->name, 0, options->timeout_ms};
    const uint64_t most = (uint64_t)PARTS_USUAL * PART_MOST;

    *out = browse;
    if (browse == NULL) return err_set(err, ERR_FATAL, "could not look: out of memory");
    browse->options = *options;
    if (!arena_open(&browse->scratch, 2 * consumer_arena_least(options->body_max), err) ||
        !check_queue(options, err) || !link_open(&browse->link, &link, err) ||
        !count_ready(browse, &browse->total, err))
        return false;
    if (browse->total > most) browse->total = most;
    return true;
}

uint64_t browse_total(const struct browse *browse)
{
    return browse->total;
}

static struct part *part_last(struct browse *browse)
{
    return browse->parts_count == 0 ? NULL : &browse->parts[browse->parts_count - 1];
}

static bool part_begin(struct browse *browse, uint16_t prefetch, struct err *err)
{
    struct part *part = &browse->parts[browse->parts_count];
    struct consumer_options options = {.url = browse->options.url,
                                       .name = browse->options.name,
                                       .heartbeat_s = HEARTBEAT_S,
                                       .timeout_ms = browse->options.timeout_ms,
                                       .body_max = browse->options.body_max};

    if (browse->parts_count == PARTS_MAX)
        return err_set(err, ERR_RETRY, "could not look further into %s: too much comes and goes",
                       browse->options.names->dlq);
    if (!consumer_open(&part->consumer, &options, err)) return false;
    browse->parts_count++;
    part->prefetch = prefetch;
    return consumer_subscribe(part->consumer, browse->options.names->dlq, 0, prefetch, err);
}

/* Comes back when the broker has done it, so that what is acknowledged later brings nothing. */
static bool part_end(struct browse *browse, struct part *part, struct arena *arena, struct err *err)
{
    uint32_t count = 1;

    if (!consumer_cancel(part->consumer, 0, err)) return false;
    for (; count > 0; part->held += count) {
        arena_reset(arena);
        if (!consumer_fetch(part->consumer, 0, browse->passed, PASSED_MAX, arena, &count, err))
            return false;
    }
    return true;
}

static bool beat_all(struct browse *browse, struct err *err)
{
    for (uint32_t i = 0; i < browse->parts_count; i++)
        if (!consumer_beat(browse->parts[i].consumer, err)) return false;
    return true;
}

/* A part with room, the last one or a new one. */
static bool part_ready(struct browse *browse, struct err *err)
{
    struct part *last = part_last(browse);

    if (last != NULL && last->held < last->prefetch) return true;
    if (last != NULL && !part_end(browse, last, &browse->scratch, err)) return false;
    return part_begin(browse, part_size(browse->total, browse->total - browse->seen), err);
}

static bool fetch_some(struct browse *browse, struct delivery *out, uint32_t max,
                       struct arena *arena, uint32_t *count, struct err *err)
{
    uint64_t deadline_ms = clock_monotonic_ms() + browse->options.timeout_ms;
    struct part *last = part_last(browse);

    while (*count == 0) {
        if (!consumer_fetch(last->consumer, FETCH_MS, out, max, arena, count, err)) return false;
        if (*count == 0 && clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY,
                           "could not look further into %s: %" PRIu64 " of %" PRIu64
                           " letters came; does somebody else consume them?",
                           browse->options.names->dlq, browse->seen, browse->total);
    }
    last->held += *count;
    browse->reached_new = !out[*count - 1].redelivered;
    return true;
}

bool browse_next(struct browse *browse, struct delivery *out, uint32_t max, struct arena *arena,
                 uint32_t *count, struct err *err)
{
    uint64_t left = browse->total - browse->seen;

    *count = 0;
    if (left == 0) return true;
    if (max > left) max = (uint32_t)left;
    if (!beat_all(browse, err) || !part_ready(browse, err) ||
        !fetch_some(browse, out, max, arena, count, err)) {
        browse->failed = true;
        return false;
    }
    browse->seen += *count;
    for (uint32_t i = 0; i < *count; i++)
        out[i].tag |= (uint64_t)(browse->parts_count - 1) << PART_SHIFT;
    return true;
}

/* When the part is open the broker sends another letter for it. */
bool browse_take(struct browse *browse, uint64_t tag, struct err *err)
{
    struct part *part = &browse->parts[tag >> PART_SHIFT];

    assert(part->held > 0);
    part->held--;
    part->taken_from = true;
    return consumer_ack(part->consumer, tag & ((UINT64_C(1) << PART_SHIFT) - 1), false, err);
}

/* Takes in what is on its way to the last part: until it is full, or the broker has nothing more.
 */
static bool part_fill(struct browse *browse, struct err *err)
{
    uint64_t deadline_ms = clock_monotonic_ms() + browse->options.timeout_ms, ready = 1;
    struct part *last = part_last(browse);

    while (last->held < last->prefetch && ready > 0) {
        uint32_t count = 0;
        arena_reset(&browse->scratch);
        if (!consumer_fetch(last->consumer, FETCH_MS, browse->passed, PASSED_MAX, &browse->scratch,
                            &count, err))
            return false;
        last->held += count;
        if (count > 0) browse->reached_new = !browse->passed[count - 1].redelivered;
        if (count == 0 && !count_ready(browse, &ready, err)) return false;
        if (count == 0 && ready > 0 && clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY, "could not leave %s: what it sends does not arrive",
                           browse->options.names->dlq);
    }
    return true;
}

/* See invariant 2. A last part that is not full may get letters at the very moment when it is
 * ended; the broker puts those back, ahead of all that we hold. They are taken in again, each by a
 * part of its own, which is full at once and so ends without such doubt, until one comes that is
 * new. */
static bool hold_all_returned(struct browse *browse, struct err *err)
{
    struct arena *arena = &browse->scratch;
    uint32_t count = 1;
    uint64_t ready = 0;

    while (count > 0 && !browse->reached_new) {
        arena_reset(arena);
        if (!browse_next(browse, browse->passed, PASSED_MAX, arena, &count, err)) return false;
    }
    if (!part_fill(browse, err)) return false;
    bool full = part_last(browse)->held == part_last(browse)->prefetch;
    if (!part_end(browse, part_last(browse), arena, err)) return false;
    for (browse->reached_new = full && browse->reached_new; !browse->reached_new;) {
        if (!count_ready(browse, &ready, err)) return false;
        if (ready == 0) break;
        arena_reset(arena);
        count = 0;
        if (!part_begin(browse, 1, err) ||
            !fetch_some(browse, browse->passed, 1, arena, &count, err) ||
            !part_end(browse, part_last(browse), arena, err))
            return false;
    }
    return true;
}

static bool land_acks(struct browse *browse, struct err *err)
{
    for (uint32_t i = 0; i < browse->parts_count; i++)
        if (browse->parts[i].taken_from &&
            !consumer_land_acks(browse->parts[i].consumer, browse->options.names->dlq, err))
            return false;
    return true;
}

static bool await_ready(struct browse *browse, uint64_t wanted, struct err *err)
{
    uint64_t ready = 0, deadline_ms = clock_monotonic_ms() + browse->options.timeout_ms;

    for (;;) {
        if (!count_ready(browse, &ready, err)) return false;
        if (ready >= wanted) return true;
        if (clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY,
                           "could not wait for %s: it shows %" PRIu64 " letters, not %" PRIu64
                           "; RabbitMQ is still putting them back, or somebody consumes them",
                           browse->options.names->dlq, ready, wanted);
        clock_sleep_ms(POLL_MS);
    }
}

/* Part by part, so that one is back before the next. */
static bool give_back(struct browse *browse, struct err *err)
{
    uint64_t ready = 0;

    if (!hold_all_returned(browse, err) || !land_acks(browse, err) ||
        !count_ready(browse, &ready, err))
        return false;
    for (uint32_t i = 0; i < browse->parts_count; i++) {
        struct part *part = &browse->parts[i];
        consumer_close(part->consumer);
        part->consumer = NULL;
        ready += part->held;
        if (!await_ready(browse, ready, err)) return false;
    }
    return true;
}

bool browse_finish(struct browse *browse, struct err *err)
{
    bool had_failed = err->kind != ERR_NONE;
    struct err own = {0};
    bool ok = true;

    if (browse == NULL) return true;
    if (!browse->failed && browse->parts_count > 0) ok = give_back(browse, &own);
    for (uint32_t i = 0; i < PARTS_MAX; i++) consumer_close(browse->parts[i].consumer);
    link_close(browse->link);
    arena_close(&browse->scratch);
    free(browse);
    if (!ok && !had_failed) *err = own;
    return ok;
}
