/*
 * stats.c - see stats.h. An open-addressing table, at most half full.
 */
#include "dlq/stats.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 32768 };
static const int64_t HOUR_US = 3600000000;
_Static_assert(SLOTS > 2 * STATS_GROUPS_MAX, "the table stays sparse");

struct stats {
    uint32_t by, count;
    uint64_t total;
    bool is_sorted;                            /* then the slots no more say where a group is */
    struct group groups[STATS_GROUPS_MAX + 1]; /* the last: all others */
    uint32_t slots[SLOTS];                     /* the place of a group and one more; 0: free */
};

bool stats_open(struct stats **out, uint32_t by, struct err *err)
{
    struct stats *stats = calloc(1, sizeof *stats);

    *out = stats;
    if (stats == NULL) return err_set(err, ERR_FATAL, "could not count: out of memory");
    stats->by = by;
    return true;
}

void stats_close(struct stats *stats)
{
    free(stats);
}

/* A word for people: what is not printable, or too long, is not told apart. */
static void word_set(char word[static STATS_WORD_SIZE], struct text text)
{
    uint32_t length = text.length < STATS_WORD_SIZE - 1 ? text.length : STATS_WORD_SIZE - 1;

    memset(word, 0, STATS_WORD_SIZE);
    for (uint32_t i = 0; i < length; i++)
        word[i] = text.bytes[i] >= ' ' && text.bytes[i] <= '~' ? text.bytes[i] : '?';
}

static uint32_t hash(const struct group *key) /* FNV-1a */
{
    const uint8_t *bytes = (const uint8_t *)key;
    uint32_t value = 2166136261u;

    for (size_t i = 0; i < offsetof(struct group, count); i++)
        value = (value ^ bytes[i]) * 16777619u;
    return value;
}

static struct group *find(struct stats *stats, const struct group *key)
{
    for (uint32_t slot = hash(key) % SLOTS;; slot = (slot + 1) % SLOTS) {
        if (stats->slots[slot] == 0 && stats->count < STATS_GROUPS_MAX) {
            memcpy(&stats->groups[stats->count], key, sizeof *key); /* with its padding */
            stats->slots[slot] = ++stats->count;
        }
        if (stats->slots[slot] == 0) break;
        struct group *group = &stats->groups[stats->slots[slot] - 1];
        if (memcmp(group, key, offsetof(struct group, count)) == 0) return group;
    }
    struct group *others = &stats->groups[STATS_GROUPS_MAX];
    if (others->count == 0) {
        word_set(others->reason, TEXT_LITERAL("(other)"));
        word_set(others->command, TEXT_LITERAL("(other)"));
        word_set(others->caller, TEXT_LITERAL("(other)"));
    }
    return others;
}

void stats_add(struct stats *stats, const struct letter *letter)
{
    int64_t at_us = letter->last_death_us;
    struct group key;

    assert(!stats->is_sorted);
    memset(&key, 0, sizeof key); /* the padding too: it is hashed and compared */
    if (stats->by & STATS_REASON) word_set(key.reason, letter->reason);
    if (stats->by & STATS_COMMAND) word_set(key.command, letter->type);
    if (stats->by & STATS_CALLER) word_set(key.caller, letter->caller);
    if (stats->by & STATS_HOUR && at_us > 0) key.hour_us = at_us / HOUR_US * HOUR_US;
    struct group *group = find(stats, &key);
    group->count++;
    stats->total++;
    if (at_us == 0) return;
    if (group->oldest_us == 0 || at_us < group->oldest_us) group->oldest_us = at_us;
    if (at_us > group->newest_us) group->newest_us = at_us;
}

uint64_t stats_total(const struct stats *stats)
{
    return stats->total;
}

static int compare(const void *a, const void *b)
{
    const struct group *left = a, *right = b;

    if (left->count != right->count) return left->count > right->count ? -1 : 1;
    if (left->hour_us != right->hour_us) return left->hour_us < right->hour_us ? -1 : 1;
    return memcmp(left, right, offsetof(struct group, hour_us));
}

const struct group *stats_groups(struct stats *stats, uint32_t *count)
{
    struct group *others = &stats->groups[STATS_GROUPS_MAX];

    *count = stats->count;
    if (others->count > 0) {
        assert(stats->count == STATS_GROUPS_MAX);
        (*count)++;
    }
    qsort(stats->groups, *count, sizeof *stats->groups, compare);
    stats->is_sorted = true;
    return stats->groups;
}
