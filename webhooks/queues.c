/*
 * queues.c - see queues.h.
 */
#include "webhooks/queues.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { DELIVERY_LIMIT = 1000000000 }; /* as protocol/names.c says why */

void queue_of_endpoint(const struct names *names, const char *id,
                       char name[static TOPOLOGY_NAME_SIZE])
{
    int length = snprintf(name, TOPOLOGY_NAME_SIZE, "%s.to.%s", names->webhooks, id);
    assert(length < TOPOLOGY_NAME_SIZE);
}

void queue_of_delay(const struct names *names, uint32_t delay_ms,
                    char name[static TOPOLOGY_NAME_SIZE])
{
    int length = snprintf(name, TOPOLOGY_NAME_SIZE, "%s.delay.%u", names->webhooks, delay_ms);
    assert(length < TOPOLOGY_NAME_SIZE);
}

static struct topology_argument *add(struct topology_queue *queue, const char *name)
{
    assert(queue->arguments_count < TOPOLOGY_ARGUMENTS_MAX);
    struct topology_argument *argument = &queue->arguments[queue->arguments_count++];
    argument->name = name;
    return argument;
}

/* What all have; its name is filled in by the caller. */
static struct topology_queue *add_queue(struct queues_topology *out)
{
    struct topology_queue *queue = &out->queues[out->topology.queues_count++];

    add(queue, "x-queue-type")->text = "quorum";
    add(queue, "x-overflow")->text = "reject-publish";
    add(queue, "x-delivery-limit")->number = DELIVERY_LIMIT;
    return queue;
}

static void make_single(struct topology_queue *queue)
{
    struct topology_argument *argument = add(queue, "x-single-active-consumer");

    argument->is_flag = true;
    argument->number = 1;
}

static void add_delay(const struct names *names, uint32_t delay_ms, struct queues_topology *out)
{
    struct topology_queue *queue = &out->queues[out->topology.queues_count++];

    queue_of_delay(names, delay_ms, queue->name);
    add(queue, "x-queue-type")->text = "quorum";
    add(queue, "x-overflow")->text = "reject-publish";
    add(queue, "x-message-ttl")->number = delay_ms;
    add(queue, "x-dead-letter-exchange")->text = ""; /* the default one */
    add(queue, "x-dead-letter-routing-key")->text = names->webhooks;
    add(queue, "x-dead-letter-strategy")->text = "at-least-once";
}

void queues_begin(struct queues_topology *out)
{
    memset(out, 0, sizeof *out);
    out->topology = (struct topology){.queues = out->queues, .bindings = &out->binding};
}

void queues_topology(const struct names *names, const struct schedule *schedule,
                     struct queues_topology *out)
{
    queues_begin(out);
    struct topology_queue *queue = add_queue(out);
    (void)snprintf(queue->name, sizeof queue->name, "%s", names->webhooks);
    make_single(queue);
    for (uint32_t step = 0; step < schedule->count; step++)
        for (uint32_t jitter = 0; jitter < JITTERS; jitter++)
            add_delay(names, schedule_delay_ms(schedule, step, jitter), out);
    (void)snprintf(out->binding.source, TOPOLOGY_NAME_SIZE, "%s", names->events);
    (void)snprintf(out->binding.destination, TOPOLOGY_NAME_SIZE, "%s", names->webhooks);
    (void)snprintf(out->binding.key, TOPOLOGY_NAME_SIZE, "#");
    out->topology.bindings_count = 1;
}

void queues_add(const struct names *names, const struct endpoint *endpoint,
                struct queues_topology *out)
{
    assert(out->topology.queues_count < ENDPOINTS_MAX);
    struct topology_queue *queue = add_queue(out);
    queue_of_endpoint(names, endpoint->id, queue->name);
    if (endpoint->ordered) make_single(queue);
}
