/*
 * wait.c - takes what becomes of a load.
 *
 *   wait QUEUE=N...     takes messages from each queue until they tell of N commands; prints when
 *                       the first and the last came, and keeps the last one of each queue in the
 *                       folder BENCH_SAMPLES
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "protocol/event_list.h"
#include "protocol/properties.h"
#include "tests/bench/bench.h"
#include "tests/bench/samples.h"

#include <inttypes.h>
#include <string.h>

enum {
    QUEUES_MAX = 4,
    PREFETCH = 2000,
    IDLE_MAX_MS = 60000, /* nothing for that long: something is wrong */
};

static struct err err;
static struct arena arena;

struct waiting {
    struct consumer *consumer;
    struct codec *codec;
    const char *queues[QUEUES_MAX];
    uint32_t left[QUEUES_MAX], total;
    uint64_t heard_ms;
    int64_t first_us, last_us;
    uint64_t messages, again;
};

static void sample_keep(const char *queue, const struct delivery *delivery)
{
    const char *folder = getenv("BENCH_SAMPLES");
    char path[512];

    if (folder == NULL) return;
    (void)snprintf(path, sizeof path, "%s/%s", folder, queue);
    sample_write(path, delivery->properties, delivery->body);
}

/* Of how many commands it tells. */
static uint32_t commands_of(const struct waiting *waiting, const struct delivery *delivery)
{
    static struct arena lists;
    struct properties properties;
    struct event_list list;
    char problem[PROBLEM_SIZE] = "its properties are none";

    if (!properties_parse(delivery->properties, &properties) ||
        !text_equal(properties.type, text_of(EVENT_LIST_WORD)))
        return 1;
    if (lists.base == NULL) bench_check(arena_open(&lists, BENCH_ARENA_SIZE, &err), &err);
    arena_reset(&lists);
    bench_check(event_list_decode(waiting->codec, delivery->body, ENCODING_MSGPACK, &lists, &list,
                                  problem) ||
                    err_set(&err, ERR_FATAL, "%s", problem),
                &err);
    return list.count;
}

static uint32_t take(struct waiting *waiting, uint32_t wait_ms)
{
    static struct delivery deliveries[PREFETCH];
    uint32_t count, counted = 0;

    arena_reset(&arena);
    bench_check(
        consumer_fetch(waiting->consumer, wait_ms, deliveries, PREFETCH, &arena, &count, &err),
        &err);
    for (uint32_t i = 0; i < count; i++) {
        const struct delivery *delivery = &deliveries[i];
        if (delivery->redelivered) continue; /* an earlier run has counted it */
        uint32_t commands = commands_of(waiting, delivery);
        if (commands > waiting->left[delivery->queue]) { /* at least once: some may come again */
            waiting->again += commands;
            continue;
        }
        counted += commands;
        waiting->messages++;
        waiting->left[delivery->queue] -= commands;
        if (waiting->left[delivery->queue] == 0)
            sample_keep(waiting->queues[delivery->queue], delivery);
    }
    if (count == 0) return 0;
    if (counted > 0) {
        waiting->heard_ms = clock_monotonic_ms();
        waiting->last_us = clock_wall_us();
        if (waiting->first_us == 0) waiting->first_us = waiting->last_us;
    }
    bench_check(consumer_ack(waiting->consumer, deliveries[count - 1].tag, true, &err), &err);
    return counted;
}

static void subscribe(struct waiting *waiting, char *argument, uint32_t number)
{
    char *count = argument;
    const char *queue = strsep(&count, "=");

    bench_check(count != NULL || err_set(&err, ERR_FATAL, "wait QUEUE=N..."), &err);
    waiting->queues[number] = queue;
    waiting->left[number] = bench_number(count);
    waiting->total += waiting->left[number];
    bench_check(consumer_subscribe(waiting->consumer, queue, number, PREFETCH, &err), &err);
}

int main(int argc, char **argv)
{
    struct consumer_options options = {.url = bench_env("LEDGER_AMQP_URL", NULL),
                                       .name = "bench wait",
                                       .heartbeat_s = BENCH_HEARTBEAT_S,
                                       .timeout_ms = BENCH_TIMEOUT_MS,
                                       .body_max = BENCH_BODY_MAX};
    struct waiting waiting = {.heard_ms = clock_monotonic_ms()};

    bench_check((argc > 1 && argc <= 1 + QUEUES_MAX) || err_set(&err, ERR_FATAL, "wait QUEUE=N..."),
                &err);
    bench_check(arena_open(&arena, BENCH_ARENA_SIZE, &err) && codec_open(&waiting.codec, &err) &&
                    consumer_open(&waiting.consumer, &options, &err),
                &err);
    for (int i = 1; i < argc; i++) subscribe(&waiting, argv[i], (uint32_t)i - 1);
    while (waiting.total > 0) {
        waiting.total -= take(&waiting, 100);
        bench_check(clock_monotonic_ms() - waiting.heard_ms < IDLE_MAX_MS ||
                        err_set(&err, ERR_FATAL, "%u of the messages did not come", waiting.total),
                    &err);
    }
    (void)take(&waiting, BENCH_SETTLE_MS);
    bench_check(waiting.again * 10 <= waiting.messages ||
                    err_set(&err, ERR_FATAL, "%" PRIu64 " messages too many", waiting.again),
                &err);
    printf("first_us=%" PRId64 " last_us=%" PRId64 " messages=%" PRIu64 " again=%" PRIu64 "\n",
           waiting.first_us, waiting.last_us, waiting.messages, waiting.again);
    consumer_close(waiting.consumer);
    codec_close(waiting.codec);
    arena_close(&arena);
    return EXIT_SUCCESS;
}
