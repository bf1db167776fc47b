/*
 * publisher_amqp.c - messages out, confirms in. Ensures:
 *  1. no more than window messages are sent and not reported, so settled always has room;
 *  2. while blocked nothing new enters the buffer;
 *  3. what the broker says is read each time that bytes are sent, so blocked is noticed at once.
 */
#include "base/publisher_amqp.h"

#include "base/confirms.h"
#include "base/content_amqp.h"
#include "base/link_amqp.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    PUSH_SIZE = 64 * 1024, /* a system call for each so many bytes */
    UNSENT_MAX = LINK_OUT_SIZE / 2,
    POOL_PAGE_SIZE = 4096,
};

struct publisher {
    struct link *link;
    uint32_t window;
    uint32_t settled_count; /* known, and not yet given out */
    struct confirm settled[CONFIRMS_MAX];
    struct confirms confirms;
    struct arena returned; /* one message that came back */
    amqp_pool_t pool;      /* properties decoded to find the message_id */
};

bool publisher_open(struct publisher **out, const struct publisher_options *options,
                    struct err *err)
{
    struct link_options link_options = {options->url, options->name, options->heartbeat_s,
                                        options->timeout_ms};
    struct publisher *publisher = calloc(1, sizeof *publisher);

    *out = NULL;
    assert(options->window > 0);
    assert(options->window <= CONFIRMS_MAX);
    if (publisher == NULL)
        return err_set(err, ERR_RETRY, "could not open publisher: out of memory");
    publisher->window = options->window;
    confirms_reset(&publisher->confirms);
    init_amqp_pool(&publisher->pool, POOL_PAGE_SIZE);
    bool ok = arena_open(&publisher->returned, CONTENT_OVERHEAD, err) &&
              link_open(&publisher->link, &link_options, err);
    if (ok) {
        amqp_connection_state_t state = publisher->link->state;
        (void)amqp_confirm_select(state, LINK_CHANNEL);
        ok = link_answered(publisher->link, amqp_get_rpc_reply(state), ERR_FATAL, err,
                           "ask RabbitMQ for confirms");
    }
    if (ok) *out = publisher;
    if (!ok) publisher_close(publisher);
    return ok;
}

void publisher_close(struct publisher *publisher)
{
    if (publisher == NULL) return;
    link_close(publisher->link);
    empty_amqp_pool(&publisher->pool);
    arena_close(&publisher->returned);
    free(publisher);
}

uint32_t publisher_in_flight(const struct publisher *publisher)
{
    return publisher->confirms.in_flight + publisher->settled_count;
}

uint32_t publisher_room(const struct publisher *publisher)
{
    uint64_t span = publisher->confirms.next - publisher->confirms.first;
    uint32_t ring_room = CONFIRMS_MAX - (uint32_t)span;
    uint32_t window_room = publisher->window - publisher_in_flight(publisher);

    assert(publisher_in_flight(publisher) <= publisher->window);
    if (publisher->link->blocked || publisher->link->out_size >= UNSENT_MAX) return 0;
    return ring_room < window_room ? ring_room : window_room;
}

bool publisher_blocked(const struct publisher *publisher)
{
    return publisher->link->blocked;
}

/* Empty when there is none; false when the bytes are not properties. The view is good until the
 * next call. */
static bool message_id_of(struct publisher *publisher, struct bytes properties, struct text *out)
{
    void *decoded = NULL;

    *out = (struct text){NULL, 0};
    recycle_amqp_pool(&publisher->pool);
    if (amqp_decode_properties(AMQP_BASIC_CLASS, &publisher->pool,
                               link_bytes(properties.data, properties.size),
                               &decoded) != AMQP_STATUS_OK)
        return false;
    const amqp_basic_properties_t *known = decoded;
    if ((known->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) != 0)
        *out = (struct text){known->message_id.bytes, (uint32_t)known->message_id.len};
    return true;
}

static bool take_returned(struct publisher *publisher, struct err *err)
{
    struct content content;
    struct text message_id;

    arena_reset(&publisher->returned);
    if (!content_read(publisher->link, 0, &publisher->returned, &content, err)) return false;
    if (message_id_of(publisher, content.properties, &message_id))
        confirms_returned(&publisher->confirms, message_id);
    return true;
}

static bool take_settled(struct publisher *publisher, uint64_t sequence, bool multiple, bool acked,
                         struct err *err)
{
    uint32_t count = 0;

    assert(publisher_in_flight(publisher) <= CONFIRMS_MAX);
    bool ok = confirms_settle(&publisher->confirms, sequence, multiple, acked,
                              publisher->settled + publisher->settled_count, &count, err);
    publisher->settled_count += count;
    return ok;
}

static bool publisher_take(struct publisher *publisher, const amqp_frame_t *frame, struct err *err)
{
    const void *fields = frame->payload.method.decoded;
    amqp_method_number_t method =
        frame->frame_type == AMQP_FRAME_METHOD ? frame->payload.method.id : 0;

    if (method == AMQP_BASIC_ACK_METHOD) {
        const amqp_basic_ack_t *ack = fields;
        return take_settled(publisher, ack->delivery_tag, ack->multiple != 0, true, err);
    }
    if (method == AMQP_BASIC_NACK_METHOD) {
        const amqp_basic_nack_t *nack = fields;
        return take_settled(publisher, nack->delivery_tag, nack->multiple != 0, false, err);
    }
    if (method == AMQP_BASIC_RETURN_METHOD) return take_returned(publisher, err);
    return link_break(publisher->link, err, "could not read from RabbitMQ: frames out of order");
}

/* Sends what is gathered and reads what has come. */
static bool publisher_exchange(struct publisher *publisher, uint32_t wait_ms, struct err *err)
{
    bool got = true;

    if (!link_beat(publisher->link, err)) return false;
    if (!link_push(publisher->link, err)) return false;
    for (; got; wait_ms = 0) {
        amqp_frame_t frame;
        if (!link_read(publisher->link, wait_ms, &frame, &got, err)) return false;
        if (got && !publisher_take(publisher, &frame, err)) return false;
        amqp_maybe_release_buffers(publisher->link->state);
    }
    return true;
}

bool publisher_send(struct publisher *publisher, const struct message *message, uint64_t *sequence,
                    struct err *err)
{
    struct text message_id = {NULL, 0};

    assert(publisher_room(publisher) > 0);
    if (message->mandatory) {
        if (!message_id_of(publisher, message->properties, &message_id))
            return err_set(err, ERR_REJECT, "could not publish message: malformed properties");
        if (message_id.length == 0)
            return err_set(err, ERR_REJECT,
                           "could not publish message: mandatory without a message_id");
    }
    if (!content_write(publisher->link, message, err)) return false;
    *sequence = confirms_sent(&publisher->confirms, message_id);
    if (publisher->link->out_size < PUSH_SIZE) return true;
    return publisher_exchange(publisher, 0, err);
}

bool publisher_poll(struct publisher *publisher, uint32_t wait_ms, struct confirm *out,
                    uint32_t max, uint32_t *count, struct err *err)
{
    *count = 0;
    if (!publisher_exchange(publisher, publisher->settled_count > 0 ? 0 : wait_ms, err))
        return false;

    uint32_t given = publisher->settled_count < max ? publisher->settled_count : max;
    memcpy(out, publisher->settled, given * sizeof *out);
    publisher->settled_count -= given;
    memmove(publisher->settled, publisher->settled + given, publisher->settled_count * sizeof *out);
    *count = given;
    return true;
}
