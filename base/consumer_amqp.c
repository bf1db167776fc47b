/*
 * consumer_amqp.c - deliveries into an arena. Ensures:
 *  1. a delivery is given out whole or not at all, and nothing in it points into rabbitmq-c's
 * memory;
 *  2. rabbitmq-c's memory is freed after each delivery, so it stays at a page or two;
 *  3. after consumer_cancel every delivery sent before the broker agreed is still given out, and
 * fetch finds none only when the broker has put the others back.
 */
#include "base/consumer_amqp.h"

#include "base/content_amqp.h"
#include "base/link_amqp.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONSUMER_QUEUES_MAX = 256, QUEUE_NAME_SIZE = 256, NUMBER_DIGITS_MAX = 10, TAG_SIZE = 24 };

struct subscription {
    uint32_t number, serial;
    char queue[QUEUE_NAME_SIZE];
};

struct consumer {
    struct link *link;
    uint32_t body_max;
    uint32_t cancels_pending; /* asked for, and not yet over at the broker */
    uint32_t subscriptions_count, subscriptions_made;
    struct subscription subscriptions[CONSUMER_QUEUES_MAX];
};

size_t consumer_arena_least(uint32_t body_max)
{
    return (size_t)body_max + CONTENT_OVERHEAD;
}

bool consumer_open(struct consumer **out, const struct consumer_options *options, struct err *err)
{
    struct link_options link_options = {options->url, options->name, options->heartbeat_s,
                                        options->timeout_ms};
    struct consumer *consumer = calloc(1, sizeof *consumer);

    *out = NULL;
    if (consumer == NULL) return err_set(err, ERR_RETRY, "could not open consumer: out of memory");
    consumer->body_max = options->body_max;
    if (!link_open(&consumer->link, &link_options, err)) {
        consumer_close(consumer);
        return false;
    }
    *out = consumer;
    return true;
}

void consumer_close(struct consumer *consumer)
{
    if (consumer == NULL) return;
    link_close(consumer->link);
    free(consumer);
}

/* The consumer tag is the queue's number, a dot, and what makes it unique: a quorum queue loses
 * count when a cancelled tag is used again (rabbitmq-server issue 5927). */
static amqp_bytes_t tag_format(const struct subscription *subscription, char tag[static TAG_SIZE])
{
    (void)snprintf(tag, TAG_SIZE, "%u.%u", subscription->number, subscription->serial);
    return amqp_cstring_bytes(tag);
}

static struct subscription *subscription_of_number(struct consumer *consumer, uint32_t number)
{
    for (uint32_t i = 0; i < consumer->subscriptions_count; i++)
        if (consumer->subscriptions[i].number == number) return &consumer->subscriptions[i];
    return NULL;
}

static bool tag_parse(amqp_bytes_t tag, uint32_t *number)
{
    const char *digits = tag.bytes;

    *number = 0;
    for (size_t i = 0; i < tag.len; i++) {
        if (digits[i] == '.') return i > 0;
        if (digits[i] < '0' || digits[i] > '9' || i == NUMBER_DIGITS_MAX) return false;
        *number = *number * 10 + (uint32_t)(digits[i] - '0');
    }
    return false;
}

bool consumer_subscribe(struct consumer *consumer, const char *queue, uint32_t number,
                        uint16_t prefetch, struct err *err)
{
    struct link *link = consumer->link;
    char tag[TAG_SIZE];

    assert(subscription_of_number(consumer, number) == NULL);
    assert(consumer->subscriptions_count < CONSUMER_QUEUES_MAX);
    struct subscription *added = &consumer->subscriptions[consumer->subscriptions_count];
    added->number = number;
    added->serial = consumer->subscriptions_made++;
    if (!text_copy(text_of(queue), added->queue, sizeof added->queue))
        return err_set(err, ERR_FATAL, "could not consume a queue: its name is over 255 bytes");

    if (!link_flush(link, err)) return false;
    /* Not global: the count holds for the consumers started after it. */
    (void)amqp_basic_qos(link->state, LINK_CHANNEL, 0, prefetch, false);
    if (!link_answered(link, amqp_get_rpc_reply(link->state), ERR_RETRY, err,
                       "set the prefetch of queue %s", queue))
        return false;
    (void)amqp_basic_consume(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue),
                             tag_format(added, tag), false, false, false, amqp_empty_table);
    if (!link_answered(link, amqp_get_rpc_reply(link->state), ERR_RETRY, err, "consume queue %s",
                       queue))
        return false;
    consumer->subscriptions_count++;
    return true;
}

