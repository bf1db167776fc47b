/*
 * content_amqp.h - a message on a link: what follows basic.deliver and basic.return, and what
 * basic.publish sends. Properties travel as the bytes they are, never decoded and written again.
 */
#ifndef BASE_CONTENT_AMQP_H
#define BASE_CONTENT_AMQP_H

#include "base/link_amqp.h"
#include "base/publisher_amqp.h"

enum {
    CONTENT_SIZE_ABSURD = 512 * 1024 * 1024, /* no RabbitMQ lets a larger message pass */
    /* What the arena must have left beside body_max: names, properties, alignment. */
    CONTENT_OVERHEAD = LINK_FRAME_MAX + 1024,
};

struct content {
    struct bytes properties;
    struct bytes body; /* empty when oversized */
    uint64_t body_size;
    bool oversized;
};

/* Reads the header and the body that must come now. A body over body_max is read and dropped, in
 * flat memory: then everything handed out by the link before is gone too. */
MUST_CHECK bool content_read(struct link *link, uint32_t body_max, struct arena *arena,
                             struct content *out, struct err *err);

/* ERR_REJECT when the message cannot be put into AMQP frames (a name over 255 bytes, properties
 * over a frame); then nothing was sent. Waits only when the link's buffer is too full. */
MUST_CHECK bool content_write(struct link *link, const struct message *message, struct err *err);

#endif
