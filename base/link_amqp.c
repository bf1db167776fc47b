/*
 * link_amqp.c - opening, closing, and what a failure means. Sending and receiving:
 * link_wire_amqp.c.
 *
 * Ensures: the URL's password is in no error text; a link that link_open gives out has its channel
 * open, a non-blocking socket, and is told about blocking and about consumers that are cancelled.
 */
#include "base/link_amqp.h"

#include "base/clock.h"

#include <amqp_tcp_socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { GOODBYE_MS = 1000, KEEPALIVE_IDLE_S = 10, KEEPALIVE_EVERY_S = 5, KEEPALIVE_COUNT = 3 };

_Static_assert(LINK_OUT_SIZE >= 2 * LINK_FRAME_MAX, "a frame always fits into an empty half");

amqp_bytes_t link_bytes(const void *data, size_t size)
{
    return (amqp_bytes_t){.len = size, .bytes = (void *)(uintptr_t)data};
}

static struct timeval timeval_of(uint32_t ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
}

bool link_break(struct link *link, struct err *err, const char *format, ...)
{
    char reason[ERR_TEXT_SIZE];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    link->usable = false;
    return err_set(err, ERR_RETRY, "%s", reason);
}

/* Both close methods say why in the same way. */
static amqp_channel_close_t refusal_of(amqp_rpc_reply_t reply)
{
    amqp_channel_close_t refusal = {0};

    if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) return refusal;
    if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
        refusal = *(const amqp_channel_close_t *)reply.reply.decoded;
    if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *close = reply.reply.decoded;
        refusal.reply_code = close->reply_code;
        refusal.reply_text = close->reply_text;
    }
    return refusal;
}

uint16_t link_refusal_code(amqp_rpc_reply_t reply)
{
    return refusal_of(reply).reply_code;
}

static bool passes_by_itself(uint16_t code)
{
    return code == AMQP_CONNECTION_FORCED || code == AMQP_RESOURCE_LOCKED ||
           code == AMQP_RESOURCE_ERROR || code == AMQP_INTERNAL_ERROR;
}

static bool status_is_permanent(int status)
{
    return status == AMQP_STATUS_BAD_URL || status == AMQP_STATUS_INVALID_PARAMETER ||
           status == AMQP_STATUS_INCOMPATIBLE_AMQP_VERSION ||
           status == AMQP_STATUS_BROKER_UNSUPPORTED_SASL_METHOD;
}

bool link_answered(struct link *link, amqp_rpc_reply_t reply, enum err_kind refusal,
                   struct err *err, const char *what, ...)
{
    char tried[ERR_TEXT_SIZE / 2];
    va_list arguments;

    if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
        amqp_maybe_release_buffers(link->state);
        return true;
    }
    va_start(arguments, what);
    (void)vsnprintf(tried, sizeof tried, what, arguments);
    va_end(arguments);

    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) {
        amqp_channel_close_t said = refusal_of(reply);
        link->usable = reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD;
        err_set(err, passes_by_itself(said.reply_code) ? ERR_RETRY : refusal,
                "could not %s: %.*s (%u)", tried, (int)said.reply_text.len,
                said.reply_text.len == 0 ? "" : (const char *)said.reply_text.bytes,
                said.reply_code);
        amqp_maybe_release_buffers(link->state);
        return false;
    }
    link->usable = false;
    return err_set(err, status_is_permanent(reply.library_error) ? ERR_FATAL : ERR_RETRY,
                   "could not %s: %s", tried, amqp_error_string2(reply.library_error));
}

static amqp_table_entry_t entry_flag(const char *name)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes(name)};

    entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
    entry.value.value.boolean = 1;
    return entry;
}

/* What a port for TLS says to plain text are bytes that are no AMQP, or nothing. */
static void link_hint_at_tls(struct err *err)
{
    size_t length = strlen(err->text);

    (void)snprintf(err->text + length, sizeof err->text - length,
                   "; if this is its port for TLS, use amqps://");
}

static bool link_login(struct link *link, const struct link_options *options,
                       const struct amqp_connection_info *info, struct err *err)
{
    /* What a client does not claim to understand, RabbitMQ does not send it. */
    amqp_table_entry_t capabilities[] = {
        entry_flag("authentication_failure_close"), entry_flag("basic.nack"),
        entry_flag("connection.blocked"),           entry_flag("consumer_cancel_notify"),
        entry_flag("exchange_exchange_bindings"),   entry_flag("publisher_confirms"),
    };
    amqp_table_entry_t properties[2] = {{.key = amqp_cstring_bytes("capabilities")},
                                        {.key = amqp_cstring_bytes("connection_name")}};
    properties[0].value.kind = AMQP_FIELD_KIND_TABLE;
    properties[0].value.value.table.num_entries = sizeof capabilities / sizeof capabilities[0];
    properties[0].value.value.table.entries = capabilities;
    properties[1].value.kind = AMQP_FIELD_KIND_UTF8;
    properties[1].value.value.bytes = amqp_cstring_bytes(options->name);
    amqp_table_t table = {.num_entries = 2, .entries = properties};

    const char *vhost = info->vhost[0] == '\0' ? "/" : info->vhost;
    amqp_rpc_reply_t reply = amqp_login_with_properties(
        link->state, vhost, LINK_CHANNEL, LINK_FRAME_MAX, (int)options->heartbeat_s, &table,
        AMQP_SASL_METHOD_PLAIN, info->user, info->password);
    if (!link_answered(link, reply, ERR_FATAL, err, "log in to RabbitMQ at %s:%d", info->host,
                       info->port)) {
        if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && !info->ssl)
            link_hint_at_tls(err);
        return false;
    }

    link->heartbeat_ms = (uint32_t)amqp_get_heartbeat(link->state) * 1000;
    link->frame_max = (uint32_t)amqp_get_frame_max(link->state);
    int status = amqp_tune_connection(link->state, LINK_CHANNEL, (int)link->frame_max, 0);
    if (status != AMQP_STATUS_OK)
        return link_break(link, err, "could not tune the connection to RabbitMQ: %s",
                          amqp_error_string2(status));
    (void)amqp_channel_open(link->state, LINK_CHANNEL);
    return link_answered(link, amqp_get_rpc_reply(link->state), ERR_FATAL, err,
                         "open a channel to RabbitMQ");
}

