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
    TABLES_SIZE = 512,
    P99_MOST_MS = 500,
    P99_NOISE_MS = 50,
    ROTATIONS_LEAST = 4, /* so that one that was filled has been emptied */
    BLOCKED_WITHIN_MS = 1000,
    LEAVE_WITHIN_MS = 15000,
    SUCCEED_WITHIN_MS = 10000,
    ALARM_LOOK_MS = 20,
    QUEUE_MS = 4000, /* of load, for the workers to go on with */
    SETTLED_MS = 3000,
};

static const char BLOCKED[] = "short of memory", LEADING[] = "leading, epoch";

static double setting_number(const char *name, double fallback)
{
    const char *given = getenv(name);

    return given != NULL && given[0] != '\0' ? strtod(given, NULL) : fallback;
}

static int64_t ask(const char *sql)
{
    int64_t number = inside_number(stage.urls[SERVER_POSTGRES], sql);

    if (number < 0) give_up("PostgreSQL has no answer to: %s", sql);
    return number;
}

/* --- bloat ------------------------------------------------------------------------------- */

struct sample {
    double p50_ms, p99_ms, answered; /* answered: a second */
    int64_t waiting, unpublished, dead_outbox, outbox_bytes;
    char tables[TABLES_SIZE];
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
    PGresult *result = PQexec(connection, "SELECT 1"); /* the server may have ended it silently */

    if (PQresultStatus(result) != PGRES_TUPLES_OK ||
        PQtransactionStatus(connection) != PQTRANS_INTRANS)
        give_up("the %s did not last", whose);
    PQclear(result);
    PQfinish(connection);
}

/* Rows that the saved cursor has not passed; it is saved four times a second. */
static const char UNPUBLISHED[] =
    "WITH seen AS MATERIALIZED (SELECT snapshot FROM ledger.outbox_cursor)"
    " SELECT (SELECT count(*) FROM ledger.outbox"
    "          WHERE xid >= (SELECT pg_snapshot_xmax(snapshot) FROM seen))"
    "      + (SELECT count(*) FROM ledger.outbox"
    "          WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip(snapshot) FROM seen)))";
static const char DEAD[] = "SELECT sum(n_dead_tup)::int8 FROM pg_stat_user_tables"
                           " WHERE schemaname = 'ledger' AND relname ~ '^outbox_[0-9]$'";
static const char BYTES[] = "SELECT sum(pg_total_relation_size(relid))::int8"
                            "  FROM pg_stat_user_tables"
                            " WHERE schemaname = 'ledger' AND relname ~ '^outbox_[0-9]$'";
static const char TABLES[] =
    "SELECT string_agg(relname || ' ' || n_dead_tup || '/'"
    "                  || pg_total_relation_size(relid) / 1024, ', ' ORDER BY relname)"
    "  FROM pg_stat_user_tables"
    " WHERE schemaname = 'ledger'"
    "   AND (n_dead_tup > 0 OR relname ~ '^outbox_[0-9]$' OR pg_relation_size(relid) > 1 << 20)";

static void ask_text(const char *sql, char out[static TABLES_SIZE])
{
    PGconn *connection = PQconnectdb(stage.urls[SERVER_POSTGRES]);
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK) give_up("%s", PQerrorMessage(connection));
    (void)snprintf(out, TABLES_SIZE, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(connection);
}

static struct sample take_sample(void)
{
    static uint32_t answered_before;
    static uint64_t before_ms;
    uint64_t now_ms = clock_monotonic_ms();
    uint32_t answered = load.answered;
    struct sample sample = {.waiting = (int64_t)load.confirmed - answered,
                            .answered = (answered - answered_before) * 1000.0 /
                                        (double)(now_ms - before_ms)};

    answered_before = answered;
    before_ms = now_ms;
    collect_delays(&sample.p50_ms, &sample.p99_ms);
    sample.unpublished = ask(UNPUBLISHED);
    sample.dead_outbox = ask(DEAD);
    sample.outbox_bytes = ask(BYTES);
    ask_text(TABLES, sample.tables);
    return sample;
}

