/*
 * policy.h - who may do what. A rule allows; what no rule allows is forbidden. No I/O: the rules
 * and what was used of their daily limits are given.
 */
#ifndef LEDGER_POLICY_H
#define LEDGER_POLICY_H

#include "protocol/command.h"

enum { RULES_MAX = 4096 };

struct rule {
    int64_t id;
    struct text caller;  /* a user_id; empty: any, and who gives none */
    uint64_t commands;   /* a bit for each enum command_type */
    struct text account; /* an id, or with is_prefix what ids begin with */
    bool is_prefix;      /* with an empty account: any, and what names none */
    struct text asset;   /* empty: any */
    int64_t max_amount;  /* a command, in the asset's minor units; NO_LIMIT: none */
    int64_t daily_limit; /* a caller and day, likewise */
};
#define NO_LIMIT INT64_MAX
_Static_assert(COMMANDS_COUNT <= 64, "each has its bit");

/* What was used of a rule's daily limit by one caller, on the day at hand. */
struct usage {
    int64_t rule;
    struct text caller;
    int64_t used;
    bool changed;
};

struct policy {
    const struct rule *rules; /* never NULL; sorted by caller, any's first; each caller's by id */
    uint32_t rules_count;
    bool has_daily_limits;
};

/* What is asked for. */
struct wish {
    struct text caller; /* the user_id; empty: none */
    enum command_type type;
    struct text accounts[2]; /* that it is about: either will do; both empty: it names none */
    struct text asset;       /* empty: not known, or none */
    bool is_his;    /* it is about what the caller scheduled: a rule's account matters not */
    int64_t amount; /* that it takes; 0: none */
};

/* Whether a rule may apply, whatever the amount. A batch has no account: a rule's matters not. */
bool policy_may(const struct policy *policy, const struct wish *wish);

/* The rule by which the wish is granted, with its amount: of those without a daily limit the first,
 * else the first that has so much left. *charged is then what is to grow by the amount; NULL:
 * nothing. usages is sorted, see usage_compare; what is not in it has nothing left. NULL: it is not
 * granted. */
const struct rule *policy_find(const struct policy *policy, const struct wish *wish,
                               struct usage *usages, uint32_t usages_count, struct usage **charged);

/* The n-th rule with a daily limit that may apply, from 0; NULL: there are no more. */
const struct rule *policy_limited(const struct policy *policy, const struct wish *wish, uint32_t n);

int usage_compare(const void *a, const void *b); /* of struct usage: by rule and caller */

/* "deposit,transfer" or "*" to bits; false when a word names no command. */
MUST_CHECK bool policy_parse_commands(struct text words, uint64_t *out);
/* "*" to the empty text. */
struct text policy_parse_caller(struct text caller);
/* "shop:*" to a prefix. False when it is neither an id nor the beginning of one. */
MUST_CHECK bool policy_parse_account(struct text pattern, struct rule *out);

#endif
