/*
 * ledger_client.h - the ledger for callers in C: publish a command and wait for its reply, or only
 * for the broker's confirm.
 *
 * A call that fails with ERR_RETRY (no reply in time, connection lost) has an unknown outcome. Make
 * the same call again with the same idempotency key: it is applied at most once, and the first
 * result comes back with replayed set. One client is one connection, for one thread.
 */
#ifndef CLIENT_LEDGER_CLIENT_H
#define CLIENT_LEDGER_CLIENT_H

#include "protocol/reply.h"

struct ledger_client;

struct ledger_client_options {
    /* amqp://user:password@host:port/vhost, or amqps:// with ?cacertfile=PATH behind it (and for a
     * broker that asks for a certificate &certfile=PATH&keyfile=PATH); kept: must outlive the
     * client */
    const char *url;
    const char *prefix;  /* of exchanges and queues; NULL: "ledger" */
    const char *app_id;  /* namespace of the idempotency keys; NULL: user_id, or none */
    const char *user_id; /* the login's name, which the broker checks; NULL: not told */
    enum encoding encoding;
    uint32_t timeout_ms; /* connecting, and the broker's confirm; 0: 5000 */
};

struct ledger_call {
    struct command command;
    struct text idempotency_key; /* 1 to 128 bytes; required when the command changes something */
    struct text traceparent;     /* W3C; empty: the ledger begins a trace */
    struct text trace_id;        /* X-Trace-Id; empty: none */
    struct text routing_key;     /* the account whose order counts; empty: command_ordering_key, or
                                    what the command is about */
    struct text deadline; /* RFC 3339: past it the command is refused, not applied late; or empty */
};

MUST_CHECK bool ledger_client_open(struct ledger_client **out,
                                   const struct ledger_client_options *options, struct err *err);
void ledger_client_close(struct ledger_client *client); /* NULL is fine */

/* Publishes and waits at most wait_ms for the reply. True for every reply, refusals too: look at
 * reply->result. Its texts are good until the next call with this client. ERR_REJECT: the call
 * itself is wrong (no key, too long). A connection lost earlier is opened again first. */
MUST_CHECK bool ledger_client_call(struct ledger_client *client, const struct ledger_call *call,
                                   uint32_t wait_ms, struct reply *reply, struct err *err);

/* Publishes count commands and waits until the broker has confirmed all of them: from then on each
 * is applied exactly once, or refused with a reason, or dead-lettered with one. ERR_RETRY: publish
 * all of them again, with the same keys. */
MUST_CHECK bool ledger_client_publish(struct ledger_client *client, const struct ledger_call *calls,
                                      uint32_t count, struct err *err);

#endif
