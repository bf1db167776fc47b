/*
 * db_link_pg.c - libpq's waits, each made to end at a deadline. Nothing here interprets an answer.
 *
 * A signal does not end a wait: that would leave the link in the middle of an answer. The deadline
 * bounds it, and the loop looks at stop_requested soon enough. Who waits for a long one is alive.
 */
#include "base/clock.h"
#include "base/db_internal_pg.h"
#include "base/health.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

enum { SLICE_MS = 5000 };

/* What became ready of `wanted`; a broken link counts as readable, so that reading tells why. */
static bool wait_for(const PGconn *conn, short wanted, uint64_t deadline_ms, short *ready,
                     struct err *err)
{
    struct pollfd socket = {.fd = PQsocket(conn), .events = wanted};

    if (socket.fd < 0)
        return err_set(err, ERR_RETRY, "could not reach PostgreSQL: the link is closed");
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms >= deadline_ms)
            return err_set(err, ERR_RETRY, "could not reach PostgreSQL: no answer in time");
        uint64_t left_ms = deadline_ms - now_ms;
        int count = poll(&socket, 1, left_ms > SLICE_MS ? SLICE_MS : (int)left_ms);
        if (count > 0) break;
        if (count == 0) health_beat();
        if (count < 0 && errno != EINTR)
            return err_set(err, ERR_RETRY, "could not poll PostgreSQL: %s", strerror(errno));
    }
    *ready = (short)(socket.revents & wanted);
    if ((socket.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) *ready |= POLLIN;
    return true;
}

/* The first line says it; the others guess, "this probably means the server terminated". */
bool db_link_failed(const PGconn *conn, const char *verb, struct err *err)
{
    const char *message = PQerrorMessage(conn);
    int length = (int)strcspn(message, "\n");
    return err_set(err, ERR_RETRY, "could not %s: %.*s", verb, length, message);
}

static bool refused(PGconn *conn, struct err *err)
{
    db_kind_of_connect(conn, err);
    db_explain_tls(conn, err);
    return false;
}

bool db_link_connect(PGconn *conn, uint64_t deadline_ms, struct err *err)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    short ready;

    if (PQstatus(conn) == CONNECTION_BAD) return refused(conn, err);
    while (status != PGRES_POLLING_OK) {
        short wanted = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (!wait_for(conn, wanted, deadline_ms, &ready, err)) return false;
        status = PQconnectPoll(conn);
        if (status == PGRES_POLLING_FAILED) return refused(conn, err);
    }
    return true;
}

bool db_link_flush(PGconn *conn, uint64_t deadline_ms, struct err *err)
{
    short ready;

    for (;;) {
        int left = PQflush(conn);
        if (left == 0) return true;
        if (left < 0) return db_link_failed(conn, "reach PostgreSQL", err);
        if (!wait_for(conn, POLLIN | POLLOUT, deadline_ms, &ready, err)) return false;
        if ((ready & POLLIN) != 0 && PQconsumeInput(conn) != 1)
            return db_link_failed(conn, "reach PostgreSQL", err);
    }
}

bool db_link_result(PGconn *conn, uint64_t deadline_ms, PGresult **out, struct err *err)
{
    short ready;

    while (PQisBusy(conn)) {
        if (!wait_for(conn, POLLIN, deadline_ms, &ready, err)) return false;
        if (PQconsumeInput(conn) != 1) return db_link_failed(conn, "reach PostgreSQL", err);
    }
    *out = PQgetResult(conn);
    return true;
}
