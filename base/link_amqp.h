/*
 * link_amqp.h - one connection to RabbitMQ with one channel: what consumer, publisher, topology and
 * the client's RPC have in common, and nobody else includes.
 *
 * rabbitmq-c connects, logs in, makes the calls that have an answer, and decodes what arrives. It
 * does not send: amqp_basic_publish and amqp_basic_ack wait without limit for a broker that does
 * not read, and need three system calls a message. Frames go through a buffer of ours and a socket
 * that never blocks; so every wait is bounded, and many messages cost one call. The library's
 * heartbeats are off, as they would land inside a frame that is half sent; link_read and link_beat
 * send them instead.
 *
 * TCP_USER_TIMEOUT is not set: it would cut a publisher off that waits for a memory alarm to pass.
 * Two heartbeats of silence, and unsent bytes that do not move for timeout_ms, end the link
 * instead.
 */
#ifndef BASE_LINK_AMQP_H
#define BASE_LINK_AMQP_H

#include "base/bytes.h"
#include "base/tls.h"

#include <amqp.h>
#include <amqp_framing.h>

enum {
    LINK_CHANNEL = 1,            /* one channel a connection: rabbitmq-c mixes up more than one */
    LINK_FRAME_MAX = 128 * 1024, /* RabbitMQ's own default */
    LINK_FRAME_OVERHEAD = 8,
    LINK_OUT_SIZE = 4 * LINK_FRAME_MAX,
};

struct link_options {
    const char *url;
    const char *name;
    uint32_t heartbeat_s; /* 0: none */
    uint32_t timeout_ms;  /* connect, login, each call with an answer, unsent bytes */
};

struct link {
    amqp_connection_state_t state;
    struct tls *tls; /* NULL: amqp://. Otherwise socket is its plain end */
    int socket;
    int wake;   /* a wait also ends when this can be read; -1: none */
    bool woken; /* the last one ended so */
    uint32_t timeout_ms, heartbeat_ms, frame_max;
    bool usable;         /* false after the connection failed: there is nobody to say goodbye to */
    bool blocked;        /* connection.blocked came, connection.unblocked did not yet */
    bool heard;          /* the library has read from the socket since heard_ms was set */
    uint64_t heard_ms;   /* when the broker last sent anything */
    uint64_t beat_ms;    /* when a heartbeat was last due */
    uint64_t stalled_ms; /* since when unsent bytes do not move; 0: they do */
    uint8_t *out;        /* LINK_OUT_SIZE: whole frames, the first perhaps sent in part */
    size_t out_size;
};

/* ERR_RETRY when the broker is away or not to be trusted, ERR_FATAL for a bad URL or a refused
 * login. */
MUST_CHECK bool link_open(struct link **out, const struct link_options *options, struct err *err);
void link_close(struct link *link); /* NULL is fine; waits a second at most */

/* Judges a call that has an answer: "could not <what>: <the broker's words>". A refusal has the
 * kind given, except what passes by itself (shutdown, internal error), which like a failing
 * connection is ERR_RETRY. Frees the library's memory: nothing of the answer may be used
 * afterwards. */
MUST_CHECK bool link_answered(struct link *link, amqp_rpc_reply_t reply, enum err_kind refusal,
                              struct err *err, const char *what, ...)
    __attribute__((format(printf, 5, 6)));
uint16_t link_refusal_code(amqp_rpc_reply_t reply); /* AMQP's 404, 406, ...; 0 when none */
/* The connection is not to be used any more: ERR_RETRY, returns false. */
bool link_break(struct link *link, struct err *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The next frame of the channel; sends what is unsent while it waits. Comes back without one after
 * wait_ms, and early on a signal, when woken, or when blocked has changed. What the broker says
 * about the connection, and channel.close, is dealt with here (ERR_RETRY with its words). The
 * frame's memory is good until amqp_maybe_release_buffers. */
MUST_CHECK bool link_read(struct link *link, uint32_t wait_ms, amqp_frame_t *frame, bool *got,
                          struct err *err);
/* The same, when there must be one: ERR_RETRY when it does not come within timeout_ms. */
MUST_CHECK bool link_await(struct link *link, amqp_frame_t *frame, struct err *err);

/* Puts a whole frame into the buffer, which must have room for it. */
void link_put(struct link *link, uint8_t type, struct bytes head, struct bytes body);
void link_put_method(struct link *link, amqp_method_number_t method, void *fields);
size_t link_room(const struct link *link);
/* Sends what the socket takes at once. */
MUST_CHECK bool link_push(struct link *link, struct err *err);
/* Sends everything, waiting at most timeout_ms without progress. Before a call of the library:
 * leaves the socket room for it, as the library would wait for that without limit. */
MUST_CHECK bool link_flush(struct link *link, struct err *err);
/* Sends a heartbeat when one is due; reads nothing. */
MUST_CHECK bool link_beat(struct link *link, struct err *err);
/* Closes the connection in agreement, or lets it be after wait_ms. For link_close. */
void link_say_goodbye(struct link *link, uint32_t wait_ms);

/* A view as rabbitmq-c wants it, which has no const. */
amqp_bytes_t link_bytes(const void *data, size_t size);

#endif
