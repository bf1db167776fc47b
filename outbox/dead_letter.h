/*
 * dead_letter.h - the properties of a message that goes to the dead letters: its own, and headers
 * that say why, where from, when first and when last, and how many times. Pure.
 *
 *   x-ledger-reason       a word: malformed, unknown_type, idempotency_key_missing, internal, ...
 *   x-ledger-error        the sentence
 *   x-ledger-queue, x-ledger-exchange, x-ledger-routing-key    where it was
 *   x-ledger-first-death, x-ledger-last-death                  RFC 3339; a replayed one keeps the
 * first x-ledger-attempts     how many times it has died x-ledger-user-id      its user_id, which
 * the broker takes from nobody else x-ledger-headers-lost "true" when its own headers were too
 * large, or unreadable, to be kept
 */
#ifndef OUTBOX_DEAD_LETTER_H
#define OUTBOX_DEAD_LETTER_H

#include "ledger/ledger.h"

/* False when the arena is full. */
MUST_CHECK bool dead_letter_properties(const struct work *work, int64_t now_us, struct arena *arena,
                                       struct bytes *out);

#endif
