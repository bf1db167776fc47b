/*
 * entry.h - an outcome as an entry of an account's chain. For decide.c alone.
 */
#ifndef LEDGER_ENTRY_H
#define LEDGER_ENTRY_H

#include "ledger/ledger.h"

/* The side of an outcome that was just decided, and whose account, of kind user, is as it is after
 * it: moves the account's head on, and tells it in side->head. */
void entry_link(const struct batch *batch, const struct work *work, struct account *account,
                struct side *side);

#endif
