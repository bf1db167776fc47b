/*
 * compose.h - from a decided batch to the messages it owes: replies, events, dead letters. Pure.
 *
 * In the batch's order; for one command its events come before its reply. message_id of an event is
 * <outcome id>:<n>, stable however often it is published. The events of a batch are in one message
 * (event_list.h), those of a batch that was refused as a whole in none: that is one refusal. A
 * command that was decided earlier owes a
 * reply again but no event. A fault owes a reply where there is a reply_to, and a dead letter: the
 * original body and properties, with headers that say why. (An oversized one owes no dead letter:
 * the worker rejects it and the broker moves the original.)
 */
#ifndef OUTBOX_COMPOSE_H
#define OUTBOX_COMPOSE_H

#include "ledger/ledger.h"
#include "outbox/row.h"
#include "protocol/names.h"

/* 2 events and a reply a command, or a dead letter and a reply. The legs of a batch owe no reply,
 * and their events are in one message, or a few. */
enum { OUTBOX_ROWS_PER_WORK = 3, OUTBOX_ROWS_MAX = OUTBOX_ROWS_PER_WORK * BATCH_WORKS_MAX };

struct compose_options {
    const struct names *names;
    enum encoding event_encoding;
};

/* rows has room for OUTBOX_ROWS_PER_WORK * works_count; everything points into the batch's arena.
 * ERR_REJECT when that is full. A reply_to that names one of the ledger's own queues gets nothing.
 */
MUST_CHECK bool compose_rows(const struct batch *batch, const struct compose_options *options,
                             struct codec *codec, struct outbox_row *rows, uint32_t *count,
                             struct err *err);

/* The reply of one work alone, as compose_rows would write it; false in *owed when it has no
 * reply_to. */
MUST_CHECK bool compose_reply(const struct batch *batch, const struct work *work,
                              const struct compose_options *options, struct codec *codec,
                              struct outbox_row *row, bool *owed, struct err *err);

#endif
