/*
 * demo.c - ledger-demo: the main job on one screen. Calls the ledger as a service would, listens to
 * its events, and shows both. On a terminal a live screen, else plain lines. Ends at Ctrl-C, or
 * after DEMO_SECONDS.
 */
#include "base/clock.h"
#include "base/config.h"
#include "base/consumer_amqp.h"
#include "base/stop.h"
#include "base/topology_amqp.h"
#include "client/ledger_client.h"
#include "protocol/checkpoint.h"
#include "protocol/event_list.h"
#include "protocol/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    PEOPLE = 6,
    LINES = 8,
    LINE_SIZE = 160,
    EVENTS_MAX = 256,
    BURST = 20,
    TICK_MS = 40,
    DRAW_MS = 250,
    CALL_WAIT_MS = 5000,
    LATENCIES = 200,
    EVENT_ARENA = 8 << 20,
};

static const char *const PEOPLE_NAMES[PEOPLE] = {"alice", "bob", "carol", "dave", "erin", "frank"};

struct demo {
    struct ledger_client *client;
    struct consumer *consumer;
    struct codec *codec;
    struct arena arena;
    struct names names;
    char queue[TOPOLOGY_NAME_SIZE];
    bool screen;
    uint64_t started_ms, drawn_ms;
    uint64_t commands, applied, refused, repeated, events;
    uint64_t commands_drawn, events_drawn; /* at the last drawing, for the rates */
    uint32_t latencies_us[LATENCIES], latencies_count;
    char replies[LINES][LINE_SIZE], told[LINES][LINE_SIZE]; /* newest last */
    struct balance_shown {
        char account[ID_LENGTH_MAX + 1], asset[ASSET_LENGTH_MAX + 1];
        int64_t balance, seq;
    } balances[PEOPLE];
    char last_key[UUID_TEXT_SIZE];
    struct ledger_call last_call;
};

static struct {
    char amqp_url[512], prefix[33];
    uint32_t seconds;
} values;

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_AMQP_URL", SETTING_TEXT, values.amqp_url, sizeof values.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ"},
    {"LEDGER_PREFIX", SETTING_TEXT, values.prefix, sizeof values.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
    {"DEMO_SECONDS", SETTING_NUMBER, &values.seconds, 0, "0",
     0, 86400, NULL, false, "ends by itself after that long; 0: at Ctrl-C"},
};
/* clang-format on */
enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

static uint32_t dice(uint32_t sides)
{
    uint32_t thrown;

    random_bytes(&thrown, sizeof thrown);
    return thrown % sides;
}

static void push_line(struct demo *demo, char lines[LINES][LINE_SIZE], const char *line)
{
    if (!demo->screen) printf("%s\n", line);
    memmove(lines[0], lines[1], (LINES - 1) * LINE_SIZE);
    (void)snprintf(lines[LINES - 1], LINE_SIZE, "%s", line);
}

static void clock_text(char text[static 9])
{
    char full[TIME_TEXT_SIZE];

    time_format(clock_wall_us(), full);
    memcpy(text, full + 11, 8);
    text[8] = '\0';
}

/* --- events ------------------------------------------------------------------------------ */

static void show_event(struct demo *demo, const struct event *event)
{
    char line[LINE_SIZE], amount[AMOUNT_TEXT_SIZE], balance[AMOUNT_TEXT_SIZE], now[9];

    clock_text(now);
    amount_format(event->amount, 2, amount);
    amount_format(event->new_balance, 2, balance);
    if (event->type == EVENT_TRANSACTION_CREATED)
        (void)snprintf(
            line, sizeof line, "%s event  %-20s %-7.*s %s%-10s %.*s  balance %-11s seq %" PRId64,
            now, event_word(event->type), TEXT_ARGS(event->account), event->is_credit ? "+" : "-",
            amount, TEXT_ARGS(event->asset), balance, event->seq);
    else
        (void)snprintf(line, sizeof line, "%s event  %-20s %-7.*s %s", now, event_word(event->type),
                       TEXT_ARGS(event->account), result_word(event->result));
    push_line(demo, demo->told, line);
    for (uint32_t i = 0; i < PEOPLE; i++) {
        struct balance_shown *shown = &demo->balances[i];
        if (!event->has_balance || !text_equal(event->account, text_of(PEOPLE_NAMES[i]))) continue;
        if (!text_copy(event->account, shown->account, sizeof shown->account) ||
            !text_copy(event->asset, shown->asset, sizeof shown->asset))
            continue;
        shown->balance = event->new_balance;
        shown->seq = event->seq;
    }
}

