/*
 * guard.c - see guard.h. The limit is asked before a scope is looked at, so that nobody finds out
 * by trying; what is refused counts as well.
 */
#include "gateway/guard.h"

#include "base/clock.h"
#include "base/metrics.h"

#include <stdlib.h>

struct guard {
    struct auth *auth;
    struct limit *limit;
    struct metric *limited[2]; /* by address, by caller */
};

bool guard_open(struct guard **out, const struct auth_options *auth,
                const struct limit_options *limit, struct err *err)
{
    static const char name[] = "ledger_rate_limited_total";
    static const char help[] = "Requests refused because their sender has sent too many.";
    struct guard *guard = calloc(1, sizeof *guard);

    *out = NULL;
    if (guard == NULL) return err_set(err, ERR_FATAL, "could not set up callers: out of memory");
    guard->limited[false] = metric_register(METRIC_COUNTER, name, help, "by=\"address\"");
    guard->limited[true] = metric_register(METRIC_COUNTER, name, help, "by=\"caller\"");
    if (auth_open(&guard->auth, auth, err) && limit_open(&guard->limit, limit, err)) {
        *out = guard;
        return true;
    }
    guard_close(guard);
    return false;
}

void guard_close(struct guard *guard)
{
    if (guard == NULL) return;
    auth_close(guard->auth);
    limit_close(guard->limit);
    free(guard);
}

bool guard_is_up(struct guard *guard)
{
    return auth_is_up(guard->auth);
}

/* An address is nobody's name, so no caller can use up another's bucket by calling himself so. */
static bool is_within_limit(struct guard *guard, struct text address, struct guard_pass *pass)
{
    bool is_known = pass->identity.caller[0] != '\0';
    char key[CALLER_SIZE + 1] = "@";
    struct text who = address;

    if (!limit_is_on(guard->limit)) return true;
    if (is_known && text_copy(text_of(pass->identity.caller), key + 1, sizeof key - 1))
        who = text_of(key);
    struct limit_verdict verdict = limit_take(guard->limit, who, clock_monotonic_us());
    limit_headers(guard->limit, &verdict, pass->rate_policy, pass->rate_state);
    pass->retry_after_s = verdict.retry_after_s;
    if (!verdict.allowed) metric_add(guard->limited[is_known], 1);
    return verdict.allowed;
}

enum guard_verdict guard_admit(struct guard *guard, struct text authorization, struct text address,
                               enum scope scope, struct guard_pass *out)
{
    *out = (struct guard_pass){.challenge = NULL};
    enum auth_result result = auth_check(guard->auth, authorization, &out->identity);
    if (!is_within_limit(guard, address, out)) return GUARD_LIMITED;
    if (result == AUTH_UNKNOWN) return GUARD_UNKNOWN;
    if (result == AUTH_GOOD && auth_permits(guard->auth, &out->identity, scope)) return GUARD_PASS;
    out->challenge = auth_challenge(result, scope);
    return result == AUTH_GOOD ? GUARD_FORBIDDEN : GUARD_UNAUTHENTICATED;
}
