/*
 * rpc.c - one caller that waits for each reply: deposits by the client library, to the ledger and
 * to the echo in turns, a block each, so that both see the same machine.
 *
 *   rpc N       prints p50, p95 and p99 in microseconds of N calls each, after a block that does
 * not count
 */
#include "base/clock.h"
#include "client/ledger_client.h"
#include "tests/bench/bench.h"

#include <inttypes.h>

enum { BLOCK = 100, WAIT_MS = 10000, CALLS_MAX = 100000 };

static struct err err;

struct callee {
    const char *prefix;
    struct ledger_client *client;
    uint32_t calls;
    uint64_t took_us[CALLS_MAX];
};

static void call_once(struct callee *callee, uint64_t run, uint32_t n)
{
    char account[ID_LENGTH_MAX + 1], key[64];
    uint64_t started_us;
    struct reply reply;

    (void)snprintf(account, sizeof account, "bench-%06u", n % 1000);
    (void)snprintf(key, sizeof key, "%016" PRIx64 "-%08u", run, n);
    struct ledger_call call = {.command = {.type = COMMAND_DEPOSIT,
                                           .account = text_of(account),
                                           .amount = {.value = 1 + n % 97}},
                               .idempotency_key = text_of(key)};
    started_us = clock_monotonic_us();
    bench_check(ledger_client_call(callee->client, &call, WAIT_MS, &reply, &err), &err);
    callee->took_us[callee->calls++] = clock_monotonic_us() - started_us;
    bench_check(
        reply.result == RESULT_APPLIED ||
            err_set(&err, ERR_FATAL, "a deposit was refused: %s", result_word(reply.result)),
        &err);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void print(struct callee *callee)
{
    uint64_t *took_us = callee->took_us;
    uint32_t count = callee->calls;

    qsort(took_us, count, sizeof *took_us, compare);
    printf("%s_p50=%" PRIu64 " %s_p95=%" PRIu64 " %s_p99=%" PRIu64 "\n", callee->prefix,
           took_us[count / 2], callee->prefix, took_us[(uint64_t)count * 95 / 100], callee->prefix,
           took_us[(uint64_t)count * 99 / 100]);
}

int main(int argc, char **argv)
{
    static struct callee callees[] = {{.prefix = "ledger"}, {.prefix = "echo"}};
    uint32_t total = argc == 2 ? bench_number(argv[1]) : 2000, n = 0;
    uint64_t run;

    bench_check(total <= CALLS_MAX - BLOCK || err_set(&err, ERR_FATAL, "too many calls"), &err);
    random_bytes(&run, sizeof run);
    for (uint32_t i = 0; i < 2; i++) {
        struct ledger_client_options options = {.url = bench_env("LEDGER_AMQP_URL", NULL),
                                                .prefix = callees[i].prefix,
                                                .app_id = "bench"};
        bench_check(ledger_client_open(&callees[i].client, &options, &err), &err);
        for (uint32_t warm = 0; warm < BLOCK; warm++) call_once(&callees[i], run, n++);
        callees[i].calls = 0;
    }
    while (callees[1].calls < total)
        for (uint32_t i = 0; i < 2; i++)
            for (uint32_t k = 0; k < BLOCK; k++) call_once(&callees[i], run, n++);
    printf("calls=%u\n", BLOCK + callees[0].calls);
    for (uint32_t i = 0; i < 2; i++) {
        print(&callees[i]);
        ledger_client_close(callees[i].client);
    }
    return EXIT_SUCCESS;
}
