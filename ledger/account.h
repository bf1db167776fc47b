/*
 * account.h - what the ledger keeps: assets, accounts, and what commands are about; and what became
 * of a command. Texts are views, into the batch's arena or the store's memory.
 */
#ifndef LEDGER_ACCOUNT_H
#define LEDGER_ACCOUNT_H

#include "base/sha256.h"
#include "protocol/command.h"
#include "protocol/result.h"

struct asset {
    struct text code;
    int64_t world; /* number of the account that is the outside of this asset */
    uint8_t scale;
};

/* What may no longer be done with an account: bits. Frozen as in enum direction. */
enum { STATE_FROZEN_IN = DIRECTION_IN, STATE_FROZEN_OUT = DIRECTION_OUT, STATE_CLOSED = 4 };

struct account {
    struct text id;
    int64_t number; /* the store's short name for it; never 0 when it exists */
    bool exists;
    bool opened;  /* by this batch: to be inserted */
    bool changed; /* by this batch: to be updated; never a system account */
    uint8_t state;
    enum account_kind kind;
    const struct asset *asset;
    struct text user_id;
    int64_t balance, held, seq;
    int64_t floor;      /* what is available never goes below it; at most 0 */
    struct sha256 head; /* the hash of its last entry, see chain.h; never of a system account */
    int64_t created_us, changed_us; /* changed: when its last change was, or its opening */
    struct bytes metadata;
};

/* What a command is about: a hold to be captured, released or expired, a transaction to be
 * reversed, a scheduled command to be cancelled or executed. Each is settled once, by the first
 * that succeeds (or, of executions, that is decided). */
struct target {
    struct uuid id;
    bool exists;         /* it was applied, or scheduled; what it is never changes */
    bool scheduled;      /* so it has a type, and no accounts or amount */
    struct text user_id; /* of who scheduled it; empty: he gave none */
    enum command_type type;
    struct text debit, credit; /* account ids; empty: none, or an asset's world */
    int64_t amount;
    /* Read under the accounts' locks: */
    bool settled;
    enum command_type settled_by;
    int64_t remaining, expires_us; /* of a hold; expires_us 0: never */
    bool changed;                  /* remaining, by this batch: to be updated */
};

struct side { /* one account of an outcome, as it stands after it */
    const struct account
        *account; /* NULL: none, or the world of outcome.asset when number is set */
    int64_t number;
    int64_t balance, held, seq;
    struct sha256 head;
    uint8_t state;
};

struct outcome {
    enum result result;
    bool over_limit;           /* RESULT_FORBIDDEN: because of the amount; else in any case */
    const struct asset *asset; /* NULL when nothing moved */
    int64_t amount;
    /* Who pays and who receives. Where no money moves there is one side: of a hold the debit, else
     * the credit: an account that was opened, queried, released, frozen, ... */
    struct side debit, credit;
    const struct target *target; /* NULL: none */
    bool settles;                /* it, for ever */
    int64_t expires_us;          /* of a hold that was placed; 0: never */
    int64_t at_us;               /* of what was applied: when, see decide.c; 0: the batch's time */
    int64_t floor;               /* that was set */
};

/* What an account was right after an entry: the last one at or before at_us. Of what had committed
 * when the batch was loaded. */
struct past {
    int64_t at_us; /* that was asked for, or when the transaction was that was asked for */
    int64_t balance, held, seq;
    struct uuid transaction; /* of the entry; zero: there was none yet, and all is 0 */
    int64_t timestamp_us;
};

#endif
