/*
 * server_http.h - the HTTP side of the gateway: libmicrohttpd with a few threads, each with an
 * epoll of its own. A request that waits for the ledger is suspended and holds no thread; so
 * connections cost memory, and waiting costs nothing.
 */
#ifndef GATEWAY_SERVER_HTTP_H
#define GATEWAY_SERVER_HTTP_H

#include "gateway/exchange.h"
#include "gateway/peers.h"

struct server;

struct server_options {
    const char *address;
    uint16_t port; /* 0: a free one */
    uint32_t threads;
    uint32_t connections_max; /* open files must allow for as many, and some more */
    uint32_t per_address_max; /* 0: no limit */
    uint32_t header_max;      /* bytes of a request's line and headers */
    uint32_t idle_s, request_s;
    bool has_tls; /* HTTPS alone, with the certificate of certificate.h */
};

/* gateway is kept, and its resume is set. */
MUST_CHECK bool server_open(struct server **out, const struct server_options *options,
                            struct gateway *gateway, struct err *err);
uint16_t server_port(const struct server *server);
/* Ends slow clients, shows the gauges; call it a few times a second. */
void server_sweep(struct server *server);
/* No new connections; what is under way is answered. How many requests still wait. */
uint32_t server_quiesce(struct server *server);
/* No request may be waiting any more. NULL is fine. */
void server_close(struct server *server);

#endif