static bool take_events(struct demo *demo, uint32_t wait_ms, struct err *err)
{
    static struct delivery deliveries[EVENTS_MAX];
    uint32_t count = 0;

    arena_reset(&demo->arena);
    if (!consumer_fetch(demo->consumer, wait_ms, deliveries, EVENTS_MAX, &demo->arena, &count, err))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct event_list list;
        char problem[PROBLEM_SIZE];
        if (text_equal(deliveries[i].routing_key, text_of(CHECKPOINT_EVENT))) continue;
        if (!event_list_decode(demo->codec, deliveries[i].body, ENCODING_MSGPACK, &demo->arena,
                               &list, problem))
            return err_set(err, ERR_FATAL, "could not read an event: %s", problem);
        demo->events += list.count;
        for (uint32_t at = 0; at < list.count && i + 4 >= count; at++) /* a screen is small */
            show_event(demo, &list.events[at]);
    }
    return count == 0 || consumer_ack(demo->consumer, deliveries[count - 1].tag, true, err);
}

/* --- commands ---------------------------------------------------------------------------- */

static void new_key(char key[static UUID_TEXT_SIZE])
{
    uint8_t random[UUID_RANDOM_SIZE];

    random_bytes(random, sizeof random);
    struct uuid made = uuid_v7((uint64_t)clock_wall_us() / 1000, random);
    uuid_format(&made, key);
}

static struct command random_command(void)
{
    uint32_t who = dice(PEOPLE), kind = dice(10);
    struct command command = {.account = text_of(PEOPLE_NAMES[who]),
                              .amount = {.value = 1 + dice(5000)}};

    command.type = kind < 4 ? COMMAND_DEPOSIT : kind < 7 ? COMMAND_WITHDRAW : COMMAND_TRANSFER;
    if (command.type == COMMAND_WITHDRAW) command.amount.value *= 2; /* some are refused */
    if (command.type != COMMAND_TRANSFER) return command;
    command.from = command.account;
    command.to = text_of(PEOPLE_NAMES[(who + 1 + dice(PEOPLE - 1)) % PEOPLE]);
    command.account = (struct text){0};
    return command;
}

static void show_reply(struct demo *demo, const struct ledger_call *call, const struct reply *reply,
                       uint64_t took_us)
{
    const struct command *command = &call->command;
    struct text account = command->type == COMMAND_TRANSFER ? command->from : command->account;
    char line[LINE_SIZE], amount[AMOUNT_TEXT_SIZE], trace[UUID_HEX_SIZE], now[9];

    clock_text(now);
    amount_format(command->amount.value, 2, amount);
    uuid_format_hex(&reply->trace_id, trace);
    (void)snprintf(line, sizeof line, "%s %-12s %-6.*s %-6.*s %10s -> %s %s%s  %.1f ms  trace %.8s",
                   now, command_word(command->type), TEXT_ARGS(account), TEXT_ARGS(command->to),
                   amount, status_word(result_status(reply->result)), result_word(reply->result),
                   reply->replayed ? "(replayed)" : "", (double)took_us / 1000, trace);
    push_line(demo, demo->replies, line);
}

