/*
 * faults.c - everything that goes wrong. Each fault makes sure, from outside, that it has really
 * taken place; one that has not is a failure of the run. Now and then one of the ledger's processes
 * is killed in the middle of another fault.
 */
#include "base/clock.h"
#include "base/link_amqp.h"
#include "tests/chaos/chaos.h"

#include <hiredis/hiredis.h>
#include <libpq-fe.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 2, PROBE_MS = 10000, MEET_MS = 20000 };

static bool say(char note[static NOTE_SIZE], bool done, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool say(char note[static NOTE_SIZE], bool done, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(note, NOTE_SIZE, format, args);
    va_end(args);
    return done;
}

static uint32_t between(uint32_t random, uint32_t least_ms, uint32_t most_ms)
{
    return least_ms + random % (most_ms - least_ms + 1);
}

/* A hold, in which one of the processes may die as well. */
static void hold(uint32_t random, uint32_t least_ms, uint32_t most_ms)
{
    uint32_t ms = between(random, least_ms, most_ms);
    struct process *process = &stage.processes[(random >> 8) % PROCESSES_COUNT];

    stage_pause(ms / 2);
    if ((random >> 16) % 4 == 0) (void)process_kill(process); /* stage_pause starts it again */
    stage_pause(ms - ms / 2);
}

/* --- processes --------------------------------------------------------------------------- */

/* Stays dead for a while, so that the others must take over. */
static bool kill_one(struct process *process, uint32_t random, char note[static NOTE_SIZE])
{
    pid_t pid = process->pid;
    bool done = process_kill(process);

    clock_sleep_ms(between(random, 0, 2500));
    return say(note, done, "%s, pid %ld", process->name, (long)pid);
}

static bool freeze_one(struct process *process, uint32_t random, char note[static NOTE_SIZE])
{
    uint32_t ms = between(random, 1000, 5000);
    bool done = process_freeze(process);

    clock_sleep_ms(ms);
    process_thaw(process);
    return say(note, done, "%s for %u ms", process->name, ms);
}

static bool worker_killed(uint32_t random, char note[static NOTE_SIZE])
{
    return kill_one(&stage.processes[random % WORKERS], random >> 1, note);
}

static bool worker_frozen(uint32_t random, char note[static NOTE_SIZE])
{
    return freeze_one(&stage.processes[random % WORKERS], random >> 1, note);
}

static bool relay_killed(uint32_t random, char note[static NOTE_SIZE])
{
    return kill_one(&stage.processes[WORKERS + random % 2], random >> 1, note);
}

static bool relay_frozen(uint32_t random, char note[static NOTE_SIZE])
{
    return freeze_one(&stage.processes[WORKERS + random % 2], random >> 1, note);
}

static bool worker_replaced(uint32_t random, char note[static NOTE_SIZE])
{
    struct process *process = &stage.processes[random % WORKERS];

    return say(note, process_end(process, 15000), "%s left after SIGTERM", process->name);
}

/* --- servers ----------------------------------------------------------------------------- */

static void url_host(const char *url, char host[static 64], int *port)
{
    const char *at = strrchr(url, '@'), *begin = at != NULL ? at + 1 : strstr(url, "//") + 2;
    const char *colon = strchr(begin, ':');

    (void)snprintf(host, 64, "%.*s", (int)(colon - begin), begin);
    *port = (int)strtol(colon + 1, NULL, 10);
}

static redisContext *redis_open(void)
{
    struct timeval timeout = {.tv_sec = 2};
    char host[64];
    int port;

    url_host(stage.urls[SERVER_REDIS], host, &port);
    redisContext *redis = redisConnectWithTimeout(host, port, timeout);
    if (redis != NULL && redis->err == 0 && redisSetTimeout(redis, timeout) == REDIS_OK)
        return redis;
    if (redis != NULL) redisFree(redis);
    return NULL;
}

/* -1: it does not answer. */
static int64_t redis_number(const char *command)
{
    redisContext *redis = redis_open();
    int64_t number = -1;

    if (redis == NULL) return -1;
    redisReply *reply = redisCommand(redis, command);
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER) number = reply->integer;
    if (reply != NULL && reply->type == REDIS_REPLY_STATUS) number = 0;
    if (reply != NULL) freeReplyObject(reply);
    redisFree(redis);
    return number;
}

