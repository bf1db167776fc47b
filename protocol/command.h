/*
 * command.h - what a caller may ask. Bodies are maps; an unknown or doubled key is refused by name.
 */
#ifndef PROTOCOL_COMMAND_H
#define PROTOCOL_COMMAND_H

#include "base/bytes.h"
#include "base/uuid.h"
#include "protocol/amount.h"
#include "protocol/codec.h"
#include "protocol/ids.h"
#include "protocol/page.h"

enum {
    METADATA_SIZE_MAX = 4096,     /* as canonical msgpack */
    HOLD_SECONDS_MAX = 316224000, /* ten years */
    LEGS_MAX = 1000,              /* commands of a batch */
};

/* clang-format off */
#define COMMANDS(X) /* enum, word, changes something, number in the journal (never changes) */ \
    X(OPEN_ACCOUNT,    "open_account",    true,  1) \
    X(DEPOSIT,         "deposit",         true,  2) \
    X(WITHDRAW,        "withdraw",        true,  3) \
    X(TRANSFER,        "transfer",        true,  4) \
    X(HOLD,            "hold",            true,  5) \
    X(CAPTURE,         "capture",         true,  6) \
    X(RELEASE,         "release",         true,  7) \
    X(EXPIRE_HOLD,     "expire_hold",     true,  8) \
    X(REVERSE,         "reverse",         true,  9) \
    X(FREEZE_ACCOUNT,  "freeze_account",  true,  10) \
    X(UNFREEZE_ACCOUNT, "unfreeze_account", true, 11) \
    X(CLOSE_ACCOUNT,   "close_account",   true,  12) \
    X(BATCH,           "batch",           true,  13) \
    X(SET_FLOOR,       "set_floor",       true,  14) \
    X(CANCEL,          "cancel",          true,  15) \
    X(UPDATE_USER,     "update_user",     true,  16) \
    X(GET_USER,        "get_user",        false, 101) \
    X(GET_ACCOUNT,     "get_account",     false, 102) \
    X(GET_BALANCE,     "get_balance",     false, 103) \
    X(GET_TRANSACTION, "get_transaction", false, 104) \
    X(LIST_TRANSACTIONS, "list_transactions", false, 105)
/* clang-format on */

enum command_type {
#define X(name, word, changes, number) COMMAND_##name,
    COMMANDS(X)
#undef X
        COMMANDS_COUNT
};

enum account_kind { ACCOUNT_USER, ACCOUNT_SYSTEM };

/* Of money, as an account sees it: bits. */
enum direction { DIRECTION_IN = 1, DIRECTION_OUT = 2, DIRECTION_BOTH = 3 };

/* What must hold for a command that changes something, else it is refused. The sequence number and
 * the balance are those of the account that command_ordering_key names; of a capture, a release and
 * an expiry the hold's, of a reversal the one that gives the money back. */
struct conditions {
    bool has_if_seq, has_if_balance;
    int64_t if_seq;
    struct amount if_balance;            /* at least */
    int64_t not_before_us, not_after_us; /* 0: none */
};

struct command { /* views into the body or the decoder's arena; fields a type has not are empty */
    enum command_type type;
    struct text account;       /* those that name one account */
    struct text from, to;      /* transfer; capture: to */
    struct text user_id, name; /* open_account, update_user; get_user: user_id */
    struct text asset;         /* open_account; optional elsewhere */
    enum account_kind kind;    /* open_account */
    struct amount amount;      /* set_floor: the floor */
    bool has_amount;           /* capture, reverse: else all of it */
    struct bytes metadata;     /* canonical msgpack map; empty when absent */
    struct uuid transaction;   /* that is asked for, reversed, cancelled; or the hold */
    uint32_t expires_in_s;     /* hold; 0: never */
    bool keeps_rest;           /* capture: "final" is false */
    enum direction direction;  /* freeze_account, unfreeze_account; 0 is both */
    struct conditions conditions;
    struct as_of as_of; /* get_balance */
    struct page page;   /* list_transactions */
    bool dry_run;       /* the verdict alone */
    bool independent;   /* batch: "atomic" is false */
    struct bytes legs;  /* batch: its commands, one msgpack array of maps */
    uint32_t legs_count;
};

const char *command_word(enum command_type type);
int16_t command_number(enum command_type type);
bool command_changes(enum command_type type);
/* Whether `transaction` names what the command is to end: a hold, a transaction, what waits. */
bool command_has_target(enum command_type type);
bool command_asks_past(const struct command *command); /* get_balance with as_of */
MUST_CHECK bool command_type_parse(struct text word, enum command_type *out);
MUST_CHECK bool command_type_of_number(int16_t number, enum command_type *out);
/* The account whose commands keep their order: the routing key to publish with. Of get_user
 * and update_user it is the user. Empty where the body names no account: of get_transaction, and of
 * those that have a target; who knows its account publishes with that. */
struct text command_ordering_key(const struct command *command);

/* False with a precise sentence in problem ("amount: a float is refused; ..."). body must be at
 * most BODY_SIZE_MAX. */
enum { PROBLEM_SIZE = 200 };
MUST_CHECK bool command_decode(struct codec *codec, enum command_type type, enum encoding encoding,
                               struct bytes body, struct arena *arena, struct command *out,
                               char problem[static PROBLEM_SIZE]);
/* One command of a batch: a map with its type and idempotency key in it. */
MUST_CHECK bool command_decode_leg(struct codec *codec, struct bytes map, struct arena *arena,
                                   struct command *out, struct text *key,
                                   char problem[static PROBLEM_SIZE]);
/* False only when the arena is full. */
MUST_CHECK bool command_encode(struct codec *codec, const struct command *command,
                               enum encoding encoding, struct arena *arena, struct bytes *out);

const char *direction_word(enum direction direction);
MUST_CHECK bool direction_parse(struct text word, enum direction *out);

#endif
