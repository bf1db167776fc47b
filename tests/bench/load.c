/*
 * load.c - makes load and waits for what becomes of it.
 *
 *   load topology             the ledger's exchanges and queues, and quorum queues for its events
 * and replies load open N               opens N accounts and puts money into each: 2 N commands
 *   load publish N [--reply]  N deposits and withdrawals, persistent and confirmed, a window of
 * 1000
 *   load batch N SIZE         the same, SIZE of them in a message
 *   load wait N QUEUE...      takes N messages from each queue, or messages that tell of N; prints
 * when, and keeps the last one of each
 *
 * LEDGER_PREFIX chooses the ledger (or what stands in for it), BENCH_ACCOUNTS how many accounts are
 * used, BENCH_SAMPLES the folder for the samples that passthrough.c sends again.
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/publisher_amqp.h"
#include "base/topology_amqp.h"
#include "protocol/command.h"
#include "protocol/event_list.h"
#include "protocol/pack.h"
#include "protocol/properties.h"
#include "tests/bench/bench.h"

#include <inttypes.h>
#include <string.h>

enum {
    WINDOW = 1000,
    QUEUES_MAX = 4,
    PREFETCH = 2000,
    IDLE_MAX_MS = 60000, /* nothing for that long: something is wrong */
    FIRST_BALANCE = 1000000,
};

static struct err err;
static struct arena arena;
static struct names names;

/* --- topology ---------------------------------------------------------------------------- */

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

/* --- publishing -------------------------------------------------------------------------- */

struct load {
    struct publisher *publisher;
    struct codec *codec;
    uint64_t run; /* makes the keys of this run its own */
    uint32_t accounts;
    bool reply;
};

/* The n-th command: in the first pass over the accounts of `open` one opens and one fills each. */
static void command_make(const struct load *load, bool opening, uint32_t n, char *account,
                         size_t account_size, struct command *out)
{
    uint32_t number = opening ? n / 2 : (uint32_t)((uint64_t)n * 7919 % load->accounts);

    (void)snprintf(account, account_size, "bench-%06u", number);
    *out = (struct command){.type = n % 2 == 0 ? COMMAND_DEPOSIT : COMMAND_WITHDRAW,
                            .account = text_of(account),
                            .amount = {.value = 1 + n % 97}};
    if (opening && n % 2 == 0) {
        out->type = COMMAND_OPEN_ACCOUNT;
        out->user_id = text_of("bench-user");
        out->asset = text_of("EUR");
        out->amount.value = 0;
    } else if (opening) {
        out->type = COMMAND_DEPOSIT;
        out->amount.value = FIRST_BALANCE;
    }
}

static void send(const struct load *load, const char *key, struct text routing_key,
                 const struct command *command)
{
    struct message message = {.exchange = text_of(names.commands), .mandatory = true};
    uint64_t sequence;

    struct properties_out properties = {
        .content_type = text_of(encoding_content_type(ENCODING_MSGPACK)),
        .type = text_of(command_word(command->type)),
        .message_id = text_of(key),
        .correlation_id = load->reply ? text_of(key) : (struct text){0},
        .reply_to = load->reply ? text_of(BENCH_REPLIES) : (struct text){0},
        .app_id = text_of("bench")};
    message.routing_key = routing_key;
    arena_reset(&arena);
    bench_check((properties_write(&properties, &arena, &message.properties) &&
                 command_encode(load->codec, command, ENCODING_MSGPACK, &arena, &message.body)) ||
                    err_set(&err, ERR_FATAL, "could not make a command"),
                &err);
    bench_check(publisher_send(load->publisher, &message, &sequence, &err), &err);
}

static void command_send(const struct load *load, bool opening, uint32_t n)
{
    char account[ID_LENGTH_MAX + 1], key[64];
    struct command command;

    command_make(load, opening, n, account, sizeof account, &command);
    (void)snprintf(key, sizeof key, "%016" PRIx64 "-%08u", load->run, n);
    send(load, key, command.account, &command);
}

/* `size` commands in one message, each with the key that it would have alone. */
static void batch_send(const struct load *load, uint32_t first, uint32_t size)
{
    static uint8_t memory[BODY_SIZE_MAX];
    struct writer writer = writer_over(memory, sizeof memory);
    struct command batch = {.type = COMMAND_BATCH, .legs_count = size};
    char account[ID_LENGTH_MAX + 1], key[64];
    struct command command;

    pack_array_value(&writer, size);
    for (uint32_t n = first; n < first + size; n++) {
        struct pack_map map = pack_map_open(&writer, 4);
        command_make(load, false, n, account, sizeof account, &command);
        (void)snprintf(key, sizeof key, "%016" PRIx64 "-%08u", load->run, n);
        pack_text(&map, "type", text_of(command_word(command.type)));
        pack_text(&map, "idempotency_key", text_of(key));
        pack_text(&map, "account", command.account);
        pack_int(&map, "amount", command.amount.value);
        pack_map_close(&map);
    }
    batch.legs = (struct bytes){memory, (uint32_t)writer.size};
    (void)snprintf(key, sizeof key, "%016" PRIx64 "-%08u-b", load->run, first);
    send(load, key, text_of(key), &batch);
}

