/*
 * main.c - the process ledger-worker: settings, signals, the loop, the way out.
 */
#include "base/admin_http.h"
#include "base/config.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/version.h"
#include "protocol/names.h"
#include "worker/report.h"
#include "worker/worker.h"
#include "ledger/ledger.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct worker_settings values;

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_AMQP_URL", SETTING_TEXT, values.amqp_url, sizeof values.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ, amqp://user:password@host:port/vhost"},
    {"LEDGER_DATABASE_URL", SETTING_TEXT, values.database_url, sizeof values.database_url, "postgresql://127.0.0.1:5432/ledger",
     0, 0, NULL, true, "PostgreSQL, direct (not through a transaction pooler)"},
    {"LEDGER_DATABASE_ROLE", SETTING_TEXT, values.database_role, sizeof values.database_role, "ledger_worker",
     0, 0, NULL, false, "role taken on after login; empty keeps the login's"},
    {"LEDGER_REDIS_URL", SETTING_TEXT, values.redis_url, sizeof values.redis_url, "",
     0, 0, NULL, true, "Redis, redis://[:password@]host:port/db; empty: none is used"},
    {"LEDGER_REDIS_TIMEOUT_MS", SETTING_NUMBER, &values.redis_timeout_ms, 0, "50",
     1, 10000, NULL, false, "longest wait for Redis"},
    {"LEDGER_REDIS_TTL_S", SETTING_NUMBER, &values.redis_ttl_s, 0, "86400",
     1, 31536000, NULL, false, "how long Redis remembers a result"},
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
    {"LEDGER_DRAIN_TIMEOUT_MS", SETTING_NUMBER, &values.drain_timeout_ms, 0, "10000",
     100, 600000, NULL, false, "longest time to finish deliveries at SIGTERM"},
};
/* clang-format on */
enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

static void warn_unknown(const char *name)
{
    log_warn("unknown setting %s is ignored; --help lists all", name);
}

static bool settings_check(struct err *err)
{
    /* rabbitmq-c beats only inside its own calls, so a transaction must end sooner. */
    if (values.answer_timeout_ms * 2 > values.heartbeat_s * 1000)
        return err_set(err, ERR_FATAL,
                       "LEDGER_ANSWER_TIMEOUT_MS must be at most half of LEDGER_HEARTBEAT_S");
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
    log_info("stopping: finishing what was delivered");
    if (worker_drain(worker, err)) return true;
    log_warn("%s; it will be delivered again", err->text);
    return true;
}

static int run(void)
{
    struct admin *admin = NULL;
    struct worker *worker = NULL;
    struct err err = {0};
    bool ok;

    log_open("ledger-worker", (enum log_level)values.log_level);
    config_unknown(SETTINGS, SETTINGS_COUNT, warn_unknown);
    report_open((enum report_level)values.log_commands);
    (void)snprintf(values.name, sizeof values.name, "ledger-worker %ld", (long)getpid());
    ok = settings_check(&err) && stop_install(&err) &&
         admin_open(&admin, values.http_address, (uint16_t)values.http_port, &err) &&
         worker_open(&worker, &values, &err) && serve(worker, &err);
    if (!ok) log_error("stopped: %s", err.text);
    worker_close(worker);
    admin_close(admin);
    log_info("left");
    log_flush();
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    bool check = argc == 2 && strcmp(argv[1], "--check-config") == 0;

    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("ledger-worker %s - applies balance commands from RabbitMQ to PostgreSQL, exactly once\n\n"
               "usage: ledger-worker [--help | --version | --check-config]\n\n",
               LEDGER_VERSION);
        config_help(stdout, SETTINGS, SETTINGS_COUNT);
        return EXIT_SUCCESS;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("ledger-worker %s\n", LEDGER_VERSION);
        return EXIT_SUCCESS;
    }
    if (argc > 1 && !check) {
        fprintf(stderr, "ledger-worker: unknown argument '%s'; see --help\n", argv[1]);
        return 2;
    }
    if (!config_load(SETTINGS, SETTINGS_COUNT, &err)) {
        fprintf(stderr, "ledger-worker: %s\n", err.text);
        return 2;
    }
    if (check) {
        config_print(stdout, SETTINGS, SETTINGS_COUNT);
        return EXIT_SUCCESS;
    }
    return run();
}
