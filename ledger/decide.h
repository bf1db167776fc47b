/*
 * decide.h - one command, over the accounts and targets of its batch. For ledger.c alone.
 *
 * Each command is first made into a plan, and the plan checked as a whole; then it is carried out
 * by assignments alone, so a refusal cannot leave a trace. Every change of an account is one step
 * of its seq.
 */
#ifndef LEDGER_DECIDE_H
#define LEDGER_DECIDE_H

#include "ledger/ledger.h"

/* Whether a request may be decided at all, whatever it is: RESULT_APPLIED when it may. Too early is
 * RESULT_SCHEDULED: it is to be kept until its time. */
enum result decide_whether(const struct batch *batch, const struct work *work);

/* decide_whether, and what it asks for, which is no batch: that is ledger.c's. Fills out; accounts
 * and targets change only when the result is RESULT_APPLIED, and what they were before is put
 * before batch->undo when batch->undoable. False only when the arena is full, and then nothing
 * changed. */
MUST_CHECK bool decide(struct batch *batch, const struct work *work, struct outcome *out);

/* Takes back what was decided since batch->undo was `mark`. */
void decide_undo(struct batch *batch, struct undo *mark);

#endif
