/*
 * guard.h - whether a request is let in: who sends it, whether he may, and how many he has sent.
 */
#ifndef GATEWAY_GUARD_H
#define GATEWAY_GUARD_H

#include "gateway/auth.h"
#include "gateway/limit.h"

struct guard;

enum guard_verdict {
    GUARD_PASS,
    GUARD_UNAUTHENTICATED, /* 401, with the challenge */
    GUARD_FORBIDDEN,       /* 403, likewise */
    GUARD_LIMITED,         /* 429, with retry_after_s */
    GUARD_UNKNOWN,         /* 503: who it is cannot be said now */
};

struct guard_pass { /* what is known of the request from then on */
    struct identity identity;
    const char *challenge;  /* for WWW-Authenticate; NULL: none */
    uint32_t retry_after_s; /* GUARD_LIMITED */
    /* For RateLimit-Policy and RateLimit; empty: there is no limit. */
    char rate_policy[LIMIT_HEADER_SIZE], rate_state[LIMIT_HEADER_SIZE];
};

MUST_CHECK bool guard_open(struct guard **out, const struct auth_options *auth,
                           const struct limit_options *limit, struct err *err);
void guard_close(struct guard *guard); /* NULL is fine */

/* `address` as limit_address makes it: it counts when nobody is named, or not rightly. */
enum guard_verdict guard_admit(struct guard *guard, struct text authorization, struct text address,
                               enum scope scope, struct guard_pass *out);
bool guard_is_up(struct guard *guard); /* it can say who somebody is */

#endif
