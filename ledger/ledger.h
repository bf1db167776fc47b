/*
 * ledger.h - the money rules. No I/O, no clock, no randomness; memory only from the batch's arena.
 *
 * A batch is a list of requests in the order they were published, and the accounts they name as the
 * store locked and read them. ledger_apply decides each in turn, seeing the ones before it. A
 * refusal is a value, not an error; a refused command changes no account. Invariants:
 *  1. no account of kind user goes below what is held;
 *  2. every applied movement debits and credits the same amount of one asset;
 *  3. one key, one outcome: a repeat gets the first answer, another payload is a conflict;
 *  4. the same input gives the same outcomes, however it is cut into batches.
 */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "protocol/reply.h"
#include "protocol/request.h"

enum { BATCH_COMMANDS_MAX = 1024, BATCH_ACCOUNTS_MAX = 2 * BATCH_COMMANDS_MAX };

struct asset {
    struct text code;
    int64_t world; /* number of the account that is the outside of this asset */
    uint8_t scale;
};

struct account {
    struct text id;
    int64_t number; /* the store's short name for it; never 0 when it exists */
    bool exists;
    bool opened;  /* by this batch: to be inserted */
    bool changed; /* balance and seq, by this batch: to be updated; never a system account */
    enum account_kind kind;
    const struct asset *asset;
    struct text user_id;
    int64_t balance, held, seq;
    int64_t created_us;
    struct bytes metadata;
};

struct side { /* one account of an outcome, as it stands after it */
    const struct account
        *account; /* NULL: none, or the world of outcome.asset when number is set */
    int64_t number;
    int64_t balance, held, seq;
};

struct outcome {
    enum result result;
    const struct asset *asset; /* NULL when nothing moved */
    int64_t amount;
    struct side debit, credit; /* an opened or queried account is the credit side */
};

/* Where an answer comes from. */
enum origin {
    ORIGIN_NONE,     /* not yet: ledger_apply decides */
    ORIGIN_DECIDED,  /* by this batch: outcome is set and, for a command, is to be stored */
    ORIGIN_REPEATED, /* its key was decided before, in this batch or an earlier one: the first reply
                        again */
    ORIGIN_CONFLICT, /* its key belongs to another payload */
    ORIGIN_FAULT,    /* not a command: answered, and dead-lettered */
    ORIGIN_CACHED,   /* the idempotency cache knew the key: reply is set already, nothing to look up
                      */
};

struct work { /* one request on its way through */
    const struct request *request;
    struct uuid id; /* of the outcome; the transaction's id when applied */
    enum origin origin;
    bool stored; /* the journal has this key: stored_fingerprint and reply are what it holds */
    struct uuid stored_fingerprint;
    bool answered; /* its reply was sent already, past the outbox */
    bool isolated; /* the store refused it alone: answer INTERNAL and dead-letter it */
    struct outcome outcome;
    struct reply reply;
    const struct user_view *user; /* what a query found; NULL: nothing */
    const struct transaction_view *transaction;
};

struct batch {
    struct arena *arena;
    struct work *works;
    uint32_t works_count;
    struct account *accounts; /* sorted by id, each once */
    uint32_t accounts_count;
    const struct asset *assets; /* all that are registered, sorted by code */
    uint32_t assets_count;
    int64_t now_us; /* the database's clock, read under the locks */
};

/* Fills accounts with the ids that works still to be decided name: sorted, each once, none existing
 * yet. ERR_REJECT when the arena is too small. */
MUST_CHECK bool ledger_collect(struct batch *batch, struct err *err);
struct account *ledger_account(const struct batch *batch,
                               struct text id); /* NULL: not in the batch */
const struct asset *ledger_asset(const struct batch *batch, struct text code);

/* Decides every work with origin NONE, in order, and writes every work's reply. False only when the
 * arena is too small (ERR_REJECT), and then nothing was decided. */
MUST_CHECK bool ledger_apply(struct batch *batch, struct err *err);

/* Undoes what ledger_collect and ledger_apply wrote, so that the batch, or a half of it, can be run
 * again. Faults and cached answers stay. */
void ledger_forget(struct batch *batch);

#endif
