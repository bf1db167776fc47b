/*
 * figures.h - times that were taken, and their quantiles.
 */
#ifndef TESTS_BENCH_FIGURES_H
#define TESTS_BENCH_FIGURES_H

#include <stdint.h>

struct figures;

/* Room for most times; memory ends the program. */
void figures_open(struct figures **out, uint32_t most);
void figures_close(struct figures *figures);
void figures_add(struct figures *figures, uint64_t took_us);
/* Into the first, as far as it has room. */
void figures_join(struct figures *figures, const struct figures *other);
void figures_clear(struct figures *figures);
/* prefixp10=.. to prefixp99.9=.., and prefixmax=..: microseconds, in one line. */
void figures_print(struct figures *figures, const char *prefix);

#endif