static bool answers(enum server server)
{
    struct link_options options = {stage.urls[SERVER_RABBITMQ], "chaos", 0, 2000};
    struct link *link = NULL;
    struct err err = {0};
    char url[URL_SIZE + 32];
    bool ok = false;

    switch (server) {
    case SERVER_POSTGRES:
        (void)snprintf(url, sizeof url, "%.255s?connect_timeout=2", stage.urls[server]);
        return inside_number(url, "SELECT 1") == 1;
    case SERVER_REDIS:
        return redis_number("DBSIZE") >= 0;
    case SERVER_RABBITMQ:
        ok = link_open(&link, &options, &err);
        link_close(link);
        return ok;
    case SERVERS_COUNT:
        break;
    }
    return false;
}

static bool await_answer(enum server server)
{
    uint64_t deadline_ms = clock_monotonic_ms() + PROBE_MS;

    while (!answers(server)) {
        if (clock_monotonic_ms() > deadline_ms) return false;
        stage_pause(100);
    }
    return true;
}

static bool server_killed(enum server server, uint32_t random, char note[static NOTE_SIZE])
{
    bool killed = server_do("kill", server, NULL), silent = !answers(server);

    hold(random, 0, 1500);
    bool back = server_do("start", server, NULL) && await_answer(server);
    return say(note, killed && silent && back, "killed %d, silent %d, back %d", killed, silent,
               back);
}

static bool server_frozen(enum server server, uint32_t random, char note[static NOTE_SIZE])
{
    bool stopped = server_do("signal", server, "STOP"), silent = !answers(server);

    hold(random, 500, 3000);
    bool thawed = server_do("signal", server, "CONT"), back = await_answer(server);
    return say(note, stopped && silent && thawed && back, "stopped %d, silent %d, back %d", stopped,
               silent, back);
}

static bool postgres_killed(uint32_t random, char note[static NOTE_SIZE])
{
    return server_killed(SERVER_POSTGRES, random, note);
}

static bool postgres_frozen(uint32_t random, char note[static NOTE_SIZE])
{
    return server_frozen(SERVER_POSTGRES, random, note);
}

static bool redis_killed(uint32_t random, char note[static NOTE_SIZE])
{
    return server_killed(SERVER_REDIS, random, note);
}

static bool redis_frozen(uint32_t random, char note[static NOTE_SIZE])
{
    return server_frozen(SERVER_REDIS, random, note);
}

static bool rabbitmq_killed(uint32_t random, char note[static NOTE_SIZE])
{
    return server_killed(SERVER_RABBITMQ, random, note);
}

static bool rabbitmq_frozen(uint32_t random, char note[static NOTE_SIZE])
{
    return server_frozen(SERVER_RABBITMQ, random, note);
}

/* --- PostgreSQL -------------------------------------------------------------------------- */

static bool postgres_immediate(uint32_t random, char note[static NOTE_SIZE])
{
    static const char sql[] =
        "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000)::int8";
    int64_t before = inside_number(stage.urls[SERVER_POSTGRES], sql);
    bool told = server_do("signal", SERVER_POSTGRES, "QUIT");

    hold(random, 200, 1000);
    for (uint32_t i = 0; i < 100 && server_do("status", SERVER_POSTGRES, NULL); i++)
        stage_pause(100); /* it is still on its way down */
    bool back = server_do("start", SERVER_POSTGRES, NULL) && await_answer(SERVER_POSTGRES);
    int64_t after = inside_number(stage.urls[SERVER_POSTGRES], sql);
    return say(note, told && back && after > before, "a postmaster %lld ms younger",
               (long long)(after - before));
}

static bool backends_terminated(uint32_t random, char note[static NOTE_SIZE])
{
    int64_t count = inside_number(
        stage.urls[SERVER_POSTGRES],
        "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'ledger-%') AS all_of_them"
        " WHERE ended");

    (void)random;
    return say(note, count > 0, "%lld backends", (long long)count);
}

