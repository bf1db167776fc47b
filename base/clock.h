/*
 * clock.h - the only place that reads a clock or the kernel's randomness.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_wall_us(void);       /* microseconds since 1970-01-01T00:00:00Z */
uint64_t clock_monotonic_ms(void); /* for deadlines and durations */
uint64_t clock_monotonic_us(void);
void clock_sleep_us(uint32_t us); /* these two come back early on a signal */
void clock_sleep_ms(uint32_t ms);
void random_bytes(void *out, size_t size);

/* RFC 3339, UTC, microseconds: 2026-11-23T07:00:00.000000Z */
enum { TIME_TEXT_SIZE = 28 };
void time_format(int64_t wall_us, char text[static TIME_TEXT_SIZE]);

#endif
