/*
 * server_http.c - see server_http.h. libmicrohttpd calls `handle` for a request first with its
 * headers, then with each part of its body, then without one; and again when it was resumed.
 */
#include "gateway/server_http.h"

#include "base/clock.h"
#include "gateway/certificate.h"
#include "gateway/respond_http.h"
#include "gateway/traffic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { BACKLOG = 1024, TIMEOUT_SLACK_S = 5, OPTIONS_MAX = 13 };

/* Of GnuTLS. */
static const char PRIORITIES[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

struct server {
    struct MHD_Daemon *daemon;
    struct gateway *gateway;
    struct peers *peers;
    uint16_t port;
    atomic_uint waiting; /* suspended requests */
    atomic_bool leaving;
};

struct visit { /* of one connection at a time */
    struct exchange *exchange;
    struct peer *peer;
    size_t received; /* of the body */
    unsigned code;   /* answered with; 0: not yet */
    bool suspended;
};

/* --- headers ------------------------------------------------------------------------------ */

static struct text text_of_header(const char *value, size_t size)
{
    return (struct text){value, (uint32_t)size};
}

/* A header whose second one would make the request ambiguous. */
static void take_once(struct asked *asked, struct text *target, bool *has, struct text value)
{
    asked->is_ambiguous = asked->is_ambiguous || *has;
    *has = true;
    *target = value;
}

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   size_t name_size, const char *value, size_t value_size)
{
    struct asked *asked = context;
    struct text text = text_of_header(value, value_size);

    (void)kind;
    (void)name_size;
    if (value == NULL) return MHD_YES;
    if (strcasecmp(name, "Idempotency-Key") == 0)
        take_once(asked, &asked->key, &asked->has_key, text);
    else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
        take_once(asked, &asked->content_length, &asked->has_length, text);
    else if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0)
        asked->is_chunked = true;
    else if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_TYPE) == 0)
        asked->content_type = text;
    else if (strcasecmp(name, MHD_HTTP_HEADER_AUTHORIZATION) == 0)
        take_once(asked, &asked->authorization, &asked->has_authorization, text);
    else if (strcasecmp(name, MHD_HTTP_HEADER_IF_NONE_MATCH) == 0)
        asked->if_none_match = text;
    else if (strcasecmp(name, "traceparent") == 0)
        asked->traceparent = text;
    else if (strcasecmp(name, "tracestate") == 0)
        asked->tracestate = text;
    else if (strcasecmp(name, "X-Trace-Id") == 0)
        asked->trace_id = text;
    return MHD_YES;
}

static enum MHD_Result take_pair(void *context, enum MHD_ValueKind kind, const char *name,
                                 size_t name_size, const char *value, size_t value_size)
{
    struct asked *asked = context;

    (void)kind;
    if (asked->pairs_count == PAIRS_MAX) {
        asked->has_more_pairs = true;
        return MHD_NO;
    }
    asked->pairs[asked->pairs_count++] = (struct ask_pair){
        text_of_header(name, name_size),
        text_of_header(value == NULL ? "" : value, value == NULL ? 0 : value_size)};
    return MHD_YES;
}

/* Whom a limit goes by when he has no name. */
static struct text address_of(struct MHD_Connection *connection,
                              char text[static LIMIT_ADDRESS_SIZE])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info == NULL ? NULL : info->client_addr;

    if (address == NULL || address->sa_family != AF_INET) return (struct text){0};
    struct sockaddr_in v4;
    memcpy(&v4, address, sizeof v4);
    uint8_t bytes[sizeof v4.sin_addr];
    memcpy(bytes, &v4.sin_addr, sizeof bytes);
    return limit_address(bytes, sizeof bytes, text);
}

/* --- one request -------------------------------------------------------------------------- */

static enum MHD_Result answer_with(struct server *server, struct MHD_Connection *connection,
                                   struct visit *visit, const struct answer *answer)
{
    peer_set(server->peers, visit->peer, PEER_READING);
    visit->code = answer->code;
    return respond_answer(connection, answer, exchange_trace(visit->exchange),
                          atomic_load(&server->leaving));
}

