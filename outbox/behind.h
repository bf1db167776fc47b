/*
 * behind.h - for how long something may have been unpublished. Pure.
 *
 * Rows bear no time, but snapshots can: what the confirmed snapshot does not see was committed
 * after that one was taken. So one snapshot at a time is followed, from when it is taken until the
 * confirmed cursor has reached it. What is told is never less than the age of the oldest
 * unpublished row, and under steady traffic at most one more way through the relay.
 */
#ifndef OUTBOX_BEHIND_H
#define OUTBOX_BEHIND_H

#include <stdbool.h>
#include <stdint.h>

struct behind {       /* times are milliseconds of the monotonic clock, or before it began */
    int64_t since_ms; /* all that was committed before is published */
    bool is_known;    /* else that is only when this process began */
    bool is_nothing;  /* when last looked at, all was published */

    bool follows; /* a snapshot, taken then, with these numbers */
    int64_t followed_ms;
    uint64_t followed_xmax;
    uint32_t followed_open;
};

void behind_begin(struct behind *behind, int64_t now_ms);
/* Of one that does not lead: whether the saved cursor leaves something unpublished. That is of
 * after saved_ms, unless this process knows of a later time at which there was nothing. */
void behind_look(struct behind *behind, bool some, int64_t saved_ms, int64_t now_ms);
/* Of the leader: a snapshot as pg_snapshot's text, and the moment before it was asked for. */
void behind_follow(struct behind *behind, const char *snapshot, int64_t taken_ms);
/* Of the leader, after a turn that began then: its confirmed snapshot; idle: it sees all. */
void behind_turn(struct behind *behind, const char *confirmed, bool idle, int64_t began_ms);
/* Nobody could look. */
void behind_fail(struct behind *behind);

uint64_t behind_ms(const struct behind *behind, int64_t now_ms);

#endif
