/*
 * browse_amqp.c - see browse_amqp.h. RabbitMQ 3.10 puts what comes back to a quorum queue not at
 * its head but behind what has come back before. So the order stays only for one who holds all of
 * them before he gives any back: even to see one letter, all are taken.
 *
 * They are held unacknowledged, HELD_MAX by one consumer (that is as much as a prefetch can say),
 * then it is cancelled and the next one begins: each holds a contiguous part. Closing the
 * connection gives them back, consumer after consumer as their tags sort (up to CONSUMERS_MAX:
 * beyond 32, and for a basic.nack of more than 32, the order is a hash's).
 */
#include "dlq/browse_amqp.h"

#include "base/clock.h"
#include "base/link_amqp.h"
#include "base/topology_amqp.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    HEARTBEAT_S = 60,
    HELD_MAX = 65535,
    CONSUMERS_MAX = 31,
    SKIP_PAGE = 500,
    DLX = 3, /* among the exchanges of names_topology */
    POLL_MS = 50,
    ACKS_LAND_MS = 250, /* RabbitMQ forgets acknowledgements that a closing connection overtakes */
    FETCH_MS = 200,
    /* RabbitMQ puts about 100,000 letters a second back in their places; three times that. */
    RETURNED_A_MS = 30,
};

struct browse {
    struct browse_options options;
    struct consumer *consumer;
    struct link *link; /* for counting */
    uint64_t total, seen, taken;
    uint32_t consumers;           /* begun so far; the last one is active */
    uint32_t held;                /* by the last one */
    uint64_t last_tag, first_tag; /* delivered; the last consumer's */
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

static bool begin_consumer(struct browse *browse, struct err *err)
{
    uint32_t number = browse->consumers;

    if (number > 0 && !consumer_cancel(browse->consumer, number - 1, err)) return false;
    browse->consumers++;
    browse->held = 0;
    browse->first_tag = browse->last_tag + 1;
    return consumer_subscribe(browse->consumer, browse->options.names->dlq, number, HELD_MAX, err);
}

bool browse_open(struct browse **out, const struct browse_options *options, struct err *err)
{
    struct browse *browse = calloc(1, sizeof *browse);
    struct link_options link = {options->url, options->name, 0, options->timeout_ms};
    struct consumer_options consumer = {.url = options->url,
                                        .name = options->name,
                                        .heartbeat_s = HEARTBEAT_S,
                                        .timeout_ms = options->timeout_ms,
                                        .body_max = options->body_max};

    *out = browse;
    if (browse == NULL) return err_set(err, ERR_FATAL, "could not look: out of memory");
    browse->options = *options;
    if (!check_queue(options, err) || !link_open(&browse->link, &link, err) ||
        !count_ready(browse, &browse->total, err) ||
        !consumer_open(&browse->consumer, &consumer, err))
        return false;
    if (browse->total > (uint64_t)HELD_MAX * CONSUMERS_MAX)
        browse->total = (uint64_t)HELD_MAX * CONSUMERS_MAX;
    return browse->total == 0 || begin_consumer(browse, err);
}

uint64_t browse_total(const struct browse *browse)
{
    return browse->total;
}

bool browse_next(struct browse *browse, struct delivery *out, uint32_t max, struct arena *arena,
                 uint32_t *count, struct err *err)
{
    uint64_t left = browse->total - browse->seen;
    uint64_t deadline_ms = clock_monotonic_ms() + browse->options.timeout_ms;

    *count = 0;
    if (left == 0) return true;
    if (max > left) max = (uint32_t)left;
    if (max > HELD_MAX - browse->held && browse->held < HELD_MAX) max = HELD_MAX - browse->held;
    if (browse->held == HELD_MAX && !begin_consumer(browse, err)) return false;
    while (*count == 0) {
        if (!consumer_fetch(browse->consumer, FETCH_MS, out, max, arena, count, err)) return false;
        if (*count == 0 && clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY,
                           "could not look further into %s: %" PRIu64 " of %" PRIu64
                           " letters came; does somebody else consume them?",
                           browse->options.names->dlq, browse->seen, browse->total);
    }
    browse->seen += *count;
    browse->held += *count;
    browse->last_tag = out[*count - 1].tag;
    return true;
}

bool browse_take(struct browse *browse, uint64_t tag, struct err *err)
{
    browse->taken++;
    if (tag >= browse->first_tag) browse->held--;
    return consumer_ack(browse->consumer, tag, false, err);
}

static bool await_returned(struct browse *browse, struct err *err)
{
    uint64_t wanted = browse->total - browse->taken, ready = 0;
    uint64_t deadline_ms =
        clock_monotonic_ms() + browse->options.timeout_ms + wanted / RETURNED_A_MS;

    for (;;) {
        if (!count_ready(browse, &ready, err)) return false;
        if (ready >= wanted) return true;
        if (clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY,
                           "%s shows %" PRIu64 " letters, not %" PRIu64
                           ": RabbitMQ is still putting "
                           "them back, or somebody consumes them",
                           browse->options.names->dlq, ready, wanted);
        clock_sleep_ms(POLL_MS);
    }
}

static bool pass_over_rest(struct browse *browse, struct err *err)
{
    static struct delivery deliveries[SKIP_PAGE];
    struct arena arena;
    uint32_t count = 1;
    bool ok = arena_open(&arena, 4 * consumer_arena_least(browse->options.body_max), err);

    while (ok && count > 0) {
        arena_reset(&arena);
        ok = browse_next(browse, deliveries, SKIP_PAGE, &arena, &count, err);
    }
    arena_close(&arena);
    return ok;
}

bool browse_finish(struct browse *browse, struct err *err)
{
    bool looked, ok = true;

    if (browse == NULL) return true;
    looked = browse->consumers > 0 && err->kind == ERR_NONE;
    if (looked) ok = pass_over_rest(browse, err);
    clock_sleep_ms(browse->taken > 0 ? ACKS_LAND_MS : 0);
    consumer_close(browse->consumer);
    if (looked && ok) ok = await_returned(browse, err);
    link_close(browse->link);
    free(browse);
    return ok;
}
