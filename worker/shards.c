/*
 * shards.c - fair shares: of S shards over W workers each holds S / W, and S % W of them one more;
 * those who hold most already keep the one more, so that nothing moves without need.
 */
#include "worker/shards.h"

#include <assert.h>

static uint32_t held_by(const struct survey *survey, int32_t worker)
{
    uint32_t held = 0;

    for (uint32_t i = 0; i < survey->shards; i++) held += survey->owner[i] == worker;
    return held;
}

/* How many workers come before self when sorted by shards held (most first), then by number. */
static uint32_t rank_of_self(const struct survey *survey, uint32_t own)
{
    uint32_t before = 0;

    for (uint32_t i = 0; i < survey->workers_count; i++) {
        int32_t other = survey->workers[i];
        uint32_t held = held_by(survey, other);
        before += other != survey->self && (held > own || (held == own && other < survey->self));
    }
    return before;
}

void shards_plan(const struct survey *survey, struct plan *plan)
{
    uint32_t own = held_by(survey, survey->self);
    uint32_t rank = rank_of_self(survey, own);

    assert(survey->workers_count > 0);
    assert(rank < survey->workers_count);
    plan->release_count = 0;
    plan->acquire_count = 0;
    plan->quota = survey->shards / survey->workers_count +
                  (rank < survey->shards % survey->workers_count ? 1 : 0);
    for (uint32_t i = survey->shards; i-- > 0 && own - plan->release_count > plan->quota;)
        if (survey->owner[i] == survey->self) plan->release[plan->release_count++] = i;
    if (own >= plan->quota) return;
    /* Workers start to look at different places, so that they seldom try for the same one. */
    for (uint32_t i = 0; i < survey->shards; i++) {
        uint32_t shard = (i + rank * survey->shards / survey->workers_count) % survey->shards;
        if (survey->owner[shard] == 0) plan->acquire[plan->acquire_count++] = shard;
    }
}
