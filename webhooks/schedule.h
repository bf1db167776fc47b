/*
 * schedule.h - when a failed post is tried again. Pure: randomness is passed in.
 *
 * Each pause has JITTERS delay queues, of so long, a tenth and two tenths more: a queue's messages
 * leave it in their order, so a random expiration for each would wait for the one before it.
 */
#ifndef WEBHOOKS_SCHEDULE_H
#define WEBHOOKS_SCHEDULE_H

#include "base/bytes.h"

enum { SCHEDULE_MAX = 20, JITTERS = 3, PAUSE_S_MAX = 7 * 86400 };
#define SCHEDULE_DEFAULT "5,30,120,600,3600,14400,43200"

struct schedule {
    uint32_t pause_s[SCHEDULE_MAX]; /* before the second try, the third, ... */
    uint32_t count;                 /* one less than there are tries */
};

/* "5,30,120": seconds with commas between, 1 to SCHEDULE_MAX of them. */
MUST_CHECK bool schedule_parse(const char *text, struct schedule *out);
/* In milliseconds, of the queue that the jitter chooses. */
uint32_t schedule_delay_ms(const struct schedule *schedule, uint32_t step, uint32_t jitter);
/* What has not come back after so long is lost: twice the whole, and a day. */
uint32_t schedule_lost_s(const struct schedule *schedule);

#endif
