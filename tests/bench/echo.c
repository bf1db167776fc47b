/*
 * echo.c - the least that a durable answer can cost: takes each request from the same kind of
 * queue, commits one row to PostgreSQL, replies. No ledger; the reference for rpc.c. Without a
 * database it is what RabbitMQ alone costs; the reference for callers.c. Until SIGTERM.
 *
 *   echo        LEDGER_PREFIX names the queues; BENCH_DATABASE_URL is where the row goes, if any
 */
#include "base/clock.h"
#include "base/consumer_amqp.h"
#include "base/publisher_amqp.h"
#include "base/query_pg.h"
#include "base/stop.h"
#include "protocol/properties.h"
#include "protocol/reply.h"
#include "tests/bench/bench.h"

enum { PREFETCH = 500, WAIT_MS = 100, WINDOW = 1024, DATABASE_WAIT_MS = 5000 };

static const struct statement INSERT = {
    "bench_echo", "INSERT INTO public.echo (key, body) VALUES ($1::text, $2::bytea)"};

static struct err err;

struct echo {
    struct consumer *consumer;
    struct publisher *publisher;
    struct db *db;
    struct arena arena;
    struct bytes reply;
};

static void open_all(struct echo *echo)
{
    const char *url = bench_env("LEDGER_AMQP_URL", NULL);
    struct consumer_options in = {.url = url,
                                  .name = "bench echo in",
                                  .heartbeat_s = BENCH_HEARTBEAT_S,
                                  .timeout_ms = BENCH_TIMEOUT_MS,
                                  .body_max = BENCH_BODY_MAX};
    struct publisher_options out = {.url = url,
                                    .name = "bench echo out",
                                    .heartbeat_s = BENCH_HEARTBEAT_S,
                                    .timeout_ms = BENCH_TIMEOUT_MS,
                                    .window = WINDOW};
    struct db_options db = {.url = bench_env("BENCH_DATABASE_URL", ""),
                            .application_name = "bench echo",
                            .connect_timeout_ms = DATABASE_WAIT_MS,
                            .answer_timeout_ms = DATABASE_WAIT_MS};
    struct names names;

    bench_names(&names);
    bench_check(stop_install(&err) && arena_open(&echo->arena, BENCH_ARENA_SIZE, &err) &&
                    publisher_open(&echo->publisher, &out, &err) &&
                    consumer_open(&echo->consumer, &in, &err),
                &err);
    if (db.url[0] != '\0')
        bench_check(
            db_open(&echo->db, &db, &err) &&
                db_run(echo->db,
                       "CREATE TABLE IF NOT EXISTS public.echo (key text PRIMARY KEY, body bytea)",
                       &err),
            &err);
    for (uint32_t i = 0; i < names.shards; i++)
        bench_check(consumer_subscribe(echo->consumer, names.shard[i], i, PREFETCH, &err), &err);
}

/* A reply as the ledger's, so that the caller's work is the same. */
static void reply_make(struct echo *echo)
{
    static struct arena arena;
    struct codec *codec = NULL;
    struct reply reply = {.result = RESULT_APPLIED,
                          .has_transaction = true,
                          .balances = {{.account = TEXT_LITERAL("bench-000001"),
                                        .asset = TEXT_LITERAL("EUR"),
                                        .balance = 1000000,
                                        .seq = 1000,
                                        .has_seq = true}},
                          .balances_count = 1,
                          .timestamp_us = clock_wall_us()};

    bench_check(arena_open(&arena, BENCH_BODY_MAX, &err) && codec_open(&codec, &err), &err);
    bench_check(reply_encode(codec, &reply, ENCODING_MSGPACK, &arena, &echo->reply) ||
                    err_set(&err, ERR_FATAL, "could not make a reply"),
                &err);
    codec_close(codec);
}

static void commit(struct echo *echo, struct text key, struct bytes body)
{
    const struct param params[] = {{key.bytes, key.length}, {body.data, body.size}};

    bench_check(query_send(echo->db, &INSERT, params, 2, &err) && query_sync(echo->db, &err) &&
                    query_done_rows(echo->db, NULL, &err) && query_done(echo->db, &err),
                &err);
}

static void answer(struct echo *echo, const struct delivery *delivery)
{
    struct properties properties;
    struct message message = {.body = echo->reply};
    uint64_t sequence;

    bench_check(properties_parse(delivery->properties, &properties) ||
                    err_set(&err, ERR_FATAL, "could not read a request"),
                &err);
    struct properties_out out = {.content_type = properties.content_type,
                                 .type = properties.type,
                                 .correlation_id = properties.correlation_id};
    message.routing_key = properties.reply_to;
    if (echo->db != NULL) commit(echo, properties.message_id, delivery->body);
    bench_check(properties_write(&out, &echo->arena, &message.properties) ||
                    err_set(&err, ERR_FATAL, "could not make a reply"),
                &err);
    bench_check(publisher_send(echo->publisher, &message, &sequence, &err), &err);
}

static void answer_all(struct echo *echo, const struct delivery *deliveries, uint32_t count)
{
    static struct confirm confirms[WINDOW];
    uint32_t confirmed;

    for (uint32_t i = 0; i < count; i++) answer(echo, &deliveries[i]);
    bench_check(publisher_poll(echo->publisher, 0, confirms, WINDOW, &confirmed, &err) &&
                    consumer_ack(echo->consumer, deliveries[count - 1].tag, true, &err),
                &err);
}

int main(void)
{
    static struct delivery deliveries[PREFETCH];
    struct echo echo = {0};
    uint32_t count;

    reply_make(&echo);
    open_all(&echo);
    while (!stop_requested()) {
        arena_reset(&echo.arena);
        bench_check(consumer_fetch(echo.consumer, WAIT_MS, deliveries, PREFETCH / 2, &echo.arena,
                                   &count, &err),
                    &err);
        if (count > 0) answer_all(&echo, deliveries, count);
    }
    consumer_close(echo.consumer);
    publisher_close(echo.publisher);
    db_close(echo.db);
    arena_close(&echo.arena);
    return EXIT_SUCCESS;
}