static bool call_once(struct demo *demo, const struct ledger_call *call, struct err *err)
{
    struct reply reply = {0};
    uint64_t started_us = clock_monotonic_us();

    if (!ledger_client_call(demo->client, call, CALL_WAIT_MS, &reply, err)) return false;
    uint64_t took_us = clock_monotonic_us() - started_us;
    demo->latencies_us[demo->latencies_count++ % LATENCIES] = (uint32_t)took_us;
    demo->commands++;
    demo->applied += reply.result == RESULT_APPLIED && !reply.replayed;
    demo->refused += reply.result != RESULT_APPLIED;
    demo->repeated += reply.replayed;
    show_reply(demo, call, &reply, took_us);
    return true;
}

static bool open_accounts(struct demo *demo, struct err *err)
{
    for (uint32_t i = 0; i < PEOPLE; i++) {
        char key[UUID_TEXT_SIZE];
        struct ledger_call call = {.command = {.type = COMMAND_OPEN_ACCOUNT,
                                               .account = text_of(PEOPLE_NAMES[i]),
                                               .user_id = text_of(PEOPLE_NAMES[i]),
                                               .asset = TEXT_LITERAL("EUR")}};
        new_key(key);
        call.idempotency_key = text_of(key);
        if (!call_once(demo, &call, err)) return false;
    }
    return true;
}

/* One call that is waited for (now and then the last one again, under its key), and a burst that is
 * not. */
static bool send_some(struct demo *demo, struct err *err)
{
    static char keys[BURST][UUID_TEXT_SIZE];
    static struct ledger_call burst[BURST];

    if (demo->last_call.idempotency_key.length == 0 || dice(12) != 0) {
        new_key(demo->last_key);
        demo->last_call = (struct ledger_call){.command = random_command(),
                                               .idempotency_key = text_of(demo->last_key)};
    }
    if (!call_once(demo, &demo->last_call, err)) return false;
    for (uint32_t i = 0; i < BURST; i++) {
        new_key(keys[i]);
        burst[i] =
            (struct ledger_call){.command = random_command(), .idempotency_key = text_of(keys[i])};
    }
    demo->commands += BURST;
    return ledger_client_publish(demo->client, burst, BURST, err);
}

/* --- the screen -------------------------------------------------------------------------- */

