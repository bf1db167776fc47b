/*
 * main.c - the process ledger-gateway: settings, signals, the loop, the way out.
 */
#include "base/clock.h"
#include "base/health.h"
#include "base/log.h"
#include "base/process.h"
#include "base/stop.h"
#include "gateway/certificate.h"
#include "gateway/server_http.h"
#include "gateway/traffic.h"
#include "protocol/names.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { KEYS_PERIOD_MS = 1000, CALLERS_TOLD_APART = 65536 };
enum { LOOK_EVERY_TURNS = 10 }; /* at the certificate's files */
enum { TURN_MS = 100, FILES_BESIDE = 256, LEAVE_SLACK_MS = 2000 };

static struct {
    char amqp_url[512], prefix[PREFIX_LENGTH_MAX + 1], name[64];
    char http_address[64], app_id[CALLER_LENGTH_MAX + 1];
    uint32_t http_port, threads, links, calls_max, connections_max, per_address_max;
    uint32_t header_max, body_max, bodies_mib, idle_s, request_s;
    uint32_t reply_timeout_ms, timeout_ms, log_level, log_requests;
    char tls_cert[256], tls_key[256];
    char redis_url[512], database_url[512], database_role[64];
    char jwks[256], issuer[256], audience[256], algorithms[64], claim[64];
    uint32_t redis_timeout_ms, cache_ttl_s, cache_near, auth, auth_stale_s, leeway_s, rate,
        rate_burst;
    bool cache_transactions, auth_user_id;
} values;

