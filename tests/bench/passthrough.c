/*
 * passthrough.c - what the broker alone allows: the ledger with the ledger taken out. Takes the
 * same shard queues, sends for each message what the ledger would send (the sample of an event, and
 * of a reply, kept by load.c), and acknowledges only what is confirmed. One thread, a connection in
 * and a connection out, as the worker and the relay have them.
 *
 *   passthrough N EVENT-SAMPLE [REPLY-SAMPLE]     LEDGER_PREFIX names the queues
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/publisher_amqp.h"
#include "tests/bench/bench.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { WINDOW = 4096, PREFETCH = 500 /* the worker's */, OUT_MAX = 2, IDLE_WAIT_MS = 100 };

static struct err err;

struct passthrough {
    struct consumer *consumer;
    struct publisher *publisher;
    struct message out[OUT_MAX];
    uint32_t out_count;        /* messages sent for each one taken */
    uint64_t sent;             /* sequences 1 .. sent; out_count of them for each delivery tag */
    uint64_t settled;          /* sequences 1 .. settled are confirmed */
    uint64_t acknowledged;     /* tags 1 .. acknowledged */
    uint8_t confirmed[WINDOW]; /* ring, by sequence */
};

static struct bytes read_part(FILE *file, struct arena *arena)
{
    uint32_t size = 0;
    uint8_t *data;

    bench_check((fread(&size, sizeof size, 1, file) == 1 && size <= BENCH_BODY_MAX) ||
                    err_set(&err, ERR_FATAL, "could not read a sample"),
                &err);
    data = arena_take(arena, size + 1U);
    bench_check((data != NULL && fread(data, 1, size, file) == size) ||
                    err_set(&err, ERR_FATAL, "could not read a sample"),
                &err);
    return (struct bytes){data, size};
}

static void sample_read(const char *path, struct arena *arena, struct message *out)
{
    FILE *file = fopen(path, "rb");

    bench_check(file != NULL || err_set(&err, ERR_FATAL, "could not open %s", path), &err);
    out->properties = read_part(file, arena);
    out->body = read_part(file, arena);
    (void)fclose(file);
}

static void send_out(struct passthrough *passthrough)
{
    for (uint32_t i = 0; i < passthrough->out_count; i++) {
        bench_check(
            publisher_send(passthrough->publisher, &passthrough->out[i], &passthrough->sent, &err),
            &err);
        passthrough->confirmed[passthrough->sent % WINDOW] = 0;
    }
}

static void take_confirms(struct passthrough *passthrough, uint32_t wait_ms)
{
    static struct confirm confirms[WINDOW];
    uint32_t count;
    uint64_t tag;

    bench_check(publisher_poll(passthrough->publisher, wait_ms, confirms, WINDOW, &count, &err),
                &err);
    for (uint32_t i = 0; i < count; i++) {
        bench_check(confirms[i].result == CONFIRM_ACK ||
                        err_set(&err, ERR_FATAL, "the broker refused a message"),
                    &err);
        passthrough->confirmed[confirms[i].sequence % WINDOW] = 1;
    }
    while (passthrough->settled < passthrough->sent &&
           passthrough->confirmed[(passthrough->settled + 1) % WINDOW] == 1)
        passthrough->settled++;
    tag = passthrough->settled / passthrough->out_count;
    if (tag == passthrough->acknowledged) return;
    bench_check(consumer_ack(passthrough->consumer, tag, true, &err), &err);
    passthrough->acknowledged = tag;
}

static void run(struct passthrough *passthrough, uint32_t count, struct arena *arena)
{
    static struct delivery deliveries[BENCH_FETCH_MAX];

    while (passthrough->acknowledged < count) {
        uint32_t room = publisher_room(passthrough->publisher) / passthrough->out_count, got = 0;
        uint32_t left = count - (uint32_t)(passthrough->sent / passthrough->out_count);
        bool busy = passthrough->settled < passthrough->sent;

        if (room > BENCH_FETCH_MAX) room = BENCH_FETCH_MAX;
        if (room > left) room = left;
        arena_reset(arena);
        if (room > 0)
            bench_check(consumer_fetch(passthrough->consumer, busy ? 0 : IDLE_WAIT_MS, deliveries,
                                       room, arena, &got, &err),
                        &err);
        for (uint32_t i = 0; i < got; i++) {
            assert(deliveries[i].tag == passthrough->sent / passthrough->out_count + 1);
            send_out(passthrough);
        }
        take_confirms(passthrough, got == 0 && busy ? 1 : 0);
    }
    clock_sleep_ms(BENCH_SETTLE_MS);
}

int main(int argc, char **argv)
{
    static struct passthrough passthrough;
    const char *url = bench_env("LEDGER_AMQP_URL", NULL);
    struct consumer_options in = {.url = url,
                                  .name = "bench passthrough in",
                                  .heartbeat_s = BENCH_HEARTBEAT_S,
                                  .timeout_ms = BENCH_TIMEOUT_MS,
                                  .body_max = BENCH_BODY_MAX};
    struct publisher_options out = {.url = url,
                                    .name = "bench passthrough out",
                                    .heartbeat_s = BENCH_HEARTBEAT_S,
                                    .timeout_ms = BENCH_TIMEOUT_MS,
                                    .window = WINDOW - 1};
    struct arena samples, arena;
    struct names names;

    bench_check(argc == 3 || argc == 4 ||
                    err_set(&err, ERR_FATAL, "passthrough N EVENT-SAMPLE [REPLY-SAMPLE]"),
                &err);
    bench_names(&names);
    bench_check(arena_open(&samples, 4 * BENCH_BODY_MAX + 64, &err) &&
                    arena_open(&arena, BENCH_ARENA_SIZE, &err),
                &err);
    passthrough.out_count = (uint32_t)argc - 2;
    passthrough.out[0].exchange = text_of(names.events);
    passthrough.out[0].routing_key = text_of("transaction.created");
    passthrough.out[1].routing_key = text_of(BENCH_REPLIES);
    for (uint32_t i = 0; i < passthrough.out_count; i++)
        sample_read(argv[2 + i], &samples, &passthrough.out[i]);
    bench_check(publisher_open(&passthrough.publisher, &out, &err) &&
                    consumer_open(&passthrough.consumer, &in, &err),
                &err);
    printf("started_us=%" PRId64 "\n", clock_wall_us());
    (void)fflush(stdout);
    for (uint32_t i = 0; i < names.shards; i++)
        bench_check(consumer_subscribe(passthrough.consumer, names.shard[i], i, PREFETCH, &err),
                    &err);
    run(&passthrough, bench_number(argv[1]), &arena);
    consumer_close(passthrough.consumer);
    publisher_close(passthrough.publisher);
    arena_close(&arena);
    arena_close(&samples);
    return EXIT_SUCCESS;
}
