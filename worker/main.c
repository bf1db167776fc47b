/*
 * main.c - the process ledger-worker: settings, signals, the loop, the way out.
 */
#include "base/admin_http.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stop.h"
#include "ledger/ledger.h"
#include "protocol/names.h"
#include "worker/report.h"
#include "worker/worker.h"

#include <stdio.h>
#include <unistd.h>

static struct worker_settings values;

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_AMQP_URL", SETTING_TEXT, values.amqp_url, sizeof values.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ, amqp://user:password@host:port/vhost, or amqps:// with ?cacertfile=PATH behind it"},
    {"LEDGER_DATABASE_URL", SETTING_TEXT, values.database_url, sizeof values.database_url, "postgresql://127.0.0.1:5432/ledger",
     0, 0, NULL, true, "PostgreSQL, direct (not through a transaction pooler)"},
    {"LEDGER_DATABASE_ROLE", SETTING_TEXT, values.database_role, sizeof values.database_role, "ledger_worker",
     0, 0, NULL, false, "role taken on after login; empty keeps the login's"},
    {"LEDGER_REDIS_URL", SETTING_TEXT, values.redis_url, sizeof values.redis_url, "",
     0, 0, NULL, true, "Redis, redis://[[user]:password@]host[:port][/database], or rediss:// with ?cacertfile=PATH behind it; empty: none is used"},
    {"LEDGER_REDIS_TIMEOUT_MS", SETTING_NUMBER, &values.redis_timeout_ms, 0, "50",
     1, 10000, NULL, false, "longest wait for Redis"},
    {"LEDGER_REDIS_TTL_S", SETTING_NUMBER, &values.redis_ttl_s, 0, "86400",
     1, 31536000, NULL, false, "how long Redis remembers a result"},
    {"LEDGER_REDIS_BATCH_MIN", SETTING_NUMBER, &values.redis_batch_min, 0, "4",
     1, BATCH_COMMANDS_MAX, NULL, false, "commands from which on Redis is asked before the database"},
    {"LEDGER_HTTP_ADDRESS", SETTING_TEXT, values.http_address, sizeof values.http_address, "0.0.0.0",
     0, 0, NULL, false, "address of /metrics and /health"},
    {"LEDGER_HTTP_PORT", SETTING_NUMBER, &values.http_port, 0, "8000",
     0, 65535, NULL, false, "port of /metrics and /health; 0 takes a free one"},
    {"LEDGER_LOG_LEVEL", SETTING_CHOICE, &values.log_level, 0, "info",
     0, 0, LOG_LEVEL_CHOICES, false, "least level that is logged"},
    {"LEDGER_LOG_COMMANDS", SETTING_CHOICE, &values.log_commands, 0, "all",
     0, 0, REPORT_LEVEL_CHOICES, false, "which commands get a log line"},
    {"LEDGER_PREFIX", SETTING_TEXT, values.prefix, sizeof values.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
    {"LEDGER_SHARDS", SETTING_NUMBER, &values.shards, 0, "8",
     1, SHARDS_MAX, NULL, false, "shard queues; the same for every worker, never changed in use"},
    {"LEDGER_PREFETCH", SETTING_NUMBER, &values.prefetch, 0, "500",
     1, 65535, NULL, false, "unacknowledged messages a shard"},
    {"LEDGER_BATCH_MAX", SETTING_NUMBER, &values.batch_max, 0, "1000",
     1, BATCH_COMMANDS_MAX, NULL, false, "commands in one transaction at most"},
    {"LEDGER_DIRECT_REPLIES", SETTING_NUMBER, &values.direct_replies, 0, "128",
     0, BATCH_COMMANDS_MAX, NULL, false, "replies of a batch that are sent without the outbox, if no more; 0: none"},
    {"LEDGER_CRASH_LIMIT", SETTING_NUMBER, &values.crash_limit, 0, "3",
     1, 100, NULL, false, "workers that may die over one message before it is dead-lettered unread"},
    {"LEDGER_TOPOLOGY", SETTING_CHOICE, &values.topology_mode, 0, "declare",
     0, 0, TOPOLOGY_MODE_CHOICES, false, "declare exchanges and queues, check them, or trust"},
    {"LEDGER_EVENT_FORMAT", SETTING_CHOICE, &values.event_encoding, 0, "msgpack",
     0, 0, "msgpack|json", false, "encoding of events (a reply has its request's)"},
    {"LEDGER_HEARTBEAT_S", SETTING_NUMBER, &values.heartbeat_s, 0, "20",
     5, 600, NULL, false, "AMQP heartbeat"},
    {"LEDGER_TIMEOUT_MS", SETTING_NUMBER, &values.timeout_ms, 0, "5000",
     100, 60000, NULL, false, "longest wait for a connection or the broker's answer"},
    {"LEDGER_ANSWER_TIMEOUT_MS", SETTING_NUMBER, &values.answer_timeout_ms, 0, "8000",
     100, 60000, NULL, false, "longest wait for PostgreSQL; under half the heartbeat"},
    {"LEDGER_BALANCE_EVERY_MS", SETTING_NUMBER, &values.balance_every_ms, 0, "1000",
     50, 60000, NULL, false, "how often the shares of shards are looked at"},
};
/* clang-format on */
enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

static bool settings_check(struct err *err)
{
    /* rabbitmq-c beats only inside its own calls, so a transaction must end sooner. */
    if (values.answer_timeout_ms * 2 > values.heartbeat_s * 1000)
        return err_set(err, ERR_FATAL,
                       "LEDGER_ANSWER_TIMEOUT_MS must be at most half of LEDGER_HEARTBEAT_S");
    return true;
}

static bool listen_to_http(struct admin **admin, struct err *err)
{
    if (!admin_open(admin, values.http_address, (uint16_t)values.http_port, err)) return false;
    process_listens("metrics and health", admin_port(*admin));
    return true;
}

static bool serve(struct worker *worker, struct err *err)
{
    while (!stop_requested()) {
        if (worker_turn(worker, err)) continue;
        if (err->kind == ERR_FATAL) return false;
        log_warn("will try again: %s", err->text);
        worker_pause(worker);
    }
    log_info("stopping: finishing the batch in hand");
    if (worker_drain(worker, err)) return true;
    log_warn("%s; it will be delivered again", err->text);
    return true;
}

static bool run(struct err *err)
{
    struct admin *admin = NULL;
    struct worker *worker = NULL;
    bool ok;

    report_open((enum report_level)values.log_commands);
    (void)snprintf(values.name, sizeof values.name, "ledger-worker %ld", (long)getpid());
    ok = listen_to_http(&admin, err) && worker_open(&worker, &values, err) && serve(worker, err);
    worker_close(worker);
    admin_close(admin);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct process process = {
        .name = "ledger-worker",
        .purpose = "applies balance commands from RabbitMQ to PostgreSQL, exactly once",
        .settings = SETTINGS,
        .settings_count = SETTINGS_COUNT,
        .check = settings_check,
        .run = run};
    return process_main(&process, &values.log_level, argc, argv);
}
