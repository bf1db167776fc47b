/*
 * sender.h - a publisher of commands for the tests of the whole system: one connection for one
 * thread, every message confirmed by the broker. Failures are values, for a thread may not fail a
 * test: look at sender.err when it has ended.
 */
#ifndef TESTS_SENDER_H
#define TESTS_SENDER_H

#include "tests/whole.h"

enum { SENDER_WINDOW = 500 };

struct sender {
    struct codec *codec;
    struct arena arena;
    struct publisher *publisher;
    struct confirm confirms[SENDER_WINDOW];
    struct err err;
};

struct sending {
    struct command command;
    struct text routing_key; /* empty: the command's own */
    const char *key_word;    /* the idempotency key is <word>-<number> */
    uint32_t key_number;
    uint32_t correlation;
    bool cut_short; /* the last byte of the body is missing */
};

static inline bool sender_open(struct sender *sender)
{
    struct publisher_options options = {.url = getenv("LEDGER_AMQP_URL"),
                                        .name = "a test's publisher",
                                        .heartbeat_s = 60,
                                        .timeout_ms = 15000,
                                        .window = SENDER_WINDOW};

    return codec_open(&sender->codec, &sender->err) &&
           arena_open(&sender->arena, 1 << 20, &sender->err) &&
           publisher_open(&sender->publisher, &options, &sender->err);
}

static inline void sender_close(struct sender *sender)
{
    publisher_close(sender->publisher);
    arena_close(&sender->arena);
    codec_close(sender->codec);
}

/* Waits until so many more may be sent; SENDER_WINDOW: until everything is confirmed. */
static inline bool sender_await(struct sender *sender, uint32_t room)
{
    uint64_t deadline_ms = clock_monotonic_ms() + WHOLE_TIMEOUT_MS;

    while (publisher_room(sender->publisher) < room) {
        uint32_t count = 0;
        if (clock_monotonic_ms() > deadline_ms)
            return err_set(&sender->err, ERR_FATAL, "no confirm within %d ms", WHOLE_TIMEOUT_MS);
        if (!publisher_poll(sender->publisher, 100, sender->confirms, SENDER_WINDOW, &count,
                            &sender->err))
            return false;
        for (uint32_t i = 0; i < count; i++)
            if (sender->confirms[i].result != CONFIRM_ACK)
                return err_set(&sender->err, ERR_FATAL, "a command was not taken");
    }
    return true;
}

static inline bool sender_send(struct sender *sender, const struct sending *sending)
{
    const struct command *command = &sending->command;
    char key[64], correlation[32];
    struct properties_out properties = {.content_type = TEXT_LITERAL("application/msgpack"),
                                        .type = text_of(command_word(command->type)),
                                        .reply_to = text_of(whole.replies)};
    struct message message = {.exchange = text_of(whole.names.commands),
                              .routing_key = sending->routing_key,
                              .mandatory = true};
    uint64_t sequence;

    if (message.routing_key.length == 0) message.routing_key = command_ordering_key(command);
    (void)snprintf(key, sizeof key, "%s-%u", sending->key_word, sending->key_number);
    (void)snprintf(correlation, sizeof correlation, "%u", sending->correlation);
    properties.message_id = text_of(key);
    properties.correlation_id = text_of(correlation);
    arena_reset(&sender->arena);
    if (!properties_write(&properties, &sender->arena, &message.properties) ||
        !command_encode(sender->codec, command, ENCODING_MSGPACK, &sender->arena, &message.body))
        return err_set(&sender->err, ERR_FATAL, "the arena is full");
    if (sending->cut_short) message.body.size--;
    return sender_await(sender, 1) &&
           publisher_send(sender->publisher, &message, &sequence, &sender->err);
}

#endif