static int compare_latency(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double median_ms(const struct demo *demo)
{
    uint32_t sorted[LATENCIES];
    uint32_t count = demo->latencies_count < LATENCIES ? demo->latencies_count : LATENCIES;

    if (count == 0) return 0;
    memcpy(sorted, demo->latencies_us, sizeof sorted);
    qsort(sorted, count, sizeof *sorted, compare_latency);
    uint32_t middle = count / 2;
    return (double)sorted[middle] / 1000;
}

static void draw(struct demo *demo)
{
    uint64_t now_ms = clock_monotonic_ms();
    double seconds = (double)(now_ms - demo->drawn_ms) / 1000;
    char balance[AMOUNT_TEXT_SIZE];

    if (now_ms - demo->drawn_ms < (demo->screen ? DRAW_MS : 1000)) return;
    if (demo->screen) printf("\033[H\033[J");
    printf("%scommands %" PRIu64 " (%.0f/s)  events %" PRIu64 " (%.0f/s)  called: %" PRIu64
           " applied, %" PRIu64 " refused, %" PRIu64 " repeats, median %.1f ms\n",
           demo->screen ? "BALANCE LEDGER - Ctrl-C ends\n\n" : "rates  ", demo->commands,
           (double)(demo->commands - demo->commands_drawn) / seconds, demo->events,
           (double)(demo->events - demo->events_drawn) / seconds, demo->applied, demo->refused,
           demo->repeated, median_ms(demo));
    demo->commands_drawn = demo->commands;
    demo->events_drawn = demo->events;
    demo->drawn_ms = now_ms;
    if (demo->screen) {
        printf("\nCOMMANDS AND REPLIES\n");
        for (uint32_t i = 0; i < LINES; i++) printf("  %s\n", demo->replies[i]);
        printf("\nEVENTS\n");
        for (uint32_t i = 0; i < LINES; i++) printf("  %s\n", demo->told[i]);
        printf("\nBALANCES\n");
    }
    for (uint32_t i = 0; i < PEOPLE; i++) {
        if (demo->balances[i].account[0] == '\0') continue;
        amount_format(demo->balances[i].balance, 2, balance);
        printf(demo->screen ? "  %-7s %14s %s   seq %" PRId64 "\n"
                            : "balance  %-7s %14s %s   seq %" PRId64 "\n",
               demo->balances[i].account, balance, demo->balances[i].asset, demo->balances[i].seq);
    }
    (void)fflush(stdout);
}

/* --- the way in and out ------------------------------------------------------------------ */

static bool listen_to_events(struct demo *demo, struct err *err)
{
    struct topology_queue queue = {.arguments = {{.name = "x-expires", .number = 60000}},
                                   .arguments_count = 1};
    struct topology_binding binding = {.key = "#"};
    struct topology topology = {
        .queues = &queue, .queues_count = 1, .bindings = &binding, .bindings_count = 1};
    struct consumer_options options = {.url = values.amqp_url,
                                       .name = "ledger-demo",
                                       .heartbeat_s = 30,
                                       .timeout_ms = 5000,
                                       .body_max = BODY_SIZE_MAX};

    (void)snprintf(demo->queue, sizeof demo->queue, "demo.events.%ld", (long)getpid());
    memcpy(queue.name, demo->queue, sizeof queue.name);
    memcpy(binding.source, demo->names.events, sizeof binding.source);
    memcpy(binding.destination, demo->queue, sizeof binding.destination);
    return topology_apply(values.amqp_url, &topology, TOPOLOGY_DECLARE, err) &&
           consumer_open(&demo->consumer, &options, err) &&
           consumer_subscribe(demo->consumer, demo->queue, 0, EVENTS_MAX, err);
}

static bool demo_run(struct demo *demo, struct err *err)
{
    struct ledger_client_options options = {.url = values.amqp_url, .prefix = values.prefix};

    if (!names_make(&demo->names, values.prefix, 1, err) || !codec_open(&demo->codec, err) ||
        !arena_open(&demo->arena, EVENT_ARENA, err) || !listen_to_events(demo, err) ||
        !ledger_client_open(&demo->client, &options, err) || !open_accounts(demo, err))
        return false;
    while (!stop_requested()) {
        uint64_t now_ms = clock_monotonic_ms();
        if (values.seconds != 0 && now_ms - demo->started_ms > values.seconds * UINT64_C(1000))
            break;
        if (!send_some(demo, err) || !take_events(demo, TICK_MS, err)) return stop_requested();
        draw(demo);
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct demo demo;
    struct err err = {0};
    bool ok;

    if (argc > 1) {
        printf("ledger-demo - calls a running ledger and shows commands, replies, events, rates, "
               "balances\n\n"
               "usage: ledger-demo\n\n");
        config_help(stdout, SETTINGS, SETTINGS_COUNT);
        return strcmp(argv[1], "--help") == 0 ? EXIT_SUCCESS : 2;
    }
    demo.screen = isatty(STDOUT_FILENO) != 0;
    demo.started_ms = demo.drawn_ms = clock_monotonic_ms();
    ok = config_load(SETTINGS, SETTINGS_COUNT, &err) && stop_install(&err) && demo_run(&demo, &err);
    ledger_client_close(demo.client);
    consumer_close(demo.consumer);
    codec_close(demo.codec);
    arena_close(&demo.arena);
    if (!ok) (void)fprintf(stderr, "ledger-demo: %s\n", err.text);
    printf("%" PRIu64 " commands, %" PRIu64 " events\n", demo.commands, demo.events);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