static enum MHD_Result begin(struct server *server, struct MHD_Connection *connection,
                             const char *url, const char *method, void **context)
{
    char address[LIMIT_ADDRESS_SIZE];
    struct asked asked = {
        .method = method, .path = url, .address = address_of(connection, address)};
    struct workspace *workspace = workspace_take();
    struct visit *visit = calloc(1, sizeof *visit);
    const union MHD_ConnectionInfo *info;
    struct answer answer;

    if (visit == NULL || workspace == NULL) {
        free(visit);
        return MHD_NO;
    }
    (void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, take_header, &asked);
    (void)MHD_get_connection_values_n(connection, MHD_GET_ARGUMENT_KIND, take_pair, &asked);
    visit->exchange = exchange_new(server->gateway, connection, &asked);
    if (visit->exchange == NULL) {
        free(visit);
        return MHD_NO;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    visit->peer = info == NULL ? NULL : info->socket_context;
    *context = visit;
    peer_set(server->peers, visit->peer, PEER_SENDING);
    if (exchange_refuses_body(visit->exchange, workspace, &answer))
        return answer_with(server, connection, visit, &answer);
    return MHD_YES;
}

static enum MHD_Result take_turn(struct server *server, struct MHD_Connection *connection,
                                 struct visit *visit, const char *url)
{
    struct workspace *workspace = workspace_take();
    struct answer answer;

    if (workspace == NULL) return MHD_NO;
    if (visit->suspended) atomic_fetch_sub(&server->waiting, 1);
    visit->suspended = false;
    switch (exchange_turn(visit->exchange, workspace, &answer)) {
    case TURN_WAIT:
        peer_set(server->peers, visit->peer, PEER_WAITING);
        visit->suspended = true;
        atomic_fetch_add(&server->waiting, 1);
        MHD_suspend_connection(connection);
        exchange_send(visit->exchange);
        return MHD_YES;
    case TURN_ADMIN:
        peer_set(server->peers, visit->peer, PEER_READING);
        return respond_admin(connection, url, exchange_trace(visit->exchange), &visit->code);
    case TURN_ANSWER:
        break;
    }
    return answer_with(server, connection, visit, &answer);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_size, void **request_context)
{
    struct server *server = context;
    struct visit *visit = *request_context;

    (void)version;
    if (visit == NULL) return begin(server, connection, url, method, request_context);
    if (*data_size == 0) return take_turn(server, connection, visit, url);
    exchange_body(visit->exchange, data, *data_size);
    visit->received += *data_size;
    *data_size = 0;
    return visit->received > exchange_drops_max(server->gateway) ? MHD_NO : MHD_YES;
}

static void completed(void *context, struct MHD_Connection *connection, void **request_context,
                      enum MHD_RequestTerminationCode how)
{
    struct server *server = context;
    struct visit *visit = *request_context;

    (void)connection;
    if (visit == NULL) return;
    if (visit->suspended)
        atomic_fetch_sub(&server->waiting, 1); /* resumed, and the client is gone */
    uint64_t took_us = clock_monotonic_us() - exchange_started_us(visit->exchange);
    traffic_note(exchange_route(visit->exchange), visit->code,
                 how != MHD_REQUEST_TERMINATED_COMPLETED_OK, took_us,
                 exchange_trace(visit->exchange));
    peer_set(server->peers, visit->peer, PEER_IDLE);
    exchange_free(visit->exchange);
    free(visit);
    *request_context = NULL;
}

static void connected(void *context, struct MHD_Connection *connection, void **socket_context,
                      enum MHD_ConnectionNotificationCode what)
{
    struct server *server = context;

    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        peer_remove(server->peers, *socket_context);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info != NULL) *socket_context = peer_add(server->peers, info->connect_fd);
}

static void resume(void *connection)
{
    MHD_resume_connection(connection);
}