static bool bind_all(struct link *link, const char *queue, const char *exchange,
                     const char *const *keys, uint32_t keys_count, struct err *err)
{
    for (uint32_t i = 0; i < keys_count; i++) {
        (void)amqp_queue_bind(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue),
                              amqp_cstring_bytes(exchange), amqp_cstring_bytes(keys[i]),
                              amqp_empty_table);
        if (!link_answered(link, amqp_get_rpc_reply(link->state), ERR_RETRY, err, "bind to %s",
                           exchange))
            return false;
    }
    return true;
}

bool consumer_listen(struct consumer *consumer, const char *exchange, const char *const *keys,
                     uint32_t keys_count, uint32_t number, uint16_t prefetch, struct err *err)
{
    struct link *link = consumer->link;
    char queue[QUEUE_NAME_SIZE] = "";

    if (!link_flush(link, err)) return false;
    const amqp_queue_declare_ok_t *made = amqp_queue_declare(
        link->state, LINK_CHANNEL, amqp_empty_bytes, false, false, true, true, amqp_empty_table);
    bool fits =
        made != NULL &&
        text_copy((struct text){made->queue.bytes, (uint32_t)made->queue.len}, queue, sizeof queue);
    if (!link_answered(link, amqp_get_rpc_reply(link->state), ERR_RETRY, err, "make a queue"))
        return false;
    if (!fits) return err_set(err, ERR_FATAL, "could not make a queue: its name is too long");
    return bind_all(link, queue, exchange, keys, keys_count, err) &&
           consumer_subscribe(consumer, queue, number, prefetch, err);
}

static bool consumer_send(struct consumer *consumer, amqp_method_number_t method, void *fields,
                          struct err *err)
{
    if (link_room(consumer->link) < LINK_FRAME_MAX && !link_flush(consumer->link, err))
        return false;
    link_put_method(consumer->link, method, fields);
    return link_push(consumer->link, err);
}

bool consumer_cancel(struct consumer *consumer, uint32_t number, struct err *err)
{
    struct subscription *cancelled = subscription_of_number(consumer, number);
    char tag[TAG_SIZE];

    assert(cancelled != NULL);
    amqp_basic_cancel_t fields = {.consumer_tag = tag_format(cancelled, tag)};
    *cancelled = consumer->subscriptions[--consumer->subscriptions_count];
    consumer->cancels_pending++;
    return consumer_send(consumer, AMQP_BASIC_CANCEL_METHOD, &fields, err);
}

bool consumer_ack(struct consumer *consumer, uint64_t tag, bool multiple, struct err *err)
{
    amqp_basic_ack_t fields = {.delivery_tag = tag, .multiple = multiple};

    return consumer_send(consumer, AMQP_BASIC_ACK_METHOD, &fields, err);
}

/* What the channel has of acknowledgements it hands on when it hears from the queue about earlier
 * ones, which it does at the latest when a consumer has been added. This one has no credit, so
 * nothing is ever sent to it. The channel agrees before it adds it: hence the first round trip; and
 * takes note of what it heard before the second one. Then it goes: as a single active consumer it
 * would be the next one, and stop the queue. */
bool consumer_land_acks(struct consumer *consumer, const char *queue, struct err *err)
{
    struct link *link = consumer->link;
    char tag[TAG_SIZE];
    struct subscription nobody = {.number = UINT32_MAX, .serial = consumer->subscriptions_made++};
    amqp_table_entry_t none[2] = {{.key = amqp_cstring_bytes("credit")},
                                  {.key = amqp_cstring_bytes("drain")}};
    amqp_table_entry_t credit = {.key = amqp_cstring_bytes("x-credit")};

    none[0].value.kind = AMQP_FIELD_KIND_I64;
    none[1].value.kind = AMQP_FIELD_KIND_BOOLEAN;
    credit.value.kind = AMQP_FIELD_KIND_TABLE;
    credit.value.value.table = (amqp_table_t){.num_entries = 2, .entries = none};
    amqp_table_t arguments = {.num_entries = 1, .entries = &credit};

    if (!link_flush(link, err)) return false;
    (void)amqp_basic_consume(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue),
                             tag_format(&nobody, tag), false, false, false, arguments);
    for (int trips = 0; trips < 2; trips++) {
        if (!link_answered(link, amqp_get_rpc_reply(link->state), ERR_RETRY, err,
                           "await the acknowledgements for queue %s", queue))
            return false;
        (void)amqp_basic_qos(link->state, LINK_CHANNEL, 0, 1, false);
    }
    if (!link_answered(link, amqp_get_rpc_reply(link->state), ERR_RETRY, err,
                       "await the acknowledgements for queue %s", queue))
        return false;
    (void)amqp_basic_cancel(link->state, LINK_CHANNEL, tag_format(&nobody, tag));
    return link_answered(link, amqp_get_rpc_reply(link->state), ERR_RETRY, err,
                         "await the acknowledgements for queue %s", queue);
}

