/*
 * deliveries.h - which outbox rows have arrived, when one may be several records that are delivered
 * one by one and in any order. Pure.
 */
#ifndef OUTBOX_DELIVERIES_H
#define OUTBOX_DELIVERIES_H

#include "base/confirms.h"

struct deliveries {
    uint64_t first, next; /* rows in flight: first <= sequence < next, less those that arrived */
    uint64_t bytes;       /* of the rows in flight */
    uint32_t left[CONFIRMS_MAX]; /* records of the row that have not arrived */
    uint32_t size[CONFIRMS_MAX];
    uint32_t arrived_count; /* known, and not yet given out */
    struct confirm arrived[CONFIRMS_MAX];
};

void deliveries_reset(struct deliveries *deliveries);
/* How many more rows may be sent. */
uint32_t deliveries_room(const struct deliveries *deliveries);
/* A row of so many records and bytes is sent; its sequence: 1, 2, 3, ... */
uint64_t deliveries_sent(struct deliveries *deliveries, uint32_t records, uint32_t size);
/* A record of that row has arrived. */
void deliveries_arrived(struct deliveries *deliveries, uint64_t sequence);
/* Rows all of whose records have arrived, each exactly once. */
uint32_t deliveries_take(struct deliveries *deliveries, struct confirm *out, uint32_t max);

#endif
