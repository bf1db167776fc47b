/*
 * schedule.c - see schedule.h.
 */
#include "webhooks/schedule.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { MS_PER_S = 1000, TENTHS = 10, DAY_S = 86400 };

bool schedule_parse(const char *text, struct schedule *out)
{
    *out = (struct schedule){.count = 0};
    for (;;) {
        char *end;
        errno = 0;
        unsigned long seconds = strtoul(text, &end, 10);
        if (*text < '0' || *text > '9' || errno != 0 || seconds == 0 || seconds > PAUSE_S_MAX ||
            out->count == SCHEDULE_MAX)
            return false;
        out->pause_s[out->count++] = (uint32_t)seconds;
        if (*end == '\0') return true;
        if (*end != ',') return false;
        text = end + 1;
    }
}

uint32_t schedule_delay_ms(const struct schedule *schedule, uint32_t step, uint32_t jitter)
{
    assert(step < schedule->count);
    uint32_t pause_ms = schedule->pause_s[step] * MS_PER_S;
    return pause_ms + pause_ms / TENTHS * (jitter % JITTERS);
}

uint32_t schedule_lost_s(const struct schedule *schedule)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < schedule->count; i++) sum += schedule->pause_s[i];
    return 2 * sum + DAY_S;
}
