/*
 * fuzz.h - what the fuzz targets share: memory that is taken once, and a check that stays on.
 *
 * A target reads its input where libFuzzer put it, so that the sanitizer sees one byte read too
 * far.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "protocol/codec.h"

#include <stdlib.h>
#include <string.h>

enum { FUZZ_ARENA_SIZE = 16 << 20, FUZZ_PROBLEM_SIZE = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct arena fuzz_arena;
static struct codec *fuzz_codec;

static inline void fuzz_check(bool holds)
{
    if (!holds) abort();
}

static inline void fuzz_begin(void)
{
    struct err err;

    if (fuzz_codec == NULL) {
        fuzz_check(codec_open(&fuzz_codec, &err));
        fuzz_check(arena_open(&fuzz_arena, FUZZ_ARENA_SIZE, &err));
    }
    arena_reset(&fuzz_arena);
}

static inline bool fuzz_bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* A sentence about what is wrong is there, and printable. */
static inline void fuzz_check_problem(const char *problem)
{
    fuzz_check(*problem != '\0');
    for (; *problem != '\0'; problem++) fuzz_check(*problem >= ' ' && *problem <= '~');
}

#endif
