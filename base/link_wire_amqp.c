/*
 * link_wire_amqp.c - frames over a link, in and out.
 *
 * Ensures:
 *  1. the socket carries whole frames one after the other, whatever is sent when;
 *  2. a wait ends: with a frame, at its time, on a signal, after two heartbeats of silence, or when
 *     unsent bytes have not moved for timeout_ms while the broker did not say that it is blocked;
 *  3. time in which nobody read is not silence: the socket is looked at before it is judged.
 */
#include "base/clock.h"
#include "base/link_amqp.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { METHOD_SIZE_MAX = 1024, BEATS_OF_SILENCE = 2 };

static void link_put_on(struct link *link, uint8_t type, uint16_t channel, struct bytes head,
                        struct bytes body)
{
    struct writer writer =
        writer_over(link->out + link->out_size, (size_t)LINK_OUT_SIZE - link->out_size);

    write_u8(&writer, type);
    write_u16(&writer, channel);
    write_u32(&writer, head.size + body.size);
    write_bytes(&writer, head.data, head.size);
    write_bytes(&writer, body.data, body.size);
    write_u8(&writer, AMQP_FRAME_END);
    assert(!writer.overflowed);
    link->out_size += writer.size;
}

void link_put(struct link *link, uint8_t type, struct bytes head, struct bytes body)
{
    link_put_on(link, type, LINK_CHANNEL, head, body);
}

static void link_put_method_on(struct link *link, uint16_t channel, amqp_method_number_t method,
                               void *fields)
{
    uint8_t encoded[METHOD_SIZE_MAX];
    uint8_t number[4] = {(uint8_t)(method >> 24), (uint8_t)(method >> 16), (uint8_t)(method >> 8),
                         (uint8_t)method};
    amqp_bytes_t room = {.len = sizeof encoded, .bytes = encoded};
    int size = amqp_encode_method(method, fields, room);

    assert(size >= 0);
    link_put_on(link, AMQP_FRAME_METHOD, channel, (struct bytes){number, sizeof number},
                (struct bytes){encoded, (uint32_t)size});
}

void link_put_method(struct link *link, amqp_method_number_t method, void *fields)
{
    link_put_method_on(link, LINK_CHANNEL, method, fields);
}

size_t link_room(const struct link *link)
{
    return LINK_OUT_SIZE - link->out_size;
}

bool link_push(struct link *link, struct err *err)
{
    size_t sent = 0;

    while (sent < link->out_size) {
        ssize_t took = send(link->socket, link->out + sent, link->out_size - sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (took >= 0) {
            sent += (size_t)took;
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) break;
        if (errno != EINTR)
            return link_break(link, err, "could not send to RabbitMQ: %s", strerror(errno));
    }
    link->out_size -= sent;
    if (link->out_size > 0) memmove(link->out, link->out + sent, link->out_size);
    if (link->out_size == 0 || sent > 0) link->stalled_ms = 0;
    return true;
}

/* Fails when unsent bytes have not moved for timeout_ms. */
static bool link_check_progress(struct link *link, uint64_t now_ms, struct err *err)
{
    if (link->out_size == 0) return true;
    if (link->stalled_ms == 0) link->stalled_ms = now_ms;
    if (now_ms - link->stalled_ms <= link->timeout_ms) return true;
    return link_break(link, err, "could not send to RabbitMQ: it did not read for %u ms",
                      link->timeout_ms);
}

bool link_flush(struct link *link, struct err *err)
{
    struct pollfd watched = {.fd = link->socket, .events = POLLOUT};

    while (true) {
        if (!link_push(link, err)) return false;
        if (!link_check_progress(link, clock_monotonic_ms(), err)) return false;
        int ready = poll(&watched, 1, (int)link->timeout_ms);
        if (ready > 0 && link->out_size == 0) return true;
        if (ready == 0)
            return link_break(link, err, "could not send to RabbitMQ: it did not read for %u ms",
                              link->timeout_ms);
    }
}

static bool link_beat_at(struct link *link, uint64_t now_ms, struct err *err)
{
    if (link->heartbeat_ms == 0 || now_ms - link->beat_ms < link->heartbeat_ms / 2) return true;
    link->beat_ms = now_ms;
    if (link->out_size > 0) return true; /* bytes are on their way, which is as good */
    link_put_on(link, AMQP_FRAME_HEARTBEAT, 0, (struct bytes){NULL, 0}, (struct bytes){NULL, 0});
    return link_push(link, err);
}

bool link_beat(struct link *link, struct err *err)
{
    return link_beat_at(link, clock_monotonic_ms(), err);
}

/* Waits until there is something to read. *over: there was not, and the caller is to go back. */
static bool link_wait(struct link *link, uint64_t until_ms, bool *over, struct err *err)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t wait_ms = until_ms > now_ms ? until_ms - now_ms : 0;

    if (link->heard) link->heard_ms = now_ms;
    link->heard = false;
    if (!link_beat_at(link, now_ms, err) || !link_push(link, err)) return false;
    if (link->blocked) link->stalled_ms = now_ms; /* it said that it would not read */
    if (!link_check_progress(link, now_ms, err)) return false;
    if (link->heartbeat_ms > 0 && wait_ms > link->heartbeat_ms / 2)
        wait_ms = link->heartbeat_ms / 2;
    if (link->out_size > 0 && wait_ms > link->timeout_ms) wait_ms = link->timeout_ms;

    short events = link->out_size > 0 ? POLLIN | POLLOUT : POLLIN;
    struct pollfd watched[] = {{.fd = link->socket, .events = events},
                               {.fd = link->wake, .events = POLLIN}}; /* poll passes over -1 */
    int ready = poll(watched, 2, (int)wait_ms);
    if (ready < 0 && errno != EINTR)
        return link_break(link, err, "could not wait for RabbitMQ: %s", strerror(errno));

    link->woken = ready > 0 && watched[1].revents != 0;
    *over = ready < 0 || link->woken || (ready == 0 && now_ms + wait_ms >= until_ms);
    if (ready > 0 && (watched[0].revents & ~POLLOUT) != 0) {
        link->heard = true;
        return true;
    }
    uint64_t silence_ms = now_ms + wait_ms - link->heard_ms;
    if (ready == 0 && link->heartbeat_ms > 0 && silence_ms > BEATS_OF_SILENCE * link->heartbeat_ms)
        return link_break(link, err, "could not read from RabbitMQ: no heartbeat for %u ms",
                          BEATS_OF_SILENCE * link->heartbeat_ms);
    return true;
}

