/*
 * proxy_link.c - see proxy_link.h. Invariants: a pipe holds what one side sent and the other has
 * not yet taken, at most PROXY_PIPE_SIZE bytes, in order; a side is read only while its pipe has
 * room, so back-pressure reaches the sender.
 */
#include "tests/chaos/proxy_link.h"

#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_SIZE = 16 * 1024,
    CUT_LEAST = 8,
};

static enum proxy_side other_of(enum proxy_side side)
{
    return side == PROXY_CLIENT ? PROXY_SERVER : PROXY_CLIENT;
}

/* --- opening and ending ------------------------------------------------------------------ */

void proxy_socket_end(int socket, bool reset)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (socket < 0) return;
    if (reset) (void)setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(socket);
}

static int socket_to(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int socket_number = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (socket_number < 0) return -1;
    if (connect(socket_number, (struct sockaddr *)&address, sizeof address) == 0 ||
        errno == EINPROGRESS)
        return socket_number;
    (void)close(socket_number);
    return -1;
}

struct proxy_link *proxy_link_open(int client, uint16_t server_port)
{
    int on = 1, server = socket_to(server_port);
    struct proxy_link *link = server < 0 ? NULL : calloc(1, sizeof *link);

    if (link == NULL) {
        proxy_socket_end(server, true);
        return NULL;
    }
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    link->sockets[PROXY_CLIENT] = client;
    link->sockets[PROXY_SERVER] = server;
    link->connecting = true;
    return link;
}

void proxy_link_end(struct proxy_link *link, bool reset)
{
    proxy_socket_end(link->sockets[PROXY_CLIENT], reset);
    proxy_socket_end(link->sockets[PROXY_SERVER], reset);
    free(link);
}

/* --- bytes ------------------------------------------------------------------------------- */

static bool pipe_has_room(const struct proxy_pipe *pipe)
{
    return PROXY_PIPE_SIZE - pipe->size >= READ_SIZE && pipe->chunks_count < PROXY_CHUNKS_MAX;
}

static void pipe_put(struct proxy_pipe *pipe, const uint8_t *bytes, uint32_t size, uint64_t due_us)
{
    for (uint32_t i = 0; i < size; i++)
        pipe->bytes[(pipe->head + pipe->size + i) % PROXY_PIPE_SIZE] = bytes[i];
    pipe->size += size;
    pipe->chunks[(pipe->chunks_first + pipe->chunks_count++) % PROXY_CHUNKS_MAX] =
        (struct proxy_chunk){due_us, size};
}

/* The part of the first chunk that lies in one piece was sent up to here. */
static void pipe_take(struct proxy_pipe *pipe, uint32_t size)
{
    struct proxy_chunk *chunk = &pipe->chunks[pipe->chunks_first];

    pipe->head = (pipe->head + size) % PROXY_PIPE_SIZE;
    pipe->size -= size;
    chunk->size -= size;
    if (chunk->size > 0) return;
    pipe->chunks_first = (pipe->chunks_first + 1) % PROXY_CHUNKS_MAX;
    pipe->chunks_count--;
}

/* When the first chunk may go: at once when there is no delay any more, whatever it was. */
static uint64_t pipe_due_us(const struct proxy_pipe *pipe, const struct proxy_traffic *traffic)
{
    if (pipe->chunks_count == 0) return UINT64_MAX;
    return traffic->delay_ms == 0 ? 0 : pipe->chunks[pipe->chunks_first].due_us;
}

/* False: the link is broken. */
static bool link_read(struct proxy_link *link, enum proxy_side from, struct proxy_traffic *traffic)
{
    struct proxy_pipe *pipe = &link->pipes[from];
    uint8_t bytes[READ_SIZE];
    ssize_t got = recv(link->sockets[from], bytes, sizeof bytes, 0);

    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) {
        pipe->ended = true;
        return true;
    }
    uint32_t size = (uint32_t)got;
    if (link->cut_next && size >= CUT_LEAST) {
        size /= 2;
        link->closing = true;
        traffic->counts.cut++;
    }
    if (traffic->delay_ms > 0 && link->delayed_in != traffic->delays) {
        link->delayed_in = traffic->delays;
        traffic->counts.delayed++;
    }
    pipe_put(pipe, bytes, size, clock_monotonic_us() + (uint64_t)traffic->delay_ms * 1000);
    return true;
}

/* Forwards what is due and what the receiver takes. False: the link is broken. */
static bool link_write(struct proxy_link *link, enum proxy_side from, struct proxy_traffic *traffic)
{
    int to = link->sockets[other_of(from)];
    struct proxy_pipe *pipe = &link->pipes[from];
    uint64_t now_us = clock_monotonic_us();

    while (pipe_due_us(pipe, traffic) <= now_us) {
        uint32_t size = pipe->chunks[pipe->chunks_first].size;
        if (size > PROXY_PIPE_SIZE - pipe->head) size = PROXY_PIPE_SIZE - pipe->head;
        ssize_t sent = send(to, pipe->bytes + pipe->head, size, MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        pipe_take(pipe, (uint32_t)sent);
        traffic->counts.bytes += (uint64_t)sent;
    }
    if (pipe->ended && !pipe->told && pipe->size == 0) {
        pipe->told = true;
        return shutdown(to, SHUT_WR) == 0;
    }
    return true;
}

static bool link_is_done(const struct proxy_link *link)
{
    const struct proxy_pipe *there = &link->pipes[PROXY_CLIENT], *back = &link->pipes[PROXY_SERVER];

    if (there->size > 0 || back->size > 0) return false;
    return link->closing || (there->told && back->told);
}

/* --- serving ----------------------------------------------------------------------------- */

short proxy_link_events(const struct proxy_link *link, enum proxy_side side,
                        const struct proxy_traffic *traffic, uint64_t *next_us)
{
    const struct proxy_pipe *in = &link->pipes[side], *out = &link->pipes[other_of(side)];
    uint64_t due_us = pipe_due_us(out, traffic);
    short events = 0;

    if (link->connecting) return side == PROXY_SERVER ? POLLOUT : 0;
    if (!in->ended && !link->closing && pipe_has_room(in)) events |= POLLIN;
    if (due_us <= clock_monotonic_us())
        events |= POLLOUT;
    else if (due_us < *next_us)
        *next_us = due_us;
    /* Told of the end, this side hangs up when it ends too, though we may have no room to hear it.
     */
    return events == 0 && out->told ? -1 : events;
}

enum proxy_link_state proxy_link_serve(struct proxy_link *link, enum proxy_side side, short events,
                                       short revents, struct proxy_traffic *traffic)
{
    bool ok = true;

    if (link->connecting) {
        ok = (revents & POLLERR) == 0;
        link->connecting = false;
    } else if ((events & POLLIN) != 0 && !link->closing) {
        ok = link_read(link, side, traffic);
    } else {
        ok = (revents & POLLERR) == 0;
    }
    ok = ok && link_write(link, PROXY_CLIENT, traffic) && link_write(link, PROXY_SERVER, traffic);
    if (!ok) return PROXY_LINK_BROKEN;
    return link_is_done(link) ? PROXY_LINK_DONE : PROXY_LINK_OPEN;
}