/* An open transaction, idle, in another database or in ours. */
static bool hold_transaction(const char *url, const char *begin, const char *wanted,
                             uint32_t random, char note[static NOTE_SIZE])
{
    PGconn *stranger = PQconnectdb(url);
    char sql[256];

    PQclear(PQexec(stranger, begin));
    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM pg_stat_activity WHERE pid = %d"
                   " AND state = 'idle in transaction' AND %s IS NOT NULL",
                   PQbackendPID(stranger), wanted);
    bool open = inside_number(stage.admin_url, sql) == 1;
    hold(random, 3000, 8000);
    bool still = PQstatus(stranger) == CONNECTION_OK;
    PQclear(PQexec(stranger, "ROLLBACK"));
    PQfinish(stranger);
    return say(note, open && still, "%s held", wanted);
}

static bool foreign_writer(uint32_t random, char note[static NOTE_SIZE])
{
    return hold_transaction(stage.admin_url, "BEGIN; SELECT pg_current_xact_id()", "backend_xid",
                            random, note);
}

static bool long_reader(uint32_t random, char note[static NOTE_SIZE])
{
    return hold_transaction(stage.urls[SERVER_POSTGRES],
                            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM "
                            "ledger.account",
                            "backend_xmin", random, note);
}

/* --- Redis ------------------------------------------------------------------------------- */

/* After a fault of Redis the workers ask it again only after a while. */
static int64_t await_keys(void)
{
    int64_t keys = 0;

    for (uint32_t i = 0; i < 150 && (keys = redis_number("DBSIZE")) <= 0; i++) stage_pause(100);
    return keys;
}

static bool redis_flushed(uint32_t random, char note[static NOTE_SIZE])
{
    int64_t keys = await_keys();

    (void)random;
    bool flushed = redis_number("FLUSHALL") == 0;
    return say(note, flushed && keys > 0, "%lld keys", (long long)keys);
}

/* Every key becomes a list. */
static bool redis_wrong_typed(uint32_t random, char note[static NOTE_SIZE])
{
    redisContext *redis = redis_open();
    uint32_t changed = 0;

    (void)random;
    (void)await_keys();
    if (redis == NULL) return say(note, false, "no connection");
    redisReply *keys = redisCommand(redis, "KEYS *");
    for (size_t i = 0; keys != NULL && keys->type == REDIS_REPLY_ARRAY && i < keys->elements; i++) {
        redisReply *key = keys->element[i];
        (void)redisAppendCommand(redis, "DEL %b", key->str, key->len);
        (void)redisAppendCommand(redis, "LPUSH %b x", key->str, key->len);
    }
    for (size_t i = 0; keys != NULL && keys->type == REDIS_REPLY_ARRAY && i < 2 * keys->elements;
         i++) {
        void *reply = NULL;
        if (redisGetReply(redis, &reply) != REDIS_OK) break;
        redisReply *one = reply;
        changed += i % 2 == 1 && one->type == REDIS_REPLY_INTEGER;
        freeReplyObject(reply);
    }
    if (keys != NULL) freeReplyObject(keys);
    redisFree(redis);
    stage_pause(1500); /* repeats meet them */
    return say(note, changed > 0, "%u keys", changed);
}

static bool redis_slow(uint32_t random, char note[static NOTE_SIZE])
{
    struct proxy *proxy = stage.proxies[SERVER_REDIS];
    uint64_t before = proxy_counts(proxy).delayed;

    proxy_delay(proxy, 1000);
    hold(random, 2000, 5000);
    uint64_t met = proxy_counts(proxy).delayed - before;
    proxy_heal(proxy);
    return say(note, met > 0, "1000 ms for %llu connections", (unsigned long long)met);
}

static bool redis_gone(uint32_t random, char note[static NOTE_SIZE])
{
    struct proxy *proxy = stage.proxies[SERVER_REDIS];
    struct proxy_counts before = proxy_counts(proxy);

    proxy_refuse(proxy);
    hold(random, 2000, 5000);
    struct proxy_counts after = proxy_counts(proxy);
    proxy_heal(proxy);
    return say(note, after.reset > before.reset || after.refused > before.refused,
               "%llu connections reset, %llu refused",
               (unsigned long long)(after.reset - before.reset),
               (unsigned long long)(after.refused - before.refused));
}

