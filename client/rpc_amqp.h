/*
 * rpc_amqp.h - request and reply over one connection: RabbitMQ's direct reply-to, which needs no
 * queue. Replies are not acknowledged, so publishing and consuming may share the connection. Any
 * number of requests may be on their way; the correlation id says what a reply answers.
 */
#ifndef CLIENT_RPC_AMQP_H
#define CLIENT_RPC_AMQP_H

#include "base/publisher_amqp.h"

#define RPC_REPLY_TO "amq.rabbitmq.reply-to"

enum { RPC_REPLY_MAX = 4 << 20 };

struct rpc;

struct rpc_reply {
    struct bytes properties, body;
};

MUST_CHECK bool rpc_open(struct rpc **out, const char *url, const char *name, uint32_t timeout_ms,
                         struct err *err);
void rpc_close(struct rpc *rpc); /* NULL is fine */
/* The message's properties must name RPC_REPLY_TO. */
MUST_CHECK bool rpc_send(struct rpc *rpc, const struct message *message, struct err *err);
/* The broker is short of memory or disk: it takes nothing. Known as of the last rpc_receive. */
bool rpc_blocked(const struct rpc *rpc);
/* From now on rpc_receive comes back early when this file can be read, for requests that other
 * threads have put somewhere. Kept, not read, not closed. */
void rpc_wake_by(struct rpc *rpc, int file);
/* The next reply, whatever it answers; *got is false when none came within wait_ms. */
MUST_CHECK bool rpc_receive(struct rpc *rpc, uint32_t wait_ms, struct arena *arena,
                            struct rpc_reply *out, bool *got, struct err *err);

#endif
