/*
 * dead_since.h - when a dead letter died last, as its properties tell. Pure.
 */
#ifndef OUTBOX_DEAD_SINCE_H
#define OUTBOX_DEAD_SINCE_H

#include "base/bytes.h"

/* Of the header x-ledger-last-death (dead_letter.h), else of the time in the newest entry of
 * x-death, which RabbitMQ writes into what it gives up itself. 0: neither is there, or readable. */
int64_t dead_since_us(struct bytes properties);

#endif
