/*
 * rpc.c - one caller that waits for each reply: deposits by the client library, to the ledger and
 * to the echo in turns, a block each, so that both see the same machine.
 *
 *   rpc N       prints quantiles in microseconds of N calls each, after a block that does not count
 */
#include "base/clock.h"
#include "client/ledger_client.h"
#include "tests/bench/bench.h"
#include "tests/bench/commands.h"
#include "tests/bench/figures.h"

enum { BLOCK = 100, WAIT_MS = 10000, CALLS_MAX = 100000 };

static struct err err;

struct callee {
    const char *prefix;
    struct ledger_client *client;
    struct figures *figures;
};

static void call_once(struct callee *callee, const struct shape *shape, uint32_t n)
{
    char account[ACCOUNT_SIZE], key[KEY_SIZE];
    struct reply reply;

    shape_account(n % 1000, account);
    shape_key(shape, n, key);
    struct ledger_call call = {.command = {.type = COMMAND_DEPOSIT,
                                           .account = text_of(account),
                                           .amount = {.value = 1 + n % 97}},
                               .idempotency_key = text_of(key)};
    uint64_t started_us = clock_monotonic_us();
    bench_check(ledger_client_call(callee->client, &call, WAIT_MS, &reply, &err), &err);
    figures_add(callee->figures, clock_monotonic_us() - started_us);
    bench_check(
        reply.result == RESULT_APPLIED ||
            err_set(&err, ERR_FATAL, "a deposit was refused: %s", result_word(reply.result)),
        &err);
}

int main(int argc, char **argv)
{
    static struct callee callees[] = {{.prefix = "ledger"}, {.prefix = "echo"}};
    uint32_t total = argc == 2 ? bench_number(argv[1]) : 2000, n = 0, done = 0;
    struct shape shape;
    char prefix[16];

    bench_check(total <= CALLS_MAX - BLOCK || err_set(&err, ERR_FATAL, "too many calls"), &err);
    bench_check(shape_read(&shape, 0, NULL), &err);
    for (uint32_t i = 0; i < 2; i++) {
        struct ledger_client_options options = {.url = bench_env("LEDGER_AMQP_URL", NULL),
                                                .prefix = callees[i].prefix,
                                                .app_id = "bench"};
        figures_open(&callees[i].figures, total + BLOCK);
        bench_check(ledger_client_open(&callees[i].client, &options, &err), &err);
        for (uint32_t warm = 0; warm < BLOCK; warm++) call_once(&callees[i], &shape, n++);
        figures_clear(callees[i].figures);
    }
    for (; done < total; done += BLOCK)
        for (uint32_t i = 0; i < 2; i++)
            for (uint32_t k = 0; k < BLOCK; k++) call_once(&callees[i], &shape, n++);
    printf("calls=%u\n", BLOCK + done);
    for (uint32_t i = 0; i < 2; i++) {
        (void)snprintf(prefix, sizeof prefix, "%s_", callees[i].prefix);
        figures_print(callees[i].figures, prefix);
        ledger_client_close(callees[i].client);
        figures_close(callees[i].figures);
    }
    return EXIT_SUCCESS;
}
