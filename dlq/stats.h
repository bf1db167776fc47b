/*
 * stats.h - counts of dead letters by reason, command, caller and hour of their last death, in
 * memory that does not grow with their number. Pure.
 */
#ifndef DLQ_STATS_H
#define DLQ_STATS_H

#include "dlq/letter.h"

enum stats_by { STATS_REASON = 1, STATS_COMMAND = 2, STATS_CALLER = 4, STATS_HOUR = 8 };

enum { STATS_GROUPS_MAX = 10000, STATS_WORD_SIZE = 65 };

struct group {
    char reason[STATS_WORD_SIZE], command[STATS_WORD_SIZE], caller[STATS_WORD_SIZE];
    int64_t hour_us; /* its beginning, UTC; 0: unknown or not asked for */
    uint64_t count;
    int64_t oldest_us, newest_us; /* last deaths */
};

struct stats;

/* by: any of stats_by, or-ed. */
MUST_CHECK bool stats_open(struct stats **out, uint32_t by, struct err *err);
void stats_close(struct stats *stats); /* NULL is fine */
/* Beyond STATS_GROUPS_MAX groups what is new is counted in one group whose words are all "(other)".
 */
void stats_add(struct stats *stats, const struct letter *letter);
uint64_t stats_total(const struct stats *stats);
/* Ends the counting. Largest first, then by hour, then by words; the array is the stats' own. */
const struct group *stats_groups(struct stats *stats, uint32_t *count);

#endif
