/*
 * behind.c - see behind.h. Invariant: since_ms moves forward only, once it is known.
 */
#include "outbox/behind.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void behind_begin(struct behind *behind, int64_t now_ms)
{
    *behind = (struct behind){.since_ms = now_ms};
}

static void advance(struct behind *behind, int64_t to_ms)
{
    if (!behind->is_known || to_ms > behind->since_ms) behind->since_ms = to_ms;
    behind->is_known = true;
}

void behind_look(struct behind *behind, bool some, int64_t saved_ms, int64_t now_ms)
{
    behind->follows = false; /* its lead has ended */
    behind->is_nothing = !some;
    advance(behind, some ? saved_ms : now_ms);
}

/* "xmin:xmax:id,id,...": the upper end, and how many below it were under way. Of two snapshots the
 * later one has the higher upper end, or the same and no more under way. */
static void rank(const char *snapshot, uint64_t *xmax, uint32_t *open)
{
    const char *text = strchr(snapshot, ':');

    assert(text != NULL);
    char *list;
    *xmax = strtoull(text + 1, &list, 10);
    assert(*list == ':');
    *open = list[1] != '\0';
    while ((list = strchr(list, ',')) != NULL) {
        list++;
        (*open)++;
    }
}

void behind_follow(struct behind *behind, const char *snapshot, int64_t taken_ms)
{
    if (behind->follows) return;
    behind->follows = true;
    behind->followed_ms = taken_ms;
    rank(snapshot, &behind->followed_xmax, &behind->followed_open);
}

static bool is_reached(const struct behind *behind, const char *confirmed)
{
    uint64_t xmax;
    uint32_t open;

    rank(confirmed, &xmax, &open);
    if (xmax != behind->followed_xmax) return xmax > behind->followed_xmax;
    return open <= behind->followed_open;
}

void behind_turn(struct behind *behind, const char *confirmed, bool idle, int64_t began_ms)
{
    behind->is_nothing = idle;
    if (idle) {
        behind->follows = false;
        advance(behind, began_ms);
    } else if (behind->follows && is_reached(behind, confirmed)) {
        behind->follows = false;
        advance(behind, behind->followed_ms);
    }
}

void behind_fail(struct behind *behind)
{
    behind->is_nothing = false;
}

uint64_t behind_ms(const struct behind *behind, int64_t now_ms)
{
    if (behind->is_nothing || now_ms < behind->since_ms) return 0;
    return (uint64_t)(now_ms - behind->since_ms);
}
