/*
 * jwt.h - a signed JSON Web Token (RFC 7519, 8725), held against a set of public keys (RFC 7517)
 * and what this ledger asks of one. Signatures are libcjose's. No I/O, no clock.
 */
#ifndef GATEWAY_JWT_H
#define GATEWAY_JWT_H

#include "gateway/identity.h"

enum { JWT_KEYS_MAX = 32, JWT_SIZE_MAX = 8192 };

struct jwt_keys;

struct jwt_rules {
    const char *issuer, *audience; /* iss must be the one, aud must be or hold the other */
    const char *algorithms;        /* "RS256,ES256": no other is looked at */
    const char *claim;             /* that names the caller: sub */
    uint32_t leeway_s;             /* by which clocks may differ */
};

/* A JWKS document. Keys for anything but signatures, and of kinds that are not known, are left out.
 * ERR_FATAL: it is none, or no key is left. */
MUST_CHECK bool jwt_keys_open(struct jwt_keys **out, struct text json, struct err *err);
void jwt_keys_close(struct jwt_keys *keys); /* NULL is fine */
/* ERR_FATAL for an algorithm that is not known, or for "none". */
MUST_CHECK bool jwt_rules_check(const struct jwt_rules *rules, struct err *err);

/* AUTH_GOOD or AUTH_INVALID; then `why` says what is wrong, for a log. The scopes are the words
 * ledger:read and ledger:write of the claim "scope". May be called by several threads at once. */
enum { JWT_WHY_SIZE = 96 };
enum auth_result jwt_verify(const struct jwt_keys *keys, const struct jwt_rules *rules,
                            struct text token, int64_t now_us, struct identity *out,
                            char why[static JWT_WHY_SIZE]);

#endif
