/*
 * verify_pg.h - proves the books from the rows themselves; reads only, in one snapshot, memory
 * flat.
 *
 *  - every account's balance equals the sum of its postings (and, for a system account, of its
 * roll-up and deltas); no user account is below what is held;
 *  - per asset, all postings sum to zero, and so do all balances;
 *  - both sides of a transaction hold the same asset;
 *  - sequence numbers of an account run 1..seq without a gap, and each balance follows from the one
 * before;
 *  - every event still in the outbox tells what the journal holds, each account's events in the
 * outbox are without a gap and reach its last sequence number.
 */
#ifndef LEDGER_VERIFY_PG_H
#define LEDGER_VERIFY_PG_H

#include "base/query_pg.h"

struct verify_report {
    uint64_t accounts, outcomes, postings, outbox_events;
    uint64_t differences; /* 0: the books are right */
};

/* Calls difference(context, sentence) for each of the first `most` differences. True when the check
 * ran, whatever it found. */
MUST_CHECK bool verify_run(struct db *db, uint32_t most,
                           void (*difference)(void *context, const char *sentence), void *context,
                           struct verify_report *report, struct err *err);

#endif
