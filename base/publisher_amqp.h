/*
 * publisher_amqp.h - messages out, confirms in. A connection that never consumes (but for direct
 * reply-to, see rpc_amqp.h in client/). One channel in confirm mode.
 *
 * A publish call returns before its confirm; the broker says connection.blocked when it is short of
 * memory or disk, and then nothing may be sent: sending goes on only after it has unblocked. After
 * any error every message that was not confirmed has an unknown outcome: publish it again, with the
 * same message id.
 */
#ifndef BASE_PUBLISHER_AMQP_H
#define BASE_PUBLISHER_AMQP_H

#include "base/bytes.h"

struct publisher;

struct publisher_options {
    const char *url;
    const char *name;
    uint32_t heartbeat_s;
    uint32_t timeout_ms; /* connect, login, RPC, and one socket write */
    uint32_t window;     /* unconfirmed messages at most; publisher_send asserts room */
};

struct message {
    struct text exchange;
    struct text routing_key;
    struct bytes properties; /* basic properties as on the wire */
    struct bytes body;
    bool mandatory; /* an unroutable message comes back */
};

/* What became of one message. */
enum confirm_result { CONFIRM_ACK, CONFIRM_NACK, CONFIRM_RETURNED };
struct confirm {
    uint64_t sequence; /* as given by publisher_send */
    enum confirm_result result;
};

MUST_CHECK bool publisher_open(struct publisher **out, const struct publisher_options *options,
                               struct err *err);
void publisher_close(struct publisher *publisher); /* NULL is fine */

/* How many more may be sent now: 0 while blocked, or while the broker is slow to read. */
uint32_t publisher_room(const struct publisher *publisher);
bool publisher_blocked(const struct publisher *publisher);
/* Sent, and not yet given out by publisher_poll. */
uint32_t publisher_in_flight(const struct publisher *publisher);

/* Needs room. Sequences count 1, 2, 3, ... per connection. Messages are gathered; what is not yet
 * sent leaves with publisher_poll, so poll after the last one. A mandatory message needs a
 * message_id. ERR_REJECT: this message cannot be sent by AMQP, nothing was sent, the connection is
 * fine. */
MUST_CHECK bool publisher_send(struct publisher *publisher, const struct message *message,
                               uint64_t *sequence, struct err *err);
/* Reads what the broker says, waiting at most wait_ms for the first frame: fills up to max confirms
 * (each message exactly once, in any order), notes blocked and unblocked (then it comes back
 * early), serves heartbeats. */
MUST_CHECK bool publisher_poll(struct publisher *publisher, uint32_t wait_ms, struct confirm *out,
                               uint32_t max, uint32_t *count, struct err *err);

#endif
