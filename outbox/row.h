/*
 * row.h - one message that a committed batch owes the world. Pure.
 */
#ifndef OUTBOX_ROW_H
#define OUTBOX_ROW_H

#include "base/bytes.h"

enum outbox_kind {
    OUTBOX_EVENT,
    OUTBOX_REPLY,
    OUTBOX_DEAD_LETTER
}; /* the numbers are in the table */

struct outbox_row {
    int64_t id; /* given by the database; 0 before */
    enum outbox_kind kind;
    struct text
        destination; /* event: routing key; reply: its queue; dead letter: the routing key it had */
    struct bytes properties; /* AMQP basic properties as on the wire */
    struct bytes body;
};

#endif