/* clang-format off */
static const struct setting SETTINGS[] = {
    {"LEDGER_AMQP_URL", SETTING_TEXT, values.amqp_url, sizeof values.amqp_url, "amqp://guest:guest@127.0.0.1:5672/",
     0, 0, NULL, true, "RabbitMQ, amqp://user:password@host:port/vhost, or amqps:// with ?cacertfile=PATH behind it"},
    {"LEDGER_PREFIX", SETTING_TEXT, values.prefix, sizeof values.prefix, "ledger",
     0, 0, NULL, false, "first word of every exchange and queue name"},
    {"LEDGER_HTTP_ADDRESS", SETTING_TEXT, values.http_address, sizeof values.http_address, "0.0.0.0",
     0, 0, NULL, false, "address to listen on"},
    {"LEDGER_HTTP_PORT", SETTING_NUMBER, &values.http_port, 0, "8000",
     0, 65535, NULL, false, "port to listen on; 0 takes a free one"},
    {"LEDGER_HTTP_TLS_CERT", SETTING_TEXT, values.tls_cert, sizeof values.tls_cert, "",
     0, 0, NULL, false, "file with the certificate and its chain (PEM), for HTTPS alone; read again when it changes; empty: HTTP"},
    {"LEDGER_HTTP_TLS_KEY", SETTING_TEXT, values.tls_key, sizeof values.tls_key, "",
     0, 0, NULL, false, "file with its key (PEM); read again when it changes"},
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
    {"LEDGER_HTTP_BODIES_MIB", SETTING_NUMBER, &values.bodies_mib, 0, "256",
     1, 65536, NULL, false, "MiB of all bodies that are being received; more is answered 503"},
    {"LEDGER_HTTP_IDLE_S", SETTING_NUMBER, &values.idle_s, 0, "60",
     1, 3600, NULL, false, "how long a connection may be kept without a whole request's headers"},
    {"LEDGER_HTTP_REQUEST_S", SETTING_NUMBER, &values.request_s, 0, "15",
     1, 3600, NULL, false, "how long a client may take to send a body, or to read an answer"},
    {"LEDGER_HTTP_REPLY_TIMEOUT_MS", SETTING_NUMBER, &values.reply_timeout_ms, 0, "5000",
     100, 60000, NULL, false, "longest wait for the ledger's reply; then 503"},
    {"LEDGER_TIMEOUT_MS", SETTING_NUMBER, &values.timeout_ms, 0, "5000",
     100, 60000, NULL, false, "longest wait for a connection"},
    {"LEDGER_REDIS_URL", SETTING_TEXT, values.redis_url, sizeof values.redis_url, "",
     0, 0, NULL, true, "Redis, for the cache; redis://[[user]:password@]host[:port][/database], or rediss:// with ?cacertfile=PATH behind it; empty: none"},
    {"LEDGER_REDIS_TIMEOUT_MS", SETTING_NUMBER, &values.redis_timeout_ms, 0, "50",
     1, 10000, NULL, false, "longest wait for Redis; then the ledger is asked"},
    {"LEDGER_CACHE_TTL_S", SETTING_NUMBER, &values.cache_ttl_s, 0, "600",
     1, 86400, NULL, false, "how long a user or transaction is served from the cache at most"},
    {"LEDGER_CACHE_NEAR", SETTING_NUMBER, &values.cache_near, 0, "4096",
     0, 1048576, NULL, false, "of these in memory too, for 5 s each, at most 4 KiB; 0: none"},
    {"LEDGER_CACHE_TRANSACTIONS", SETTING_BOOL, &values.cache_transactions, 0, "on",
     0, 0, NULL, false, "off: users alone, so that not every event is sent here"},
    {"LEDGER_AUTH", SETTING_CHOICE, &values.auth, 0, "off",
     0, 0, AUTH_MODE_CHOICES, false, "how callers show who they are: not at all, an API key, a JSON Web Token"},
    {"LEDGER_AUTH_USER_ID", SETTING_BOOL, &values.auth_user_id, 0, "off",
     0, 0, NULL, false, "the caller is the policy's user_id as well; needs the broker's tag impersonator"},
    {"LEDGER_AUTH_STALE_S", SETTING_NUMBER, &values.auth_stale_s, 0, "60",
     1, 86400, NULL, false, "key: how long keys are good that PostgreSQL could not be asked about again"},
    {"LEDGER_DATABASE_URL", SETTING_TEXT, values.database_url, sizeof values.database_url, "postgresql://127.0.0.1:5432/ledger",
     0, 0, NULL, true, "key: PostgreSQL, with the keys of callers"},
    {"LEDGER_DATABASE_ROLE", SETTING_TEXT, values.database_role, sizeof values.database_role, "",
     0, 0, NULL, false, "key: role to take on after login, such as ledger_gateway; empty: the login's own"},
    {"LEDGER_JWT_JWKS", SETTING_TEXT, values.jwks, sizeof values.jwks, "",
     0, 0, NULL, false, "jwt: file with the issuer's public keys; read again when it changes"},
    {"LEDGER_JWT_ISSUER", SETTING_TEXT, values.issuer, sizeof values.issuer, "",
     0, 0, NULL, false, "jwt: what iss must be"},
    {"LEDGER_JWT_AUDIENCE", SETTING_TEXT, values.audience, sizeof values.audience, "",
     0, 0, NULL, false, "jwt: what aud must be, or hold"},
    {"LEDGER_JWT_ALGORITHMS", SETTING_TEXT, values.algorithms, sizeof values.algorithms, "RS256,ES256",
     0, 0, NULL, false, "jwt: what a token may be signed with"},
    {"LEDGER_JWT_CALLER", SETTING_TEXT, values.claim, sizeof values.claim, "sub",
     0, 0, NULL, false, "jwt: the claim that names the caller"},
    {"LEDGER_JWT_LEEWAY_S", SETTING_NUMBER, &values.leeway_s, 0, "5",
     0, 300, NULL, false, "jwt: by how much clocks may differ"},
    {"LEDGER_RATE", SETTING_NUMBER, &values.rate, 0, "0",
     0, 100000, NULL, false, "requests a second of one caller, or of one address without a name; 0: any number"},
    {"LEDGER_RATE_BURST", SETTING_NUMBER, &values.rate_burst, 0, "100",
     1, 100000, NULL, false, "so many at once"},
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

/* A new certificate is told of; one that cannot be used once, not each second. */
static void look_at_certificate(void)
{
    static struct err last;
    struct err err = {0};
    bool changed = false;

    if (!certificate_refresh(&changed, &err) && strcmp(err.text, last.text) != 0)
        log_warn("the old certificate stays in use: %s", err.text);
    if (changed) log_info("a new certificate is in use");
    last = err;
}

static void look_at_redis(const struct cache *cache)
{
    static char last[ERR_TEXT_SIZE];
    char problem[ERR_TEXT_SIZE];

    health_set(HEALTH_REDIS, cache_is_up(cache) ? HEALTH_UP : HEALTH_DOWN);
    cache_problem(cache, problem);
    if (problem[0] != '\0' && strcmp(problem, last) != 0)
        log_warn("Redis is not used: %s", problem);
    memcpy(last, problem, sizeof last);
}

static void serve(struct server *server, const struct gateway *gateway)
{
    for (uint32_t turn = 0; !stop_requested(); turn++) {
        health_beat();
        if (cache_is_on(gateway->cache)) look_at_redis(gateway->cache);
        if (values.tls_cert[0] != '\0' && turn % LOOK_EVERY_TURNS == 0) look_at_certificate();
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

static bool open_guard(struct guard **guard, struct err *err)
{
    const struct auth_options auth = {.mode = values.auth,
                                      .keys = {.db = {.url = values.database_url,
                                                      .application_name = values.name,
                                                      .role = values.database_role,
                                                      .connect_timeout_ms = values.timeout_ms,
                                                      .answer_timeout_ms = values.timeout_ms},
                                               .period_ms = KEYS_PERIOD_MS,
                                               .stale_ms = values.auth_stale_s * 1000},
                                      .jwt = {.issuer = values.issuer,
                                              .audience = values.audience,
                                              .algorithms = values.algorithms,
                                              .claim = values.claim,
                                              .leeway_s = values.leeway_s},
                                      .jwks_path = values.jwks};
    const struct limit_options limit = {values.rate, values.rate_burst, CALLERS_TOLD_APART};

    return guard_open(guard, &auth, &limit, err);
}

static bool open_cache(struct cache **cache, struct err *err)
{
    const struct cache_options options = {.redis_url = values.redis_url,
                                          .amqp_url = values.amqp_url,
                                          .prefix = values.prefix,
                                          .name = values.name,
                                          .timeout_ms = values.redis_timeout_ms,
                                          .ttl_s = values.cache_ttl_s,
                                          .near_entries = values.cache_near,
                                          .amqp_timeout_ms = values.timeout_ms,
                                          .transactions = values.cache_transactions};

    if (values.redis_url[0] != '\0') health_optional(HEALTH_REDIS);
    return cache_open(cache, &options, err);
}

static bool open_certificate(struct err *err)
{
    if (values.tls_cert[0] == '\0' && values.tls_key[0] == '\0') return true;
    if (values.tls_cert[0] == '\0' || values.tls_key[0] == '\0')
        return err_set(err, ERR_FATAL, "LEDGER_HTTP_TLS_CERT, LEDGER_HTTP_TLS_KEY: give both");
    return certificate_open(values.tls_cert, values.tls_key, err);
}

static bool run(struct err *err)
{
    static struct names names;
    struct gateway gateway = {.app_id = text_of(values.app_id),
                              .names_callers = values.auth_user_id,
                              .body_max = values.body_max};
    static struct bodies bodies;
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
                                  .request_s = values.request_s,
                                  .has_tls = values.tls_cert[0] != '\0'};

    bodies.most = (size_t)values.bodies_mib << 20;
    gateway.bodies = &bodies;
    (void)snprintf(values.name, sizeof values.name, "ledger-gateway %ld", (long)getpid());
    health_require(HEALTH_RABBITMQ);
    traffic_open((enum traffic_level)values.log_requests);
    bool ok = allow_files(err) && open_certificate(err) &&
              names_make(&names, values.prefix, 1, err) && open_guard(&gateway.guard, err) &&
              open_cache(&gateway.cache, err) && calls_open(&gateway.calls, &calls, err);
    gateway.exchange = text_of(names.commands);
    ok = ok && server_open(&server, &http, &gateway, err);
    if (ok) {
        process_listens(http.has_tls ? "HTTPS" : "HTTP", server_port(server));
        serve(server, &gateway);
        leave(server);
    }
    if (gateway.calls != NULL) calls_stop(gateway.calls); /* what still waits is answered now */
    for (; server != NULL && server_quiesce(server) > 0; clock_sleep_ms(10)) server_sweep(server);
    server_close(server);
    certificate_close();
    calls_close(gateway.calls);
    cache_close(gateway.cache);
    guard_close(gateway.guard);
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
