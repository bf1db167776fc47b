/*
 * fan.c - from the first queue to those of the endpoints: an event to each that wants it, what
 * comes back from a delay, or from the dead letters, to the one that it is for. One message at a
 * time and in order, as far as the broker has room, so that each queue has an account's events in
 * their order.
 */
#include "webhooks/dispatcher_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "protocol/event_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_SIZE = 256, PLACES_PER_MESSAGE = 4096 };
_Static_assert((int)EVENT_LIST_MAX <= (int)PLACES_PER_MESSAGE, "each event of a list has a place");

static struct bytes copy(uint8_t **to, const void *data, uint32_t size)
{
    struct bytes bytes = {*to, size};

    if (size > 0) memcpy(*to, data, size);
    *to += size;
    return bytes;
}

bool feed_take(struct dispatcher *dispatcher, const struct delivery *delivery, struct err *err)
{
    size_t size = delivery->routing_key.length + delivery->properties.size + delivery->body.size;
    struct feed *feed = calloc(1, sizeof *feed + size);

    if (feed == NULL) return err_set(err, ERR_RETRY, "could not take an event: out of memory");
    uint8_t *to = feed->memory;
    feed->tag = delivery->tag;
    struct bytes key = copy(&to, delivery->routing_key.bytes, delivery->routing_key.length);
    feed->routing_key = (struct text){(const char *)key.data, key.size};
    feed->properties = copy(&to, delivery->properties.data, delivery->properties.size);
    feed->body = copy(&to, delivery->body.data, delivery->body.size);
    *dispatcher->feeds_end = feed;
    dispatcher->feeds_end = &feed->next;
    return true;
}

/* --- one message ------------------------------------------------------------------------------ */

static bool send_unread(struct dispatcher *dispatcher, const struct feed *feed, const char *problem,
                        struct err *err)
{
    const struct death death = {.reason = "webhook_unreadable",
                                .error = problem,
                                .queue = dispatcher->names.webhooks,
                                .now_us = clock_wall_us()};
    struct bytes properties;

    log_error("an event goes to the dead letters: %s", problem);
    if (!webhook_write_unread(feed->properties, &death, &dispatcher->scratch, &properties))
        return err_set(err, ERR_FATAL, "could not write properties: they are too large");
    return send_to_dead_letters(dispatcher, feed->routing_key, properties, feed->body,
                                dispatcher->feed_receipt, err);
}

static bool send_on(struct dispatcher *dispatcher, const struct webhook *webhook, struct bytes body,
                    struct err *err)
{
    char queue[TOPOLOGY_NAME_SIZE], id[ENDPOINT_ID_SIZE];
    struct bytes properties;

    if (!text_copy(webhook->endpoint, id, sizeof id) ||
        !webhook_write(webhook, &dispatcher->scratch, &properties))
        return err_set(err, ERR_FATAL, "could not write properties: they are too large");
    queue_of_endpoint(&dispatcher->names, id, queue);
    return send_to_queue(dispatcher, queue, properties, body, dispatcher->feed_receipt, err);
}

static bool is_known(const struct dispatcher *dispatcher, struct text id)
{
    for (uint32_t i = 0; i < ENDPOINTS_MAX; i++) {
        const struct outlet *outlet = &dispatcher->outlets[i];
        if (outlet->used && outlet->removed_ms == 0 && text_equal(text_of(outlet->endpoint.id), id))
            return true;
    }
    return false;
}

static bool send_back(struct dispatcher *dispatcher, const struct webhook *webhook,
                      struct bytes body, struct err *err)
{
    if (is_known(dispatcher, webhook->endpoint)) return send_on(dispatcher, webhook, body, err);
    log_info("event %.*s is dropped: endpoint %.*s was removed", TEXT_ARGS(webhook->id),
             TEXT_ARGS(webhook->endpoint));
    return true;
}

static void name_event(const struct webhook *message, const struct split *split, uint32_t event,
                       char id[static ID_SIZE])
{
    if (split->is_list)
        (void)snprintf(id, ID_SIZE, "%.*s:%u", TEXT_ARGS(message->id), event);
    else
        (void)snprintf(id, ID_SIZE, "%.*s", TEXT_ARGS(message->id));
}

