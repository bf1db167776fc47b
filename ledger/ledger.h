/*
 * ledger.h - the money rules. No I/O, no clock, no randomness; memory only from the batch's arena.
 *
 * A batch is a list of requests in the order they were published, and the accounts they name as the
 * store locked and read them. ledger_apply decides each in turn, seeing the ones before it. A
 * refusal is a value, not an error; a refused command changes no account. Invariants:
 *  1. of no account of kind user less is available than its floor, which is 0 unless set;
 *  2. every applied movement debits and credits the same amount of one asset;
 *  3. one key, one outcome: a repeat gets the first answer, another payload is a conflict;
 *  4. the same input gives the same outcomes, however it is cut into batches.
 */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "ledger/account.h"
#include "ledger/policy.h"
#include "protocol/reply.h"
#include "protocol/request.h"

enum {
    BATCH_COMMANDS_MAX = 1024,                   /* messages */
    BATCH_WORKS_MAX = BATCH_COMMANDS_MAX + 1024, /* with the legs of those that are batches */
};
_Static_assert(BATCH_WORKS_MAX - BATCH_COMMANDS_MAX > LEGS_MAX, "any one batch fits");

/* Where an answer comes from. */
enum origin {
    ORIGIN_NONE,     /* not yet: ledger_apply decides */
    ORIGIN_DECIDED,  /* by this batch: outcome is set and, for a command, is to be stored */
    ORIGIN_REPEATED, /* its key was decided before, in this batch or an earlier one: the first reply
                        again */
    ORIGIN_CONFLICT, /* its key belongs to another payload */
    ORIGIN_FAULT,    /* not a command: answered, and dead-lettered */
    ORIGIN_SKIPPED,  /* a leg of a batch that was not done, or done before: no answer of its own;
                        or what was scheduled and has ended already: nothing to do */
    ORIGIN_CACHED,   /* the idempotency cache knew the key: reply is set already, nothing to look up
                      */
};

struct work { /* one request on its way through */
    const struct request *request;
    struct uuid id; /* of the outcome; the transaction's id when applied */
    enum origin origin;
    bool stored; /* the journal has this key: stored_fingerprint and reply are what it holds */
    struct uuid stored_fingerprint;
    /* A batch is followed by its legs. */
    uint32_t legs_count;
    bool is_leg;
    const struct work *parent; /* of a leg that was decided: its batch */
    uint32_t failed_leg;       /* of an atomic batch that was refused: which one was the first */
    bool answered;             /* its reply was sent already, past the outbox */
    bool isolated; /* the store refused it alone: answer INTERNAL and dead-letter it; or, what was
                      scheduled, let that be its outcome */
    struct outcome outcome;
    struct reply reply;
    const struct user_view *user; /* what a query found; NULL: nothing */
    const struct transaction_view *transaction;
    const struct past *past;
    const struct history_view *history;
};

struct undo; /* what an account or target was before, see decide.h */

struct batch {
    struct arena *arena;
    struct work *works;
    uint32_t works_count;
    struct account *accounts; /* sorted by id, each once */
    uint32_t accounts_count;
    struct target *targets; /* sorted by id, each once */
    uint32_t targets_count;
    const struct asset *assets; /* all that are registered, sorted by code */
    uint32_t assets_count;
    int64_t now_us;   /* the database's clock, read under the locks */
    int64_t as_of_us; /* when the work at hand is decided: now, or when what is imported happened */
    int32_t import;   /* the number of the import that this is a part of; 0: none */
    bool goes_on;     /* in the transaction that is open */
    bool keys_are_new; /* as far as is known: so they are not looked up, and one that is not new
                          lets the commit fail (ERR_RETRY) */
    const struct policy *policy; /* NULL: off, everything is allowed */
    struct usage *usages;        /* of daily limits that may count, as stored; sorted */
    uint32_t usages_count;
    int32_t usages_day; /* by the database's clock, from 2000-01-01 on */
    struct undo *undo;
    bool undoable; /* what is decided now may have to be undone */
};

/* Fills targets with the ids that works still to be decided name: sorted, each once, none existing
 * yet. ERR_REJECT when the arena is too small. */
MUST_CHECK bool ledger_collect_targets(struct batch *batch, struct err *err);
/* Fills accounts likewise: those that works name, and those of their targets, which must be known
 * by now. */
MUST_CHECK bool ledger_collect(struct batch *batch, struct err *err);
struct target *ledger_target(const struct batch *batch,
                             const struct uuid *id); /* NULL: not in it */
/* The ids of accounts that this work may read or change. Returns how many. */
enum { WORK_ACCOUNTS_MAX = 3 };
uint32_t ledger_ids_of(const struct batch *batch, const struct work *work,
                       struct text ids[static WORK_ACCOUNTS_MAX]);
/* A command, whose outcome belongs into the journal under its key: no query and no dry run. */
bool ledger_is_kept(const struct work *work);
/* The scheduled command that a decided work ends, by executing or cancelling it; NULL: none. */
const struct uuid *ledger_ends(const struct work *work);
struct account *ledger_account(const struct batch *batch,
                               struct text id); /* NULL: not in the batch */
const struct asset *ledger_asset(const struct batch *batch, struct text code);

/* Decides every work with origin NONE, in order, and writes every work's reply. False only when the
 * arena is too small (ERR_REJECT), and then ledger_forget is all that may follow. */
MUST_CHECK bool ledger_apply(struct batch *batch, struct err *err);

/* Of a batch that was decided with keys_are_new: whether an outcome that leaves a key without a
 * row, so that no commit would find it known, is another one where it is. */
bool ledger_hangs_on_keys(const struct batch *batch);

/* Undoes what ledger_collect and ledger_apply wrote, so that the batch, or a half of it, can be run
 * again. Faults and cached answers stay. */
void ledger_forget(struct batch *batch);

#endif