struct third { /* the worst of it; of answers the mean */
    double p99_ms, answered, waiting, unpublished, dead_outbox, outbox_mib;
};

static void worsen(double *worst, double value)
{
    if (value > *worst) *worst = value;
}

static struct third sum_up(const struct sample *samples, uint32_t count)
{
    struct third third = {0};

    for (uint32_t i = 0; i < count; i++) {
        worsen(&third.p99_ms, samples[i].p99_ms);
        worsen(&third.waiting, (double)samples[i].waiting);
        worsen(&third.unpublished, (double)samples[i].unpublished);
        worsen(&third.dead_outbox, (double)samples[i].dead_outbox);
        worsen(&third.outbox_mib, (double)samples[i].outbox_bytes / (1 << 20));
        third.answered += samples[i].answered / count;
    }
    return third;
}

/* Flat: at most double, or too little to tell from the noise of the machine. */
static bool is_flat(const char *what, double first, double last, double noise)
{
    bool flat = last <= 2 * first || last <= noise;

    printf("  %-36s %10.1f in the first third, %10.1f in the last: %s\n", what, first, last,
           flat ? "flat" : "NOT FLAT");
    return flat;
}

static bool judge_bloat(const struct sample *samples, uint32_t count)
{
    uint32_t third = count / 3, rotations = count_in_logs("ledger-relay", "next outbox partition");
    double second = load.rate;

    if (third == 0) give_up("too short to judge");
    struct third first = sum_up(samples, third), last = sum_up(&samples[count - third], third);
    struct third all = sum_up(samples, count);
    bool ok = is_flat("p99, worst of 10 s, ms", first.p99_ms, last.p99_ms, P99_NOISE_MS);
    ok = is_flat("commands without an answer", first.waiting, last.waiting, second) && ok;
    ok =
        is_flat("outbox rows not published", first.unpublished, last.unpublished, 4 * second) && ok;
    bool fast = last.p99_ms < P99_MOST_MS, kept_up = last.answered >= 0.9 * second;
    bool rotated = rotations >= ROTATIONS_LEAST;
    printf("  answered a second: %.0f, then %.0f of %.0f%s; p99 %s %d ms\n"
           "  dead tuples in the outbox at most %.0f; its size at most %.0f MiB; %u rotations%s\n",
           first.answered, last.answered, second, kept_up ? "" : ": TOO FEW",
           fast ? "below" : "NOT BELOW", P99_MOST_MS, all.dead_outbox, all.outbox_mib, rotations,
           rotated ? "" : ": TOO FEW");
    return ok && fast && kept_up && rotated && all.dead_outbox == 0;
}

static bool bloat(void)
{
    static struct sample samples[SAMPLES_MAX];
    uint64_t end_ms = clock_monotonic_ms() + (uint64_t)(setting_number("MINUTES", 10) * 60000);
    uint32_t count = 0;

    const char *held = getenv("HELD");
    bool control = held != NULL && strcmp(held, "no") == 0;
    PGconn *reader = control ? NULL
                             : hold(stage.urls[SERVER_POSTGRES],
                                    "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM "
                                    "ledger.account");
    PGconn *writer = control ? NULL : hold(stage.admin_url, "BEGIN; SELECT pg_current_xact_id()");
    printf("%s\n%8s %25s %9s %8s %12s  %s\n",
           control ? "nothing is held: what the machine does by itself"
                   : "a reader holds a snapshot here, a writer a transaction in another database",
           "", "commit to event, p50/p99", "answers/s", "waiting", "unpublished",
           "table: dead tuples/KiB");
    stage_pause(SAMPLE_MS);
    (void)take_sample();
    while (clock_monotonic_ms() < end_ms && count < SAMPLES_MAX && !stop_requested()) {
        stage_pause(SAMPLE_MS);
        struct sample *sample = &samples[count++];
        *sample = take_sample();
        printf("%6u s %10.1f / %9.1f ms %9.0f %8" PRId64 " %12" PRId64 "  %s\n",
               count * SAMPLE_MS / 1000, sample->p50_ms, sample->p99_ms, sample->answered,
               sample->waiting, sample->unpublished, sample->tables);
        (void)fflush(stdout);
    }
    if (!control) let_go(reader, "reader");
    if (!control) let_go(writer, "writer");
    return judge_bloat(samples, count);
}

