/*
 * collect.c - reads replies and events as they come and writes them into the history, in the order
 * of their arrival. A lost connection is opened again; what was not acknowledged comes once more,
 * which the checker bears.
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "protocol/event.h"
#include "protocol/properties.h"
#include "protocol/properties_wire.h"
#include "protocol/reply.h"
#include "tests/chaos/chaos.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DELAYS = 100000, DELAYS_A_MS = 10 }; /* up to ten seconds */
enum { FETCH = 500, WAIT_MS = 100, RECONNECT_MS = 200, DLQ_SILENCE_MS = 2000 };

struct collector {
    pthread_t id;
    const char *queue;
    void (*take)(struct collector *self, const struct delivery *delivery);
    struct codec *codec;
    struct arena arena, scratch;
    struct delivery deliveries[FETCH];
};

static struct collector replies, events;
static _Atomic bool ending;

static uint32_t number_after(struct text text, const char *prefix)
{
    char copy[64];
    size_t length = strlen(prefix);

    if (!text_copy(text, copy, sizeof copy) || strncmp(copy, prefix, length) != 0)
        give_up("a foreign message: %.*s is no %s", TEXT_ARGS(text), prefix);
    return (uint32_t)strtoul(copy + length, NULL, 10);
}

static uint64_t hash(struct text text) /* FNV-1a */
{
    uint64_t value = 14695981039346656037u;

    for (uint32_t i = 0; i < text.length; i++)
        value = (value ^ (uint8_t)text.bytes[i]) * 1099511628211u;
    return value;
}

static void take_reply(struct collector *self, const struct delivery *delivery)
{
    struct history *history = &load.history;
    char problem[PROBLEM_SIZE];
    struct properties properties;
    struct reply reply;

    if (!properties_parse(delivery->properties, &properties) ||
        !reply_decode(self->codec, delivery->body, ENCODING_MSGPACK, &self->scratch, &reply,
                      problem))
        give_up("a reply that is none");
    uint32_t message = number_after(properties.correlation_id, "");
    if (message >= load.next) give_up("a reply to message %u, which was never sent", message);
    if (history->replies_count == load.replies_max) give_up("more replies than planned");
    struct reply_seen *seen = &history->replies[history->replies_count++];
    *seen =
        (struct reply_seen){.message = message, .result = reply.result, .replayed = reply.replayed};
    if (reply.result == RESULT_APPLIED) seen->transaction = reply.transaction;
    atomic_fetch_add(&load.replies, 1);
    if (!atomic_exchange(&load.has_reply[message], true)) atomic_fetch_add(&load.answered, 1);
}

/* --- delays, by the millisecond ---------------------------------------------------------- */

static _Atomic uint32_t delays[DELAYS];

static void note_delay(int64_t delay_us)
{
    int64_t at = delay_us * DELAYS_A_MS / 1000;

    atomic_fetch_add(&delays[at < 0 ? 0 : at >= DELAYS ? DELAYS - 1 : at], 1);
}

void collect_delays(double *p50_ms, double *p99_ms)
{
    static uint32_t counts[DELAYS];
    uint64_t total = 0, below = 0;

    for (uint32_t i = 0; i < DELAYS; i++) {
        counts[i] = atomic_exchange(&delays[i], 0);
        total += counts[i];
    }
    *p50_ms = *p99_ms = 0;
    for (uint32_t i = 0; i < DELAYS; i++) {
        below += counts[i];
        if (below * 2 <= total) *p50_ms = (double)(i + 1) / DELAYS_A_MS;
        if (below * 100 <= total * 99) *p99_ms = (double)(i + 1) / DELAYS_A_MS;
    }
}

static void take_event(struct collector *self, const struct delivery *delivery)
{
    struct history *history = &load.history;
    char problem[PROBLEM_SIZE];
    struct properties properties;
    struct event event;

    if (!properties_parse(delivery->properties, &properties) ||
        !event_decode(self->codec, delivery->body, ENCODING_MSGPACK, &self->scratch, &event,
                      problem))
        give_up("an event that is none");
    if (history->events_count == load.events_max) give_up("more events than planned");
    struct event_seen *seen = &history->events[history->events_count++];
    *seen = (struct event_seen){.key = number_after(event.key, "key-"),
                                .account = NO_ACCOUNT,
                                .message_id = hash(properties.message_id)};
    atomic_fetch_add(&load.events, 1);
    note_delay(clock_wall_us() - event.timestamp_us);
    switch (event.type) {
    case EVENT_COMMAND_REJECTED:
        seen->kind = EVENT_SEEN_REJECTED;
        seen->result = event.result;
        return;
    case EVENT_ACCOUNT_OPENED:
        seen->kind = EVENT_SEEN_OPENED;
        break;
    case EVENT_TRANSACTION_CREATED:
        seen->kind = EVENT_SEEN_CHANGE;
        seen->seq = event.seq;
        seen->amount = event.is_credit ? event.amount : -event.amount;
        seen->balance = event.new_balance;
        break;
    case EVENT_ACCOUNT_FROZEN:
    case EVENT_ACCOUNT_UNFROZEN:
    case EVENT_ACCOUNT_CLOSED:
    case EVENT_FLOOR_CHANGED:
    case EVENT_HOLD_PLACED:
    case EVENT_HOLD_RELEASED:
    case EVENT_HOLD_EXPIRED: /* a step of the account that moves nothing */
        seen->kind = EVENT_SEEN_CHANGE;
        seen->seq = event.seq;
        seen->balance = event.new_balance;
        break;
    case EVENT_COMMAND_SCHEDULED: /* the load schedules nothing */
    case EVENT_COMMAND_CANCELLED:
    case EVENT_USER_UPDATED:
    case EVENTS_COUNT:
        give_up("an event of no type");
    }
    seen->account = (int32_t)number_after(event.account, "account-");
    seen->transaction = event.transaction;
}

