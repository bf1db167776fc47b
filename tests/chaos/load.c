/*
 * load.c - publishers that never lose count: each message is planned from the seed, published until
 * the broker has confirmed it (after a lost connection once more, with the same key), and its
 * confirm noted. They talk to the broker directly, not through the proxy: what they know is what
 * the checker may hold the ledger to.
 */
#include "base/clock.h"
#include "base/publisher_amqp.h"
#include "protocol/properties.h"
#include "tests/chaos/chaos.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct load load;

enum {
    WINDOW = 64,
    RING = 8192,
    RECENT = 256,
    RECONNECT_MS = 200,
    SETTLE_MS = 180000,
    CATCH_UP_US = 100000
};

struct publishing {
    pthread_t id;
    uint32_t number;
    uint64_t random;
    struct codec *codec;
    struct arena arena;
    struct publisher *publisher;
    uint32_t in_flight[RING]; /* messages, by sequence */
    bool is_open[RING];
    uint32_t again[2 * WINDOW], again_count; /* to be published once more */
    uint32_t recent[RECENT], recent_count;   /* confirmed first uses of keys, a ring */
    uint64_t next_us;
};

static struct publishing publishing[PUBLISHERS];

/* --- planning ---------------------------------------------------------------------------- */

static uint32_t dice(struct publishing *self, uint32_t sides) /* splitmix64 */
{
    uint64_t z = (self->random += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint32_t)((z ^ (z >> 31)) % sides);
}

static void plan_movement(struct publishing *self, struct sent *sent)
{
    uint32_t kind = dice(self, 100);
    int32_t account = dice(self, 4) == 0 ? 0 : (int32_t)dice(self, CHAOS_ACCOUNTS); /* one is hot */

    sent->amount = 1 + (int64_t)dice(self, 500);
    sent->debit = sent->credit = NO_ACCOUNT;
    if (kind < 45) {
        sent->type = COMMAND_DEPOSIT;
        sent->credit = account;
    } else if (kind < 70) {
        sent->type = COMMAND_WITHDRAW;
        sent->debit = account;
    } else {
        sent->type = COMMAND_TRANSFER;
        sent->debit = account;
        sent->credit = (account + 1 + (int32_t)dice(self, CHAOS_ACCOUNTS - 1)) % CHAOS_ACCOUNTS;
    }
}

static void plan(struct publishing *self, uint32_t i)
{
    struct sent *sent = &load.history.sent[i];
    uint32_t kind = dice(self, 200);

    *sent = (struct sent){.kind = SENT_FIRST, .key = i};
    plan_movement(self, sent);
    if (kind == 0) sent->kind = SENT_MALFORMED;
    if (kind < 1 || kind > 24 || self->recent_count == 0) return;
    uint32_t filled = self->recent_count < RECENT ? self->recent_count : RECENT;
    uint32_t key = self->recent[dice(self, filled)];
    if (kind <= 20) {
        *sent = load.history.sent[key];
        sent->kind = SENT_REPEAT;
        sent->confirmed = false;
        sent->sent_ms = 0;
    } else {
        sent->kind = SENT_OTHER_PAYLOAD;
        sent->key = key;
        sent->amount = 501 + (int64_t)dice(self, 100);
    }
}

static void plan_opening(uint32_t i)
{
    load.history.sent[i] = (struct sent){.kind = SENT_FIRST,
                                         .type = COMMAND_OPEN_ACCOUNT,
                                         .key = i,
                                         .debit = NO_ACCOUNT,
                                         .credit = (int32_t)i};
}

/* --- publishing -------------------------------------------------------------------------- */

static struct command command_of(const struct sent *sent, char names[static 2][24])
{
    struct command command = {.type = sent->type, .amount = {.value = sent->amount}};
    int32_t one = sent->debit != NO_ACCOUNT ? sent->debit : sent->credit;

    (void)snprintf(names[0], 24, "account-%d", one);
    (void)snprintf(names[1], 24, "account-%d", sent->credit);
    if (sent->type == COMMAND_TRANSFER) {
        command.from = text_of(names[0]);
        command.to = text_of(names[1]);
        return command;
    }
    command.account = text_of(names[0]);
    if (sent->type != COMMAND_OPEN_ACCOUNT) return command;
    command.user_id = TEXT_LITERAL("user");
    command.asset = TEXT_LITERAL("EUR");
    return command;
}