/* --- a memory alarm ---------------------------------------------------------------------- */

static const char OUTCOMES[] = "SELECT count(*) FROM ledger.journal";
/* The lock of the lead is on one key of 64 bits. */
static const char LEADER[] =
    "SELECT split_part(application_name, ' ', 2)::int8 FROM pg_locks JOIN pg_stat_activity "
    "USING (pid) WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND datname = current_database() AND application_name LIKE 'ledger-relay %'";

static void set_broker_memory(const char *limit)
{
    const char *const arguments[] = {"set_vm_memory_high_watermark", "absolute", limit, NULL};

    if (!broker_do(arguments)) give_up("the memory of RabbitMQ could not be set to %s", limit);
}

/* Until the relays have logged these words once more. */
static bool said_again(const char *words, uint32_t before, uint32_t within_ms, uint32_t *after_ms)
{
    uint64_t from_ms = clock_monotonic_ms();

    while (count_in_logs("ledger-relay", words) <= before) {
        if (clock_monotonic_ms() - from_ms > within_ms) return false;
        stage_pause(ALARM_LOOK_MS);
    }
    *after_ms = (uint32_t)(clock_monotonic_ms() - from_ms);
    return true;
}

/* Publishers are blocked too: what workers go on with has been queued before, while they stood
 * still. Seven of eight messages are the first of their key, and so become an outcome. */
static bool drained_while_blocked(uint32_t within_ms)
{
    uint32_t before = count_in_logs("ledger-relay", BLOCKED), blocked_ms = 0;

    for (uint32_t i = 0; i < 2; i++)
        if (!process_freeze(&stage.processes[i])) give_up("a worker does not stand still");
    clock_sleep_ms(QUEUE_MS);
    int64_t outcomes = ask(OUTCOMES), decided = 0;
    set_broker_memory("1MB");
    int64_t queued = (int64_t)load.confirmed - load.answered;
    for (uint32_t i = 0; i < 2; i++) process_thaw(&stage.processes[i]);
    uint64_t from_ms = clock_monotonic_ms();
    bool said = said_again(BLOCKED, before, 10 * BLOCKED_WITHIN_MS, &blocked_ms);
    bool in_time = said && blocked_ms <= BLOCKED_WITHIN_MS;
    while (decided * 10 < queued * 8 && clock_monotonic_ms() - from_ms < within_ms) {
        stage_pause(ALARM_LOOK_MS);
        decided = ask(OUTCOMES) - outcomes;
    }
    bool drained = queued > 0 && decided * 10 >= queued * 8;
    printf("the relay %s after %u ms%s\nof %" PRId64 " queued commands workers decided %" PRId64
           " within %ju ms%s\n",
           said ? "said that it is blocked" : "DID NOT SAY that it is blocked", blocked_ms,
           in_time ? "" : ": TOO LATE", queued, decided,
           (uintmax_t)(clock_monotonic_ms() - from_ms), drained ? "" : ": TOO FEW");
    return in_time && drained;
}

/* SIGTERM to the one that leads; another one leads, and finds itself blocked as well. */
static bool succeeded_while_blocked(void)
{
    uint32_t leading = count_in_logs("ledger-relay", LEADING);
    uint32_t blocked = count_in_logs("ledger-relay", BLOCKED), leading_ms = 0, blocked_ms = 0, i;
    int64_t leader = ask(LEADER);

    for (i = 2; i < PROCESSES_COUNT && stage.processes[i].pid != leader; i++) continue;
    if (i == PROCESSES_COUNT) give_up("no relay leads");
    uint64_t from_ms = clock_monotonic_ms();
    bool left = process_end(&stage.processes[i], LEAVE_WITHIN_MS);
    uint64_t left_ms = clock_monotonic_ms() - from_ms;
    bool succeeded = said_again(LEADING, leading, SUCCEED_WITHIN_MS, &leading_ms) &&
                     said_again(BLOCKED, blocked, SUCCEED_WITHIN_MS, &blocked_ms);
    printf("%s, blocked, left %s %ju ms after SIGTERM; another %s (%u ms)\n",
           stage.processes[i].name, left ? "cleanly" : "NOT CLEANLY", (uintmax_t)left_ms,
           succeeded ? "leads, and says that it is blocked" : "DID NOT FOLLOW",
           leading_ms + blocked_ms);
    return left && succeeded;
}

