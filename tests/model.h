/*
 * model.h - the ledger as docs/protocol.md tells it, for the tests to compare the real one with. It
 * decides one command at a time, keeps lists, and searches them: no batches of messages, no locks,
 * no undo log, and not a line or an order of checks of ledger/. A command is held against every
 * rule, and of those it breaks the first in the order of precedence is its refusal.
 *
 * Commands are numbered; the number is in the command's id, which names its transaction.
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
};

struct message { /* a command as it was published; a batch is followed by its legs */
    uint32_t number;
    uint32_t key; /* the same for the same idempotency key, below MODEL_COMMANDS */
    char key_text[MODEL_KEY_SIZE];
    struct text caller;
    struct command command;
    struct uuid fingerprint, trace_id;
    int64_t deadline_us; /* x-deadline; 0: none */
    uint32_t legs_count;
    bool is_leg;
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
    int64_t held, seq, floor, created_us;
    bool frozen_in, frozen_out, closed;
    struct bytes metadata;
};

struct model_transaction {
    bool applied;
    enum command_type type;
    int debit, credit; /* accounts; below 0: none */
    int64_t amount, floor;
    int64_t created_us, expires_us; /* 0: never */
    bool takes_all;                 /* a capture: nothing is left for another one */
    int refers;                     /* the transaction it is about; below 0: none */
};

struct model_fate { /* what became of a hold or a transaction since */
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

/* The reply to the next message, in the order of numbers. What it points to is in the arena, in the
 * message, or good until the model is closed. */
void model_decide(struct model *model, const struct message *message, int64_t now_us,
                  struct arena *arena, struct reply *out);

/* Looking in. NULL: there is none. */
const struct model_account *model_account(const struct model *model, struct text id);
const struct model_account *model_account_at(const struct model *model, int at);
const struct model_transaction *model_transaction(const struct model *model, uint32_t number);
struct model_fate model_fate(const struct model *model, uint32_t number);

struct uuid model_id(uint32_t number);

#endif
