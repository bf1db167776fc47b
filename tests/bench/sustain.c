/*
 * sustain.c - a load that does not wait for anybody: so many commands a second, each sent at its
 * time whether or not those before it are done, and the time from then (not from when it could be
 * sent) to its event.
 *
 *   sustain RATE SECONDS [SHAPE]    prints the rate, and quantiles of the latency in microseconds,
 *                                   of what was due after the first two seconds
 *
 * Messages are due in groups, a millisecond apart: whole milliseconds are what a caller's clock and
 * the wait for a socket are good for. An event tells by its correlation_id which message it is of.
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "protocol/properties.h"
#include "tests/bench/bench.h"
#include "tests/bench/commands.h"
#include "tests/bench/figures.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    WINDOW = 4095,
    TICK_US = 1000,
    WARM_UP_US = 2000000,
    PREFETCH = 2000,
    IDLE_MAX_MS = 60000,
    LEAD_US = 200000, /* until the first is due: both threads are ready */
};

static struct names names;

struct load {
    uint32_t rate, seconds, count;
    struct shape shape;
    uint64_t started_us;
};

static uint64_t due_us(const struct load *load, uint32_t number)
{
    uint64_t exact = (uint64_t)number * 1000000 / load->rate;
    return load->started_us + exact / TICK_US * TICK_US;
}

static void *send_all(void *argument)
{
    const struct load *load = argument;
    struct outlet *outlet;
    uint32_t sent = 0, confirmed = 0;

    outlet_open(&outlet, &names, WINDOW);
    while (confirmed < load->count) {
        uint64_t now = clock_monotonic_us();
        while (sent < load->count && due_us(load, sent) <= now && outlet_room(outlet) > 0)
            outlet_send(outlet, &load->shape, sent++);
        confirmed += outlet_confirmed(outlet, 0);
        now = clock_monotonic_us();
        uint64_t next = sent < load->count ? due_us(load, sent) : now + TICK_US;
        if (next > now) clock_sleep_us((uint32_t)(next - now));
    }
    outlet_close(outlet);
    return NULL;
}

static uint32_t number_of(const struct delivery *delivery)
{
    struct properties properties;
    struct err err;
    uint32_t number = 0;

    bench_check((properties_parse(delivery->properties, &properties) &&
                 properties.correlation_id.length == CORRELATION_DIGITS) ||
                    err_set(&err, ERR_FATAL, "an event that is of none of these commands"),
                &err);
    for (uint32_t i = 0; i < CORRELATION_DIGITS; i++)
        number = number * 10 + (uint32_t)(properties.correlation_id.bytes[i] - '0');
    return number;
}

struct receiver {
    struct consumer *consumer;
    struct arena arena;
    struct figures *figures;
    uint64_t last_us;
};

/* Returns how many came. What comes again is of the load before, whose last acknowledgement its end
 * overtook. */
static uint32_t receive(struct receiver *receiver, const struct load *load)
{
    static struct delivery deliveries[PREFETCH];
    struct err err;
    uint32_t count, fresh = 0;

    arena_reset(&receiver->arena);
    bench_check(consumer_fetch(receiver->consumer, 100, deliveries, PREFETCH, &receiver->arena,
                               &count, &err),
                &err);
    if (count == 0) return 0;
    receiver->last_us = clock_monotonic_us();
    for (uint32_t i = 0; i < count; i++) {
        if (deliveries[i].redelivered) continue;
        uint64_t due = due_us(load, number_of(&deliveries[i]));
        fresh++;
        if (due >= load->started_us + WARM_UP_US)
            figures_add(receiver->figures, receiver->last_us - due);
    }
    bench_check(consumer_ack(receiver->consumer, deliveries[count - 1].tag, true, &err), &err);
    return fresh;
}

static void receive_all(struct load *load, struct receiver *receiver)
{
    pthread_t sender;
    struct err err;
    uint32_t got = 0;

    load->started_us = clock_monotonic_us() + LEAD_US;
    receiver->last_us = load->started_us;
    bench_check(pthread_create(&sender, NULL, send_all, load) == 0 ||
                    err_set(&err, ERR_FATAL, "could not start a thread"),
                &err);
    while (got < load->count) {
        got += receive(receiver, load);
        uint64_t now = clock_monotonic_us();
        bench_check(now < receiver->last_us + (uint64_t)IDLE_MAX_MS * 1000 ||
                        err_set(&err, ERR_FATAL, "%u events did not come", load->count - got),
                    &err);
    }
    (void)pthread_join(sender, NULL);
    uint64_t late_us = receiver->last_us - due_us(load, load->count - 1);
    printf("sent=%u rate=%.0f late_us=%" PRIu64 "\n", load->count,
           (double)load->count * 1e6 / (double)(receiver->last_us - load->started_us), late_us);
}

int main(int argc, char **argv)
{
    static struct load load;
    struct receiver receiver = {0};
    char queue[128];
    struct err err;

    bench_names(&names);
    bench_check((argc >= 3 && shape_read(&load.shape, argc - 3, argv + 3)) ||
                    err_set(&err, ERR_FATAL, "sustain RATE SECONDS [SHAPE]"),
                &err);
    load.rate = bench_number(argv[1]);
    load.seconds = bench_number(argv[2]);
    load.shape.correlated = true;
    uint64_t count = (uint64_t)load.rate * load.seconds;
    bench_check((load.seconds > WARM_UP_US / 1000000 && count < 100000000) ||
                    err_set(&err, ERR_FATAL, "3 seconds or more, and below 10^8 commands"),
                &err);
    load.count = (uint32_t)count;
    struct consumer_options options = {.url = bench_env("LEDGER_AMQP_URL", NULL),
                                       .name = "bench sustain",
                                       .heartbeat_s = BENCH_HEARTBEAT_S,
                                       .timeout_ms = BENCH_TIMEOUT_MS,
                                       .body_max = BENCH_BODY_MAX};
    (void)snprintf(queue, sizeof queue, "bench.%.100s", names.events);
    figures_open(&receiver.figures, load.count);
    bench_check(arena_open(&receiver.arena, BENCH_ARENA_SIZE, &err) &&
                    consumer_open(&receiver.consumer, &options, &err) &&
                    consumer_subscribe(receiver.consumer, queue, 0, PREFETCH, &err),
                &err);
    receive_all(&load, &receiver);
    figures_print(receiver.figures, "");
    consumer_close(receiver.consumer);
    figures_close(receiver.figures);
    arena_close(&receiver.arena);
    return EXIT_SUCCESS;
}