static bool alarm_for_a_while(void)
{
    uint32_t hold_ms = (uint32_t)(setting_number("HOLD", 60) * 1000), took_ms;

    stage_pause(SETTLED_MS);
    uint64_t blocked_polls = load.blocked, from_ms = clock_monotonic_ms();
    bool ok = drained_while_blocked(hold_ms / 2);
    for (uint32_t i = 0; i < 2; i++) ok = succeeded_while_blocked() && ok;
    took_ms = (uint32_t)(clock_monotonic_ms() - from_ms);
    if (took_ms < hold_ms) stage_pause(hold_ms - took_ms);
    uint32_t answered = load.answered;
    bool blocked = load.blocked > blocked_polls;
    set_broker_memory("2GB");
    took_ms = (uint32_t)(clock_monotonic_ms() - from_ms);
    stage_pause(SETTLED_MS);
    bool resumed = load.answered > answered;
    printf("alarm for %u ms: publishers %s, and %s\n", took_ms,
           blocked ? "were blocked" : "WERE NOT BLOCKED",
           resumed ? "answers came again" : "NO ANSWER CAME AGAIN");
    return ok && blocked && resumed;
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

/* Each trouble between two spells without: the machine's own speed drifts, and what counts is what
 * the trouble costs. */
enum { TROUBLES = 3 };

static void begin_trouble(uint32_t trouble)
{
    if (trouble == 1) proxy_delay(stage.proxies[SERVER_REDIS], 1000);
    if (trouble == 2 && !server_do("kill", SERVER_REDIS, NULL))
        give_up("Redis could not be killed");
}

static void end_trouble(uint32_t trouble)
{
    if (trouble == 1) proxy_heal(stage.proxies[SERVER_REDIS]);
    if (trouble == 2 && !server_do("start", SERVER_REDIS, NULL))
        give_up("Redis could not be started");
}

static bool is_enough(const char *what, double rate, double without)
{
    bool enough = rate * 100 >= without * setting_number("LEAST", 70);

    printf("Redis %-20s %8.0f answers/s, %.2f of what it is without%s\n", what, rate,
           rate / without, enough ? "" : ": TOO FEW");
    return enough;
}

static bool redis_in_trouble(void)
{
    static const char *const what[TROUBLES] = {"flushed each second", "slowed to a second",
                                               "killed"};
    uint32_t seconds = (uint32_t)setting_number("HOLD", 20);
    uint64_t delayed = proxy_counts(stage.proxies[SERVER_REDIS]).delayed;
    double without[TROUBLES + 1], with[TROUBLES];
    bool ok = true;

    without[0] = answered_per_second(seconds, false);
    for (uint32_t i = 0; i < TROUBLES; i++) {
        begin_trouble(i);
        with[i] = answered_per_second(seconds, i == 0);
        end_trouble(i);
        without[i + 1] = answered_per_second(seconds, false);
        ok = is_enough(what[i], with[i], (without[i] + without[i + 1]) / 2) && ok;
    }
    if (proxy_counts(stage.proxies[SERVER_REDIS]).delayed == delayed) give_up("nothing was slowed");
    if (without[0] > 0.95 * load.rate) printf("paced at %u: this is not full load\n", load.rate);
    return is_enough("back again", without[TROUBLES], (without[0] + without[1]) / 2) && ok;
}

bool torture_run(const char *which)
{
    if (strcmp(which, "bloat") == 0) return bloat();
    if (strcmp(which, "alarm") == 0) return alarm_for_a_while();
    if (strcmp(which, "redis") == 0) return redis_in_trouble();
    give_up("TORTURE is bloat, alarm or redis");
}
