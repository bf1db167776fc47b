/*
 * receipts.c - publishes, and acknowledges a delivery once the broker has all that came of it.
 */
#include "webhooks/dispatcher_internal.h"

#include <assert.h>
#include <stdlib.h>

bool receipt_open(struct dispatcher *dispatcher, uint64_t tag, struct receipt **out,
                  struct err *err)
{
    struct receipt *receipt = calloc(1, sizeof *receipt);

    *out = receipt;
    if (receipt == NULL) return err_set(err, ERR_RETRY, "could not take a message: out of memory");
    *receipt = (struct receipt){.next = dispatcher->receipts, .tag = tag, .open = true};
    dispatcher->receipts = receipt;
    return true;
}

static bool send(struct dispatcher *dispatcher, const struct message *message,
                 struct receipt *receipt, struct err *err)
{
    uint64_t sequence;

    if (!publisher_send(dispatcher->publisher, message, &sequence, err)) return false;
    assert(dispatcher->of_sequence[sequence % CONFIRMS_MAX] == NULL);
    dispatcher->of_sequence[sequence % CONFIRMS_MAX] = receipt;
    receipt->due++;
    return true;
}

bool send_to_queue(struct dispatcher *dispatcher, const char *queue, struct bytes properties,
                   struct bytes body, struct receipt *receipt, struct err *err)
{
    const struct message message = {
        .routing_key = text_of(queue), .properties = properties, .body = body, .mandatory = true};

    return send(dispatcher, &message, receipt, err);
}

bool send_to_dead_letters(struct dispatcher *dispatcher, struct text type, struct bytes properties,
                          struct bytes body, struct receipt *receipt, struct err *err)
{
    const struct message message = {.exchange = text_of(dispatcher->names.dlx),
                                    .routing_key = type,
                                    .properties = properties,
                                    .body = body};

    return send(dispatcher, &message, receipt, err);
}

static bool take_confirm(struct dispatcher *dispatcher, const struct confirm *confirm,
                         struct err *err)
{
    struct receipt **receipt = &dispatcher->of_sequence[confirm->sequence % CONFIRMS_MAX];

    if (confirm->result != CONFIRM_ACK)
        return err_set(err, ERR_RETRY, "could not publish: %s",
                       confirm->result == CONFIRM_NACK ? "a queue is full" : "a queue is gone");
    assert(*receipt != NULL);
    (*receipt)->due--;
    *receipt = NULL;
    return true;
}

static bool acknowledge(struct dispatcher *dispatcher, struct err *err)
{
    for (struct receipt **link = &dispatcher->receipts; *link != NULL;) {
        struct receipt *receipt = *link;
        if (receipt->open || receipt->due > 0) {
            link = &receipt->next;
            continue;
        }
        if (receipt->tag != 0 && !consumer_ack(dispatcher->consumer, receipt->tag, false, err))
            return false;
        *link = receipt->next;
        free(receipt);
    }
    return true;
}

bool receipts_turn(struct dispatcher *dispatcher, uint32_t wait_ms, struct err *err)
{
    static struct confirm confirms[WINDOW];
    uint32_t count = 0;

    if (!publisher_poll(dispatcher->publisher, wait_ms, confirms, WINDOW, &count, err))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!take_confirm(dispatcher, &confirms[i], err)) return false;
    return acknowledge(dispatcher, err);
}

void receipts_drop(struct dispatcher *dispatcher)
{
    while (dispatcher->receipts != NULL) {
        struct receipt *next = dispatcher->receipts->next;
        free(dispatcher->receipts);
        dispatcher->receipts = next;
    }
    for (uint32_t i = 0; i < CONFIRMS_MAX; i++) dispatcher->of_sequence[i] = NULL;
    dispatcher->feed_receipt = NULL;
}
