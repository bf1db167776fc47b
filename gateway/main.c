/*
 * main.c - the process ledger-gateway: settings, signals, the loop, the way out.
 */
#include "base/clock.h"
#include "base/health.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stop.h"
#include "gateway/server_http.h"
#include "gateway/traffic.h"
#include "protocol/names.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { TURN_MS = 100, FILES_BESIDE = 256, LEAVE_SLACK_MS = 2000 };

static struct {
    char amqp_url[512], prefix[PREFIX_LENGTH_MAX + 1], name[64];
    char http_address[64], app_id[CALLER_LENGTH_MAX + 1];
    uint32_t http_port, threads, links, calls_max, connections_max, per_address_max;
    uint32_t header_max, body_max, idle_s, request_s;
    uint32_t reply_timeout_ms, timeout_ms, log_level, log_requests;
} values;

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_AMQP_URL", SETTING_TEXT, values.amqp_url, sizeof values.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ, amqp://user:password@host:port/vhost"},
    {"LEDGER_PREFIX", SETTING_TEXT, values.prefix, sizeof values.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
    {"LEDGER_HTTP_ADDRESS", SETTING_TEXT, values.http_address, sizeof values.http_address, "0.0.0.0",
     0, 0, NULL, false, "address to listen on"},
    {"LEDGER_HTTP_PORT", SETTING_NUMBER, &values.http_port, 0, "8000",
     0, 65535, NULL, false, "port to listen on; 0 takes a free one"},
    {"LEDGER_HTTP_APP_ID", SETTING_TEXT, values.app_id, sizeof values.app_id, "http",
     0, 0, NULL, false, "namespace of the idempotency keys of callers without a name"},
    {"LEDGER_HTTP_THREADS", SETTING_NUMBER, &values.threads, 0, "2",
     1, 64, NULL, false, "threads that serve connections"},
    {"LEDGER_HTTP_LINKS", SETTING_NUMBER, &values.links, 0, "2",
     1, CALLS_CONNECTIONS_MAX, NULL, false, "connections to RabbitMQ"},
    {"LEDGER_HTTP_CALLS_MAX", SETTING_NUMBER, &values.calls_max, 0, "2048",
     1, 65536, NULL, false, "calls to the ledger under way on each of these; more is answered 503"},
    {"LEDGER_HTTP_CONNECTIONS_MAX", SETTING_NUMBER, &values.connections_max, 0, "12000",
     64, 100000, NULL, false, "connections of clients; the last eighth is for newcomers"},
    {"LEDGER_HTTP_PER_ADDRESS_MAX", SETTING_NUMBER, &values.per_address_max, 0, "0",
     0, 100000, NULL, false, "of these from one address; 0: any number"},
    {"LEDGER_HTTP_HEADER_MAX", SETTING_NUMBER, &values.header_max, 0, "16384",
     4096, 262144, NULL, false, "bytes of memory for a request's line and headers"},
    {"LEDGER_HTTP_BODY_MAX", SETTING_NUMBER, &values.body_max, 0, "1048576",
     1024, BODY_SIZE_MAX, NULL, false, "bytes of a body"},
    {"LEDGER_HTTP_IDLE_S", SETTING_NUMBER, &values.idle_s, 0, "60",
     1, 3600, NULL, false, "how long a connection may be kept without a whole request's headers"},
    {"LEDGER_HTTP_REQUEST_S", SETTING_NUMBER, &values.request_s, 0, "15",
     1, 3600, NULL, false, "how long a client may take to send a body, or to read an answer"},
    {"LEDGER_HTTP_REPLY_TIMEOUT_MS", SETTING_NUMBER, &values.reply_timeout_ms, 0, "5000",
     100, 60000, NULL, false, "longest wait for the ledger's reply; then 503"},
    {"LEDGER_TIMEOUT_MS", SETTING_NUMBER, &values.timeout_ms, 0, "5000",
     100, 60000, NULL, false, "longest wait for a connection"},
    {"LEDGER_LOG_LEVEL", SETTING_CHOICE, &values.log_level, 0, "info",
     0, 0, LOG_LEVEL_CHOICES, false, "least level that is logged"},
    {"LEDGER_LOG_REQUESTS", SETTING_CHOICE, &values.log_requests, 0, "failures",
     0, 0, TRAFFIC_LEVEL_CHOICES, false, "which requests get a log line"},
};
/* clang-format on */
enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof SETTINGS[0] };

/* As many open files as there may be connections. */
static bool allow_files(struct err *err)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)values.connections_max + FILES_BESIDE;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return err_set(err, ERR_FATAL, "could not ask for the limit of open files");
    if (limit.rlim_cur >= wanted) return true;
    if (limit.rlim_max >= wanted) {
        limit.rlim_cur = wanted;
        if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return true;
    }
    return err_set(err, ERR_FATAL,
                   "LEDGER_HTTP_CONNECTIONS_MAX: %u connections need %ju open files, and only %ju "
                   "are allowed (ulimit -n)",
                   values.connections_max, (uintmax_t)wanted, (uintmax_t)limit.rlim_max);
}

static void serve(struct server *server)
{
    while (!stop_requested()) {
        health_beat();
        server_sweep(server);
        log_flush();
        clock_sleep_ms(TURN_MS);
    }
}

/* What is under way is answered, as far as that takes no longer than any reply. */
static void leave(struct server *server)
{
    uint64_t until_ms = clock_monotonic_ms() + values.reply_timeout_ms + LEAVE_SLACK_MS;

    log_info("stopping: answering %u requests", server_quiesce(server));
    while (server_quiesce(server) > 0 && clock_monotonic_ms() < until_ms) clock_sleep_ms(10);
}

static bool run(struct err *err)
{
    static struct names names;
    struct gateway gateway = {.app_id = text_of(values.app_id), .body_max = values.body_max};
    struct server *server = NULL;
    struct calls_options calls = {.url = values.amqp_url,
                                  .name = values.name,
                                  .connections = values.links,
                                  .in_flight_max = values.calls_max,
                                  .reply_timeout_ms = values.reply_timeout_ms,
                                  .timeout_ms = values.timeout_ms};
    struct server_options http = {.address = values.http_address,
                                  .port = (uint16_t)values.http_port,
                                  .threads = values.threads,
                                  .connections_max = values.connections_max,
                                  .per_address_max = values.per_address_max,
                                  .header_max = values.header_max,
                                  .idle_s = values.idle_s,
                                  .request_s = values.request_s};

    (void)snprintf(values.name, sizeof values.name, "ledger-gateway %ld", (long)getpid());
    health_require(HEALTH_RABBITMQ);
    traffic_open((enum traffic_level)values.log_requests);
    bool ok = allow_files(err) && names_make(&names, values.prefix, 1, err) &&
              calls_open(&gateway.calls, &calls, err);
    gateway.exchange = text_of(names.commands);
    ok = ok && server_open(&server, &http, &gateway, err);
    if (ok) {
        log_info("HTTP on port %u", (unsigned)server_port(server));
        serve(server);
        leave(server);
    }
    if (gateway.calls != NULL) calls_stop(gateway.calls); /* what still waits is answered now */
    while (server != NULL && server_quiesce(server) > 0) clock_sleep_ms(10);
    server_close(server);
    calls_close(gateway.calls);
    return ok;
}

int main(int argc, char **argv)
{
    static const struct process process = {
        .name = "ledger-gateway",
        .purpose = "the ledger over HTTP: commands and queries as RPC through RabbitMQ",
        .settings = SETTINGS,
        .settings_count = SETTINGS_COUNT,
        .run = run};
    return process_main(&process, &values.log_level, argc, argv);
}
