/*
 * auth_keys.h - the API keys in force, in memory: a thread asks for them again and again, so that
 * judging one waits for nothing, and an unknown one costs the database nothing.
 */
#ifndef GATEWAY_AUTH_KEYS_H
#define GATEWAY_AUTH_KEYS_H

#include "base/db_pg.h"
#include "gateway/identity.h"

struct auth_keys;

struct auth_keys_options {
    struct db_options db; /* its texts are kept */
    uint32_t period_ms;   /* within which a change counts */
    uint32_t stale_ms;    /* for how long what was read last counts when the database is away */
};

/* Starts the thread, does not wait for it: until it has read, nothing can be said. */
MUST_CHECK bool auth_keys_open(struct auth_keys **out, const struct auth_keys_options *options,
                               struct err *err);
void auth_keys_close(struct auth_keys *keys); /* NULL is fine */
/* AUTH_GOOD, AUTH_INVALID or AUTH_UNKNOWN. */
enum auth_result auth_keys_check(struct auth_keys *keys, struct text text, int64_t now_us,
                                 struct identity *out);
bool auth_keys_are_known(struct auth_keys *keys);

#endif
