/*
 * store_pg.h - a batch as one PostgreSQL transaction in two network round trips:
 *
 *  1. store_load: BEGIN (unless it goes on in an open one); locks and reads the accounts, in id
 *     order; then the keys, unless they are taken for new;
 *  2. after ledger_apply, in memory: store_save (accounts, deltas, journal), outbox_append last of
 *     all, and store_commit, which checks every answer.
 *
 * A batch with targets has store_resolve before: what they are never changes, and tells which
 * accounts are to be locked.
 *
 * Locks before the key look-up, always: a concurrent repeat waits for the accounts and then finds
 * the key. After any failure: query_abandon; nothing was changed, or (a lost link at commit) it is
 * unknown and the same batch, run again, finds what was committed.
 */
#ifndef LEDGER_STORE_PG_H
#define LEDGER_STORE_PG_H

#include "base/query_pg.h"
#include "ledger/ledger.h"

struct store; /* outlives a batch: assets and accounts' kinds, which never change; nothing else */

MUST_CHECK bool store_open(struct store **out, struct err *err);
void store_close(struct store *store); /* NULL is fine */

/* Prepares for a new connection: every statement of the store is a loop over its array with an
 * index scan inside. */
MUST_CHECK bool store_tune(struct store *store, struct db *db, struct err *err);

/* The rules of the policy, for store_load to hand to each batch; without it there are none, and
 * everything is allowed. To be called before each batch: once a POLICY_LOOK_US it asks whether they
 * have changed, so that no batch begins under rules which were changed longer ago. */
enum { POLICY_LOOK_US = 500 * 1000 };
MUST_CHECK bool store_look_at_policy(struct store *store, struct db *db, uint64_t monotonic_us,
                                     struct err *err);

/* Needs ledger_collect_targets before. Fills of each target what never changes. Not asked when
 * there is none. */
MUST_CHECK bool store_resolve(struct store *store, struct db *db, struct batch *batch,
                              struct err *err);

/* Needs ledger_collect before. Fills the accounts, batch->assets, now_us, numbers for accounts that
 * may be opened, and, unless batch->keys_are_new, for each key that the journal has: stored,
 * stored_fingerprint, reply; for queries: user, transaction. Accounts that commands change are
 * locked; what only queries name is not, and a system account's balance is filled only when the
 * batch asks for one. */
MUST_CHECK bool store_load(struct store *store, struct db *db, struct batch *batch,
                           struct err *err);

/* All of that, from ledger_collect_targets on. */
MUST_CHECK bool store_read(struct store *store, struct db *db, struct batch *batch,
                           struct err *err);

/* What a queue of statements must report: the number of rows each one touches. */
#define ANSWER_ANY UINT64_MAX /* not known beforehand */
struct answers {
    uint64_t rows[16];
    uint32_t count;
};
MUST_CHECK bool store_save(struct store *store, struct db *db, const struct batch *batch,
                           struct answers *answers, struct err *err);
/* An answer with another number of rows is ERR_FATAL: somebody else wrote what was locked. */
MUST_CHECK bool store_commit(struct db *db, const struct answers *answers, struct err *err);

/* The same in two: what the server is at in between costs no time of its own. */
MUST_CHECK bool store_commit_send(struct db *db, struct err *err);
MUST_CHECK bool store_commit_read(struct db *db, const struct answers *answers, struct err *err);
/* The same without the commit: what is open goes on. */
MUST_CHECK bool store_flush(struct db *db, const struct answers *answers, struct err *err);

/* Adds the deltas of at most `most` system accounts into their balances; skips what is locked, and
 * leaves alone what 64 bits would not hold. */
MUST_CHECK bool store_roll_up(struct db *db, uint32_t most, uint32_t *rolled, struct err *err);

#endif
