/*
 * workspace.c - see workspace.h.
 */
#include "gateway/workspace.h"

#include <pthread.h>
#include <stdlib.h>

enum { ARENA_SIZE = 64 << 20 }; /* addresses; only what is used costs memory */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;

static void workspace_free(void *memory)
{
    struct workspace *workspace = memory;

    codec_close(workspace->codec);
    if (workspace->arena.base != NULL) arena_close(&workspace->arena);
    free(workspace);
}

static void make_key(void)
{
    has_key = pthread_key_create(&key, workspace_free) == 0;
}

struct workspace *workspace_take(void)
{
    struct err err;

    if (pthread_once(&once, make_key) != 0 || !has_key) return NULL;
    struct workspace *workspace = pthread_getspecific(key);
    if (workspace == NULL) {
        workspace = calloc(1, sizeof *workspace);
        if (workspace == NULL) return NULL;
        if (!codec_open(&workspace->codec, &err) ||
            !arena_open(&workspace->arena, ARENA_SIZE, &err) ||
            pthread_setspecific(key, workspace) != 0) {
            workspace_free(workspace);
            return NULL;
        }
    }
    arena_reset(&workspace->arena);
    return workspace;
}
