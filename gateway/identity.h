/*
 * identity.h - who calls, as far as it was proved.
 */
#ifndef GATEWAY_IDENTITY_H
#define GATEWAY_IDENTITY_H

#include "ledger/api_key.h"

enum { CALLER_SIZE = 256 };

struct identity {
    char caller[CALLER_SIZE]; /* the command's app_id and user_id; empty: nobody in particular */
    uint32_t scopes;          /* SCOPE_READ, SCOPE_WRITE */
};

enum auth_result {
    AUTH_GOOD,
    AUTH_MISSING, /* nothing was shown: 401 */
    AUTH_INVALID, /* what was shown is not, or no longer, good: 401 */
    AUTH_UNKNOWN, /* it cannot be said now: 503 */
    AUTH_RESULTS
};

#endif
