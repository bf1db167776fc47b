/*
 * samples.h - one message of each kind that the ledger sent, kept in a file, so that what stands in
 * for the ledger can send the same.
 */
#ifndef TESTS_BENCH_SAMPLES_H
#define TESTS_BENCH_SAMPLES_H

#include "base/bytes.h"

/* Properties and body of out; they point into the arena. A failure ends the program. */
void sample_read(const char *path, struct arena *arena, struct bytes *properties,
                 struct bytes *body);
void sample_write(const char *path, struct bytes properties, struct bytes body);

#endif
