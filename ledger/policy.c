/*
 * policy.c - see policy.h. Rules are looked at in two runs: those of any caller, and the caller's
 * own; both are together in the list, and few.
 */
#include "ledger/policy.h"

#include <stdlib.h>
#include <string.h>

/* --- which rules match ------------------------------------------------------------------- */

static bool covers(const struct rule *rule, struct text account)
{
    if (!rule->is_prefix) return text_equal(rule->account, account);
    return account.length >= rule->account.length &&
           (rule->account.length == 0 ||
            memcmp(account.bytes, rule->account.bytes, rule->account.length) == 0);
}

/* An asset that is not known yet may be the right one. */
static bool matches(const struct rule *rule, const struct wish *wish)
{
    const struct text *accounts = wish->accounts;
    bool is_any = rule->is_prefix && rule->account.length == 0 && rule->asset.length == 0;

    if ((rule->commands >> wish->type & 1) == 0) return false;
    if (wish->type == COMMAND_BATCH || wish->is_his) return true;
    if (accounts[0].length == 0 && accounts[1].length == 0) return is_any;
    if (rule->asset.length > 0 && wish->asset.length > 0 && !text_equal(rule->asset, wish->asset))
        return false;
    return covers(rule, accounts[0]) || covers(rule, accounts[1]);
}

struct run {
    const struct rule *next, *end;
    const struct rule *own, *own_end; /* afterwards */
};

/* The first rule that is not of a lesser caller. */
static const struct rule *lower_bound(const struct policy *policy, struct text caller)
{
    uint32_t from = 0, to = policy->rules_count;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (text_compare(policy->rules[middle].caller, caller) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return policy->rules + from;
}

static struct run run_begin(const struct policy *policy, struct text caller)
{
    const struct rule *end = policy->rules + policy->rules_count;
    const struct rule *any_end = policy->rules;
    struct run run;

    while (any_end < end && any_end->caller.length == 0) any_end++;
    run = (struct run){.next = policy->rules, .end = any_end, .own = any_end, .own_end = any_end};
    if (caller.length == 0) return run;
    run.own = run.own_end = lower_bound(policy, caller);
    while (run.own_end < end && text_equal(run.own_end->caller, caller)) run.own_end++;
    return run;
}

/* The next rule that matches; NULL: there are no more. */
static const struct rule *run_next(struct run *run, const struct wish *wish)
{
    for (;;) {
        if (run->next == run->end) {
            if (run->own == run->own_end) return NULL;
            run->next = run->own;
            run->end = run->own = run->own_end;
        }
        const struct rule *rule = run->next++;
        if (matches(rule, wish)) return rule;
    }
}

bool policy_may(const struct policy *policy, const struct wish *wish)
{
    struct run run = run_begin(policy, wish->caller);
    return run_next(&run, wish) != NULL;
}

const struct rule *policy_limited(const struct policy *policy, const struct wish *wish, uint32_t n)
{
    struct run run = run_begin(policy, wish->caller);
    const struct rule *rule;

    while ((rule = run_next(&run, wish)) != NULL)
        if (rule->daily_limit != NO_LIMIT && n-- == 0) return rule;
    return NULL;
}

/* --- limits ------------------------------------------------------------------------------ */

int usage_compare(const void *a, const void *b)
{
    const struct usage *left = a, *right = b;
    int order = (left->rule > right->rule) - (left->rule < right->rule);

    return order != 0 ? order : text_compare(left->caller, right->caller);
}

static bool has_left(const struct rule *rule, const struct usage *usage, int64_t amount)
{
    return usage != NULL && amount <= rule->daily_limit - usage->used; /* none is negative */
}

const struct rule *policy_find(const struct policy *policy, const struct wish *wish,
                               struct usage *usages, uint32_t usages_count, struct usage **charged)
{
    struct run run = run_begin(policy, wish->caller);
    const struct rule *rule, *found = NULL;

    *charged = NULL;
    while ((rule = run_next(&run, wish)) != NULL) {
        struct usage key = {.rule = rule->id, .caller = wish->caller};
        struct usage *usage = NULL;

        if (wish->amount > rule->max_amount) continue;
        if (rule->daily_limit == NO_LIMIT || wish->amount == 0) {
            *charged = NULL;
            return rule;
        }
        if (found != NULL) continue;
        if (usages_count > 0)
            usage = bsearch(&key, usages, usages_count, sizeof *usages, usage_compare);
        if (!has_left(rule, usage, wish->amount)) continue;
        found = rule;
        *charged = usage;
    }
    return found;
}

/* --- as they are written ----------------------------------------------------------------- */

bool policy_parse_commands(struct text words, uint64_t *out)
{
    *out = UINT64_MAX;
    if (text_equal(words, TEXT_LITERAL("*"))) return true;
    *out = 0;
    for (;;) {
        const char *comma = words.length > 0 ? memchr(words.bytes, ',', words.length) : NULL;
        struct text word = words;
        enum command_type type;
        if (comma != NULL) word.length = (uint32_t)(comma - words.bytes);
        if (!command_type_parse(word, &type)) return false;
        *out |= UINT64_C(1) << type;
        if (comma == NULL) return true;
        words.bytes += word.length + 1;
        words.length -= word.length + 1;
    }
}

struct text policy_parse_caller(struct text caller)
{
    return text_equal(caller, TEXT_LITERAL("*")) ? (struct text){0} : caller;
}

bool policy_parse_account(struct text pattern, struct rule *out)
{
    out->is_prefix = pattern.length > 0 && pattern.bytes[pattern.length - 1] == '*';
    out->account = pattern;
    if (out->is_prefix) out->account.length--;
    return (out->is_prefix && out->account.length == 0) || id_is_valid(out->account);
}
