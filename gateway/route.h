/*
 * route.h - which resource a path names, and what may be done with it. Pure.
 */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include "protocol/command.h"

/* clang-format off */
#define ROUTES(X) /* enum, method, path ({} is an id), its operationId, the query that answers it */ \
    X(OPEN_ACCOUNT,         "POST", "/accounts",                  "open_account",        OPEN_ACCOUNT) \
    X(CREATE_TRANSACTION,   "POST", "/transactions",              "create_transaction",  BATCH) \
    X(USER,                 "GET",  "/users/{}",                  "get_user",            GET_USER) \
    X(USER_BALANCE,         "GET",  "/users/{}/balance",          "get_user_balance",    GET_USER) \
    X(ACCOUNT,              "GET",  "/accounts/{}",               "get_account",         GET_ACCOUNT) \
    X(ACCOUNT_BALANCE,      "GET",  "/accounts/{}/balance",       "get_account_balance", GET_BALANCE) \
    X(ACCOUNT_TRANSACTIONS, "GET",  "/accounts/{}/transactions",  "list_transactions",   LIST_TRANSACTIONS) \
    X(TRANSACTION,          "GET",  "/transactions/{}",           "get_transaction",     GET_TRANSACTION) \
    X(LIVE,                 "GET",  "/health/live",               "get_live",            BATCH) \
    X(READY,                "GET",  "/health/ready",              "get_ready",           BATCH) \
    X(HEALTH,               "GET",  "/health",                    "get_health",          BATCH) \
    X(METRICS,              "GET",  "/metrics",                   "get_metrics",         BATCH) \
    X(OPENAPI,              "GET",  "/openapi.json",              "get_description",     BATCH)
/* clang-format on */

enum route {
#define X(name, method, path, word, query) ROUTE_##name,
    ROUTES(X)
#undef X
        ROUTES_COUNT,
    ROUTE_NONE = ROUTES_COUNT
};

struct route_match {
    enum route route;  /* ROUTE_NONE: see allow */
    struct text id;    /* of the path; a view, not judged */
    const char *allow; /* the path is known, the method is not: what is allowed; else NULL */
};

/* HEAD is GET. */
struct route_match route_find(const char *method, const char *path);
const char *route_word(enum route route); /* "get_user", as in openapi.json; "other": ROUTE_NONE */
bool route_writes(enum route route);      /* takes a body and an idempotency key */
bool route_is_admin(enum route route);    /* health, metrics, the description: no ledger is asked */
enum command_type route_query(enum route route); /* of those that read */

#endif
