/*
 * torture.c - three long loads with one thing wrong all the time, instead of one fault after the
 * other: bloat (a held reader and an idle foreign writer), alarm (RabbitMQ takes no messages), and
 * redis (flushed, slowed to a second, killed, at full load). The checker has the last word, as in
 * every chaos run.
 */
#include "tests/chaos/chaos.h"

#include "base/clock.h"
#include "base/stop.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SAMPLE_MS = 10000,
    SAMPLES_MAX = 4096,
    P99_MOST_MS = 500,
    BLOCKED_WITHIN_MS = 1000,
    LEAVE_WITHIN_MS = 15000,
    ALARM_LOOK_MS = 20,
};

static uint32_t setting(const char *name, uint32_t fallback)
{
    const char *given = getenv(name);

    return given != NULL && given[0] != '\0' ? (uint32_t)strtoul(given, NULL, 10) : fallback;
}

static int64_t ask(const char *sql)
{
    return inside_number(stage.urls[SERVER_POSTGRES], sql);
}

/* --- bloat ------------------------------------------------------------------------------- */

struct sample {
    double p50_ms, p99_ms;
    int64_t backlog, dead_outbox, dead_all, outbox_bytes;
};

static PGconn *hold(const char *url, const char *sql)
{
    PGconn *connection = PQconnectdb(url);

    if (PQstatus(connection) != CONNECTION_OK) give_up("%s", PQerrorMessage(connection));
    PQclear(PQexec(connection, sql));
    if (PQtransactionStatus(connection) != PQTRANS_INTRANS) give_up("no transaction is held");
    return connection;
}

static void let_go(PGconn *connection, const char *whose)
{
    if (PQstatus(connection) != CONNECTION_OK || PQtransactionStatus(connection) != PQTRANS_INTRANS)
        give_up("the %s did not last", whose);
    PQfinish(connection);
}

static struct sample take_sample(void)
{
    struct sample sample = {0};

    collect_delays(&sample.p50_ms, &sample.p99_ms);
    sample.backlog = (int64_t)load.confirmed - load.answered;
    sample.dead_outbox = ask("SELECT coalesce(sum(n_dead_tup), 0)::int8 FROM pg_stat_user_tables"
                             " WHERE relname ~ '^outbox_[0-9]'");
    sample.dead_all =
        ask("SELECT coalesce(sum(n_dead_tup), 0)::int8 FROM pg_stat_user_tables WHERE schemaname = "
            "'ledger'");
    sample.outbox_bytes = ask("SELECT sum(pg_total_relation_size(oid))::int8 FROM pg_class"
                              " WHERE relname ~ '^outbox_[0-9]$'");
    return sample;
}

static double worst_p99(const struct sample *samples, uint32_t count)
{
    double worst = 0;

    for (uint32_t i = 0; i < count; i++)
        if (samples[i].p99_ms > worst) worst = samples[i].p99_ms;
    return worst;
}

static bool bloat(void)
{
    static struct sample samples[SAMPLES_MAX];
    uint64_t end_ms = clock_monotonic_ms() + (uint64_t)setting("MINUTES", 10) * 60000;
    uint32_t count = 0;

    PGconn *reader = hold(stage.urls[SERVER_POSTGRES],
                          "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM "
                          "ledger.account");
    PGconn *writer = hold(stage.admin_url, "BEGIN; SELECT pg_current_xact_id()");
    printf("a reader holds a snapshot here, a writer a transaction in another database\n"
           "%8s %22s %9s %16s %12s %12s\n",
           "", "commit to event p50/p99", "waiting", "dead: in outbox", "everywhere", "outbox KiB");
    stage_pause(SAMPLE_MS);
    (void)take_sample();
    while (clock_monotonic_ms() < end_ms && count < SAMPLES_MAX && !stop_requested()) {
        stage_pause(SAMPLE_MS);
        struct sample *sample = &samples[count++];
        *sample = take_sample();
        printf("%6u s %9.1f / %7.1f ms %9" PRId64 " %16" PRId64 " %12" PRId64 " %12" PRId64 "\n",
               count * SAMPLE_MS / 1000, sample->p50_ms, sample->p99_ms, sample->backlog,
               sample->dead_outbox, sample->dead_all, sample->outbox_bytes / 1024);
        (void)fflush(stdout);
    }
    let_go(reader, "reader");
    let_go(writer, "writer");
    uint32_t third = count / 3;
    double first = worst_p99(samples, third), last = worst_p99(&samples[count - third], third);
    bool flat = third > 0 && last < P99_MOST_MS && (last <= 2 * first || last < 50);
    bool clean = count > 0 && samples[count - 1].dead_outbox == 0;
    printf("p99 at most %.1f ms in the first third, %.1f ms in the last: %s; dead tuples in the "
           "outbox: %" PRId64 "\n",
           first, last, flat ? "flat" : "NOT FLAT", count > 0 ? samples[count - 1].dead_outbox : 0);
    return flat && clean;
}

/* --- a memory alarm ---------------------------------------------------------------------- */

static bool broker_memory(const char *limit)
{
    const char *const arguments[] = {"set_vm_memory_high_watermark", "absolute", limit, NULL};

    return broker_do(arguments);
}

static const char OUTCOMES[] = "SELECT count(*) FROM ledger.journal";

