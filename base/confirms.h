/*
 * confirms.h - which published messages the broker has taken. Pure.
 *
 * A ring of the unconfirmed sequences. basic.ack and basic.nack may be multiple and out of order; a
 * basic.return of a mandatory message comes before its ack, which then counts as RETURNED. What the
 * broker says of a sequence that is not in flight is ERR_RETRY (the connection is not to be
 * trusted).
 */
#ifndef BASE_CONFIRMS_H
#define BASE_CONFIRMS_H

#include "base/publisher_amqp.h"

enum { CONFIRMS_MAX = 4096 };

struct confirms {
    uint64_t first, next; /* in flight: first <= sequence < next, less those already settled */
    uint32_t in_flight;
    uint64_t message_hash[CONFIRMS_MAX]; /* of message_id, to find a returned one; 0 = none */
    uint8_t state[CONFIRMS_MAX];
};

void confirms_reset(struct confirms *confirms);
uint64_t confirms_sent(struct confirms *confirms, struct text message_id); /* its sequence */
void confirms_returned(struct confirms *confirms, struct text message_id);
/* Writes what this answer settled; out must have room for in_flight entries. */
MUST_CHECK bool confirms_settle(struct confirms *confirms, uint64_t sequence, bool multiple,
                                bool acked, struct confirm *out, uint32_t *count, struct err *err);

#endif
