/*
 * content_amqp.c - header and body frames. Ensures: a peer's announced size is never believed
 * beyond the caller's limit, and a message is written whole or not at all.
 */
#include "base/content_amqp.h"

#include <assert.h>
#include <string.h>

enum { NAME_LENGTH_MAX = 255, METHOD_SIZE_MAX = 1024, HEADER_FIXED_SIZE = 12, FLAGS_SIZE = 2 };

static bool content_confused(struct link *link, struct err *err)
{
    return link_break(link, err, "could not read from RabbitMQ: frames out of order");
}

static bool header_read(struct link *link, uint32_t body_max, struct arena *arena,
                        struct content *out, struct err *err)
{
    amqp_frame_t frame;

    if (!link_await(link, &frame, err)) return false;
    if (frame.frame_type != AMQP_FRAME_HEADER) return content_confused(link, err);

    amqp_bytes_t raw = frame.payload.properties.raw;
    assert(raw.len <= LINK_FRAME_MAX);
    out->properties = arena_copy(arena, raw.bytes, raw.len);
    assert(out->properties.data != NULL); /* CONTENT_OVERHEAD was free */
    out->body_size = frame.payload.properties.body_size;
    out->oversized = out->body_size > body_max;
    if (out->body_size > CONTENT_SIZE_ABSURD)
        return link_break(link, err, "could not read from RabbitMQ: a body of %ju bytes",
                          (uintmax_t)out->body_size);
    return true;
}

bool content_read(struct link *link, uint32_t body_max, struct arena *arena, struct content *out,
                  struct err *err)
{
    *out = (struct content){0};
    if (!header_read(link, body_max, arena, out, err)) return false;

    uint8_t *body = NULL;
    if (!out->oversized && out->body_size > 0) {
        body = arena_take(arena, (size_t)out->body_size);
        assert(body != NULL); /* body_max was free */
        out->body = (struct bytes){body, (uint32_t)out->body_size};
    }
    for (uint64_t read = 0; read < out->body_size;) {
        amqp_frame_t frame;
        if (!link_await(link, &frame, err)) return false;
        amqp_bytes_t piece = frame.payload.body_fragment;
        if (frame.frame_type != AMQP_FRAME_BODY || piece.len > out->body_size - read)
            return content_confused(link, err);
        if (body != NULL) memcpy(body + read, piece.bytes, piece.len);
        if (body == NULL) amqp_maybe_release_buffers(link->state);
        read += piece.len;
    }
    return true;
}

/* Room for one more frame, sending what is there when need be. */
static bool room_make(struct link *link, size_t payload_size, struct err *err)
{
    if (link_room(link) >= payload_size + LINK_FRAME_OVERHEAD) return true;
    return link_flush(link, err);
}

static bool header_write(struct link *link, const struct message *message, struct err *err)
{
    uint8_t fixed[HEADER_FIXED_SIZE];
    struct writer writer = writer_over(fixed, sizeof fixed);
    amqp_basic_publish_t publish = {
        .exchange = link_bytes(message->exchange.bytes, message->exchange.length),
        .routing_key = link_bytes(message->routing_key.bytes, message->routing_key.length),
        .mandatory = message->mandatory,
    };

    write_u16(&writer, AMQP_BASIC_CLASS);
    write_u16(&writer, 0); /* "weight", always 0 */
    write_u64(&writer, message->body.size);
    assert(writer.size == sizeof fixed);
    if (!room_make(link, METHOD_SIZE_MAX + sizeof fixed + message->properties.size, err))
        return false;
    link_put_method(link, AMQP_BASIC_PUBLISH_METHOD, &publish);
    link_put(link, AMQP_FRAME_HEADER, (struct bytes){fixed, sizeof fixed}, message->properties);
    return true;
}

bool content_write(struct link *link, const struct message *message, struct err *err)
{
    uint32_t payload_max = link->frame_max - LINK_FRAME_OVERHEAD;

    if (message->exchange.length > NAME_LENGTH_MAX || message->routing_key.length > NAME_LENGTH_MAX)
        return err_set(err, ERR_REJECT,
                       "could not publish message: exchange or routing key over %d bytes",
                       NAME_LENGTH_MAX);
    if (message->properties.size < FLAGS_SIZE ||
        message->properties.size > payload_max - HEADER_FIXED_SIZE)
        return err_set(err, ERR_REJECT, "could not publish message: properties of %u bytes",
                       message->properties.size);
    if (!header_write(link, message, err)) return false;

    for (uint32_t written = 0; written < message->body.size;) {
        uint32_t left = message->body.size - written;
        struct bytes piece = {message->body.data + written,
                              left < payload_max ? left : payload_max};
        if (!room_make(link, piece.size, err)) return false;
        link_put(link, AMQP_FRAME_BODY, (struct bytes){NULL, 0}, piece);
        written += piece.size;
    }
    return true;
}