bool consumer_reject(struct consumer *consumer, uint64_t tag, struct err *err)
{
    amqp_basic_reject_t fields = {.delivery_tag = tag, .requeue = false};

    return consumer_send(consumer, AMQP_BASIC_REJECT_METHOD, &fields, err);
}

bool consumer_beat(struct consumer *consumer, struct err *err)
{
    return link_beat(consumer->link, err);
}

static struct text text_taken(struct arena *arena, amqp_bytes_t from)
{
    return arena_text(arena, (struct text){from.bytes, (uint32_t)from.len});
}

static bool consumer_take(struct consumer *consumer, const amqp_basic_deliver_t *deliver,
                          struct delivery *out, struct arena *arena, struct err *err)
{
    struct content content;

    *out =
        (struct delivery){.tag = deliver->delivery_tag, .redelivered = deliver->redelivered != 0};
    if (!tag_parse(deliver->consumer_tag, &out->queue))
        return link_break(consumer->link, err, "could not read delivery: not a consumer of ours");
    out->exchange = text_taken(arena, deliver->exchange);
    out->routing_key = text_taken(arena, deliver->routing_key);
    if (!content_read(consumer->link, consumer->body_max, arena, &content, err)) return false;

    out->properties = content.properties;
    out->body = content.body;
    out->body_size = content.body_size;
    out->oversized = content.oversized;
    amqp_maybe_release_buffers_on_channel(consumer->link->state, LINK_CHANNEL);
    return true;
}

/* Anything but a delivery. */
static bool consumer_note(struct consumer *consumer, const amqp_frame_t *frame, struct err *err)
{
    amqp_method_number_t method =
        frame->frame_type == AMQP_FRAME_METHOD ? frame->payload.method.id : 0;

    if (method == AMQP_BASIC_CANCEL_OK_METHOD) {
        /* One more round trip: only then has the channel put back what came for it too late. */
        amqp_basic_qos_t harmless = {.prefetch_count = 1};
        return consumer_send(consumer, AMQP_BASIC_QOS_METHOD, &harmless, err);
    }
    if (method == AMQP_BASIC_QOS_OK_METHOD) {
        assert(consumer->cancels_pending > 0);
        consumer->cancels_pending--;
        return true;
    }
    if (method == AMQP_BASIC_CANCEL_METHOD) {
        const amqp_basic_cancel_t *cancel = frame->payload.method.decoded;
        uint32_t number = 0;
        const struct subscription *gone = NULL;
        if (tag_parse(cancel->consumer_tag, &number))
            gone = subscription_of_number(consumer, number);
        if (gone == NULL) return true; /* we had given it up ourselves */
        return err_set(err, ERR_RETRY,
                       "could not consume queue %s: the broker ended it (queue deleted or moved)",
                       gone->queue);
    }
    return link_break(consumer->link, err, "could not read from RabbitMQ: frames out of order");
}

bool consumer_fetch(struct consumer *consumer, uint32_t wait_ms, struct delivery *out, uint32_t max,
                    struct arena *arena, uint32_t *count, struct err *err)
{
    struct link *link = consumer->link;
    size_t least = consumer_arena_least(consumer->body_max);

    *count = 0;
    assert(max > 0);
    assert(arena->size - arena->used >= least);
    if (!link_beat(link, err)) return false;
    while (*count < max && arena->size - arena->used >= least) {
        amqp_frame_t frame;
        bool got = true;
        if (consumer->cancels_pending > 0) {
            if (!link_await(link, &frame, err)) return false;
        } else if (!link_read(link, *count == 0 ? wait_ms : 0, &frame, &got, err)) {
            return false;
        }
        if (!got) break;
        if (frame.frame_type != AMQP_FRAME_METHOD ||
            frame.payload.method.id != AMQP_BASIC_DELIVER_METHOD) {
            if (!consumer_note(consumer, &frame, err)) return false;
            continue;
        }
        if (!consumer_take(consumer, frame.payload.method.decoded, &out[*count], arena, err))
            return false;
        ++*count;
    }
    amqp_maybe_release_buffers(link->state);
    return true;
}
