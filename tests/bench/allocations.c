/*
 * allocations.c - counts what a process asks the heap for. Loaded in front of the C library
 * (LD_PRELOAD); at the end it writes to the file BENCH_ALLOCATIONS how often, how many bytes, and
 * on which stacks, the most frequent first. The difference of two runs of different length is what
 * a command costs, whatever beginning and ending cost.
 */
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unwind.h>

enum { STACKS = 4096, PROBES = 16, DEPTH = 32 };

/* The C library's own, which it exports for this. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

struct frames { /* the innermost first: where each call comes back to */
    uint32_t count;
    uintptr_t at[DEPTH];
};

struct stack {
    _Atomic(uintptr_t) hash; /* of its frames; who claims it for them writes them */
    atomic_uint_fast64_t count;
    struct frames frames;
};

static atomic_uint_fast64_t calls, bytes;
static struct stack stacks[STACKS];
/* Looking at a stack may allocate, the loader does before it can be looked at. */
static bool is_loaded;
static _Thread_local bool is_looking __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void loaded(void)
{
    is_loaded = true;
}

static _Unwind_Reason_Code frame_add(struct _Unwind_Context *context, void *out)
{
    struct frames *frames = out;

    if (frames->count == DEPTH) return _URC_END_OF_STACK;
    frames->at[frames->count++] = _Unwind_GetIP(context);
    return _URC_NO_REASON;
}

static void note_stack(const struct frames *frames)
{
    uintptr_t hash = 1;

    for (uint32_t i = 0; i < frames->count; i++)
        hash = (hash ^ frames->at[i]) * 0x9e3779b97f4a7c15U;
    for (uint32_t i = 0; i < PROBES; i++) {
        struct stack *stack = &stacks[((hash >> 20) + i) % STACKS];
        uintptr_t empty = 0;
        if (atomic_compare_exchange_strong(&stack->hash, &empty, hash))
            stack->frames = *frames;
        else if (empty != hash)
            continue;
        atomic_fetch_add_explicit(&stack->count, 1, memory_order_relaxed);
        return;
    }
}

static void note(size_t size)
{
    struct frames frames = {0};

    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes, size, memory_order_relaxed);
    if (!is_loaded || is_looking) return;
    is_looking = true;
    (void)_Unwind_Backtrace(frame_add, &frames);
    note_stack(&frames);
    is_looking = false;
}

void *malloc(size_t size)
{
    note(size);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) /* NOLINT: its header has other names */
{
    note(count * size);
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size) /* NOLINT: likewise */
{
    note(size);
    return __libc_realloc(memory, size);
}

static int compare(const void *a, const void *b)
{
    const struct stack *left = a, *right = b;
    return (left->count < right->count) - (left->count > right->count);
}

/* A frame as LIBRARY+0xOFFSET, which addr2line takes. */
static void stack_print(FILE *file, struct stack *stack)
{
    Dl_info info;

    (void)fprintf(file, "stack %ju", (uintmax_t)stack->count);
    for (uint32_t i = 0; i < stack->frames.count; i++) {
        uintptr_t at = stack->frames.at[i];
        if (dladdr((void *)at, &info) == 0) continue; /* NOLINT: an address is what it is */
        (void)fprintf(file, " %s+0x%zx", info.dli_fname, (size_t)(at - (uintptr_t)info.dli_fbase));
    }
    (void)fputc('\n', file);
}

__attribute__((destructor)) static void print(void)
{
    const char *path = getenv("BENCH_ALLOCATIONS");
    uint64_t calls_now = calls, bytes_now = bytes;
    FILE *file = path == NULL ? NULL : fopen(path, "w");

    if (file == NULL) return;
    (void)fprintf(file, "allocations=%ju bytes=%ju\n", (uintmax_t)calls_now, (uintmax_t)bytes_now);
    is_looking = true;
    qsort(stacks, STACKS, sizeof stacks[0], compare);
    for (uint32_t i = 0; i < STACKS && stacks[i].count > 0; i++) stack_print(file, &stacks[i]);
    (void)fclose(file);
}
