/*
 * allocations.c - counts what a process asks the heap for. Loaded in front of the C library
 * (LD_PRELOAD); at the end it writes to the file BENCH_ALLOCATIONS how often, how many bytes, and
 * from which places most often. The difference of two runs of different length is what a command
 * costs, whatever beginning and ending cost.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { PLACES = 4096, PROBES = 16, PLACES_SHOWN = 24 };

/* The C library's own, which it exports for this. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

struct place {
    _Atomic(uintptr_t) caller;
    atomic_uint_fast64_t count;
};

static atomic_uint_fast64_t calls, bytes;
static struct place places[PLACES];

static void note(size_t size, uintptr_t caller)
{
    uintptr_t slot = caller * 0x9e3779b97f4a7c15U >> 20;

    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes, size, memory_order_relaxed);
    for (uint32_t i = 0; i < PROBES; i++) {
        struct place *place = &places[(slot + i) % PLACES];
        uintptr_t empty = 0;
        if (atomic_load(&place->caller) != caller &&
            !atomic_compare_exchange_strong(&place->caller, &empty, caller) && empty != caller)
            continue;
        atomic_fetch_add_explicit(&place->count, 1, memory_order_relaxed);
        return;
    }
}

void *malloc(size_t size)
{
    note(size, (uintptr_t)__builtin_return_address(0));
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) /* NOLINT: its header has other names */
{
    note(count * size, (uintptr_t)__builtin_return_address(0));
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) /* NOLINT: likewise */
{
    note(size, (uintptr_t)__builtin_return_address(0));
    return __libc_realloc(memory, size);
}

static int compare(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    return (left->count < right->count) - (left->count > right->count);
}

/* LIBRARY+0xOFFSET, as addr2line takes it. */
static void place_print(FILE *file, struct place *place)
{
    Dl_info info;

    if (place->count == 0) return;
    if (dladdr((void *)place->caller, &info) == 0) return; /* NOLINT: an address is what it is */
    (void)fprintf(file, "place %s+0x%zx %s %ju\n", info.dli_fname,
                  (size_t)(place->caller - (uintptr_t)info.dli_fbase),
                  info.dli_sname == NULL ? "?" : info.dli_sname, (uintmax_t)place->count);
}

__attribute__((destructor)) static void print(void)
{
    const char *path = getenv("BENCH_ALLOCATIONS");
    uint64_t calls_now = calls, bytes_now = bytes;
    FILE *file = path == NULL ? NULL : fopen(path, "w");

    if (file == NULL) return;
    (void)fprintf(file, "allocations=%ju bytes=%ju\n", (uintmax_t)calls_now, (uintmax_t)bytes_now);
    qsort(places, PLACES, sizeof places[0], compare);
    for (uint32_t i = 0; i < PLACES_SHOWN; i++) place_print(file, &places[i]);
    (void)fclose(file);
}