static void publish(uint32_t count, bool opening, bool reply, uint32_t batch_size)
{
    static struct confirm confirms[WINDOW];
    struct publisher_options options = {.url = bench_env("LEDGER_AMQP_URL", NULL),
                                        .name = "bench load",
                                        .heartbeat_s = BENCH_HEARTBEAT_S,
                                        .timeout_ms = BENCH_TIMEOUT_MS,
                                        .window = WINDOW};
    struct load load = {.accounts = bench_number(bench_env("BENCH_ACCOUNTS", "10000")),
                        .reply = reply};
    uint64_t started_us = clock_monotonic_us();
    uint32_t sent = 0, confirmed = 0, got;

    random_bytes(&load.run, sizeof load.run);
    bench_check(codec_open(&load.codec, &err), &err);
    bench_check(publisher_open(&load.publisher, &options, &err), &err);
    uint32_t messages = batch_size > 0 ? count / batch_size : count;
    while (confirmed < messages) {
        for (; sent < messages && publisher_room(load.publisher) > 0; sent++)
            if (batch_size > 0)
                batch_send(&load, sent * batch_size, batch_size);
            else
                command_send(&load, opening, sent);
        bench_check(publisher_poll(load.publisher, 1000, confirms, WINDOW, &got, &err), &err);
        for (uint32_t i = 0; i < got; i++)
            bench_check(confirms[i].result == CONFIRM_ACK ||
                            err_set(&err, ERR_FATAL, "the broker refused a command"),
                        &err);
        confirmed += got;
    }
    printf("published=%u seconds=%.6f\n", count, (double)(clock_monotonic_us() - started_us) / 1e6);
    publisher_close(load.publisher);
    codec_close(load.codec);
}

/* --- waiting ----------------------------------------------------------------------------- */

static void sample_keep(const char *queue, const struct delivery *delivery)
{
    const char *folder = getenv("BENCH_SAMPLES");
    char path[512];
    FILE *file;

    if (folder == NULL) return;
    (void)snprintf(path, sizeof path, "%s/%s", folder, queue);
    file = fopen(path, "wb");
    bench_check(file != NULL || err_set(&err, ERR_FATAL, "could not write %s", path), &err);
    bool ok = fwrite(&delivery->properties.size, sizeof(uint32_t), 1, file) == 1 &&
              fwrite(delivery->properties.data, delivery->properties.size, 1, file) == 1 &&
              fwrite(&delivery->body.size, sizeof(uint32_t), 1, file) == 1 &&
              fwrite(delivery->body.data, delivery->body.size, 1, file) == 1;
    bench_check((fclose(file) == 0 && ok) || err_set(&err, ERR_FATAL, "could not write %s", path),
                &err);
}

struct waiting {
    struct consumer *consumer;
    struct codec *codec;
    char **queues;
    uint32_t left[QUEUES_MAX], total;
    uint64_t heard_ms;
    int64_t first_us, last_us;
};

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
        bench_check(waiting->left[delivery->queue] >= commands ||
                        err_set(&err, ERR_FATAL, "one message too many in %s",
                                waiting->queues[delivery->queue]),
                    &err);
        counted += commands;
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

static void wait_for(uint32_t count, char **queues, uint32_t queues_count)
{
    struct consumer_options options = {.url = bench_env("LEDGER_AMQP_URL", NULL),
                                       .name = "bench wait",
                                       .heartbeat_s = BENCH_HEARTBEAT_S,
                                       .timeout_ms = BENCH_TIMEOUT_MS,
                                       .body_max = BENCH_BODY_MAX};
    struct waiting waiting = {
        .queues = queues, .total = count * queues_count, .heard_ms = clock_monotonic_ms()};

    bench_check(codec_open(&waiting.codec, &err), &err);
    bench_check(consumer_open(&waiting.consumer, &options, &err), &err);
    for (uint32_t i = 0; i < queues_count; i++) {
        waiting.left[i] = count;
        bench_check(consumer_subscribe(waiting.consumer, queues[i], i, PREFETCH, &err), &err);
    }
    while (waiting.total > 0) {
        waiting.total -= take(&waiting, 100);
        bench_check(clock_monotonic_ms() - waiting.heard_ms < IDLE_MAX_MS ||
                        err_set(&err, ERR_FATAL, "%u of the messages did not come", waiting.total),
                    &err);
    }
    /* Nothing more may come. */
    (void)take(&waiting, BENCH_SETTLE_MS);
    printf("first_us=%" PRId64 " last_us=%" PRId64 " seconds=%.6f\n", waiting.first_us,
           waiting.last_us, (double)(waiting.last_us - waiting.first_us) / 1e6);
    consumer_close(waiting.consumer);
    codec_close(waiting.codec);
}

int main(int argc, char **argv)
{
    bench_names(&names);
    bench_check(arena_open(&arena, BENCH_ARENA_SIZE, &err), &err);
    if (argc == 2 && strcmp(argv[1], "topology") == 0)
        topology();
    else if (argc == 3 && strcmp(argv[1], "open") == 0)
        publish(2 * bench_number(argv[2]), true, false, 0);
    else if (argc >= 3 && strcmp(argv[1], "publish") == 0)
        publish(bench_number(argv[2]), false, argc == 4 && strcmp(argv[3], "--reply") == 0, 0);
    else if (argc == 4 && strcmp(argv[1], "batch") == 0)
        publish(bench_number(argv[2]), false, false, bench_number(argv[3]));
    else if (argc > 3 && argc <= 3 + QUEUES_MAX && strcmp(argv[1], "wait") == 0)
        wait_for(bench_number(argv[2]), argv + 3, (uint32_t)argc - 3);
    else
        bench_check(
            err_set(
                &err, ERR_FATAL,
                "load topology | open N | publish N [--reply] | batch N SIZE | wait N QUEUE..."),
            &err);
    arena_close(&arena);
    return EXIT_SUCCESS;
}