static bool link_connect_plainly(struct link *link, amqp_socket_t *socket,
                                 const struct amqp_connection_info *info, struct err *err)
{
    struct timeval timeout = timeval_of(link->timeout_ms);
    int status = amqp_socket_open_noblock(socket, info->host, info->port, &timeout);

    if (status != AMQP_STATUS_OK)
        return err_set(err, ERR_RETRY, "could not connect to RabbitMQ at %s:%d: %s", info->host,
                       info->port, amqp_error_string2(status));
    link->socket = amqp_socket_get_sockfd(socket);

    /* The library sets TCP_NODELAY and SO_KEEPALIVE; these make keepalive notice within half a
     * minute where heartbeats are off. A system that refuses them loses only that. */
    const int idle_s = KEEPALIVE_IDLE_S, every_s = KEEPALIVE_EVERY_S, count = KEEPALIVE_COUNT;
    (void)setsockopt(link->socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(link->socket, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
    (void)setsockopt(link->socket, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    return true;
}

static bool link_connect(struct link *link, const struct amqp_connection_info *info,
                         const struct tls_files *files, struct err *err)
{
    struct timeval timeout = timeval_of(link->timeout_ms);
    amqp_socket_t *socket = amqp_tcp_socket_new(link->state);

    if (socket == NULL || amqp_set_handshake_timeout(link->state, &timeout) != AMQP_STATUS_OK ||
        amqp_set_rpc_timeout(link->state, &timeout) != AMQP_STATUS_OK)
        return err_set(err, ERR_RETRY, "could not prepare a connection to RabbitMQ: out of memory");
    if (!info->ssl) {
        link->usable = link_connect_plainly(link, socket, info, err);
        return link->usable;
    }
    const struct tls_options tls = {.server = "RabbitMQ",
                                    .plain = "amqp://",
                                    .host = info->host,
                                    .port = info->port,
                                    .files = files,
                                    .timeout_ms = link->timeout_ms,
                                    .linger_ms = GOODBYE_MS};
    link->usable = tls_open(&link->tls, &link->socket, &tls, err);
    if (link->usable) amqp_tcp_socket_set_sockfd(socket, link->socket);
    return link->usable;
}

/* The URL is parsed in place: percent-encodings are undone, and info points into it. */
static bool link_parse(char *url, struct amqp_connection_info *info, struct tls_files *files,
                       struct err *err)
{
    char *query = strchr(url, '?');

    if (query != NULL) *query++ = '\0';
    if (!tls_files_parse(query, files, err)) return false;
    if (amqp_parse_url(url, info) != AMQP_STATUS_OK || (query != NULL && !info->ssl))
        return err_set(err, ERR_FATAL,
                       "could not read the RabbitMQ URL: it must be "
                       "amqp://user:password@host:port/vhost, percent-encoded, or amqps:// with "
                       "?cacertfile=PATH behind it");
    return true;
}

/* NULL is fine. failure: what it ends for, or NULL. */
static void link_end(struct link *link, struct err *failure)
{
    if (link == NULL) return;
    /* While blocked the broker does not read, so it cannot agree. */
    if (link->usable && link->out_size == 0 && !link->blocked) link_say_goodbye(link, GOODBYE_MS);
    if (link->state != NULL) (void)amqp_destroy_connection(link->state); /* closes the socket */
    tls_close(link->tls, failure);
    free(link->out);
    free(link);
}

bool link_open(struct link **out, const struct link_options *options, struct err *err)
{
    struct amqp_connection_info info;
    struct tls_files files;
    struct link *link = calloc(1, sizeof *link);
    char *url = strdup(options->url);
    bool ok = false;

    amqp_default_connection_info(&info);
    *out = NULL;
    if (link == NULL || url == NULL) {
        err_set(err, ERR_RETRY, "could not prepare a connection to RabbitMQ: out of memory");
        goto out;
    }
    link->timeout_ms = options->timeout_ms;
    link->wake = -1;
    link->state = amqp_new_connection();
    link->out = malloc(LINK_OUT_SIZE);
    if (link->state == NULL || link->out == NULL) {
        err_set(err, ERR_RETRY, "could not prepare a connection to RabbitMQ: out of memory");
        goto out;
    }
    ok = link_parse(url, &info, &files, err) && link_connect(link, &info, &files, err) &&
         link_login(link, options, &info, err);
    link->heard_ms = clock_monotonic_ms();
    link->beat_ms = link->heard_ms;
out:
    free(url);
    if (ok) *out = link;
    if (!ok) link_end(link, err);
    return ok;
}

void link_close(struct link *link)
{
    link_end(link, NULL);
}