/* --- threads ----------------------------------------------------------------------------- */

static bool open_consumer(const char *queue, struct consumer **consumer, struct err *err)
{
    struct consumer_options options = {.url = stage.urls[SERVER_RABBITMQ],
                                       .name = "chaos collector",
                                       .heartbeat_s = 10,
                                       .timeout_ms = 5000,
                                       .body_max = BODY_SIZE_MAX};

    return consumer_open(consumer, &options, err) &&
           consumer_subscribe(*consumer, queue, 0, FETCH, err);
}

static bool take_all(struct collector *self, struct consumer *consumer, uint32_t *count,
                     struct err *err)
{
    arena_reset(&self->arena);
    if (!consumer_fetch(consumer, WAIT_MS, self->deliveries, FETCH, &self->arena, count, err))
        return false;
    for (uint32_t i = 0; i < *count; i++) {
        arena_reset(&self->scratch);
        self->take(self, &self->deliveries[i]);
    }
    return *count == 0 || consumer_ack(consumer, self->deliveries[*count - 1].tag, true, err);
}

static void *collect(void *context)
{
    struct collector *self = context;
    struct consumer *consumer = NULL;

    while (!ending) {
        struct err err = {0};
        uint32_t count = 0;
        if (consumer == NULL && !open_consumer(self->queue, &consumer, &err)) {
            consumer_close(consumer);
            consumer = NULL;
            clock_sleep_ms(RECONNECT_MS);
            continue;
        }
        if (take_all(self, consumer, &count, &err)) continue;
        consumer_close(consumer);
        consumer = NULL;
    }
    consumer_close(consumer);
    return NULL;
}

static void collector_open(struct collector *self)
{
    struct err err = {0};

    must(codec_open(&self->codec, &err) && arena_open(&self->arena, 16 << 20, &err) &&
             arena_open(&self->scratch, 4 << 20, &err),
         &err);
}

static void collector_close(struct collector *self)
{
    codec_close(self->codec);
    arena_close(&self->arena);
    arena_close(&self->scratch);
}

void collect_begin(void)
{
    replies = (struct collector){.queue = stage.replies, .take = take_reply};
    events = (struct collector){.queue = stage.events, .take = take_event};
    struct collector *both[] = {&replies, &events};
    for (int i = 0; i < 2; i++) {
        collector_open(both[i]);
        if (pthread_create(&both[i]->id, NULL, collect, both[i]) != 0) give_up("no thread");
    }
}

void collect_end(void)
{
    ending = true;
    (void)pthread_join(replies.id, NULL);
    (void)pthread_join(events.id, NULL);
    collector_close(&replies);
    collector_close(&events);
}

/* --- dead letters, at the end ------------------------------------------------------------ */

static void read_reason(struct bytes properties, char reason[static 32])
{
    struct parts parts;
    struct entry entry;

    reason[0] = '\0';
    if (!parts_take(properties, &parts)) return;
    struct bytes table = parts.part[PROPERTY_HEADERS];
    while (table.size > 0 && entry_take(&table, &entry))
        if (entry.type == FIELD_LONG_TEXT && entry.value.size < 32 &&
            header_name_equal(entry.name, TEXT_LITERAL("x-ledger-reason")))
            (void)snprintf(reason, 32, "%.*s", (int)entry.value.size,
                           (const char *)entry.value.data);
}

static void take_dead_letter(struct collector *self, const struct delivery *delivery)
{
    struct history *history = &load.history;
    struct properties properties;

    (void)self;
    if (!properties_parse(delivery->properties, &properties))
        give_up("a dead letter is unreadable");
    if (history->dead_letters_count % 1024 == 0) {
        void *larger = realloc(history->dead_letters, (history->dead_letters_count + 1024) *
                                                          sizeof *history->dead_letters);
        if (larger == NULL) give_up("out of memory for dead letters");
        history->dead_letters = larger;
    }
    struct dead_letter_seen *seen = &history->dead_letters[history->dead_letters_count++];
    seen->message = number_after(properties.correlation_id, "");
    read_reason(delivery->properties, seen->reason);
}

void collect_dead_letters(void)
{
    static struct collector self = {.take = take_dead_letter};
    uint64_t heard_ms = clock_monotonic_ms();
    struct consumer *consumer = NULL;
    struct err err = {0};

    collector_open(&self);
    must(open_consumer(stage.names.dlq, &consumer, &err), &err);
    while (clock_monotonic_ms() - heard_ms < DLQ_SILENCE_MS) {
        uint32_t count = 0;
        must(take_all(&self, consumer, &count, &err), &err);
        if (count > 0) heard_ms = clock_monotonic_ms();
    }
    consumer_close(consumer);
    collector_close(&self);
}
