/*
 * model_internal.h - what the files of the model share: model.c decides, model_policy.c says who
 * may do what, model_past.c answers what is asked of an account's past.
 */
#ifndef TESTS_MODEL_INTERNAL_H
#define TESTS_MODEL_INTERNAL_H

#include "tests/model.h"

struct model_user {
    struct text id, name;
    int64_t created_us;
    struct bytes metadata;
};

struct model_decided { /* under a key, for ever */
    bool known;
    struct uuid fingerprint;
    struct reply reply;
};

struct model_usage { /* of a rule's daily limit */
    int64_t rule, day, used;
    struct text caller;
};

enum { WORLD_ID_SIZE = 24 };

struct book { /* what a batch that is refused must leave as it was */
    struct model_account accounts[MODEL_ACCOUNTS];
    uint32_t accounts_count;
    struct model_user users[MODEL_USERS];
    uint32_t users_count;
    uint32_t pending[MODEL_PENDING]; /* what was scheduled and has not ended, in that order */
    uint32_t pending_count;
    struct model_usage usages[MODEL_USAGES];
    uint32_t usages_count;
};

struct model {
    const struct model_asset *assets;
    uint32_t assets_count;
    char world_ids[MODEL_ASSETS][WORLD_ID_SIZE];
    struct book book;
    const struct model_rule *rules;
    uint32_t rules_count;              /* 0: the policy is off */
    uint64_t commands_of[MODEL_RULES]; /* a bit for each type */
    struct model_transaction transactions[MODEL_COMMANDS];
    const struct message *messages[MODEL_COMMANDS];
    struct model_decided decided[MODEL_COMMANDS]; /* by key */
    uint32_t count;                               /* of transactions: up to the latest number */
    int64_t now_us;      /* when the message at hand happens: now, or when it did */
    int64_t clock_us;    /* now */
    struct arena *arena; /* for the reply at hand */
};

/* Below 0: there is none. */
int model_number_of(const struct model *model, const struct uuid *id);
struct text model_id_at(const struct model *model, int place); /* of an account; empty: none */
void *model_take(struct arena *arena, size_t size);            /* zeroes */

/* Whether a rule allows it, whatever the amount. */
bool model_may(const struct model *model, const struct message *message);
/* And so much; of an applied command that counts. */
bool model_suffices(const struct model *model, const struct message *message, int64_t amount);
void model_charge(struct model *model, const struct message *message, int64_t amount);

/* get_balance with as_of, list_transactions. */
enum result model_show_past(struct model *model, const struct model_account *account,
                            const struct command *command, struct reply *out);
enum result model_show_page(struct model *model, const struct model_account *account,
                            const struct command *command, struct reply *out);

#endif
