/*
 * commands.c - see commands.h.
 */
#include "tests/bench/commands.h"

#include "base/clock.h"
#include "protocol/pack.h"
#include "protocol/properties.h"
#include "tests/bench/bench.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { FIRST_BALANCE = 1000000, AMOUNT_MAX = 97, HOT_PERCENT = 90 };
/* What is drawn for a command, each from its own place. */
enum { DRAW_ACCOUNT, DRAW_OTHER, DRAW_HOT, DRAW_TYPE, DRAW_AMOUNT, DRAW_REPEAT, DRAW_WHICH, DRAWS };

static struct err err;

/* splitmix64: the same for the same numbers. */
static uint64_t draw(const struct shape *shape, uint32_t number, uint32_t place)
{
    uint64_t x = shape->run + ((uint64_t)number * DRAWS + place + 1) * 0x9e3779b97f4a7c15U;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

bool shape_read(struct shape *shape, int count, char **arguments)
{
    static const char *const words[] = {"uniform", "hot", "zipf"};

    *shape = (struct shape){.accounts = bench_number(bench_env("BENCH_ACCOUNTS", "10000"))};
    random_bytes(&shape->run, sizeof shape->run);
    for (int i = 0; i < count; i++) {
        const char *value = i + 1 < count ? arguments[i + 1] : "";
        if (strcmp(arguments[i], "--reply") == 0) {
            shape->reply = true;
        } else if (strcmp(arguments[i], "--transfers") == 0) {
            shape->transfers = true;
        } else if (strcmp(arguments[i], "--repeats") == 0) {
            shape->repeats_percent = bench_number(value);
            i++;
        } else if (strcmp(arguments[i], "--spread") == 0) {
            uint32_t k = 0;
            while (k < 3 && strcmp(value, words[k]) != 0) k++;
            if (k == 3) return false;
            shape->spread = (enum spread)k;
            i++;
        } else {
            return false;
        }
    }
    return shape->repeats_percent <= 100;
}

uint32_t shape_original(const struct shape *shape, uint32_t number)
{
    while (number > 0 && draw(shape, number, DRAW_REPEAT) % 100 < shape->repeats_percent)
        number = (uint32_t)(draw(shape, number, DRAW_WHICH) % number);
    return number;
}

static uint32_t account_of(const struct shape *shape, uint32_t number)
{
    uint64_t drawn = draw(shape, number, DRAW_ACCOUNT);
    double part = (double)(drawn >> 11) / (double)(UINT64_C(1) << 53);

    if (shape->spread == SPREAD_HOT && draw(shape, number, DRAW_HOT) % 100 < HOT_PERCENT) return 0;
    if (shape->spread != SPREAD_ZIPF) return (uint32_t)(drawn % shape->accounts);
    /* The first k have the part ln(k + 1) / ln(accounts + 1). */
    uint32_t rank = (uint32_t)pow((double)shape->accounts + 1, part) - 1;
    return rank < shape->accounts ? rank : shape->accounts - 1;
}

void shape_account(uint32_t number, char text[static ACCOUNT_SIZE])
{
    (void)snprintf(text, ACCOUNT_SIZE, "bench-%06u", number);
}

void shape_key(const struct shape *shape, uint32_t number, char text[static KEY_SIZE])
{
    (void)snprintf(text, KEY_SIZE, "%016" PRIx64 "-%08u", shape->run, number);
}

void shape_command(const struct shape *shape, uint32_t number, char first[static ACCOUNT_SIZE],
                   char second[static ACCOUNT_SIZE], struct command *out)
{
    uint32_t account = account_of(shape, number);
    uint64_t step = draw(shape, number, DRAW_OTHER) % (shape->accounts - 1U) + 1;

    shape_account(account, first);
    *out = (struct command){
        .type = draw(shape, number, DRAW_TYPE) % 2 == 0 ? COMMAND_DEPOSIT : COMMAND_WITHDRAW,
        .account = text_of(first),
        .amount = {.value = 1 + (int64_t)(draw(shape, number, DRAW_AMOUNT) % AMOUNT_MAX)}};
    if (!shape->transfers) return;
    shape_account((uint32_t)((account + step) % shape->accounts), second);
    out->type = COMMAND_TRANSFER;
    out->account = (struct text){0};
    out->from = text_of(first);
    out->to = text_of(second);
}

/* --- out --------------------------------------------------------------------------------- */

struct outlet {
    struct publisher *publisher;
    struct codec *codec;
    struct arena arena;
    const struct names *names;
};

void outlet_open(struct outlet **out, const struct names *names, uint32_t window)
{
    struct publisher_options options = {.url = bench_env("LEDGER_AMQP_URL", NULL),
                                        .name = "bench load",
                                        .heartbeat_s = BENCH_HEARTBEAT_S,
                                        .timeout_ms = BENCH_TIMEOUT_MS,
                                        .window = window};
    struct outlet *outlet = bench_memory(sizeof *outlet);

    outlet->names = names;
    bench_check(arena_open(&outlet->arena, BENCH_ARENA_SIZE, &err) &&
                    codec_open(&outlet->codec, &err) &&
                    publisher_open(&outlet->publisher, &options, &err),
                &err);
    *out = outlet;
}

void outlet_close(struct outlet *outlet)
{
    publisher_close(outlet->publisher);
    codec_close(outlet->codec);
    arena_close(&outlet->arena);
    free(outlet);
}

uint32_t outlet_room(const struct outlet *outlet)
{
    return publisher_room(outlet->publisher);
}

uint32_t outlet_confirmed(struct outlet *outlet, uint32_t wait_ms)
{
    static _Thread_local struct confirm confirms[BENCH_FETCH_MAX];
    uint32_t count;

    bench_check(publisher_poll(outlet->publisher, wait_ms, confirms, BENCH_FETCH_MAX, &count, &err),
                &err);
    for (uint32_t i = 0; i < count; i++)
        bench_check(confirms[i].result == CONFIRM_ACK ||
                        err_set(&err, ERR_FATAL, "the broker refused a command"),
                    &err);
    return count;
}

void outlet_send_message(struct outlet *outlet, const struct message *message)
{
    uint64_t sequence;

    bench_check(publisher_send(outlet->publisher, message, &sequence, &err), &err);
}

static void send(struct outlet *outlet, const struct shape *shape, const char *key, uint32_t number,
                 struct text routing_key, const struct command *command)
{
    struct message message = {.exchange = text_of(outlet->names->commands),
                              .routing_key = routing_key,
                              .mandatory = true};
    char correlation[CORRELATION_DIGITS + 1];

    (void)snprintf(correlation, sizeof correlation, "%0*u", CORRELATION_DIGITS, number);
    struct properties_out properties = {.content_type =
                                            text_of(encoding_content_type(ENCODING_MSGPACK)),
                                        .type = text_of(command_word(command->type)),
                                        .message_id = text_of(key),
                                        .correlation_id = text_of(shape->correlated ? correlation
                                                                  : shape->reply    ? key
                                                                                    : ""),
                                        .reply_to = text_of(shape->reply ? BENCH_REPLIES : ""),
                                        .app_id = text_of("bench")};
    arena_reset(&outlet->arena);
    bench_check(
        (properties_write(&properties, &outlet->arena, &message.properties) &&
         command_encode(outlet->codec, command, ENCODING_MSGPACK, &outlet->arena, &message.body)) ||
            err_set(&err, ERR_FATAL, "could not make a command"),
        &err);
    outlet_send_message(outlet, &message);
}

void outlet_send(struct outlet *outlet, const struct shape *shape, uint32_t number)
{
    uint32_t original = shape_original(shape, number);
    char first[ACCOUNT_SIZE], second[ACCOUNT_SIZE], key[KEY_SIZE];
    struct command command;

    shape_command(shape, original, first, second, &command);
    shape_key(shape, original, key);
    send(outlet, shape, key, number, text_of(first), &command);
}

void outlet_send_batch(struct outlet *outlet, const struct shape *shape, uint32_t first_number,
                       uint32_t size)
{
    static uint8_t memory[BODY_SIZE_MAX];
    struct writer writer = writer_over(memory, sizeof memory);
    struct command batch = {.type = COMMAND_BATCH, .legs_count = size};
    char first[ACCOUNT_SIZE], second[ACCOUNT_SIZE], key[KEY_SIZE], name[KEY_SIZE + 2];
    struct command command;

    pack_array_value(&writer, size);
    for (uint32_t n = first_number; n < first_number + size; n++) {
        struct pack_map map = pack_map_open(&writer, 4);
        shape_command(shape, n, first, second, &command);
        shape_key(shape, n, key);
        pack_text(&map, "type", text_of(command_word(command.type)));
        pack_text(&map, "idempotency_key", text_of(key));
        pack_text(&map, "account", command.account);
        pack_int(&map, "amount", command.amount.value);
        pack_map_close(&map);
    }
    batch.legs = (struct bytes){memory, (uint32_t)writer.size};
    shape_key(shape, first_number, key);
    (void)snprintf(name, sizeof name, "%s-b", key);
    send(outlet, shape, name, first_number, text_of(name), &batch);
}

void outlet_send_opening(struct outlet *outlet, const struct shape *shape, uint32_t n)
{
    char account[ACCOUNT_SIZE], key[KEY_SIZE];

    shape_account(n / 2, account);
    shape_key(shape, n, key);
    struct command command = {
        .type = COMMAND_DEPOSIT, .account = text_of(account), .amount = {.value = FIRST_BALANCE}};
    if (n % 2 == 0)
        command = (struct command){.type = COMMAND_OPEN_ACCOUNT,
                                   .account = text_of(account),
                                   .user_id = text_of("bench-user"),
                                   .asset = text_of("EUR")};
    send(outlet, shape, key, n, text_of(account), &command);
}
