/*
 * clock.c - see clock.h.
 */
#include "base/clock.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_us(clockid_t clock)
{
    struct timespec now;
    int failed = clock_gettime(clock, &now);

    assert(failed == 0); /* these clocks exist on every Linux */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME);
}

uint64_t clock_monotonic_us(void)
{
    return (uint64_t)read_us(CLOCK_MONOTONIC);
}

uint64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

void clock_sleep_us(uint32_t us)
{
    struct timespec duration = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    (void)nanosleep(&duration, NULL); /* interrupted by a signal: that is what a stop wants */
}

void clock_sleep_ms(uint32_t ms)
{
    struct timespec duration = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&duration, NULL);
}

/* getrandom in pages: a system call for each identifier would cost more than the identifier. */
static _Thread_local uint8_t page[256];
static _Thread_local size_t left;

/* In the child of a fork, by its only thread: else it would go on with its parent's page. */
static void forget_page(void)
{
    left = 0;
}

static void forget_page_at_fork(void)
{
    int failed = pthread_atfork(NULL, NULL, forget_page);
    assert(failed == 0); /* only for want of memory, when the process has just begun */
}

void random_bytes(void *out, size_t size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    uint8_t *to = out;

    while (size > 0) {
        if (left == 0) {
            (void)pthread_once(&once, forget_page_at_fork);
            ssize_t got = getrandom(page, sizeof page, 0);
            assert(got == (ssize_t)sizeof page); /* never short for up to 256 bytes: getrandom(2) */
            left = sizeof page;
        }
        size_t part = size < left ? size : left;
        memcpy(to, page + sizeof page - left, part);
        to += part;
        size -= part;
        left -= part;
    }
}

static char *put_digits(char *to, uint32_t count, uint32_t value)
{
    for (uint32_t i = count; i > 0; i--) {
        to[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return to + count;
}

/* Several for each command: snprintf would be a large part of what it costs. */
void time_format(int64_t wall_us, char text[static TIME_TEXT_SIZE])
{
    int64_t seconds = wall_us / 1000000, us = wall_us % 1000000;
    struct tm parts = {0};
    char *to = text;

    if (us < 0) {
        us += 1000000;
        seconds--;
    }
    time_t time = (time_t)seconds;
    (void)gmtime_r(&time, &parts);
    const struct {
        uint32_t count, value;
        char after;
    } numbers[] = {{4, (uint32_t)parts.tm_year + 1900, '-'},
                   {2, (uint32_t)parts.tm_mon + 1, '-'},
                   {2, (uint32_t)parts.tm_mday, 'T'},
                   {2, (uint32_t)parts.tm_hour, ':'},
                   {2, (uint32_t)parts.tm_min, ':'},
                   {2, (uint32_t)parts.tm_sec, '.'},
                   {6, (uint32_t)us, 'Z'}};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        to = put_digits(to, numbers[i].count, numbers[i].value);
        *to++ = numbers[i].after;
    }
    *to = '\0';
}
