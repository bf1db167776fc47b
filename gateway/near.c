/*
 * near.c - a set-associative table: a tag's hash says the set, so all that hangs on one tag lies in
 * one set, and to drop it is to look through that. Each set has a lock of its own. The hash need
 * not be secret: who makes many ids meet in one set pushes out his own entries, and walks no
 * further.
 */
#include "gateway/near.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 8 };

struct entry {
    uint64_t ends_us, used; /* used: the set's uses when it last was */
    uint32_t key_size, tag_size, value_size;
    char bytes[]; /* key, tag, value */
};

struct set {
    pthread_mutex_t lock; /* of what follows */
    struct entry *ways[WAYS];
    uint64_t drops, uses;
};

struct near {
    uint32_t sets_count; /* a power of 2; 0: none */
    struct set *sets;
};

bool near_open(struct near **out, uint32_t entries, struct err *err)
{
    struct near *near = calloc(1, sizeof *near);
    uint32_t sets = entries == 0 ? 0 : 1;

    *out = NULL;
    assert(entries <= UINT32_MAX / 2);
    while (sets * WAYS < entries) sets *= 2;
    if (near != NULL && sets > 0) near->sets = calloc(sets, sizeof *near->sets);
    if (near == NULL || (sets > 0 && near->sets == NULL)) {
        free(near);
        return err_set(err, ERR_FATAL, "could not open the cache: out of memory");
    }
    near->sets_count = sets;
    for (uint32_t i = 0; i < sets; i++) (void)pthread_mutex_init(&near->sets[i].lock, NULL);
    *out = near;
    return true;
}

void near_close(struct near *near)
{
    if (near == NULL) return;
    near_clear(near);
    for (uint32_t i = 0; i < near->sets_count; i++)
        (void)pthread_mutex_destroy(&near->sets[i].lock);
    free(near->sets);
    free(near);
}

/* FNV-1a, folded. */
static struct set *set_of(const struct near *near, const char *tag)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    assert(near->sets_count > 0);
    for (; *tag != '\0'; tag++) hash = (hash ^ (uint8_t)*tag) * UINT64_C(0x100000001b3);
    return &near->sets[(hash ^ hash >> 32) & (near->sets_count - 1)];
}

static bool has_key(const struct entry *entry, const char *key, size_t size)
{
    return entry != NULL && entry->key_size == size && memcmp(entry->bytes, key, size) == 0;
}

static bool has_tag(const struct entry *entry, const char *tag, size_t size)
{
    return entry != NULL && entry->tag_size == size &&
           memcmp(entry->bytes + entry->key_size, tag, size) == 0;
}

static struct entry *find(const struct set *set, const char *key, uint64_t now_us)
{
    size_t size = strlen(key);

    for (uint32_t i = 0; i < WAYS; i++)
        if (has_key(set->ways[i], key, size) && now_us < set->ways[i]->ends_us) return set->ways[i];
    return NULL;
}

static bool copy_value(const struct entry *entry, uint8_t **value, uint32_t *size)
{
    *value = malloc(entry->value_size + 1U); /* never of nothing */
    if (*value == NULL) return false;
    memcpy(*value, entry->bytes + entry->key_size + entry->tag_size, entry->value_size);
    *size = entry->value_size;
    return true;
}

bool near_look(struct near *near, const char *key, const char *tag, uint64_t now_us,
               uint8_t **value, uint32_t *size, uint64_t *drops)
{
    *drops = 0;
    if (near->sets_count == 0) return false;
    struct set *set = set_of(near, tag);
    (void)pthread_mutex_lock(&set->lock);
    struct entry *entry = find(set, key, now_us);
    if (entry != NULL) entry->used = ++set->uses;
    bool found = entry != NULL && copy_value(entry, value, size);
    *drops = set->drops;
    (void)pthread_mutex_unlock(&set->lock);
    return found;
}

/* NULL when memory is short. */
static struct entry *entry_make(const char *key, const char *tag, uint64_t ends_us,
                                struct bytes value)
{
    size_t key_size = strlen(key), tag_size = strlen(tag);
    struct entry *entry = malloc(sizeof *entry + key_size + tag_size + value.size);

    if (entry == NULL) return NULL;
    *entry = (struct entry){.ends_us = ends_us,
                            .key_size = (uint32_t)key_size,
                            .tag_size = (uint32_t)tag_size,
                            .value_size = value.size};
    memcpy(entry->bytes, key, key_size);
    memcpy(entry->bytes + key_size, tag, tag_size);
    if (value.size > 0) memcpy(entry->bytes + key_size + tag_size, value.data, value.size);
    return entry;
}

/* Where it is, or a free place, or the least recently used one's. */
static struct entry **place_for(struct set *set, const struct entry *entry)
{
    struct entry **least = &set->ways[0];

    for (uint32_t i = 0; i < WAYS; i++)
        if (has_key(set->ways[i], entry->bytes, entry->key_size)) return &set->ways[i];
    for (uint32_t i = 0; i < WAYS; i++) {
        if (set->ways[i] == NULL) return &set->ways[i];
        if (set->ways[i]->used < (*least)->used) least = &set->ways[i];
    }
    return least;
}

void near_put(struct near *near, const char *key, const char *tag, uint64_t drops, uint64_t ends_us,
              struct bytes value)
{
    if (near->sets_count == 0 || value.size > NEAR_VALUE_MAX) return;
    struct set *set = set_of(near, tag);
    struct entry *entry = entry_make(key, tag, ends_us, value), *gone = entry;
    if (entry == NULL) return;
    (void)pthread_mutex_lock(&set->lock);
    if (drops == set->drops) {
        struct entry **place = place_for(set, entry);
        gone = *place;
        entry->used = ++set->uses;
        *place = entry;
    }
    (void)pthread_mutex_unlock(&set->lock);
    free(gone);
}

/* tag NULL: all. */
static void set_drop(struct set *set, const char *tag)
{
    size_t size = tag == NULL ? 0 : strlen(tag);

    (void)pthread_mutex_lock(&set->lock);
    set->drops++;
    for (uint32_t i = 0; i < WAYS; i++) {
        if (tag != NULL && !has_tag(set->ways[i], tag, size)) continue;
        free(set->ways[i]);
        set->ways[i] = NULL;
    }
    (void)pthread_mutex_unlock(&set->lock);
}

void near_drop(struct near *near, const char *tag)
{
    if (near->sets_count > 0) set_drop(set_of(near, tag), tag);
}

void near_clear(struct near *near)
{
    for (uint32_t i = 0; i < near->sets_count; i++) set_drop(&near->sets[i], NULL);
}
