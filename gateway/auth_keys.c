/*
 * auth_keys.c - see auth_keys.h. What was read is replaced as a whole, under a lock that is held no
 * longer than a look-up takes.
 */
#include "gateway/auth_keys.h"

#include "base/clock.h"
#include "base/log.h"
#include "ledger/api_key_pg.h"
#include "ledger/migrate_pg.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { STEP_MS = 20 };

struct auth_keys {
    struct auth_keys_options options;
    struct db *db; /* the thread's */
    int64_t version;
    pthread_t thread;
    _Atomic bool is_leaving;
    pthread_rwlock_t lock; /* of what follows */
    struct api_key *list;  /* sorted by id */
    uint32_t count;
    uint64_t read_ms; /* when it was known to be right; 0: never */
};

/* --- reading ---------------------------------------------------------------------------------- */

static void replace(struct auth_keys *keys, struct api_key *list, uint32_t count, bool changed)
{
    struct api_key *old = NULL;

    (void)pthread_rwlock_wrlock(&keys->lock);
    if (changed) {
        old = keys->list;
        keys->list = list;
        keys->count = count;
    }
    keys->read_ms = clock_monotonic_ms();
    (void)pthread_rwlock_unlock(&keys->lock);
    free(old);
}

static bool read_keys(struct auth_keys *keys, struct err *err)
{
    struct api_key *list;
    uint32_t count;
    bool changed;

    if (keys->db == NULL) {
        keys->version = 0; /* it may be another database */
        if (!db_open(&keys->db, &keys->options.db, err) || !migrate_check(keys->db, err))
            return false;
    }
    if (!api_keys_read(keys->db, &keys->version, &list, &count, &changed, err)) return false;
    replace(keys, list, count, changed);
    return true;
}

/* Whatever state it is in. */
static void forget_link(struct auth_keys *keys)
{
    db_close(keys->db);
    keys->db = NULL;
}

static void rest(const struct auth_keys *keys)
{
    uint64_t until_ms = clock_monotonic_ms() + keys->options.period_ms;

    while (!atomic_load(&keys->is_leaving) && clock_monotonic_ms() < until_ms)
        clock_sleep_ms(STEP_MS);
}

static void *run(void *context)
{
    struct auth_keys *keys = context;
    bool was_read = true;

    while (!atomic_load(&keys->is_leaving)) {
        struct err err = {0};
        bool ok = read_keys(keys, &err);
        if (!ok && was_read) log_warn("the API keys are not read: %s", err.text);
        if (ok && !was_read) log_info("the API keys are read again");
        if (!ok) forget_link(keys);
        was_read = ok;
        rest(keys);
    }
    return NULL;
}

/* Signals are for the main thread. */
static bool start(struct auth_keys *keys, struct err *err)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&keys->thread, NULL, run, keys);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0) return true;
    return err_set(err, ERR_FATAL, "could not start a thread: %s", strerror(failure));
}

bool auth_keys_open(struct auth_keys **out, const struct auth_keys_options *options,
                    struct err *err)
{
    struct auth_keys *keys = calloc(1, sizeof *keys);

    *out = NULL;
    if (keys == NULL) return err_set(err, ERR_FATAL, "could not read API keys: out of memory");
    keys->options = *options;
    (void)pthread_rwlock_init(&keys->lock, NULL);
    if (!start(keys, err)) {
        free(keys);
        return false;
    }
    *out = keys;
    return true;
}

void auth_keys_close(struct auth_keys *keys)
{
    if (keys == NULL) return;
    atomic_store(&keys->is_leaving, true);
    (void)pthread_join(keys->thread, NULL);
    db_close(keys->db);
    (void)pthread_rwlock_destroy(&keys->lock);
    free(keys->list);
    free(keys);
}

/* --- judging ---------------------------------------------------------------------------------- */

static int compare_ids(const void *id, const void *key)
{
    return strcmp(id, ((const struct api_key *)key)->id);
}

static bool is_known(const struct auth_keys *keys)
{
    return keys->read_ms != 0 && clock_monotonic_ms() - keys->read_ms <= keys->options.stale_ms;
}

bool auth_keys_are_known(struct auth_keys *keys)
{
    (void)pthread_rwlock_rdlock(&keys->lock);
    bool known = is_known(keys);
    (void)pthread_rwlock_unlock(&keys->lock);
    return known;
}

static enum auth_result judge(const struct auth_keys *keys, const char *id,
                              const struct sha256 *digest, int64_t now_us, struct identity *out)
{
    static const struct api_key nobodys; /* an unknown id takes as long */
    const struct api_key *key =
        keys->count == 0 ? NULL : bsearch(id, keys->list, keys->count, sizeof *key, compare_ids);

    bool matches = api_key_matches(key == NULL ? &nobodys.digest : &key->digest, digest);
    if (key == NULL || !matches) return AUTH_INVALID;
    if (key->expires_us != 0 && key->expires_us <= now_us) return AUTH_INVALID;
    out->scopes = key->scopes;
    return text_copy(text_of(key->caller), out->caller, CALLER_SIZE) ? AUTH_GOOD : AUTH_INVALID;
}

enum auth_result auth_keys_check(struct auth_keys *keys, struct text text, int64_t now_us,
                                 struct identity *out)
{
    char id[API_KEY_ID_SIZE];
    struct sha256 digest;

    *out = (struct identity){.caller = ""};
    if (!api_key_parse(text, id, &digest)) return AUTH_INVALID;
    (void)pthread_rwlock_rdlock(&keys->lock);
    enum auth_result result = is_known(keys) ? judge(keys, id, &digest, now_us, out) : AUTH_UNKNOWN;
    (void)pthread_rwlock_unlock(&keys->lock);
    return result;
}
