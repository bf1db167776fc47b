/*
 * records.h - an outbox row as the records that Kafka gets. Pure.
 *
 * An event is one record, whose key is the account. The events of a batch are one message in AMQP
 * and a record each here: there is an order only among records of one key, so each must lie under
 * the account that it is about.
 */
#ifndef OUTBOX_RECORDS_H
#define OUTBOX_RECORDS_H

#include "base/producer_kafka.h"
#include "outbox/row.h"
#include "protocol/codec.h"
#include "protocol/properties.h"

enum { RECORD_NUMBER_SIZE = 24, RECORD_ID_SIZE = 288 };

struct records { /* views into the row and the arena */
    struct properties properties;
    enum encoding encoding;
    uint32_t count, taken;

    struct text type, key; /* of the one event, when it is no batch */
    struct bytes body;
    struct text batch;   /* empty: no batch */
    struct bytes events; /* of a batch, those not yet taken */

    char epoch[RECORD_NUMBER_SIZE], position[RECORD_NUMBER_SIZE]; /* of the record in hand */
    char message_id[RECORD_ID_SIZE];
    struct record_header headers[RECORD_HEADERS_MAX];
};

/* ERR_REJECT: the row is no event. */
MUST_CHECK bool records_open(struct records *records, struct codec *codec,
                             const struct outbox_row *row, uint64_t epoch, struct arena *arena,
                             struct err *err);
/* The next of `count`; good until the following call. */
MUST_CHECK bool records_take(struct records *records, struct arena *arena, struct record *out,
                             struct err *err);
/* What stands for a row, or for the record in hand, that Kafka cannot carry: no body, and why.
 * Needs no records_open to have succeeded. */
void records_remains(struct records *records, const struct outbox_row *row, uint64_t epoch,
                     const char *why, struct record *out);

#endif