static bool send_one(struct publishing *self, uint32_t i, struct err *err)
{
    const struct sent *sent = &load.history.sent[i], *first = &load.history.sent[sent->key];
    char names[2][24], route[24], key[32], correlation[16];
    struct command command = command_of(sent, names);
    int32_t routed = first->debit != NO_ACCOUNT ? first->debit : first->credit;
    struct properties_out properties = {.content_type = TEXT_LITERAL("application/msgpack"),
                                        .type = text_of(command_word(sent->type)),
                                        .app_id = TEXT_LITERAL("chaos"),
                                        .reply_to = text_of(stage.replies)};
    struct message message = {.exchange = text_of(stage.names.commands), .mandatory = true};
    uint64_t sequence = 0;

    (void)snprintf(key, sizeof key, "key-%u", sent->key);
    (void)snprintf(correlation, sizeof correlation, "%u", i);
    (void)snprintf(route, sizeof route, "account-%d", routed); /* a key stays in its queue */
    properties.message_id = text_of(key);
    properties.correlation_id = text_of(correlation);
    message.routing_key = text_of(route);
    arena_reset(&self->arena);
    if (!properties_write(&properties, &self->arena, &message.properties) ||
        !command_encode(self->codec, &command, ENCODING_MSGPACK, &self->arena, &message.body))
        give_up("the publisher's arena is full");
    if (sent->kind == SENT_MALFORMED) message.body.size--;
    if (!publisher_send(self->publisher, &message, &sequence, err)) return false;
    assert(!self->is_open[sequence % RING]);
    if (load.history.sent[i].sent_ms == 0) load.history.sent[i].sent_ms = clock_monotonic_ms();
    self->in_flight[sequence % RING] = i;
    self->is_open[sequence % RING] = true;
    return true;
}

static void note_confirm(struct publishing *self, uint32_t i)
{
    struct sent *sent = &load.history.sent[i];

    sent->confirmed = true;
    sent->confirmed_ms = clock_monotonic_ms();
    atomic_fetch_add(&load.confirmed, 1);
    if (sent->kind == SENT_FIRST && sent->type != COMMAND_OPEN_ACCOUNT)
        self->recent[self->recent_count++ % RECENT] = i;
}

static bool poll_confirms(struct publishing *self, uint32_t wait_ms, struct err *err)
{
    struct confirm confirms[WINDOW];
    uint32_t count = 0;

    if (!publisher_poll(self->publisher, wait_ms, confirms, WINDOW, &count, err)) return false;
    if (publisher_blocked(self->publisher)) atomic_fetch_add(&load.blocked, 1);
    for (uint32_t c = 0; c < count; c++) {
        uint32_t slot = confirms[c].sequence % RING, i = self->in_flight[slot];
        self->is_open[slot] = false;
        if (confirms[c].result == CONFIRM_ACK) /* a refused or returned one goes out again */
            note_confirm(self, i);
        else
            self->again[self->again_count++] = i;
    }
    return true;
}

/* What was in flight is unknown: it goes out once more. */
static void disconnect(struct publishing *self)
{
    publisher_close(self->publisher);
    self->publisher = NULL;
    for (uint32_t slot = 0; slot < RING; slot++) {
        if (!self->is_open[slot]) continue;
        self->is_open[slot] = false;
        self->again[self->again_count++] = self->in_flight[slot];
    }
    atomic_fetch_add(&load.reconnects, 1);
}

static bool rests(struct publishing *self)
{
    return self->again_count == 0 && publisher_in_flight(self->publisher) == 0;
}

/* False when there is nothing to send now. */
static bool next_message(struct publishing *self, uint32_t *out)
{
    uint64_t now_us = clock_monotonic_us();

    if (publisher_room(self->publisher) == 0) return false;
    if (self->again_count > 0) {
        *out = self->again[--self->again_count];
        return true;
    }
    if (load.paused || load.ending || now_us < self->next_us) return false;
    /* Not even, so that batches are of every size, and not all publishers in step. What an outage
       has held up is not made up for. */
    if (self->next_us + CATCH_UP_US < now_us) self->next_us = now_us - CATCH_UP_US;
    self->next_us += dice(self, 2 * 1000000 * PUBLISHERS / load.rate);
    uint32_t i = atomic_fetch_add(&load.next, 1);
    if (i >= load.sent_max) give_up("the load is larger than planned");
    plan(self, i);
    *out = i;
    return true;
}

static bool publish_turn(struct publishing *self, struct err *err)
{
    uint32_t i;

    if (self->publisher == NULL) {
        struct publisher_options options = {.url = stage.urls[SERVER_RABBITMQ],
                                            .name = "chaos publisher",
                                            .heartbeat_s = 10,
                                            .timeout_ms = 3000,
                                            .window = WINDOW};
        if (!publisher_open(&self->publisher, &options, err)) return false;
    }
    if (next_message(self, &i)) {
        if (!send_one(self, i, err)) {
            self->again[self->again_count++] = i;
            return false;
        }
        return poll_confirms(self, 0, err);
    }
    return poll_confirms(self, 1, err);
}

