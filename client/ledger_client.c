/*
 * ledger_client.c - see ledger_client.h. Two connections, each opened when first needed: one for
 * calls, one for confirmed publishing.
 */
#include "client/ledger_client.h"

#include "base/clock.h"
#include "client/rpc_amqp.h"
#include "protocol/names.h"
#include "protocol/properties.h"
#include "protocol/request.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ARENA_SIZE = 4 * RPC_REPLY_MAX,
    CORRELATION_SIZE = 40,
    WINDOW = 1024,
    TIMEOUT_MS = 5000,
};

struct ledger_client {
    struct ledger_client_options options;
    struct names names;
    struct codec *codec;
    struct arena arena;
    struct rpc *rpc;
    struct publisher *publisher;
    char name[64];
    struct uuid session; /* with a count, the correlation id */
    uint64_t calls;
    struct confirm confirms[WINDOW];
};

bool ledger_client_open(struct ledger_client **out, const struct ledger_client_options *options,
                        struct err *err)
{
    struct ledger_client *client = calloc(1, sizeof *client);

    *out = NULL;
    if (client == NULL) return err_set(err, ERR_FATAL, "could not open client: out of memory");
    client->options = *options;
    if (client->options.timeout_ms == 0) client->options.timeout_ms = TIMEOUT_MS;
    (void)snprintf(client->name, sizeof client->name, "ledger client %ld", (long)getpid());
    random_bytes(client->session.bytes, sizeof client->session.bytes);
    if (!names_make(&client->names, options->prefix == NULL ? "ledger" : options->prefix, 1, err) ||
        !arena_open(&client->arena, ARENA_SIZE, err) || !codec_open(&client->codec, err)) {
        ledger_client_close(client);
        return false;
    }
    *out = client;
    return true;
}

void ledger_client_close(struct ledger_client *client)
{
    if (client == NULL) return;
    rpc_close(client->rpc);
    publisher_close(client->publisher);
    codec_close(client->codec);
    arena_close(&client->arena);
    free(client);
}

/* --- one message ------------------------------------------------------------------------- */

static bool call_check(const struct ledger_call *call, struct err *err)
{
    if (call->idempotency_key.length > KEY_LENGTH_MAX)
        return err_set(err, ERR_REJECT, "could not call: the idempotency key is over %d bytes",
                       KEY_LENGTH_MAX);
    if (command_changes(call->command.type) && call->idempotency_key.length == 0)
        return err_set(err, ERR_REJECT, "could not call: %s needs an idempotency key",
                       command_word(call->command.type));
    return true;
}

/* All about one hold go one way, where the body names no account. */
static bool call_routing_key(struct ledger_client *client, const struct ledger_call *call,
                             struct text *out)
{
    char id[UUID_TEXT_SIZE];

    *out = call->routing_key;
    if (out->length == 0) *out = command_ordering_key(&call->command);
    if (out->length == 0 && call->command.type == COMMAND_BATCH) *out = call->idempotency_key;
    if (out->length > 0 || !command_has_target(call->command.type)) return true;
    uuid_format(&call->command.transaction, id);
    *out = arena_text(&client->arena, text_of(id));
    return out->bytes != NULL;
}

static bool call_message(struct ledger_client *client, const struct ledger_call *call,
                         struct text correlation_id, struct message *out, struct err *err)
{
    struct header headers[3];
    uint32_t count = 0;
    struct properties_out properties = {
        .content_type = text_of(encoding_content_type(client->options.encoding)),
        .type = text_of(command_word(call->command.type)),
        .message_id = call->idempotency_key,
        .correlation_id = correlation_id,
        .app_id = text_of(client->options.app_id),
        .user_id = text_of(client->options.user_id),
        .headers = headers};

    if (!call_check(call, err)) return false;
    if (correlation_id.length > 0) properties.reply_to = TEXT_LITERAL(RPC_REPLY_TO);
    if (call->traceparent.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("traceparent"), .text = call->traceparent};
    if (call->trace_id.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("x-trace-id"), .text = call->trace_id};
    if (call->deadline.length > 0)
        headers[count++] =
            (struct header){.name = TEXT_LITERAL("x-deadline"), .text = call->deadline};
    properties.headers_count = count;
    *out = (struct message){.exchange = text_of(client->names.commands)};
    if (!call_routing_key(client, call, &out->routing_key) ||
        !properties_write(&properties, &client->arena, &out->properties) ||
        !command_encode(client->codec, &call->command, client->options.encoding, &client->arena,
                        &out->body))
        return err_set(err, ERR_REJECT, "could not call: the command is too large");
    return true;
}

/* --- calls ------------------------------------------------------------------------------- */

static bool read_reply(struct ledger_client *client, const struct rpc_reply *raw,
                       struct text correlation_id, struct reply *reply, bool *ours, struct err *err)
{
    struct properties properties;
    enum encoding encoding;
    char problem[PROBLEM_SIZE];

    *ours = properties_parse(raw->properties, &properties) &&
            text_equal(properties.correlation_id, correlation_id);
    if (!*ours) return true; /* late, for a call that was given up */
    if (!encoding_parse(properties.content_type, &encoding) ||
        !reply_decode(client->codec, raw->body, encoding, &client->arena, reply, problem))
        return err_set(err, ERR_RETRY, "could not read reply: not a reply of the ledger");
    return true;
}

