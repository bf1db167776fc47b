/*
 * rpc_amqp.c - see rpc_amqp.h. A channel error (no such exchange) ends the link, and comes back as
 * the broker's words.
 */
#include "client/rpc_amqp.h"

#include "base/clock.h"
#include "base/content_amqp.h"

#include <stdlib.h>

enum { HEARTBEAT_S = 30 };

struct rpc {
    struct link *link;
};

bool rpc_open(struct rpc **out, const char *url, const char *name, uint32_t timeout_ms,
              struct err *err)
{
    struct link_options options = {url, name, HEARTBEAT_S, timeout_ms};
    struct rpc *rpc = calloc(1, sizeof *rpc);

    *out = NULL;
    if (rpc == NULL) return err_set(err, ERR_RETRY, "could not open client: out of memory");
    if (!link_open(&rpc->link, &options, err)) {
        rpc_close(rpc);
        return false;
    }
    (void)amqp_basic_consume(rpc->link->state, LINK_CHANNEL, amqp_cstring_bytes(RPC_REPLY_TO),
                             amqp_empty_bytes, false, true, false, amqp_empty_table);
    if (!link_answered(rpc->link, amqp_get_rpc_reply(rpc->link->state), ERR_FATAL, err,
                       "listen for replies")) {
        rpc_close(rpc);
        return false;
    }
    *out = rpc;
    return true;
}

void rpc_close(struct rpc *rpc)
{
    if (rpc == NULL) return;
    link_close(rpc->link);
    free(rpc);
}

bool rpc_send(struct rpc *rpc, const struct message *message, struct err *err)
{
    return content_write(rpc->link, message, err) && link_push(rpc->link, err);
}

bool rpc_blocked(const struct rpc *rpc)
{
    return rpc->link->blocked;
}

void rpc_wake_by(struct rpc *rpc, int file)
{
    rpc->link->wake = file;
}

bool rpc_receive(struct rpc *rpc, uint32_t wait_ms, struct arena *arena, struct rpc_reply *out,
                 bool *got, struct err *err)
{
    uint64_t now_ms = clock_monotonic_ms(), deadline_ms = now_ms + wait_ms;

    *got = false;
    amqp_maybe_release_buffers(rpc->link->state);
    if (!link_beat(rpc->link, err)) return false;
    while (true) {
        uint64_t left_ms = now_ms < deadline_ms ? deadline_ms - now_ms : 0;
        struct content content;
        amqp_frame_t frame;
        bool arrived;
        if (!link_read(rpc->link, (uint32_t)left_ms, &frame, &arrived, err)) return false;
        if (arrived && frame.frame_type == AMQP_FRAME_METHOD &&
            frame.payload.method.id == AMQP_BASIC_DELIVER_METHOD) {
            if (!content_read(rpc->link, RPC_REPLY_MAX, arena, &content, err)) return false;
            *out = (struct rpc_reply){.properties = content.properties, .body = content.body};
            *got = true;
            return true;
        }
        now_ms = clock_monotonic_ms();
        if (!arrived && (now_ms >= deadline_ms || rpc->link->woken)) return true;
    }
}
