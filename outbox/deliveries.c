/*
 * deliveries.c - see deliveries.h. Invariants:
 *  1. first is the oldest row that has not arrived, so the ring spans what it holds up;
 *  2. no more than CONFIRMS_MAX rows are sent and not given out, so arrived always has room.
 */
#include "outbox/deliveries.h"

#include <assert.h>
#include <string.h>

void deliveries_reset(struct deliveries *deliveries)
{
    memset(deliveries, 0, sizeof *deliveries);
    deliveries->first = deliveries->next = 1;
}

uint32_t deliveries_room(const struct deliveries *deliveries)
{
    uint64_t span = deliveries->next - deliveries->first + deliveries->arrived_count;

    return span >= CONFIRMS_MAX ? 0 : CONFIRMS_MAX - (uint32_t)span;
}

uint64_t deliveries_sent(struct deliveries *deliveries, uint32_t records, uint32_t size)
{
    uint64_t sequence = deliveries->next++;

    assert(records > 0);
    assert(deliveries->next - deliveries->first <= CONFIRMS_MAX);
    deliveries->left[sequence % CONFIRMS_MAX] = records;
    deliveries->size[sequence % CONFIRMS_MAX] = size;
    deliveries->bytes += size;
    return sequence;
}

void deliveries_arrived(struct deliveries *deliveries, uint64_t sequence)
{
    uint32_t *left = &deliveries->left[sequence % CONFIRMS_MAX];

    assert(sequence >= deliveries->first);
    assert(sequence < deliveries->next);
    assert(*left > 0);
    if (--*left > 0) return;
    assert(deliveries->arrived_count < CONFIRMS_MAX);
    deliveries->arrived[deliveries->arrived_count++] = (struct confirm){sequence, CONFIRM_ACK};
    deliveries->bytes -= deliveries->size[sequence % CONFIRMS_MAX];
    while (deliveries->first < deliveries->next &&
           deliveries->left[deliveries->first % CONFIRMS_MAX] == 0)
        deliveries->first++;
}

uint32_t deliveries_take(struct deliveries *deliveries, struct confirm *out, uint32_t max)
{
    uint32_t given = deliveries->arrived_count < max ? deliveries->arrived_count : max;

    memcpy(out, deliveries->arrived, given * sizeof *out);
    deliveries->arrived_count -= given;
    memmove(deliveries->arrived, deliveries->arrived + given,
            deliveries->arrived_count * sizeof *out);
    return given;
}