static bool link_closed(const char *what, uint16_t code, amqp_bytes_t text, struct err *err)
{
    return err_set(err, ERR_RETRY, "could not go on with RabbitMQ: it closed the %s: %.*s (%u)",
                   what, (int)text.len, text.len == 0 ? "" : (const char *)text.bytes, code);
}

/* Frames about the connection or the whole channel. *taken: it was one. */
static bool link_take(struct link *link, const amqp_frame_t *frame, bool *taken, struct err *err)
{
    amqp_method_number_t method =
        frame->frame_type == AMQP_FRAME_METHOD ? frame->payload.method.id : 0;

    *taken = frame->channel != LINK_CHANNEL;
    if (method == AMQP_CONNECTION_BLOCKED_METHOD) link->blocked = true;
    if (method == AMQP_CONNECTION_UNBLOCKED_METHOD) link->blocked = false;
    if (method == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *close = frame->payload.method.decoded;
        return link_closed("channel", close->reply_code, close->reply_text, err);
    }
    if (method == AMQP_CONNECTION_CLOSE_OK_METHOD) link->usable = false;
    if (method == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *close = frame->payload.method.decoded;
        link_closed("connection", close->reply_code, close->reply_text, err);
        struct err ignored; /* a courtesy to the broker */
        if (link->out_size == 0) {
            link_put_method_on(link, 0, AMQP_CONNECTION_CLOSE_OK_METHOD,
                               &(amqp_connection_close_ok_t){0});
            (void)!link_push(link, &ignored);
        }
        link->usable = false;
        return false;
    }
    return true;
}

bool link_read(struct link *link, uint32_t wait_ms, amqp_frame_t *frame, bool *got, struct err *err)
{
    static const struct timeval no_wait = {0, 0};
    uint64_t until_ms = 0;

    *got = false;
    link->woken = false;
    while (true) {
        if (amqp_frames_enqueued(link->state) || amqp_data_in_buffer(link->state)) {
            link->heard = true;
        } else {
            bool over = false;
            if (until_ms == 0) until_ms = clock_monotonic_ms() + wait_ms;
            if (!link_wait(link, until_ms, &over, err)) return false;
            if (over && !link->heard) return true;
            if (!link->heard) continue;
        }
        int status = amqp_simple_wait_frame_noblock(link->state, frame, &no_wait);
        if (status == AMQP_STATUS_TIMEOUT) continue; /* a heartbeat, or a part of a frame */
        if (status != AMQP_STATUS_OK)
            return link_break(link, err, "could not read from RabbitMQ: %s",
                              amqp_error_string2(status));
        bool taken = false;
        if (!link_take(link, frame, &taken, err)) return false;
        *got = !taken;
        return true;
    }
}

void link_say_goodbye(struct link *link, uint32_t wait_ms)
{
    uint64_t until_ms = clock_monotonic_ms() + wait_ms;
    amqp_connection_close_t close = {.reply_code = AMQP_REPLY_SUCCESS};
    amqp_frame_t frame;
    struct err ignored;
    bool got = false;

    link->wake = -1; /* nobody would hear it */
    link_put_method_on(link, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
    while (link->usable && clock_monotonic_ms() < until_ms) {
        if (!link_read(link, wait_ms, &frame, &got, &ignored)) return;
        amqp_maybe_release_buffers(link->state); /* deliveries on their way are of no interest */
    }
}

static bool await(struct link *link, amqp_frame_t *frame, struct err *err)
{
    uint64_t start_ms = 0;

    while (true) {
        bool got = false;
        if (!link_read(link, link->timeout_ms, frame, &got, err)) return false;
        if (got) return true;

        uint64_t now_ms = clock_monotonic_ms();
        if (start_ms == 0) start_ms = now_ms; /* coarse: at most one timeout more */
        if (now_ms - start_ms >= link->timeout_ms)
            return link_break(link, err, "could not read from RabbitMQ: no answer within %u ms",
                              link->timeout_ms);
    }
}

/* Whoever wakes us must wait: he would wake us again and again. */
bool link_await(struct link *link, amqp_frame_t *frame, struct err *err)
{
    int wake = link->wake;

    link->wake = -1;
    bool ok = await(link, frame, err);
    link->wake = wake;
    return ok;
}
