/*
 * reply.h - the answer to a command or query: built by the ledger, sent by the relay, read by
 * clients, and kept in Redis. Maps with the keys of docs/protocol.md.
 */
#ifndef PROTOCOL_REPLY_H
#define PROTOCOL_REPLY_H

#include "protocol/codec.h"
#include "protocol/command.h"
#include "protocol/history.h"
#include "protocol/result.h"

struct balance_view {
    struct text account, asset;
    int64_t balance, held, seq; /* available = balance - held */
    bool has_seq;               /* system accounts have no sequence */
};

struct user_view {
    struct text user_id, name;
    int64_t created_us;
    struct bytes metadata;       /* that update_user gave; empty: none */
    const struct text *accounts; /* their ids, sorted; at most USER_ACCOUNTS_MAX, see more */
    uint32_t accounts_count;
    bool more_accounts;
};
enum { USER_ACCOUNTS_MAX = 256 };

struct account_view {
    struct text account, user_id, asset;
    enum account_kind kind;
    uint8_t scale;
    int64_t created_us;
    struct bytes metadata;
    enum direction frozen; /* 0: nothing is */
    bool closed;
    int64_t floor; /* how far below zero what is available may go; 0: not at all */
};

struct transaction_view {
    struct uuid transaction;
    enum command_type type;
    struct text debit, credit, asset; /* account ids; open_account: credit alone */
    int64_t amount;
    int64_t created_us;
    struct uuid trace_id;
    struct text caller, key;
    struct bytes metadata;
    struct uuid refers; /* of a capture, release, expiry: the hold; of a reversal the transaction */
    struct uuid
        settled; /* by this: the hold ended, the transaction was reversed; zero: it is not */
    int64_t remaining, expires_us; /* of a hold; expires_us 0: never */
    int64_t floor;                 /* that a set_floor set */
    struct uuid scheduled;         /* the command that this executed or cancelled; zero: none */
    /* Of a scheduled command: for when (of any other 0), and what ended it (zero: it is pending).
     */
    int64_t scheduled_us;
    struct text user_id; /* of who scheduled it; not told, for the policy alone */
    struct uuid ended;
    bool cancelled;
    enum result ended_result; /* of its execution */
};

struct reply;
struct leg_view {
    struct text key;
    const struct reply *reply; /* its result, transaction, balances, replayed */
};

struct reply {
    enum result result;
    bool created;        /* applied with 201 instead of 200 */
    struct text message; /* empty: the result's own sentence */
    bool has_transaction;
    struct uuid transaction; /* of RESULT_SCHEDULED it names the command that was scheduled */
    int64_t scheduled_us;    /* RESULT_SCHEDULED: for when */
    struct balance_view balances[2];
    uint32_t balances_count;
    const struct user_view *user; /* of a query; else NULL */
    const struct account_view *account;
    const struct transaction_view *details;
    const struct as_of_view *as_of;
    const struct history_view *history;
    int64_t timestamp_us;
    struct uuid trace_id; /* of the command that was first decided */
    bool replayed;
    bool dry_run;                /* nothing was done */
    const struct leg_view *legs; /* of a batch, in its order; none when it was refused as a whole */
    uint32_t legs_count;
    bool has_failed_leg; /* an atomic batch was refused because of this one, from 0 */
    uint32_t failed_leg;
};

/* False only when the arena is full. */
MUST_CHECK bool reply_encode(struct codec *codec, const struct reply *reply, enum encoding encoding,
                             struct arena *arena, struct bytes *out);
/* Views point into the arena. Unknown keys are ignored: an older client reads a newer server. */
MUST_CHECK bool reply_decode(struct codec *codec, struct bytes body, enum encoding encoding,
                             struct arena *arena, struct reply *out,
                             char problem[static PROBLEM_SIZE]);

#endif
