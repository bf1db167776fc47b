/*
 * cache_writer.c - see cache_writer.h. A bounded list, one thread.
 */
#include "gateway/cache_writer.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { WAITING_MAX = 256 };

struct job {
    struct job *next;
    char key[CACHE_KEY_SIZE], tag[CACHE_KEY_SIZE];
    struct cache_tokens tokens;
    uint32_t size;
    uint8_t value[];
};

struct cache_writer {
    struct cache_store *store;
    uint32_t ttl_s;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct job *first, **last;
    uint32_t waiting;
    bool is_leaving;
};

/* NULL when it is time to leave. */
static struct job *take(struct cache_writer *writer)
{
    (void)pthread_mutex_lock(&writer->lock);
    while (writer->first == NULL && !writer->is_leaving)
        (void)pthread_cond_wait(&writer->changed, &writer->lock);
    struct job *job = writer->is_leaving ? NULL : writer->first;
    if (job != NULL) {
        writer->first = job->next;
        if (writer->first == NULL) writer->last = &writer->first;
        writer->waiting--;
    }
    (void)pthread_mutex_unlock(&writer->lock);
    return job;
}

static void *run(void *context)
{
    struct cache_writer *writer = context;
    struct job *job;

    while ((job = take(writer)) != NULL) {
        /* Not kept is missed again; and the store counts what breaks. */
        bool kept = cache_store_put(writer->store, job->key, job->tag, &job->tokens, writer->ttl_s,
                                    (struct bytes){job->value, job->size});
        (void)kept;
        free(job);
    }
    return NULL;
}

/* Signals are for the main thread. */
static bool start(struct cache_writer *writer, struct err *err)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&writer->thread, NULL, run, writer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0) return true;
    return err_set(err, ERR_FATAL, "could not start a thread: %s", strerror(failure));
}

bool cache_writer_open(struct cache_writer **out, struct cache_store *store, uint32_t ttl_s,
                       struct err *err)
{
    struct cache_writer *writer = calloc(1, sizeof *writer);

    *out = NULL;
    if (writer == NULL) return err_set(err, ERR_FATAL, "could not open the cache: out of memory");
    writer->store = store;
    writer->ttl_s = ttl_s;
    writer->last = &writer->first;
    (void)pthread_mutex_init(&writer->lock, NULL);
    (void)pthread_cond_init(&writer->changed, NULL);
    if (!start(writer, err)) {
        free(writer);
        return false;
    }
    *out = writer;
    return true;
}

void cache_writer_close(struct cache_writer *writer)
{
    struct job *next;

    if (writer == NULL) return;
    (void)pthread_mutex_lock(&writer->lock);
    writer->is_leaving = true;
    (void)pthread_cond_signal(&writer->changed);
    (void)pthread_mutex_unlock(&writer->lock);
    (void)pthread_join(writer->thread, NULL);
    for (struct job *job = writer->first; job != NULL; job = next) {
        next = job->next;
        free(job);
    }
    (void)pthread_cond_destroy(&writer->changed);
    (void)pthread_mutex_destroy(&writer->lock);
    free(writer);
}

static struct job *job_make(const char *key, const char *tag, const struct cache_tokens *tokens,
                            struct bytes value)
{
    struct job *job = value.size > CACHE_VALUE_MAX ? NULL : malloc(sizeof *job + value.size);

    if (job == NULL) return NULL;
    job->next = NULL;
    job->tokens = *tokens;
    job->size = value.size;
    memcpy(job->value, value.data, value.size);
    if (text_copy(text_of(key), job->key, sizeof job->key) &&
        text_copy(text_of(tag), job->tag, sizeof job->tag))
        return job;
    free(job);
    return NULL;
}

bool cache_writer_put(struct cache_writer *writer, const char *key, const char *tag,
                      const struct cache_tokens *tokens, struct bytes value)
{
    struct job *job = job_make(key, tag, tokens, value);

    if (job == NULL) return false;
    (void)pthread_mutex_lock(&writer->lock);
    bool taken = writer->waiting < WAITING_MAX;
    if (taken) {
        *writer->last = job;
        writer->last = &job->next;
        writer->waiting++;
        (void)pthread_cond_signal(&writer->changed);
    }
    (void)pthread_mutex_unlock(&writer->lock);
    if (!taken) free(job);
    return taken;
}
