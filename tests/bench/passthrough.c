/*
 * passthrough.c - what the broker alone allows: the ledger with the ledger taken out. Takes the
 * same shard queues, sends for each message what the ledger would send (samples of events, and of a
 * reply, kept by wait.c), and acknowledges only what is confirmed. One thread, a connection in and
 * a connection out, as the worker and the relay have them. Nothing is decoded, each message is
 * copied once out of the socket's buffer, and nothing is waited for while there is something to do.
 *
 *   passthrough N event=SAMPLE... [reply=SAMPLE]     ends when N messages are through
 *   passthrough forward event=SAMPLE                 until SIGTERM; the event has the properties of
 *                                                    the message, so that it can be told which
 *                                                    one it is of
 *
 * LEDGER_PREFIX names the queues; BENCH_PREFETCH, BENCH_WINDOW and BENCH_ACK_EVERY try others.
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/publisher_amqp.h"
#include "base/stop.h"
#include "tests/bench/bench.h"
#include "tests/bench/samples.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { WINDOW_MAX = 4095, OUT_MAX = 3, IDLE_WAIT_MS = 100 };

static struct err err;

struct passthrough {
    struct consumer *consumer;
    struct publisher *publisher;
    struct message out[OUT_MAX];
    uint32_t out_count; /* messages sent for each one taken */
    bool forward;
    uint32_t ack_every;                /* messages, unless there is nothing else to do */
    uint64_t sent;                     /* sequences 1 .. sent; out_count of them for each tag */
    uint64_t settled;                  /* sequences 1 .. settled are confirmed */
    uint64_t acknowledged;             /* tags 1 .. acknowledged */
    uint8_t confirmed[WINDOW_MAX + 1]; /* ring, by sequence */
};

static void send_out(struct passthrough *passthrough, const struct delivery *delivery)
{
    assert(delivery->tag == passthrough->sent / passthrough->out_count + 1);
    for (uint32_t i = 0; i < passthrough->out_count; i++) {
        struct message *message = &passthrough->out[i];
        if (passthrough->forward) message->properties = delivery->properties;
        bench_check(publisher_send(passthrough->publisher, message, &passthrough->sent, &err),
                    &err);
        passthrough->confirmed[passthrough->sent % (WINDOW_MAX + 1)] = 0;
    }
}

static void take_confirms(struct passthrough *passthrough, uint32_t wait_ms)
{
    static struct confirm confirms[WINDOW_MAX];
    uint32_t count;

    bench_check(publisher_poll(passthrough->publisher, wait_ms, confirms, WINDOW_MAX, &count, &err),
                &err);
    for (uint32_t i = 0; i < count; i++) {
        bench_check(confirms[i].result == CONFIRM_ACK ||
                        err_set(&err, ERR_FATAL, "the broker refused a message"),
                    &err);
        passthrough->confirmed[confirms[i].sequence % (WINDOW_MAX + 1)] = 1;
    }
    while (passthrough->settled < passthrough->sent &&
           passthrough->confirmed[(passthrough->settled + 1) % (WINDOW_MAX + 1)] == 1)
        passthrough->settled++;
}

static void acknowledge(struct passthrough *passthrough)
{
    uint64_t tag = passthrough->settled / passthrough->out_count;
    bool all = passthrough->settled == passthrough->sent;

    if (tag == passthrough->acknowledged) return;
    if (!all && tag - passthrough->acknowledged < passthrough->ack_every) return;
    bench_check(consumer_ack(passthrough->consumer, tag, true, &err), &err);
    passthrough->acknowledged = tag;
}

/* Once round: what has come is sent, what is confirmed is acknowledged. */
static void turn(struct passthrough *passthrough, uint64_t left, struct arena *arena)
{
    static struct delivery deliveries[BENCH_FETCH_MAX];
    uint32_t room = publisher_room(passthrough->publisher) / passthrough->out_count, got = 0;
    bool busy = passthrough->settled < passthrough->sent;

    if (room > BENCH_FETCH_MAX) room = BENCH_FETCH_MAX;
    if (room > left) room = (uint32_t)left;
    arena_reset(arena);
    if (room > 0)
        bench_check(consumer_fetch(passthrough->consumer, busy ? 0 : IDLE_WAIT_MS, deliveries, room,
                                   arena, &got, &err),
                    &err);
    for (uint32_t i = 0; i < got; i++) send_out(passthrough, &deliveries[i]);
    take_confirms(passthrough, got == 0 && busy ? 1 : 0);
    acknowledge(passthrough);
}

