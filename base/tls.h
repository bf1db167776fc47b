/*
 * tls.h - a verified TLS connection to a server, for libraries that want a plain socket.
 *
 * rabbitmq-c of Debian 12 keeps its TLS from whoever sends on the socket himself, as link_amqp.h
 * does; hiredis there has none. So the connection is made here, and a thread carries bytes between
 * it and a socket pair, whose other end the library gets.
 *
 * TLS 1.2 at least, always verified: the chain against the CA, the name against the host (an
 * address: against the certificate's addresses). Files are read for each connection anew, so a new
 * certificate is in use after the next reconnect.
 */
#ifndef BASE_TLS_H
#define BASE_TLS_H

#include "base/err.h"

#include <stdint.h>

enum { TLS_PATH_SIZE = 256 };

/* Paths of PEM files; each may be empty. */
struct tls_files {
    char ca[TLS_PATH_SIZE];   /* whom to trust; empty: whom the system trusts */
    char cert[TLS_PATH_SIZE]; /* our own and its chain, for a server that asks for one */
    char key[TLS_PATH_SIZE];
};

/* The part of a URL after '?': cacertfile=PATH&certfile=PATH&keyfile=PATH, in any order, as they
 * are. NULL or "": none. ERR_FATAL for any other name, a path that is too long, or one of certfile
 * and keyfile alone. */
MUST_CHECK bool tls_files_parse(const char *query, struct tls_files *out, struct err *err);

struct tls_options {
    const char *server; /* its name for people: "RabbitMQ" */
    const char *plain;  /* the URL scheme without TLS, for people: "amqp://" */
    const char *host;   /* to connect to, and what the certificate must be for */
    int port;
    const struct tls_files *files;
    uint32_t timeout_ms; /* connect and handshake together, but for the resolver */
    uint32_t linger_ms;  /* how long sent bytes may take to leave after the end was closed */
    bool asks_postgres;  /* PostgreSQL's request for TLS goes first */
};

struct tls;

/* *plain: the caller's end, non-blocking, to be closed by him before tls_close. It ends when the
 * server does. ERR_RETRY whatever is wrong: each of host, certificates and files can be mended
 * while we run. The text says how. */
MUST_CHECK bool tls_open(struct tls **out, int *plain, const struct tls_options *options,
                         struct err *err);
/* Waits for the thread, linger_ms at most. NULL is fine. failure: NULL, or what the caller failed
 * with; TLS' own reason is added to its text, when there was one. */
void tls_close(struct tls *tls, struct err *failure);

#endif
