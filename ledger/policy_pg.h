/*
 * policy_pg.h - the policy in PostgreSQL: read by workers, changed by its owner.
 */
#ifndef LEDGER_POLICY_PG_H
#define LEDGER_POLICY_PG_H

#include "base/db_pg.h"
#include "ledger/policy.h"

struct policy_cache { /* what was read last */
    struct arena arena;
    struct policy policy;
    int64_t version;
    bool enabled;
    bool known; /* something was read, and of this database */
};

MUST_CHECK bool policy_cache_open(struct policy_cache *cache, struct err *err);
void policy_cache_close(struct policy_cache *cache);
/* Asks for the version, and for the rules only when it is another one. After a failure nothing may
 * be decided until it has succeeded again. */
MUST_CHECK bool policy_cache_read(struct policy_cache *cache, struct db *db, struct err *err);
/* NULL: the policy is off, or was never read. */
const struct policy *policy_cache_rules(const struct policy_cache *cache);

/* --- for the owner --- */

struct rule_text { /* as it is written; empty: none */
    int64_t id;
    struct text caller, commands, account, asset, note;
    int64_t max_amount, daily_limit; /* minor units; NO_LIMIT: none */
    uint8_t scale;                   /* of the asset */
};

/* Each rule, by id. */
MUST_CHECK bool policy_list(struct db *db,
                            void (*each)(void *context, const struct rule_text *rule),
                            void *context, struct err *err);
/* The rule is well-formed: see policy_parse_*. ERR_REJECT: there are RULES_MAX, or no such asset.
 */
MUST_CHECK bool policy_allow(struct db *db, const struct rule_text *rule, int64_t *id,
                             struct err *err);
MUST_CHECK bool policy_remove(struct db *db, int64_t id, bool *found, struct err *err);
/* ERR_REJECT: to enable a policy without a rule would forbid everything. */
MUST_CHECK bool policy_enable(struct db *db, bool enabled, struct err *err);

/* The asset of an account and its scale; false in *found when there is none. With an asset given
 * the scale of that one. code has room for ASSET_LENGTH_MAX + 1. */
MUST_CHECK bool policy_find_asset(struct db *db, struct text account, struct text asset,
                                  bool *found, char code[static ASSET_LENGTH_MAX + 1],
                                  uint8_t *scale, struct err *err);
/* What the caller has used today of each rule with a daily limit that may apply: sorted, in the
 * arena. */
MUST_CHECK bool policy_usages(struct db *db, const struct policy *policy, const struct wish *wish,
                              struct arena *arena, struct usage **out, uint32_t *count,
                              struct err *err);

#endif