static void open_all(struct passthrough *passthrough, const struct names *names)
{
    const char *url = bench_env("LEDGER_AMQP_URL", NULL);
    uint16_t prefetch = (uint16_t)bench_number(bench_env("BENCH_PREFETCH", "500"));
    struct consumer_options in = {.url = url,
                                  .name = "bench passthrough in",
                                  .heartbeat_s = BENCH_HEARTBEAT_S,
                                  .timeout_ms = BENCH_TIMEOUT_MS,
                                  .body_max = BENCH_BODY_MAX};
    struct publisher_options out = {.url = url,
                                    .name = "bench passthrough out",
                                    .heartbeat_s = BENCH_HEARTBEAT_S,
                                    .timeout_ms = BENCH_TIMEOUT_MS,
                                    .window = bench_number(bench_env("BENCH_WINDOW", "4095"))};

    passthrough->ack_every = bench_number(bench_env("BENCH_ACK_EVERY", "1"));
    bench_check(out.window <= WINDOW_MAX || err_set(&err, ERR_FATAL, "too large a window"), &err);
    bench_check(publisher_open(&passthrough->publisher, &out, &err) &&
                    consumer_open(&passthrough->consumer, &in, &err),
                &err);
    printf("started_us=%" PRId64 "\n", clock_wall_us());
    (void)fflush(stdout);
    for (uint32_t i = 0; i < names->shards; i++)
        bench_check(consumer_subscribe(passthrough->consumer, names->shard[i], i, prefetch, &err),
                    &err);
}

static void read_out(struct passthrough *passthrough, const struct names *names, int argc,
                     char **argv, struct arena *samples)
{
    bench_check((argc >= 3 && argc <= 2 + OUT_MAX) ||
                    err_set(&err, ERR_FATAL, "passthrough N|forward event=SAMPLE... reply=SAMPLE"),
                &err);
    passthrough->out_count = (uint32_t)argc - 2;
    for (uint32_t i = 0; i < passthrough->out_count; i++) {
        struct message *message = &passthrough->out[i];
        bool is_event = strncmp(argv[2 + i], "event=", 6) == 0;
        bench_check(is_event || strncmp(argv[2 + i], "reply=", 6) == 0 ||
                        err_set(&err, ERR_FATAL, "event=SAMPLE or reply=SAMPLE"),
                    &err);
        message->exchange = text_of(is_event ? names->events : "");
        message->routing_key = text_of(is_event ? "transaction.created" : BENCH_REPLIES);
        sample_read(argv[2 + i] + 6, samples, &message->properties, &message->body);
    }
}

int main(int argc, char **argv)
{
    static struct passthrough passthrough;
    struct arena samples, arena;
    struct names names;

    bench_names(&names);
    bench_check(stop_install(&err) && arena_open(&samples, 8 * BENCH_BODY_MAX, &err) &&
                    arena_open(&arena, BENCH_ARENA_SIZE, &err),
                &err);
    read_out(&passthrough, &names, argc, argv, &samples);
    passthrough.forward = strcmp(argv[1], "forward") == 0;
    uint64_t count = passthrough.forward ? UINT64_MAX : bench_number(argv[1]);
    open_all(&passthrough, &names);
    while (passthrough.acknowledged < count && !stop_requested())
        turn(&passthrough, count - passthrough.sent / passthrough.out_count, &arena);
    clock_sleep_ms(BENCH_SETTLE_MS);
    consumer_close(passthrough.consumer);
    publisher_close(passthrough.publisher);
    arena_close(&arena);
    arena_close(&samples);
    return EXIT_SUCCESS;
}
