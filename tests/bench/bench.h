/*
 * bench.h - what the bench programs share. They are tools for scripts/bench: the first failure ends
 * them, with its words on standard error. Bodies are here because each program is one file.
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include "base/bytes.h"
#include "protocol/names.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BENCH_SHARDS = 8,
    BENCH_HEARTBEAT_S = 30,
    BENCH_TIMEOUT_MS = 10000,
    BENCH_SETTLE_MS = 500, /* for the last acknowledgements */
    BENCH_ARENA_SIZE = 32 << 20,
    BENCH_BODY_MAX = 1 << 18, /* a list of events */
    BENCH_FETCH_MAX = 1024,
};

#define BENCH_REPLIES "bench.replies"

static inline void bench_check(bool ok, const struct err *err)
{
    if (ok) return;
    (void)fprintf(stderr, "bench: %s\n", err->text);
    exit(EXIT_FAILURE);
}

/* Zeroed, or the end of the program. */
static inline void *bench_memory(size_t size)
{
    void *memory = calloc(1, size);

    if (memory != NULL) return memory;
    (void)fprintf(stderr, "bench: out of memory\n");
    exit(EXIT_FAILURE);
}

static inline const char *bench_env(const char *name, const char *fallback)
{
    const char *value = getenv(name);
    struct err err;

    if (value == NULL) value = fallback;
    bench_check(value != NULL || err_set(&err, ERR_FATAL, "%s must be set", name), &err);
    return value;
}

static inline uint32_t bench_number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    struct err err;

    bench_check((*end == '\0' && value > 0 && value <= 100000000) ||
                    err_set(&err, ERR_FATAL, "not a count: %s", text),
                &err);
    return (uint32_t)value;
}

static inline void bench_names(struct names *names)
{
    struct err err;
    bench_check(names_make(names, bench_env("LEDGER_PREFIX", "ledger"), BENCH_SHARDS, &err), &err);
}

#endif
