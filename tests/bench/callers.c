/*
 * callers.c - many callers at once, each with a connection of its own by the client library, each
 * waiting for its reply: but each call has its time, and is measured from then, so that a slow
 * answer is not made good by the calls that it held up.
 *
 *   callers COUNT RATE SECONDS     RATE: calls a second of all together; prints the rate, and
 *                                  quantiles in microseconds after the first second
 */
#include "base/clock.h"
#include "client/ledger_client.h"
#include "tests/bench/bench.h"
#include "tests/bench/commands.h"
#include "tests/bench/figures.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

enum { CALLERS_MAX = 256, WAIT_MS = 20000, WARM_UP_US = 1000000, LEAD_US = 50000 };

struct load {
    uint32_t callers, rate, seconds;
    struct shape shape;
    uint64_t started_us;
    pthread_barrier_t ready;
};

struct caller {
    struct load *load;
    uint32_t number;
    struct figures *figures;
    pthread_t thread;
    uint64_t last_us;
};

static void call(struct ledger_client *client, const struct shape *shape, uint32_t number)
{
    char first[ACCOUNT_SIZE], second[ACCOUNT_SIZE], key[KEY_SIZE];
    struct ledger_call made = {0};
    struct reply reply;
    struct err err;

    shape_command(shape, number, first, second, &made.command);
    shape_key(shape, number, key);
    made.idempotency_key = text_of(key);
    bench_check(ledger_client_call(client, &made, WAIT_MS, &reply, &err), &err);
    bench_check(
        reply.result == RESULT_APPLIED ||
            err_set(&err, ERR_FATAL, "a command was refused: %s", result_word(reply.result)),
        &err);
}

static void *caller_run(void *argument)
{
    struct caller *caller = argument;
    struct load *load = caller->load;
    struct ledger_client_options options = {.url = bench_env("LEDGER_AMQP_URL", NULL),
                                            .prefix = bench_env("LEDGER_PREFIX", "ledger"),
                                            .app_id = "bench"};
    uint32_t calls = load->rate * load->seconds / load->callers;
    struct ledger_client *client;
    struct err err;

    bench_check(ledger_client_open(&client, &options, &err), &err);
    /* The first call opens the connection. */
    call(client, &load->shape, caller->number + load->callers * calls);
    (void)pthread_barrier_wait(&load->ready);
    (void)pthread_barrier_wait(&load->ready); /* started_us is set between the two */
    for (uint32_t i = 0; i < calls; i++) {
        uint64_t turn = (uint64_t)i * load->callers + caller->number;
        uint64_t due = load->started_us + turn * 1000000 / load->rate, now = clock_monotonic_us();
        if (due > now) clock_sleep_us((uint32_t)(due - now));
        call(client, &load->shape, (uint32_t)turn);
        caller->last_us = clock_monotonic_us();
        if (due >= load->started_us + WARM_UP_US)
            figures_add(caller->figures, caller->last_us - due);
    }
    ledger_client_close(client);
    return NULL;
}

static void run(struct load *load)
{
    static struct caller callers[CALLERS_MAX];
    uint32_t each = load->rate * load->seconds / load->callers;
    struct figures *all;
    uint64_t last_us = 0;
    struct err err;

    figures_open(&all, each * load->callers);
    for (uint32_t i = 0; i < load->callers; i++) {
        callers[i] = (struct caller){.load = load, .number = i};
        figures_open(&callers[i].figures, each);
        bench_check(pthread_create(&callers[i].thread, NULL, caller_run, &callers[i]) == 0 ||
                        err_set(&err, ERR_FATAL, "could not start a thread"),
                    &err);
    }
    (void)pthread_barrier_wait(&load->ready);
    load->started_us = clock_monotonic_us() + LEAD_US;
    (void)pthread_barrier_wait(&load->ready);
    for (uint32_t i = 0; i < load->callers; i++) {
        (void)pthread_join(callers[i].thread, NULL);
        if (callers[i].last_us > last_us) last_us = callers[i].last_us;
        figures_join(all, callers[i].figures);
        figures_close(callers[i].figures);
    }
    printf("calls=%u rate=%.0f\n", each * load->callers,
           (double)each * load->callers * 1e6 / (double)(last_us - load->started_us));
    figures_print(all, "");
    figures_close(all);
}

int main(int argc, char **argv)
{
    static struct load load;
    struct err err;

    bench_check((argc >= 4 && shape_read(&load.shape, argc - 4, argv + 4)) ||
                    err_set(&err, ERR_FATAL, "callers COUNT RATE SECONDS"),
                &err);
    load.callers = bench_number(argv[1]);
    load.rate = bench_number(argv[2]);
    load.seconds = bench_number(argv[3]);
    bench_check((load.callers <= CALLERS_MAX && load.seconds > 1 && load.seconds < 600 &&
                 load.rate < 1000000) ||
                    err_set(&err, ERR_FATAL, "at most %d callers, 2 to 599 seconds", CALLERS_MAX),
                &err);
    bench_check(pthread_barrier_init(&load.ready, NULL, load.callers + 1) == 0 ||
                    err_set(&err, ERR_FATAL, "could not make a barrier"),
                &err);
    run(&load);
    (void)pthread_barrier_destroy(&load.ready);
    return EXIT_SUCCESS;
}
