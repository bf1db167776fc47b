/*
 * permission.h - what a work of a batch needs of the policy: see policy.h for the rules. All of it
 * says yes where batch->policy is NULL, and to what the ledger does by itself.
 *
 * A command is about the account that pays: the one it names, `from`, the one of its hold, of a
 * reversal the one that gives back. Where an asset's world pays, it is about the one that receives.
 * The other side needs no permission: to receive is no harm. What was scheduled has no account yet;
 * who scheduled it may cancel it and look at it by any rule that has that command.
 */
#ifndef LEDGER_PERMISSION_H
#define LEDGER_PERMISSION_H

#include "ledger/ledger.h"

/* As far as it is known: after store_resolve the accounts, after store_load their assets. */
struct wish permission_wish(const struct batch *batch, const struct work *work);

/* Fills batch->usages with those of rules whose daily limit may count: sorted, each once, nothing
 * used yet. ERR_REJECT when the arena is too small. */
MUST_CHECK bool permission_collect(struct batch *batch, struct err *err);

/* Whether this may be asked for at all, whatever the amount. */
bool permission_may(const struct batch *batch, const struct work *work);
/* And with this amount; *charged is what is to grow by it, NULL: nothing. */
bool permission_suffices(const struct batch *batch, const struct work *work, int64_t amount,
                         struct usage **charged);

#endif
