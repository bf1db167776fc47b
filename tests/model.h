/*
 * model.h - the ledger as docs/protocol.md tells it, for the tests to compare the real one with. It
 * decides one command at a time, keeps lists, and searches them: no batches of messages, no locks,
 * no undo log, and not a line or an order of checks of ledger/. A command is held against every
 * rule, and of those it breaks the first in the order of precedence is its refusal.
 *
 * Commands are numbered; the number is in the command's id, which names its transaction. What is
 * executed when it is due is a command with a number of its own.
 */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include "protocol/command.h"
#include "protocol/reply.h"

enum {
    MODEL_ASSETS = 8,
    MODEL_ACCOUNTS = 80,
    MODEL_USERS = 16,
    MODEL_COMMANDS = 32768, /* of one model, legs counted */
    MODEL_KEY_SIZE = 16,
    MODEL_PENDING = 2048,
    MODEL_RULES = 32,
    MODEL_USAGES = 128, /* rules and callers */
};

struct message { /* a command as it was published; a batch is followed by its legs */
    uint32_t number;
    uint32_t key; /* the same for the same idempotency key, below MODEL_COMMANDS */
    char key_text[MODEL_KEY_SIZE];
    struct text caller, user_id;
    bool is_own; /* the ledger's own: no policy is asked */
    struct command command;
    struct uuid fingerprint, trace_id;
    int64_t deadline_us; /* x-deadline; 0: none */
    int64_t at_us;       /* it is imported, and this is when it happened; 0: it is not */
    bool is_execution;   /* of the command that was scheduled under this number; its key is new */
    uint32_t scheduled;
    uint32_t legs_count;
    bool is_leg;
};

struct model_rule { /* of a policy, as it is written */
    int64_t id;
    struct text caller, commands, account, asset; /* asset: empty for any */
    int64_t most, daily;                          /* INT64_MAX: no limit */
};

__extension__ typedef __int128 wide; /* sums of any number of amounts */

struct model_asset {
    struct text code;
    uint8_t scale;
};

struct model_account {
    struct text id, user_id;
    enum account_kind kind;
    const struct model_asset *asset;
    wide balance;
    int64_t held, seq, floor, created_us, changed_us;
    bool frozen_in, frozen_out, closed;
    struct bytes metadata;
};

struct model_side { /* of a user account: as it was after the transaction */
    int64_t balance, held, seq;
};

struct model_transaction {
    bool applied;
    bool scheduled; /* accepted for later; not applied: its execution is, if it ever is */
    enum command_type type;
    int debit, credit; /* accounts; below 0: none */
    int64_t amount, floor;
    int64_t created_us, expires_us; /* 0: never */
    bool takes_all;                 /* a capture: nothing is left for another one */
    int refers;                     /* the transaction it is about; below 0: none */
    struct model_side debited, credited;
    int64_t due_us;     /* when scheduled */
    bool is_execution;  /* of the command that was scheduled under this number, */
    uint32_t executed;  /* also if it was refused */
    enum result result; /* then the refusal */
};

struct model_fate { /* what became of a hold, a transaction or a scheduled command since */
    bool ended;
    enum command_type by;
    int ender;
    int64_t remaining; /* of a hold */
};

struct model;

/* With a world account for each asset, since created_us; they are all kept by the caller. */
struct model *model_open(const struct model_asset *assets, uint32_t assets_count,
                         int64_t created_us);
void model_close(struct model *model);

/* The policy from now on; without a rule it is off. The rules are in the order of their ids, and
 * kept by the caller. */
void model_set_policy(struct model *model, const struct model_rule *rules, uint32_t count);

/* The reply to the next message, in the order of numbers. What it points to is in the arena, in the
 * message, or good until the model is closed. False for what happens not at all: the execution of
 * what has ended already. */
bool model_decide(struct model *model, const struct message *message, int64_t now_us,
                  struct arena *arena, struct reply *out);

/* What is to be executed at that time, the first due first. Returns how many. */
uint32_t model_due(const struct model *model, int64_t now_us, uint32_t *out, uint32_t most);
bool model_is_pending(const struct model *model, uint32_t number);

/* What a query finds, whoever may ask: user, details, as_of, history, and the account's balance of
 * then. RESULT_APPLIED: it finds something. */
enum result model_find(struct model *model, const struct command *command, struct arena *arena,
                       struct reply *out);

/* Looking in. NULL: there is none. */
const struct model_account *model_account(const struct model *model, struct text id);
const struct model_account *model_account_at(const struct model *model, int at);
const struct model_transaction *model_transaction(const struct model *model, uint32_t number);
/* Or one that was scheduled. */
const struct model_transaction *model_any_transaction(const struct model *model, uint32_t number);
struct model_fate model_fate(const struct model *model, uint32_t number);

struct uuid model_id(uint32_t number);

#endif