/* --- open and close ----------------------------------------------------------------------- */

static struct MHD_Daemon *start_daemon(struct server *server, const struct server_options *options,
                                       struct MHD_OptionItem *items)
{
    const unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME;

    if (!options->has_tls)
        return MHD_start_daemon(flags, options->port, NULL, NULL, handle, server, MHD_OPTION_ARRAY,
                                items, MHD_OPTION_END);
    return MHD_start_daemon(flags | MHD_USE_TLS, options->port, NULL, NULL, handle, server,
                            MHD_OPTION_ARRAY, items, MHD_OPTION_HTTPS_PRIORITIES, PRIORITIES,
                            MHD_OPTION_HTTPS_CERT_CALLBACK2, certificate_choose, MHD_OPTION_END);
}

static bool start(struct server *server, const struct server_options *options, struct err *err)
{
    struct sockaddr_in bound = {.sin_family = AF_INET, .sin_port = htons(options->port)};
    struct MHD_OptionItem items[OPTIONS_MAX] = {
        {MHD_OPTION_SOCK_ADDR, 0, &bound},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)options->connections_max, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)(options->idle_s + TIMEOUT_SLACK_S), NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)options->header_max, NULL},
        {MHD_OPTION_LISTEN_BACKLOG_SIZE, BACKLOG, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)completed, server},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)connected, server},
    };
    uint32_t count = 8;

    if (options->threads > 1)
        items[count++] =
            (struct MHD_OptionItem){MHD_OPTION_THREAD_POOL_SIZE, (intptr_t)options->threads, NULL};
    if (options->per_address_max > 0)
        items[count++] = (struct MHD_OptionItem){MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                                                 (intptr_t)options->per_address_max, NULL};
    items[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    if (inet_pton(AF_INET, options->address, &bound.sin_addr) != 1)
        return err_set(err, ERR_FATAL, "LEDGER_HTTP_ADDRESS: '%s' is not an IPv4 address",
                       options->address);
    errno = 0;
    server->daemon = start_daemon(server, options, items);
    if (server->daemon == NULL)
        return err_set(err, ERR_FATAL, "could not listen on %s port %u: %s; set LEDGER_HTTP_PORT",
                       options->address, options->port,
                       errno != 0 ? strerror(errno) : "unknown reason");
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);
    server->port = info == NULL ? options->port : info->port;
    return true;
}

bool server_open(struct server **out, const struct server_options *options, struct gateway *gateway,
                 struct err *err)
{
    struct peers_limits limits = {.idle_ms = options->idle_s * 1000,
                                  .request_ms = options->request_s * 1000,
                                  .connections_max = options->connections_max};
    struct server *server = calloc(1, sizeof *server);

    *out = NULL;
    if (server == NULL) return err_set(err, ERR_FATAL, "could not open HTTP: out of memory");
    server->gateway = gateway;
    gateway->resume = resume;
    if (!peers_open(&server->peers, &limits, err) || !start(server, options, err)) {
        server_close(server);
        return false;
    }
    *out = server;
    return true;
}

uint16_t server_port(const struct server *server)
{
    return server->port;
}

void server_sweep(struct server *server)
{
    uint32_t ended = peers_sweep(server->peers, clock_monotonic_ms());
    struct traffic_gauges gauges = {.connections = peers_count(server->peers),
                                    .waiting = atomic_load(&server->waiting),
                                    .in_flight = calls_in_flight(server->gateway->calls)};

    traffic_show(&gauges, ended);
}

uint32_t server_quiesce(struct server *server)
{
    if (!atomic_exchange(&server->leaving, true)) {
        MHD_socket listener = MHD_quiesce_daemon(server->daemon);
        if (listener != MHD_INVALID_SOCKET) (void)close(listener);
    }
    return atomic_load(&server->waiting);
}

void server_close(struct server *server)
{
    if (server == NULL) return;
    if (server->daemon != NULL) MHD_stop_daemon(server->daemon);
    peers_close(server->peers);
    free(server);
}
