/*
 * main.c - the process ledger-relay: settings, signals, the loop, the way out.
 */
#include "base/admin_http.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stop.h"
#include "base/topology_amqp.h"
#include "outbox/dead_watch_amqp.h"
#include "outbox/relay_process.h"
#include "protocol/names.h"

#include <stdio.h>
#include <unistd.h>

static struct relay_settings values;

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_SINK", SETTING_CHOICE, &values.sink, 0, "amqp",
     0, 0, SINK_CHOICES, false, "where messages go: all to RabbitMQ, or events to Kafka as well, by a relay of its own"},
    {"LEDGER_KAFKA_BROKERS", SETTING_TEXT, values.kafka_brokers, sizeof values.kafka_brokers, "127.0.0.1:9092",
     0, 0, NULL, false, "Kafka, host:port,host:port; with LEDGER_SINK=kafka"},
    {"LEDGER_KAFKA_TOPIC", SETTING_TEXT, values.kafka_topic, sizeof values.kafka_topic, "ledger.events",
     0, 0, NULL, false, "the topic that gets all events"},
    {"LEDGER_KAFKA_SETTINGS", SETTING_TEXT, values.kafka_settings, sizeof values.kafka_settings, "",
     0, 0, NULL, true, "further settings of librdkafka, name=value on a line each: TLS, SASL, compression"},
    {"LEDGER_AMQP_URL", SETTING_TEXT, values.amqp_url, sizeof values.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ, amqp://user:password@host:port/vhost, or amqps:// with ?cacertfile=PATH behind it"},
    {"LEDGER_DATABASE_URL", SETTING_TEXT, values.database_url, sizeof values.database_url, "postgresql://127.0.0.1:5432/ledger",
     0, 0, NULL, true, "PostgreSQL, direct (not through a transaction pooler)"},
    {"LEDGER_DATABASE_ROLE", SETTING_TEXT, values.database_role, sizeof values.database_role, "ledger_relay",
     0, 0, NULL, false, "role taken on after login; empty keeps the login's"},
    {"LEDGER_HTTP_ADDRESS", SETTING_TEXT, values.http_address, sizeof values.http_address, "0.0.0.0",
     0, 0, NULL, false, "address of /metrics and /health"},
    {"LEDGER_HTTP_PORT", SETTING_NUMBER, &values.http_port, 0, "8000",
     0, 65535, NULL, false, "port of /metrics and /health; 0 takes a free one"},
    {"LEDGER_LOG_LEVEL", SETTING_CHOICE, &values.log_level, 0, "info",
     0, 0, LOG_LEVEL_CHOICES, false, "least level that is logged"},
    {"LEDGER_PREFIX", SETTING_TEXT, values.prefix, sizeof values.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
    {"LEDGER_SHARDS", SETTING_NUMBER, &values.shards, 0, "8",
     1, SHARDS_MAX, NULL, false, "shard queues, for the topology; as the workers have it"},
    {"LEDGER_TOPOLOGY", SETTING_CHOICE, &values.topology_mode, 0, "declare",
     0, 0, TOPOLOGY_MODE_CHOICES, false, "declare exchanges and queues, check them, or trust"},
    {"LEDGER_RELAY_WINDOW", SETTING_NUMBER, &values.window, 0, "1024",
     1, 4096, NULL, false, "messages published and not yet confirmed, at most"},
    {"LEDGER_OUTBOX_ROWS_MAX", SETTING_NUMBER, &values.rows_max, 0, "1000000",
     1, UINT32_MAX, NULL, false, "rows in an outbox partition before the next is begun"},
    {"LEDGER_OUTBOX_AGE_MAX_S", SETTING_NUMBER, &values.age_max_s, 0, "86400",
     1, UINT32_MAX, NULL, false, "age of an outbox partition before the next is begun"},
    {"LEDGER_SAVE_EVERY_MS", SETTING_NUMBER, &values.save_every_ms, 0, "250",
     0, 60000, NULL, false, "how often the cursor is saved; a crash repeats what came since"},
    {"LEDGER_POLL_MS", SETTING_NUMBER, &values.poll_ms, 0, "10",
     1, 1000, NULL, false, "time between two looks at the outbox while there is little in it"},
    {"LEDGER_DEAD_WATCH_S", SETTING_NUMBER, &values.dead_watch_s, 0, "15",
     0, 86400, NULL, false, "how often the dead letters are counted; 0 never"},
    {"LEDGER_HEARTBEAT_S", SETTING_NUMBER, &values.heartbeat_s, 0, "20",
     5, 600, NULL, false, "AMQP heartbeat"},
    {"LEDGER_TIMEOUT_MS", SETTING_NUMBER, &values.timeout_ms, 0, "5000",
     100, 60000, NULL, false, "longest wait for a connection or the broker's answer"},
    {"LEDGER_ANSWER_TIMEOUT_MS", SETTING_NUMBER, &values.answer_timeout_ms, 0, "8000",
     100, 60000, NULL, false, "longest wait for PostgreSQL; under half the heartbeat"},
    {"LEDGER_READ_TIMEOUT_MS", SETTING_NUMBER, &values.read_timeout_ms, 0, "120000",
     100, 3600000, NULL, false, "longest wait for a backlog to be sorted, and of a backlog for the broker"},
};
/* clang-format on */
enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

static bool settings_check(struct err *err)
{
    /* Heartbeats are sent between calls to the database, so those must end sooner. */
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

static bool serve(struct relay_process *process, struct err *err)
{
    while (!stop_requested()) {
        bool ok = relay_process_turn(process, err);
        log_flush();
        if (ok) continue;
        if (err->kind == ERR_FATAL) return false;
        log_warn("will try again: %s", err->text);
        relay_process_pause(process);
    }
    log_info("stopping: waiting for confirms");
    if (relay_process_settle(process, err)) return true;
    log_warn("%s; what was not confirmed will be sent again", err->text);
    return true;
}

static bool run(struct err *err)
{
    struct admin *admin = NULL;
    struct relay_process *process = NULL;
    struct dead_watch *watch = NULL;
    bool ok;

    bool to_kafka = values.sink == SINK_KAFKA;
    (void)snprintf(values.name, sizeof values.name, "ledger-relay%s %ld", to_kafka ? "-kafka" : "",
                   (long)getpid());
    ok = listen_to_http(&admin, err) && relay_process_open(&process, &values, err) &&
         (to_kafka || dead_watch_open(&watch, &values, err)) && serve(process, err);
    dead_watch_close(watch);
    relay_process_close(process);
    admin_close(admin);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct process process = {
        .name = "ledger-relay",
        .purpose = "publishes the outbox of committed commands to RabbitMQ or Kafka, at least once",
        .settings = SETTINGS,
        .settings_count = SETTINGS_COUNT,
        .check = settings_check,
        .run = run};
    return process_main(&process, &values.log_level, argc, argv);
}
