/*
 * auth.c - see auth.h. A JWKS file is looked at again every second, by whoever comes by; one
 * that cannot be used is said so and the old one stays, for keys are rotated by hand.
 */
#include "gateway/auth.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { LOOK_MS = 1000, JWKS_SIZE_MAX = 256 << 10 };

struct auth {
    struct auth_options options;
    struct auth_keys *keys;
    pthread_rwlock_t lock; /* of the next two */
    struct jwt_keys *jwks;
    struct stat seen;         /* of the file that was read last */
    struct err problem;       /* with the one that is there now, as it was told */
    _Atomic uint64_t look_ms; /* when to look at the file again */
    struct metric *results[AUTH_RESULTS], *forbidden;
};

/* --- the file of public keys ------------------------------------------------------------------ */

static bool read_file(const char *path, char **text, size_t *size, struct err *err)
{
    FILE *file = fopen(path, "rb");

    *text = malloc(JWKS_SIZE_MAX);
    *size = file == NULL || *text == NULL ? 0 : fread(*text, 1, JWKS_SIZE_MAX, file);
    bool ok = *size > 0 && *size < JWKS_SIZE_MAX;
    if (file != NULL && fclose(file) != 0) ok = false;
    if (ok) return true;
    free(*text);
    *text = NULL;
    return err_set(err, ERR_FATAL, "could not read %s: %s", path,
                   errno != 0 ? strerror(errno) : "empty, or over 256 KiB");
}

static bool read_jwks(const char *path, struct jwt_keys **out, struct err *err)
{
    char *text;
    size_t size;

    *out = NULL;
    errno = 0;
    if (!read_file(path, &text, &size, err)) return false;
    bool ok = jwt_keys_open(out, (struct text){text, (uint32_t)size}, err);
    free(text);
    return ok || err_wrap(err, "%s", path);
}

static bool is_other(const struct stat *a, const struct stat *b)
{
    return a->st_ino != b->st_ino || a->st_size != b->st_size ||
           a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec;
}

/* One of those who come by, now and then. */
static void look_at_jwks(struct auth *auth)
{
    uint64_t now_ms = clock_monotonic_ms(), due_ms = atomic_load(&auth->look_ms);
    struct jwt_keys *fresh, *old;
    struct stat found;
    struct err err;

    if (now_ms < due_ms ||
        !atomic_compare_exchange_strong(&auth->look_ms, &due_ms, now_ms + LOOK_MS))
        return;
    /* Only here are these two changed, and only by one at a time for LOOK_MS. */
    if (stat(auth->options.jwks_path, &found) != 0 || !is_other(&found, &auth->seen)) return;
    if (!read_jwks(auth->options.jwks_path, &fresh, &err)) {
        if (strcmp(err.text, auth->problem.text) != 0)
            log_error("the keys for tokens stay as they were: %s", err.text);
        auth->problem = err;
        return;
    }
    auth->seen = found;
    auth->problem = (struct err){0};
    (void)pthread_rwlock_wrlock(&auth->lock);
    old = auth->jwks;
    auth->jwks = fresh;
    (void)pthread_rwlock_unlock(&auth->lock);
    jwt_keys_close(old);
    log_info("the keys for tokens were read again");
}

/* --- opening ---------------------------------------------------------------------------------- */

static void register_metrics(struct auth *auth)
{
    static const char *const labels[AUTH_RESULTS] = {[AUTH_GOOD] = "result=\"good\"",
                                                     [AUTH_MISSING] = "result=\"missing\"",
                                                     [AUTH_INVALID] = "result=\"invalid\"",
                                                     [AUTH_UNKNOWN] = "result=\"unknown\""};
    static const char name[] = "ledger_auth_total";
    static const char help[] = "Requests by what was made of their credentials.";

    for (uint32_t i = 0; i < AUTH_RESULTS; i++)
        auth->results[i] = metric_register(METRIC_COUNTER, name, help, labels[i]);
    auth->forbidden = metric_register(METRIC_COUNTER, name, help, "result=\"forbidden\"");
}