/* Its publishers are blocked too: so what workers go on with is queued before. */
static int64_t queue_some(void)
{
    for (uint32_t i = 0; i < 2; i++)
        if (!process_freeze(&stage.processes[i])) give_up("a worker does not stand still");
    clock_sleep_ms(4000);
    return ask(OUTCOMES);
}

static bool alarm_raised(uint32_t *blocked_after_ms)
{
    uint32_t before = count_in_logs("ledger-relay", "short of memory");

    if (!broker_memory("1MB")) give_up("no alarm could be raised");
    for (uint32_t i = 0; i < 2; i++) process_thaw(&stage.processes[i]);
    uint64_t from_ms = clock_monotonic_ms();
    while (count_in_logs("ledger-relay", "short of memory") == before) {
        if (clock_monotonic_ms() - from_ms > 10 * BLOCKED_WITHIN_MS) return false;
        clock_sleep_ms(ALARM_LOOK_MS);
    }
    *blocked_after_ms = (uint32_t)(clock_monotonic_ms() - from_ms);
    return true;
}

static bool alarm_for_a_while(void)
{
    uint32_t seconds = setting("HOLD", 60), blocked_after_ms = 0;
    bool left = true;

    stage_pause(3000);
    int64_t before = queue_some();
    bool said = alarm_raised(&blocked_after_ms);
    stage_pause(seconds * 500);
    int64_t after = ask(OUTCOMES);
    uint64_t from_ms = clock_monotonic_ms();
    for (uint32_t i = 2; i < PROCESSES_COUNT; i++)
        left = process_end(&stage.processes[i], LEAVE_WITHIN_MS) && left;
    uint64_t left_after_ms = clock_monotonic_ms() - from_ms;
    stage_pause(seconds * 500);
    bool blocked = load.blocked > 0;
    if (!broker_memory("2GB")) give_up("the alarm could not be ended");
    stage_pause(3000);
    printf(
        "alarm for %u s: publishers %s; the relay said so after %u ms%s; workers decided %" PRId64
        " meanwhile; both relays left %s within %ju ms\n",
        seconds, blocked ? "were blocked" : "WERE NOT BLOCKED", blocked_after_ms,
        said && blocked_after_ms <= BLOCKED_WITHIN_MS ? "" : " (TOO LATE)", after - before,
        left ? "cleanly" : "NOT CLEANLY", (uintmax_t)left_after_ms);
    return blocked && said && blocked_after_ms <= BLOCKED_WITHIN_MS && after > before && left;
}

/* --- Redis at full load ------------------------------------------------------------------ */

static void flush_redis(void)
{
    struct timeval timeout = {.tv_sec = 2};
    const char *port = strrchr(stage.urls[SERVER_REDIS], ':') + 1;
    redisContext *redis =
        redisConnectWithTimeout("127.0.0.1", (int)strtol(port, NULL, 10), timeout);
    redisReply *reply = redis != NULL && redis->err == 0 ? redisCommand(redis, "FLUSHALL") : NULL;

    if (reply == NULL) give_up("Redis could not be flushed");
    freeReplyObject(reply);
    redisFree(redis);
}

static double answered_per_second(uint32_t seconds, bool flushed)
{
    stage_pause(1000);
    uint32_t before = load.answered;
    uint64_t from_ms = clock_monotonic_ms();

    for (uint32_t i = 0; i < seconds; i++) {
        if (flushed) flush_redis();
        stage_pause(1000);
    }
    return (load.answered - before) * 1000.0 / (double)(clock_monotonic_ms() - from_ms);
}

static bool redis_in_trouble(void)
{
    uint32_t seconds = setting("HOLD", 20);
    struct proxy *proxy = stage.proxies[SERVER_REDIS];
    double rates[5];
    bool ok = true;
    static const char *const what[] = {"before", "flushed each second", "slowed to a second",
                                       "killed", "back again"};

    rates[0] = answered_per_second(seconds, false);
    rates[1] = answered_per_second(seconds, true);
    uint64_t delayed = proxy_counts(proxy).delayed;
    proxy_delay(proxy, 1000);
    rates[2] = answered_per_second(seconds, false);
    if (proxy_counts(proxy).delayed == delayed) give_up("nothing was slowed");
    proxy_heal(proxy);
    if (!server_do("kill", SERVER_REDIS, NULL)) give_up("Redis could not be killed");
    rates[3] = answered_per_second(seconds, false);
    if (!server_do("start", SERVER_REDIS, NULL)) give_up("Redis could not be started");
    rates[4] = answered_per_second(seconds, false);
    for (int i = 0; i < 5; i++) {
        bool enough = rates[i] * 100 >= rates[0] * setting("LEAST", 70);
        printf("Redis %-20s %8.0f answers/s, %.2f of before%s\n", what[i], rates[i],
               rates[i] / rates[0], enough ? "" : ": TOO FEW");
        ok = ok && enough;
    }
    return ok;
}

bool torture_run(const char *which)
{
    if (strcmp(which, "bloat") == 0) return bloat();
    if (strcmp(which, "alarm") == 0) return alarm_for_a_while();
    if (strcmp(which, "redis") == 0) return redis_in_trouble();
    give_up("TORTURE is bloat, alarm or redis");
}
