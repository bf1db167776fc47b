/*
 * browse_amqp.c - see browse_amqp.h. Deliveries are held unacknowledged while one looks; closing
 * the connection gives them back in their order. A basic.nack of more than 32 would not: RabbitMQ
 * 3.10 takes those in the order of a hash.
 */
#include "dlq/browse_amqp.h"

#include "base/clock.h"
#include "base/link_amqp.h"
#include "base/topology_amqp.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    HEARTBEAT_S = 60,
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
    bool subscribed;
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

/* As the ledger declares it; RabbitMQ refuses when it is there with other arguments. */
static bool check_queue(const struct browse_options *options, struct err *err)
{
    struct names_topology *own = calloc(1, sizeof *own);
    bool ok;

    if (own == NULL) return err_set(err, ERR_FATAL, "could not look: out of memory");
    names_topology(options->names, own);
    struct topology queue = {.queues = &own->queues[options->names->shards], .queues_count = 1};
    ok = topology_apply(options->url, &queue, TOPOLOGY_DECLARE, err);
    free(own);
    return ok;
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
    browse->subscribed = browse->total > 0;
    return !browse->subscribed ||
           consumer_subscribe(browse->consumer, options->names->dlq, 0, 0, err);
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
    while (*count == 0) {
        if (!consumer_fetch(browse->consumer, FETCH_MS, out, max, arena, count, err)) return false;
        if (*count == 0 && clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY,
                           "could not look further into %s: %" PRIu64 " of %" PRIu64
                           " letters came; does somebody else consume them?",
                           browse->options.names->dlq, browse->seen, browse->total);
    }
    browse->seen += *count;
    return true;
}

bool browse_take(struct browse *browse, uint64_t tag, struct err *err)
{
    browse->taken++;
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

bool browse_finish(struct browse *browse, struct err *err)
{
    bool ok = true;

    if (browse == NULL) return true;
    clock_sleep_ms(browse->taken > 0 ? ACKS_LAND_MS : 0);
    consumer_close(browse->consumer);
    if (browse->subscribed && err->kind == ERR_NONE) ok = await_returned(browse, err);
    link_close(browse->link);
    free(browse);
    return ok;
}
