/*
 * proof_pg.h - makes the proof of a transaction from the journal and the checkpoints.
 */
#ifndef LEDGER_PROOF_PG_H
#define LEDGER_PROOF_PG_H

#include "base/query_pg.h"
#include "ledger/proof.h"

/* As the entry of this account, or, with the empty text, of the debited one, if that is a user's,
 * else of the credited one. The memory is the arena's. ERR_REJECT, with a sentence, when there is
 * no such entry or no checkpoint covers it yet. */
MUST_CHECK bool proof_make(struct db *db, const struct uuid *transaction, struct text account,
                           struct arena *arena, struct proof *out, struct err *err);

#endif