bool auth_open(struct auth **out, const struct auth_options *options, struct err *err)
{
    struct auth *auth = calloc(1, sizeof *auth);
    bool ok = true;

    *out = NULL;
    if (auth == NULL) return err_set(err, ERR_FATAL, "could not set up callers: out of memory");
    auth->options = *options;
    (void)pthread_rwlock_init(&auth->lock, NULL);
    register_metrics(auth);
    if (options->mode == AUTH_KEYS) ok = auth_keys_open(&auth->keys, &options->keys, err);
    if (options->mode == AUTH_JWT) {
        (void)stat(options->jwks_path, &auth->seen); /* what is wrong with it, reading says */
        ok = jwt_rules_check(&options->jwt, err) && read_jwks(options->jwks_path, &auth->jwks, err);
    }
    if (ok)
        *out = auth;
    else
        auth_close(auth);
    return ok;
}

void auth_close(struct auth *auth)
{
    if (auth == NULL) return;
    auth_keys_close(auth->keys);
    jwt_keys_close(auth->jwks);
    (void)pthread_rwlock_destroy(&auth->lock);
    free(auth);
}

bool auth_is_up(struct auth *auth)
{
    return auth->options.mode != AUTH_KEYS || auth_keys_are_known(auth->keys);
}

/* --- judging ---------------------------------------------------------------------------------- */

/* What follows "Bearer"; empty for any other scheme. */
static struct text credentials_of(struct text authorization)
{
    static const char scheme[] = "Bearer ";
    enum { LENGTH = sizeof scheme - 1 };

    if (authorization.length <= LENGTH || strncasecmp(authorization.bytes, scheme, LENGTH) != 0)
        return (struct text){0};
    struct text rest = {authorization.bytes + LENGTH, authorization.length - LENGTH};
    while (rest.length > 0 && rest.bytes[0] == ' ')
        rest = (struct text){rest.bytes + 1, rest.length - 1};
    return rest;
}

static enum auth_result judge_token(struct auth *auth, struct text token, struct identity *out)
{
    char why[JWT_WHY_SIZE];

    look_at_jwks(auth);
    (void)pthread_rwlock_rdlock(&auth->lock);
    enum auth_result result =
        jwt_verify(auth->jwks, &auth->options.jwt, token, clock_wall_us(), out, why);
    (void)pthread_rwlock_unlock(&auth->lock);
    if (result != AUTH_GOOD) log_debug("a token was refused: %s", why);
    return result;
}

static enum auth_result judge(struct auth *auth, struct text authorization, struct identity *out)
{
    struct text credentials = credentials_of(authorization);

    *out = (struct identity){.caller = ""};
    switch ((enum auth_mode)auth->options.mode) {
    case AUTH_OFF:
        out->scopes = SCOPE_READ | SCOPE_WRITE;
        return AUTH_GOOD;
    case AUTH_KEYS:
        if (authorization.length == 0) return AUTH_MISSING;
        return auth_keys_check(auth->keys, credentials, clock_wall_us(), out);
    case AUTH_JWT:
        if (authorization.length == 0) return AUTH_MISSING;
        return judge_token(auth, credentials, out);
    }
    assert(false && "a mode that is none");
    return AUTH_INVALID;
}

enum auth_result auth_check(struct auth *auth, struct text authorization, struct identity *out)
{
    enum auth_result result = judge(auth, authorization, out);

    metric_add(auth->results[result], 1);
    return result;
}

bool auth_permits(struct auth *auth, const struct identity *identity, enum scope scope)
{
    if ((identity->scopes & scope) != 0) return true;
    metric_add(auth->forbidden, 1);
    return false;
}

const char *auth_challenge(enum auth_result result, enum scope scope)
{
    if (result == AUTH_MISSING) return "Bearer realm=\"ledger\"";
    if (result != AUTH_GOOD) return "Bearer realm=\"ledger\", error=\"invalid_token\"";
    return scope == SCOPE_READ
               ? "Bearer realm=\"ledger\", error=\"insufficient_scope\", scope=\"ledger:read\""
               : "Bearer realm=\"ledger\", error=\"insufficient_scope\", scope=\"ledger:write\"";
}