/* --- RabbitMQ ---------------------------------------------------------------------------- */

static bool rabbitmq_restarted(uint32_t random, char note[static NOTE_SIZE])
{
    uint64_t before = load.reconnects;
    bool done = server_do("restart", SERVER_RABBITMQ, NULL) && await_answer(SERVER_RABBITMQ);

    (void)random;
    return say(note, done && load.reconnects > before, "%llu connections of ours lost",
               (unsigned long long)(load.reconnects - before));
}

static bool memory_alarm(uint32_t random, char note[static NOTE_SIZE])
{
    static const char *const low[] = {"set_vm_memory_high_watermark", "absolute", "1MB", NULL};
    static const char *const high[] = {"set_vm_memory_high_watermark", "absolute", "2GB", NULL};
    uint64_t before = load.blocked;
    bool set = broker_do(low);

    hold(random, 2000, 6000);
    bool blocked = load.blocked > before, back = broker_do(high);
    return say(note, set && blocked && back, "publishers were%s blocked", blocked ? "" : " not");
}

static bool connections_closed(uint32_t random, char note[static NOTE_SIZE])
{
    static const char *const all[] = {"close_all_connections", "chaos", NULL};
    uint64_t before = load.reconnects;
    bool done = broker_do(all);

    (void)random;
    stage_pause(1000);
    return say(note, done && load.reconnects > before, "%llu connections of ours lost",
               (unsigned long long)(load.reconnects - before));
}

/* Consumed, so bound as well. */
static bool queue_is_consumed(struct link *link, const char *queue)
{
    const amqp_queue_declare_ok_t *found =
        amqp_queue_declare(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue), true, true, false,
                           false, amqp_empty_table);
    return found != NULL && found->consumer_count > 0;
}

/* With nothing in it: what a deleted queue held, nobody has. And with nothing sent meanwhile: what
 * would be, the queues that are left share among them. */
static bool queue_deleted(uint32_t random, char note[static NOTE_SIZE])
{
    const char *queue = stage.names.shard[random % stage.names.shards];
    struct link_options options = {stage.urls[SERVER_RABBITMQ], "chaos", 0, 15000};
    struct link *link = NULL;
    struct err err = {0};
    bool deleted, back = false;

    load_pause();
    must(link_open(&link, &options, &err), &err);
    deleted = amqp_queue_delete(link->state, LINK_CHANNEL, amqp_cstring_bytes(queue), false,
                                false) != NULL;
    link_close(link);
    for (uint32_t i = 0; i < 150 && !back; i++) {
        stage_pause(200);
        link = NULL;
        if (link_open(&link, &options, &err)) back = queue_is_consumed(link, queue);
        link_close(link);
    }
    load_resume();
    stage_pause(YOUNG_QUEUE_MS);
    return say(note, deleted && back, "shard %u, deleted %d, declared again %d",
               random % stage.names.shards, deleted, back);
}

/* --- the network ------------------------------------------------------------------------- */

enum net { NET_DELAY, NET_CUT, NET_HALF_OPEN, NET_RESET };

static uint64_t net_met(enum server server, enum net net)
{
    struct proxy_counts counts = proxy_counts(stage.proxies[server]);

    switch (net) {
    case NET_DELAY:
        return counts.delayed;
    case NET_CUT:
        return counts.cut;
    case NET_HALF_OPEN:
        return counts.half_open;
    case NET_RESET:
        return counts.reset;
    }
    return 0;
}

static bool net_fault(enum server server, enum net net, uint32_t random,
                      char note[static NOTE_SIZE])
{
    static void (*const begin[])(struct proxy *) = {
        [NET_CUT] = proxy_cut, [NET_HALF_OPEN] = proxy_half_open, [NET_RESET] = proxy_reset};
    struct proxy *proxy = stage.proxies[server];
    uint64_t deadline_ms = clock_monotonic_ms() + MEET_MS, before = net_met(server, net), met = 0;

    while (met == 0 && clock_monotonic_ms() < deadline_ms) { /* a breaker may keep everybody away */
        if (net == NET_DELAY)
            proxy_delay(proxy, between(random, 20, 300));
        else
            begin[net](proxy);
        if (net == NET_DELAY || net == NET_HALF_OPEN)
            hold(random, 2000, 7000);
        else
            stage_pause(1000);
        met = net_met(server, net) - before;
        proxy_heal(proxy);
    }
    return say(note, met > 0, "%llu connections", (unsigned long long)met);
}

