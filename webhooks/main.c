/*
 * main.c - the process ledger-webhooks: settings, signals, the loop, the way out.
 */
#include "base/admin_http.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stop.h"
#include "webhooks/dispatcher.h"
#include "webhooks/schedule.h"

#include <stdio.h>
#include <unistd.h>

static struct dispatcher_settings values;

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_AMQP_URL", SETTING_TEXT, values.amqp_url, sizeof values.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ, amqp://user:password@host:port/vhost, or amqps:// with ?cacertfile=PATH behind it"},
    {"LEDGER_DATABASE_URL", SETTING_TEXT, values.database_url, sizeof values.database_url, "postgresql://127.0.0.1:5432/ledger",
     0, 0, NULL, true, "PostgreSQL, with the endpoints"},
    {"LEDGER_DATABASE_ROLE", SETTING_TEXT, values.database_role, sizeof values.database_role, "ledger_webhooks",
     0, 0, NULL, false, "role taken on after login; empty keeps the login's"},
    {"LEDGER_PREFIX", SETTING_TEXT, values.prefix, sizeof values.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
    {"LEDGER_WEBHOOK_SCHEDULE", SETTING_TEXT, values.schedule, sizeof values.schedule, SCHEDULE_DEFAULT,
     0, 0, NULL, false, "seconds before the second try, the third, ...; after the last: a dead letter"},
    {"LEDGER_WEBHOOK_TIMEOUT_MS", SETTING_NUMBER, &values.post_timeout_ms, 0, "15000",
     100, 60000, NULL, false, "longest wait for an endpoint's answer"},
    {"LEDGER_WEBHOOK_CONNECT_TIMEOUT_MS", SETTING_NUMBER, &values.connect_timeout_ms, 0, "5000",
     100, 60000, NULL, false, "of that, for the connection"},
    {"LEDGER_WEBHOOK_PER_ENDPOINT", SETTING_NUMBER, &values.per_endpoint, 0, "4",
     1, 64, NULL, false, "posts to one endpoint at once"},
    {"LEDGER_WEBHOOK_PRIVATE", SETTING_BOOL, &values.allow_private, 0, "off",
     0, 0, NULL, false, "on: http, and addresses that are not public, are posted to as well"},
    {"LEDGER_WEBHOOK_CA", SETTING_TEXT, values.ca_file, sizeof values.ca_file, "",
     0, 0, NULL, false, "file with the authorities that may vouch for endpoints; empty: the system's"},
    {"LEDGER_WEBHOOK_KEEP_DAYS", SETTING_NUMBER, &values.keep_days, 0, "14",
     1, 3650, NULL, false, "how long attempts stay on record"},
    {"LEDGER_HTTP_ADDRESS", SETTING_TEXT, values.http_address, sizeof values.http_address, "0.0.0.0",
     0, 0, NULL, false, "address of /metrics and /health"},
    {"LEDGER_HTTP_PORT", SETTING_NUMBER, &values.http_port, 0, "8000",
     0, 65535, NULL, false, "port of /metrics and /health; 0 takes a free one"},
    {"LEDGER_LOG_LEVEL", SETTING_CHOICE, &values.log_level, 0, "info",
     0, 0, LOG_LEVEL_CHOICES, false, "least level that is logged"},
    {"LEDGER_TIMEOUT_MS", SETTING_NUMBER, &values.timeout_ms, 0, "5000",
     100, 60000, NULL, false, "longest wait for a connection, or for PostgreSQL"},
};
/* clang-format on */
enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

static bool check(struct err *err)
{
    struct schedule schedule;

    return schedule_parse(values.schedule, &schedule) ||
           err_set(
               err, ERR_FATAL,
               "LEDGER_WEBHOOK_SCHEDULE: must be up to %d numbers of seconds, as " SCHEDULE_DEFAULT,
               SCHEDULE_MAX);
}

static bool serve(struct dispatcher *dispatcher, struct err *err)
{
    while (!stop_requested()) {
        bool ok = dispatcher_turn(dispatcher, err);
        log_flush();
        if (ok) continue;
        if (err->kind == ERR_FATAL) return false;
        log_warn("will try again: %s", err->text);
        dispatcher_pause(dispatcher);
    }
    dispatcher_leave(dispatcher);
    return true;
}

static bool run(struct err *err)
{
    struct admin *admin = NULL;
    struct dispatcher *dispatcher = NULL;

    (void)snprintf(values.name, sizeof values.name, "ledger-webhooks %ld", (long)getpid());
    bool ok = admin_open(&admin, values.http_address, (uint16_t)values.http_port, err);
    if (ok) process_listens("metrics and health", admin_port(admin));
    ok = ok && dispatcher_open(&dispatcher, &values, err) && serve(dispatcher, err);
    dispatcher_close(dispatcher);
    admin_close(admin);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct process process = {.name = "ledger-webhooks",
                                           .purpose =
                                               "posts events to the endpoints that asked for them",
                                           .settings = SETTINGS,
                                           .settings_count = SETTINGS_COUNT,
                                           .check = check,
                                           .run = run};
    return process_main(&process, &values.log_level, argc, argv);
}
