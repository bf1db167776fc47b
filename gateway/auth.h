/*
 * auth.h - who sent a request: nobody in particular (off), the holder of an API key, or whom a JWT
 * names. Judging waits for no server. See auth_keys.h, jwt.h.
 */
#ifndef GATEWAY_AUTH_H
#define GATEWAY_AUTH_H

#include "gateway/auth_keys.h"
#include "gateway/jwt.h"

enum auth_mode { AUTH_OFF, AUTH_KEYS, AUTH_JWT };
#define AUTH_MODE_CHOICES "off|key|jwt"

struct auth_options { /* texts are kept: they must outlive it */
    uint32_t mode;
    struct auth_keys_options keys;
    struct jwt_rules jwt;
    const char *jwks_path; /* read again when the file changes */
};

struct auth;

/* ERR_FATAL: the rules for tokens are incomplete, or the JWKS file is none. */
MUST_CHECK bool auth_open(struct auth **out, const struct auth_options *options, struct err *err);
void auth_close(struct auth *auth); /* NULL is fine */

/* `authorization` is the header's value; empty: there is none. When off everything is good, and the
 * caller is empty. Counts the result. */
enum auth_result auth_check(struct auth *auth, struct text authorization, struct identity *out);
/* Whether he may; counts a refusal. */
bool auth_permits(struct auth *auth, const struct identity *identity, enum scope scope);
/* Keys are known, or not needed. */
bool auth_is_up(struct auth *auth);

/* What WWW-Authenticate says to a 401, or (AUTH_GOOD) to a 403 for want of this scope. Static. */
const char *auth_challenge(enum auth_result result, enum scope scope);

#endif
