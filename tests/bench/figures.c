/*
 * figures.c - see figures.h.
 */
#include "tests/bench/figures.h"

#include "tests/bench/bench.h"

#include <inttypes.h>
#include <stdlib.h>

struct figures {
    uint32_t count, most;
    uint64_t took_us[];
};

void figures_open(struct figures **out, uint32_t most)
{
    *out = bench_memory(sizeof **out + most * sizeof(uint64_t));
    (*out)->most = most;
}

void figures_close(struct figures *figures)
{
    free(figures);
}

void figures_add(struct figures *figures, uint64_t took_us)
{
    if (figures->count < figures->most) figures->took_us[figures->count++] = took_us;
}

void figures_join(struct figures *figures, const struct figures *other)
{
    for (uint32_t i = 0; i < other->count; i++) figures_add(figures, other->took_us[i]);
}

void figures_clear(struct figures *figures)
{
    figures->count = 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

void figures_print(struct figures *figures, const char *prefix)
{
    static const uint32_t tenths[] = {100, 200, 300, 400, 500, 600, 700,
                                      800, 900, 950, 980, 990, 995, 999};
    uint32_t count = figures->count;
    struct err err;

    bench_check(count > 0 || err_set(&err, ERR_FATAL, "nothing was measured"), &err);
    qsort(figures->took_us, count, sizeof(uint64_t), compare);
    for (uint32_t i = 0; i < sizeof tenths / sizeof tenths[0]; i++) {
        char digits[16];
        (void)snprintf(digits, sizeof digits, tenths[i] % 10 == 0 ? "%u" : "%u.%u", tenths[i] / 10,
                       tenths[i] % 10);
        printf("%sp%s=%" PRIu64 " ", prefix, digits,
               figures->took_us[(uint64_t)count * tenths[i] / 1000]);
    }
    printf("%smax=%" PRIu64 "\n", prefix, figures->took_us[count - 1]);
}