/* A connection that was lost while nothing was asked is found now, before anything is sent; so are
 * late replies, which nobody waits for. */
static bool connect_calls(struct ledger_client *client, struct err *err)
{
    struct rpc_reply late;
    bool got = client->rpc != NULL;

    while (got) {
        arena_reset(&client->arena);
        if (rpc_receive(client->rpc, 0, &client->arena, &late, &got, err)) continue;
        rpc_close(client->rpc);
        client->rpc = NULL;
        break;
    }
    return client->rpc != NULL || rpc_open(&client->rpc, client->options.url, client->name,
                                           client->options.timeout_ms, err);
}

static bool exchange(struct ledger_client *client, const struct ledger_call *call, uint32_t wait_ms,
                     struct reply *reply, struct err *err)
{
    uint64_t deadline_ms = clock_monotonic_ms() + wait_ms, now_ms;
    char correlation[CORRELATION_SIZE + UUID_HEX_SIZE], session[UUID_HEX_SIZE];
    struct message message;
    bool ours = false;

    if (!connect_calls(client, err)) return false;
    uuid_format_hex(&client->session, session);
    (void)snprintf(correlation, sizeof correlation, "%s-%llu", session,
                   (unsigned long long)++client->calls);
    arena_reset(&client->arena);
    if (!call_message(client, call, text_of(correlation), &message, err)) return false;
    if (!rpc_send(client->rpc, &message, err)) return false;
    while (!ours && (now_ms = clock_monotonic_ms()) <= deadline_ms) {
        struct rpc_reply raw;
        bool got;
        arena_reset(&client->arena); /* the message is in the connection's own buffer by now */
        if (!rpc_receive(client->rpc, (uint32_t)(deadline_ms - now_ms), &client->arena, &raw, &got,
                         err))
            return false;
        if (got && !read_reply(client, &raw, text_of(correlation), reply, &ours, err)) return false;
    }
    if (ours) return true;
    return err_set(err, ERR_RETRY,
                   "no reply within %u ms; the outcome is unknown: retry with the same key",
                   wait_ms);
}

bool ledger_client_call(struct ledger_client *client, const struct ledger_call *call,
                        uint32_t wait_ms, struct reply *reply, struct err *err)
{
    if (exchange(client, call, wait_ms, reply, err)) return true;
    if (err->kind == ERR_REJECT) return false;
    rpc_close(client->rpc); /* late replies must not meet the next call */
    client->rpc = NULL;
    return false;
}

/* --- publishing -------------------------------------------------------------------------- */

/* Each confirm moves the deadline, so that a long list may take long, but silence may not. */
static bool take_confirms(struct ledger_client *client, uint64_t *deadline_ms, uint32_t *confirmed,
                          struct err *err)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint32_t count = 0;

    if (now_ms >= *deadline_ms)
        return err_set(err, ERR_RETRY, "could not publish: %s",
                       publisher_blocked(client->publisher)
                           ? "the broker is short of memory or disk and takes nothing"
                           : "no confirm in time");
    if (!publisher_poll(client->publisher, (uint32_t)(*deadline_ms - now_ms), client->confirms,
                        WINDOW, &count, err))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (client->confirms[i].result != CONFIRM_ACK)
            return err_set(err, ERR_RETRY, "could not publish: %s",
                           client->confirms[i].result == CONFIRM_RETURNED
                               ? "no queue takes commands (is a worker's topology declared?)"
                               : "refused by the broker");
    *confirmed += count;
    if (count > 0) *deadline_ms = clock_monotonic_ms() + client->options.timeout_ms;
    return true;
}

/* As connect_calls: a connection may have been lost since the last time. */
static bool connect_publisher(struct ledger_client *client, struct err *err)
{
    struct publisher_options options = {.url = client->options.url,
                                        .name = client->name,
                                        .heartbeat_s = 30,
                                        .timeout_ms = client->options.timeout_ms,
                                        .window = WINDOW};
    uint32_t count = 0;

    if (client->publisher != NULL &&
        !publisher_poll(client->publisher, 0, client->confirms, WINDOW, &count, err)) {
        publisher_close(client->publisher);
        client->publisher = NULL;
    }
    assert(count == 0); /* all were taken the last time */
    return client->publisher != NULL || publisher_open(&client->publisher, &options, err);
}

static bool publish_all(struct ledger_client *client, const struct ledger_call *calls,
                        uint32_t count, struct err *err)
{
    uint32_t sent = 0, confirmed = 0;

    if (!connect_publisher(client, err)) return false;
    uint64_t deadline_ms = clock_monotonic_ms() + client->options.timeout_ms;
    while (confirmed < count) {
        while (sent < count && publisher_room(client->publisher) > 0) {
            struct message message;
            uint64_t sequence;
            arena_reset(&client->arena);
            if (!call_message(client, &calls[sent], (struct text){0}, &message, err)) return false;
            message.mandatory = true;
            if (!publisher_send(client->publisher, &message, &sequence, err)) return false;
            sent++;
        }
        if (!take_confirms(client, &deadline_ms, &confirmed, err)) return false;
    }
    assert(confirmed == count);
    return true;
}

bool ledger_client_publish(struct ledger_client *client, const struct ledger_call *calls,
                           uint32_t count, struct err *err)
{
    if (publish_all(client, calls, count, err)) return true;
    publisher_close(client->publisher);
    client->publisher = NULL;
    return false;
}
