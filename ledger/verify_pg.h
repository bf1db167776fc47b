/*
 * verify_pg.h - proves the books from the rows themselves; reads only, in one snapshot, over
 * several connections, memory flat.
 *
 *  - every account's balance equals the sum of its postings (and, for a system account, of its
 *    roll-up and deltas); no user account is below what is held;
 *  - per asset, all postings sum to zero, and so do all balances;
 *  - both sides of a transaction hold the same asset;
 *  - sequence numbers of an account run 1..seq without a gap, and each balance follows from the one
 *    before;
 *  - every account's chain of hashes (chain.h) follows from its entries, and ends in its head: the
 *    first entry that was changed, removed or inserted by hand is named;
 *  - checkpoints follow one another, are signed (where public keys are given), and attest what the
 *    journal holds: so a chain that was recomputed as a whole is found;
 *  - every event still in the outbox tells what the journal holds, each account's events in the
 *    outbox are without a gap and reach its last sequence number.
 */
#ifndef LEDGER_VERIFY_PG_H
#define LEDGER_VERIFY_PG_H

#include "base/query_pg.h"
#include "protocol/checkpoint.h"

enum { VERIFY_JOBS_MAX = 64 };

struct verify_options {
    uint32_t jobs; /* connections that work side by side, 1 to VERIFY_JOBS_MAX */
    uint32_t most; /* differences that each check tells; all are counted */
    const struct ed25519 *const
        *keys; /* public ones of checkpoints; none: signatures are not checked */
    uint32_t keys_count;
    const struct checkpoint *kept; /* outside the database, by number */
    uint32_t kept_count;
    void *context; /* of the calls below, which come one at a time, but not from one thread */
    /* One more connection, with the same rights to read; verify_run closes it. */
    bool (*open)(void *context, struct db **out, struct err *err);
    void (*difference)(void *context, const char *sentence);
    void (*progress)(void *context, uint64_t done, uint64_t all); /* NULL: nobody asks */
};

struct verify_report {
    uint64_t accounts, outcomes, postings, entries, checkpoints, outbox_events;
    uint64_t differences; /* 0: the books are right */
};

/* True when the check ran, whatever it found. */
MUST_CHECK bool verify_run(const struct verify_options *options, struct verify_report *report,
                           struct err *err);

#endif
