/*
 * confirms.c - the ring of unconfirmed sequences. Ensures:
 *  1. each sequence is reported exactly once, and only what was sent is;
 *  2. first is the oldest unsettled sequence, so the ring spans what its oldest member holds up;
 *  3. a returned message never counts as taken.
 */
#include "base/confirms.h"

#include <assert.h>
#include <string.h>

enum state { SETTLED, SENT, RETURNED };

static uint8_t *state_of(struct confirms *confirms, uint64_t sequence)
{
    return &confirms->state[sequence % CONFIRMS_MAX];
}

static uint64_t hash_of(struct text message_id) /* FNV-1a, never 0 but for the empty text */
{
    uint64_t hash = 0xcbf29ce484222325u;

    if (message_id.length == 0) return 0;
    for (uint32_t i = 0; i < message_id.length; i++)
        hash = (hash ^ (uint8_t)message_id.bytes[i]) * 0x100000001b3u;
    return hash == 0 ? 1 : hash;
}

void confirms_reset(struct confirms *confirms)
{
    memset(confirms, 0, sizeof *confirms);
    confirms->first = 1;
    confirms->next = 1;
}

uint64_t confirms_sent(struct confirms *confirms, struct text message_id)
{
    uint64_t sequence = confirms->next++;

    assert(confirms->next - confirms->first <= CONFIRMS_MAX);
    assert(*state_of(confirms, sequence) == SETTLED);
    *state_of(confirms, sequence) = SENT;
    confirms->message_hash[sequence % CONFIRMS_MAX] = hash_of(message_id);
    confirms->in_flight++;
    return sequence;
}

/* The same id may be in flight twice; returns come in the order of publishing, so the oldest that
 * is not marked yet is the one. */
void confirms_returned(struct confirms *confirms, struct text message_id)
{
    uint64_t hash = hash_of(message_id);

    if (hash == 0) return;
    for (uint64_t sequence = confirms->first; sequence < confirms->next; sequence++) {
        if (*state_of(confirms, sequence) != SENT) continue;
        if (confirms->message_hash[sequence % CONFIRMS_MAX] != hash) continue;
        *state_of(confirms, sequence) = RETURNED;
        return;
    }
}

static void settle_one(struct confirms *confirms, uint64_t sequence, bool acked,
                       struct confirm *out)
{
    bool returned = *state_of(confirms, sequence) == RETURNED;

    *out = (struct confirm){sequence, !acked     ? CONFIRM_NACK
                                      : returned ? CONFIRM_RETURNED
                                                 : CONFIRM_ACK};
    *state_of(confirms, sequence) = SETTLED;
    assert(confirms->in_flight > 0);
    confirms->in_flight--;
}

bool confirms_settle(struct confirms *confirms, uint64_t sequence, bool multiple, bool acked,
                     struct confirm *out, uint32_t *count, struct err *err)
{
    uint32_t settled = 0;
    bool known = sequence >= confirms->first && sequence < confirms->next;

    *count = 0;
    if (!known || (!multiple && *state_of(confirms, sequence) == SETTLED))
        return err_set(err, ERR_RETRY, "could not settle message %ju: it is not in flight",
                       (uintmax_t)sequence);

    for (uint64_t each = multiple ? confirms->first : sequence; each <= sequence; each++)
        if (*state_of(confirms, each) != SETTLED)
            settle_one(confirms, each, acked, &out[settled++]);
    while (confirms->first < confirms->next && *state_of(confirms, confirms->first) == SETTLED)
        confirms->first++;
    *count = settled;
    assert(settled > 0);
    assert((confirms->in_flight == 0) == (confirms->first == confirms->next));
    return true;
}