/* To the next endpoints, while there is room. */
static bool fan_out(struct dispatcher *dispatcher, const struct webhook *message, bool *done,
                    struct err *err)
{
    const struct split *split = &dispatcher->split;
    char id[ID_SIZE];

    for (; dispatcher->next_event < split->count; dispatcher->next_event++) {
        const struct split_event *event = &split->events[dispatcher->next_event];
        struct webhook webhook = *message;
        name_event(message, split, dispatcher->next_event, id);
        webhook.id = text_of(id);
        webhook.type = event->type;
        webhook.account = event->account;
        if (message->position > 0 && message->position < INT64_MAX / PLACES_PER_MESSAGE)
            webhook.position = message->position * PLACES_PER_MESSAGE + dispatcher->next_event;
        for (; dispatcher->next_outlet < ENDPOINTS_MAX; dispatcher->next_outlet++) {
            const struct outlet *outlet = &dispatcher->outlets[dispatcher->next_outlet];
            if (!outlet->used || outlet->removed_ms != 0 ||
                !endpoint_wants(&outlet->endpoint, event->type, event->account))
                continue;
            if (publisher_room(dispatcher->publisher) == 0) return true;
            webhook.endpoint = text_of(outlet->endpoint.id);
            arena_reset(&dispatcher->scratch);
            if (!send_on(dispatcher, &webhook, event->json, err)) return false;
        }
        dispatcher->next_outlet = 0;
    }
    *done = true;
    return true;
}

static bool begin(struct dispatcher *dispatcher, const struct feed *feed, bool *readable,
                  char problem[static PROBLEM_SIZE], struct err *err)
{
    arena_reset(&dispatcher->split_arena);
    dispatcher->next_event = dispatcher->next_outlet = 0;
    *readable = split_message(dispatcher->codec, feed->body, feed->routing_key,
                              &dispatcher->split_arena, &dispatcher->split, problem);
    return receipt_open(dispatcher, feed->tag, &dispatcher->feed_receipt, err);
}

/* done: it has been sent on to all. */
static bool send_feed(struct dispatcher *dispatcher, const struct feed *feed, bool *done,
                      struct err *err)
{
    char problem[PROBLEM_SIZE] = "its properties are unreadable, or it has no message_id";
    struct webhook message;
    bool readable = true, read = webhook_read(feed->properties, &message) && message.id.length > 0;

    arena_reset(&dispatcher->scratch);
    if (read && message.endpoint.length > 0) {
        *done = true;
        return receipt_open(dispatcher, feed->tag, &dispatcher->feed_receipt, err) &&
               send_back(dispatcher, &message, feed->body, err);
    }
    if (dispatcher->feed_receipt == NULL && !begin(dispatcher, feed, &readable, problem, err))
        return false;
    if (!read || !readable) {
        *done = true;
        return send_unread(dispatcher, feed, problem, err);
    }
    if (!fan_out(dispatcher, &message, done, err)) return false;
    if (*done) delivery_report_fanned();
    return true;
}

bool feeds_turn(struct dispatcher *dispatcher, struct err *err)
{
    while (dispatcher->feeds != NULL && publisher_room(dispatcher->publisher) > 0) {
        struct feed *feed = dispatcher->feeds;
        bool done = false;
        if (!send_feed(dispatcher, feed, &done, err)) return false;
        if (!done) return true;
        dispatcher->feed_receipt->open = false;
        dispatcher->feed_receipt = NULL;
        dispatcher->feeds = feed->next;
        if (feed->next == NULL) dispatcher->feeds_end = &dispatcher->feeds;
        free(feed);
    }
    return true;
}

void feeds_drop(struct dispatcher *dispatcher)
{
    while (dispatcher->feeds != NULL) {
        struct feed *next = dispatcher->feeds->next;
        free(dispatcher->feeds);
        dispatcher->feeds = next;
    }
    dispatcher->feeds_end = &dispatcher->feeds;
    dispatcher->feed_receipt = NULL;
}