static void *publish(void *context)
{
    struct publishing *self = context;
    bool resting = false;

    while (!load.ending || self->publisher == NULL || !rests(self)) {
        struct err err = {0};
        if (!publish_turn(self, &err)) {
            disconnect(self);
            clock_sleep_ms(RECONNECT_MS);
        }
        bool rest = load.paused && self->publisher != NULL && rests(self);
        if (rest != resting) atomic_fetch_add(&load.resting, rest ? 1 : UINT32_MAX);
        resting = rest;
    }
    publisher_close(self->publisher);
    return NULL;
}

/* --- the load as a whole ----------------------------------------------------------------- */

void load_open(uint32_t seconds, uint32_t rate, uint32_t seed)
{
    struct history *history = &load.history;

    load.rate = rate;
    load.seed = seed;
    load.sent_max = CHAOS_ACCOUNTS + rate * (seconds + 300) * 2;
    load.replies_max = load.sent_max * 4;
    load.events_max = load.sent_max * 6;
    history->accounts = CHAOS_ACCOUNTS;
    history->keys = load.sent_max;
    history->sent = calloc(load.sent_max, sizeof *history->sent);
    history->replies = calloc(load.replies_max, sizeof *history->replies);
    history->events = calloc(load.events_max, sizeof *history->events);
    load.has_reply = calloc(load.sent_max, sizeof *load.has_reply);
    if (history->sent == NULL || history->replies == NULL || history->events == NULL ||
        load.has_reply == NULL)
        give_up("out of memory for the history");
}

static void await(bool (*done)(void), uint32_t within_ms, const char *what)
{
    uint64_t deadline_ms = clock_monotonic_ms() + within_ms;

    while (!done()) {
        if (clock_monotonic_ms() > deadline_ms)
            give_up("not within %u ms: %s (%u sent, %u confirmed, %u answered)", within_ms, what,
                    load.next, load.confirmed, load.answered);
        stage_pause(50);
    }
}

static bool all_answered(void)
{
    return load.answered == load.next;
}

static bool all_rest(void)
{
    return load.resting == PUBLISHERS && all_answered();
}

void load_begin(void)
{
    struct err err = {0};

    for (uint32_t i = 0; i < CHAOS_ACCOUNTS; i++) plan_opening(i);
    load.next = CHAOS_ACCOUNTS;
    load.paused = true; /* but for the openings */
    collect_begin();
    for (uint32_t p = 0; p < PUBLISHERS; p++) {
        struct publishing *self = &publishing[p];
        *self = (struct publishing){.number = p, .random = load.seed * 1000003u + p};
        must(codec_open(&self->codec, &err) && arena_open(&self->arena, 1 << 20, &err), &err);
        for (uint32_t i = p; i < CHAOS_ACCOUNTS; i += PUBLISHERS)
            self->again[self->again_count++] = i;
        if (pthread_create(&self->id, NULL, publish, self) != 0) give_up("no thread");
    }
    await(all_rest, SETTLE_MS, "the accounts are open");
    load.paused = false;
}

void load_pause(void)
{
    load.paused = true;
    await(all_rest, SETTLE_MS, "a pause of the load");
}

void load_resume(void)
{
    load.paused = false;
}

void load_end(uint32_t within_ms)
{
    load.ending = true;
    for (uint32_t p = 0; p < PUBLISHERS; p++) (void)pthread_join(publishing[p].id, NULL);
    for (uint32_t p = 0; p < PUBLISHERS; p++) {
        codec_close(publishing[p].codec);
        arena_close(&publishing[p].arena);
    }
    load.history.sent_count = load.next;
    /* What is missing is for the checker to say. */
    uint64_t deadline_ms = clock_monotonic_ms() + within_ms;
    while (!all_answered() && clock_monotonic_ms() < deadline_ms) stage_pause(50);
    uint32_t events, quiet = 0;
    do {
        events = load.events;
        stage_pause(500);
        quiet = events == load.events ? quiet + 1 : 0;
    } while (quiet < 6 && clock_monotonic_ms() < deadline_ms + within_ms);
    collect_end();
    collect_dead_letters();
}

void load_close(void)
{
    free(load.history.sent);
    free(load.history.replies);
    free(load.history.events);
    free(load.history.dead_letters);
    free(load.history.journal);
    free(load.history.rows);
    free(load.has_reply);
}