#define NET(name, server, net)                                                                     \
    static bool name(uint32_t random, char note[static NOTE_SIZE])                                 \
    {                                                                                              \
        return net_fault(server, net, random, note);                                               \
    }
NET(postgres_delayed, SERVER_POSTGRES, NET_DELAY)
NET(postgres_cut, SERVER_POSTGRES, NET_CUT)
NET(postgres_half_open, SERVER_POSTGRES, NET_HALF_OPEN)
NET(postgres_reset, SERVER_POSTGRES, NET_RESET)
NET(redis_cut, SERVER_REDIS, NET_CUT)
NET(redis_half_open, SERVER_REDIS, NET_HALF_OPEN)
NET(redis_reset, SERVER_REDIS, NET_RESET)
NET(rabbitmq_delayed, SERVER_RABBITMQ, NET_DELAY)
NET(rabbitmq_cut, SERVER_RABBITMQ, NET_CUT)
NET(rabbitmq_half_open, SERVER_RABBITMQ, NET_HALF_OPEN)
NET(rabbitmq_reset, SERVER_RABBITMQ, NET_RESET)

/* --- all of them ------------------------------------------------------------------------- */

#define FAULT(name, what)                                                                          \
    {                                                                                              \
#name, what, name, 0, 0, 0, 0                                                              \
    }
struct fault faults[] = {
    FAULT(worker_killed, "SIGKILL of a worker"),
    FAULT(worker_frozen, "SIGSTOP of a worker"),
    FAULT(worker_replaced, "SIGTERM of a worker under load"),
    FAULT(relay_killed, "SIGKILL of a relay"),
    FAULT(relay_frozen, "SIGSTOP of a relay"),
    FAULT(postgres_killed, "SIGKILL of PostgreSQL"),
    FAULT(postgres_frozen, "SIGSTOP of PostgreSQL"),
    FAULT(postgres_immediate, "immediate restart of PostgreSQL"),
    FAULT(backends_terminated, "every backend terminated"),
    FAULT(foreign_writer, "an idle foreign writer"),
    FAULT(long_reader, "a long reader"),
    FAULT(postgres_delayed, "network to PostgreSQL: slow"),
    FAULT(postgres_cut, "network to PostgreSQL: cut in a frame"),
    FAULT(postgres_half_open, "network to PostgreSQL: half open"),
    FAULT(postgres_reset, "network to PostgreSQL: reset"),
    FAULT(redis_killed, "SIGKILL of Redis"),
    FAULT(redis_frozen, "SIGSTOP of Redis"),
    FAULT(redis_flushed, "Redis flushed"),
    FAULT(redis_slow, "Redis slowed to a second"),
    FAULT(redis_wrong_typed, "Redis keys of a wrong type"),
    FAULT(redis_gone, "Redis refuses connections"),
    FAULT(redis_cut, "network to Redis: cut in a frame"),
    FAULT(redis_half_open, "network to Redis: half open"),
    FAULT(redis_reset, "network to Redis: reset"),
    FAULT(rabbitmq_killed, "SIGKILL of RabbitMQ"),
    FAULT(rabbitmq_frozen, "SIGSTOP of RabbitMQ"),
    FAULT(rabbitmq_restarted, "restart of RabbitMQ"),
    FAULT(memory_alarm, "memory alarm of RabbitMQ"),
    FAULT(queue_deleted, "a queue deleted under its consumer"),
    FAULT(connections_closed, "connections closed by RabbitMQ"),
    FAULT(rabbitmq_delayed, "network to RabbitMQ: slow"),
    FAULT(rabbitmq_cut, "network to RabbitMQ: cut in a frame"),
    FAULT(rabbitmq_half_open, "network to RabbitMQ: half open"),
    FAULT(rabbitmq_reset, "network to RabbitMQ: reset"),
};
const uint32_t faults_count = sizeof faults / sizeof faults[0];
