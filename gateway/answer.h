/*
 * answer.h - what goes back over HTTP: what the ledger said, as a resource or as problem details
 * (RFC 9457). Pure.
 *
 * Invariant: the body of an answer to a command is a function of what is stored under its key, so
 * that a repeat gets the same bytes; what differs is said in headers.
 */
#ifndef GATEWAY_ANSWER_H
#define GATEWAY_ANSWER_H

#include "gateway/route.h"
#include "protocol/result.h"

enum { ETAG_SIZE = 35 }; /* quoted, terminated */

struct answer {
    unsigned code;
    bool is_problem;                      /* application/problem+json, else application/json */
    struct bytes body;                    /* in the arena, or static */
    bool replayed;                        /* Idempotent-Replayed: true */
    uint32_t retry_after_s;               /* 0: not said */
    const char *allow;                    /* of a 405; else NULL */
    const char *challenge;                /* of a 401 or 403; else NULL */
    const char *rate_policy, *rate_state; /* of the limit; NULL: there is none */
    char etag[ETAG_SIZE]; /* of what may be kept, and asked about again; else empty */
};

/* What the gateway refuses by itself, before or instead of the ledger. */
/* clang-format off */
#define REFUSALS(X) /* enum, code, word, title, Retry-After */ \
    X(NO_SUCH_PATH,        404, "path_not_found",         "there is nothing under this path",                     0) \
    X(METHOD,              405, "method_not_allowed",     "this path does not take this method",                  0) \
    X(MEDIA_TYPE,          415, "unsupported_media_type", "a body must be application/json",                      0) \
    X(BODY_SIZE,           413, "body_too_large",         "the body is larger than a command may be",             0) \
    X(AMBIGUOUS,           400, "malformed",              "the message is not well-formed HTTP",                  0) \
    X(UNAUTHENTICATED,     401, "unauthenticated",        "credentials are missing, or not good",                 0) \
    X(SCOPE,               403, "insufficient_scope",     "these credentials do not allow this",                  0) \
    X(RATE,                429, "rate_limited",           "too many requests of this caller",                     1) \
    X(CALLERS_UNKNOWN,     503, "callers_unknown",        "who calls cannot be found out now; a retry with the same key is safe", 1) \
    X(UNREACHABLE,         503, "unavailable",            "the ledger cannot be reached; a retry with the same key is safe", 1) \
    X(NO_REPLY,            503, "no_reply",               "no reply in time, the outcome is unknown; a retry with the same key is safe", 1) \
    X(OVERLOADED,          503, "overloaded",             "too many requests are under way; a retry with the same key is safe", 1) \
    X(FAILED,              500, "internal",               "the gateway could not make an answer; a retry with the same key is safe", 0)
/* clang-format on */
enum refusal {
#define X(name, code, word, title, retry) REFUSAL_##name,
    REFUSALS(X)
#undef X
};

/* Problem details in the arena; a full arena gives a static answer 500. detail may be NULL. */
void answer_refusal(struct arena *arena, enum refusal refusal, const char *detail,
                    struct answer *out);
/* What the ledger's decoder refuses. */
void answer_fault(struct arena *arena, enum result fault, const char *detail, struct answer *out);

/* What the ledger replied (msgpack, as it came), as the answer to that route. Anything that is not
 * a reply is an answer 500. */
void answer_reply(struct codec *codec, struct arena *arena, enum route route, struct bytes reply,
                  struct answer *out);

/* The answer to a read whose body is there already; or, if the caller has the same (If-None-Match),
 * 304. */
void answer_body(struct bytes body, struct text if_none_match, struct answer *out);

/* The balances of a user out of the replies about his accounts. `past`: what did not exist by then
 * is left out. */
void answer_balances(struct codec *codec, struct arena *arena, struct text user_id,
                     const struct bytes *replies, uint32_t count, bool past, struct answer *out);

/* The account ids in a reply about a user; views into it. False: it is none. */
MUST_CHECK bool answer_accounts(struct codec *codec, struct arena *arena, struct bytes reply,
                                const struct text **accounts, uint32_t *count);

#endif
