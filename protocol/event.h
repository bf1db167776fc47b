/*
 * event.h - what the ledger tells the world: one event for each account that a command changed (an
 * asset's world account apart), and for each refusal.
 */
#ifndef PROTOCOL_EVENT_H
#define PROTOCOL_EVENT_H

#include "protocol/codec.h"
#include "protocol/command.h"
#include "protocol/result.h"

/* clang-format off */
#define EVENTS(X) \
    X(TRANSACTION_CREATED, "transaction.created") \
    X(ACCOUNT_OPENED,      "account.opened") \
    X(ACCOUNT_FROZEN,      "account.frozen") \
    X(ACCOUNT_UNFROZEN,    "account.unfrozen") \
    X(ACCOUNT_CLOSED,      "account.closed") \
    X(FLOOR_CHANGED,       "account.floor_changed") \
    X(HOLD_PLACED,         "hold.placed") \
    X(HOLD_RELEASED,       "hold.released") \
    X(HOLD_EXPIRED,        "hold.expired") \
    X(USER_UPDATED,        "user.updated") \
    X(COMMAND_SCHEDULED,   "command.scheduled") \
    X(COMMAND_CANCELLED,   "command.cancelled") \
    X(COMMAND_REJECTED,    "command.rejected")
/* clang-format on */

enum event_type {
#define X(name, word) EVENT_##name,
    EVENTS(X)
#undef X
        EVENTS_COUNT
};

struct event {
    enum event_type type;
    struct uuid transaction; /* of the outcome; a refusal has one too */
    enum command_type command;
    struct text user_id, account, asset;
    struct text name; /* USER_UPDATED: that was given; empty: it is as it was */
    struct text
        counterparty; /* the other account of a transaction; an asset's world as world:EUR */
    bool is_credit;   /* the account received; "direction": "credit" or "debit" */
    int64_t amount;
    int64_t new_balance, held, seq; /* after it; only with has_balance */
    bool has_balance;
    struct uuid refers;    /* the hold, or the transaction that is reversed; zero: none */
    struct uuid scheduled; /* the command that this executed or cancelled; zero: none */
    int64_t scheduled_us;  /* COMMAND_SCHEDULED: for when */
    int64_t expires_us;    /* of a hold; 0: never */
    int64_t floor;         /* FLOOR_CHANGED, or the one that was refused; only with has_floor */
    bool has_floor;
    enum direction frozen; /* ACCOUNT_FROZEN and _UNFROZEN: what is frozen now; 0: nothing */
    enum result result;    /* COMMAND_REJECTED: why */
    struct text caller, key;
    int64_t timestamp_us;
    struct uuid trace_id;
    struct bytes metadata;
};

const char *event_word(enum event_type type); /* also the routing key */
/* What is told when a command of this type was applied; EVENT_TRANSACTION_CREATED where money
 * moves.
 */
enum event_type event_type_of(enum command_type type);

/* The event's map alone, into and out of the bytes of a message: see event_list.h. `map` is guarded
 * msgpack. */
void event_pack(struct writer *writer, const struct event *event);
MUST_CHECK bool event_unpack(struct bytes map, struct event *out,
                             char problem[static PROBLEM_SIZE]);

MUST_CHECK bool event_encode(struct codec *codec, const struct event *event, enum encoding encoding,
                             struct arena *arena, struct bytes *out);
MUST_CHECK bool event_decode(struct codec *codec, struct bytes body, enum encoding encoding,
                             struct arena *arena, struct event *out,
                             char problem[static PROBLEM_SIZE]);

#endif
