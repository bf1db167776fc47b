/*
 * load.c - prepares the broker and fills it.
 *
 *   load topology             the ledger's exchanges and queues, and quorum queues for its events
 *                             and replies
 *   load open N               opens N accounts and puts money into each: 2 N commands
 *   load publish N [SHAPE]    N commands, persistent and confirmed, a window of 1000; prints how
 *                             many keys they have
 *   load batch N SIZE [SHAPE] the same, SIZE of them in a message
 *   load resend N SAMPLE      N times the event in a file that wait.c kept: what a relay sends
 *
 * SHAPE: --reply, --spread uniform|hot|zipf, --repeats PERCENT, --transfers (see commands.h).
 * LEDGER_PREFIX chooses the ledger (or what stands in for it), BENCH_ACCOUNTS how many accounts are
 * used.
 */
#include "base/clock.h"
#include "base/topology_amqp.h"
#include "tests/bench/bench.h"
#include "tests/bench/commands.h"
#include "tests/bench/samples.h"

#include <string.h>

enum { WINDOW = 1000, RESEND_WINDOW = 4095 };

static struct err err;
static struct names names;

static void topology(void)
{
    static struct names_topology own;
    struct topology_queue queues[2] = {0};
    struct topology_binding binding = {.key = "#"};
    struct topology results = {
        .queues = queues, .queues_count = 2, .bindings = &binding, .bindings_count = 1};
    const char *url = bench_env("LEDGER_AMQP_URL", NULL);

    names_topology(&names, &own);
    bench_check(topology_apply(url, &own.topology, TOPOLOGY_DECLARE, &err), &err);
    (void)snprintf(queues[0].name, sizeof queues[0].name, "bench.%.64s", names.events);
    (void)snprintf(queues[1].name, sizeof queues[1].name, "%s", BENCH_REPLIES);
    for (uint32_t i = 0; i < 2; i++) {
        queues[i].arguments[0] =
            (struct topology_argument){.name = "x-queue-type", .text = "quorum"};
        queues[i].arguments_count = 1;
    }
    (void)snprintf(binding.source, sizeof binding.source, "%s", names.events);
    (void)snprintf(binding.destination, sizeof binding.destination, "%s", queues[0].name);
    bench_check(topology_apply(url, &results, TOPOLOGY_DECLARE, &err), &err);
}

enum task { TASK_OPEN, TASK_PUBLISH, TASK_BATCH, TASK_RESEND };
struct load {
    enum task task;
    uint32_t count, size; /* messages, commands in one */
    struct shape shape;
    struct message sample;
};

static void send_one(const struct load *load, struct outlet *outlet, uint32_t number)
{
    switch (load->task) {
    case TASK_OPEN:
        outlet_send_opening(outlet, &load->shape, number);
        break;
    case TASK_PUBLISH:
        outlet_send(outlet, &load->shape, number);
        break;
    case TASK_BATCH:
        outlet_send_batch(outlet, &load->shape, number * load->size, load->size);
        break;
    case TASK_RESEND:
        outlet_send_message(outlet, &load->sample);
        break;
    }
}

static void run(const struct load *load)
{
    struct outlet *outlet;
    uint32_t sent = 0, confirmed = 0, unique = 0;

    outlet_open(&outlet, &names, load->task == TASK_RESEND ? RESEND_WINDOW : WINDOW);
    int64_t started_us = clock_wall_us();
    while (confirmed < load->count) {
        for (; sent < load->count && outlet_room(outlet) > 0; sent++) send_one(load, outlet, sent);
        confirmed += outlet_confirmed(outlet, 1000);
    }
    int64_t ended_us = clock_wall_us();
    if (load->task == TASK_PUBLISH)
        for (uint32_t n = 0; n < load->count; n++)
            unique += shape_original(&load->shape, n) == n ? 1 : 0;
    printf("published=%u unique=%u started_us=%lld seconds=%.6f\n", load->count, unique,
           (long long)started_us, (double)(ended_us - started_us) / 1e6);
    outlet_close(outlet);
}

static bool load_read(struct load *load, int argc, char **argv, struct arena *arena)
{
    static const char *const tasks[] = {"open", "publish", "batch", "resend"};
    uint32_t task = 0;
    int taken = 3;

    if (argc < 3) return false;
    while (task < 4 && strcmp(argv[1], tasks[task]) != 0) task++;
    if (task == 4) return false;
    load->task = (enum task)task;
    load->count = bench_number(argv[2]) * (load->task == TASK_OPEN ? 2 : 1);
    if (load->task == TASK_BATCH || load->task == TASK_RESEND) {
        if (argc < 4) return false;
        taken = 4;
    }
    if (load->task == TASK_BATCH) {
        load->size = bench_number(argv[3]);
        load->count /= load->size;
    }
    if (load->task == TASK_RESEND) {
        load->sample.exchange = text_of(names.events);
        load->sample.routing_key = text_of("transaction.created");
        sample_read(argv[3], arena, &load->sample.properties, &load->sample.body);
    }
    return shape_read(&load->shape, argc - taken, argv + taken);
}

int main(int argc, char **argv)
{
    static struct load load;
    struct arena arena;

    bench_names(&names);
    bench_check(arena_open(&arena, 2 * BENCH_BODY_MAX + 64, &err), &err);
    if (argc == 2 && strcmp(argv[1], "topology") == 0) {
        topology();
    } else {
        bench_check(load_read(&load, argc, argv, &arena) ||
                        err_set(&err, ERR_FATAL,
                                "load topology | open N | publish N [SHAPE] | batch N SIZE [SHAPE] "
                                "| resend N SAMPLE"),
                    &err);
        run(&load);
    }
    arena_close(&arena);
    return EXIT_SUCCESS;
}
