/*
 * answer.c - see answer.h. After any failure the connection is closed, and not tried again for a
 * while: a caller waits at most CONFIRM_WAIT_MS for this shortcut.
 */
#include "worker/answer.h"

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

enum { CONFIRM_WAIT_MS = 1000, WINDOW = 1024, BEAT_EVERY_MS = 1000 };

struct answer {
    struct publisher_options options;
    struct publisher *publisher;
    struct breaker breaker;
    uint64_t beat_at_ms;
    struct confirm confirms[WINDOW];
};

bool answer_open(struct answer **out, const struct answer_options *options, struct err *err)
{
    struct answer *answer = calloc(1, sizeof *answer);

    *out = answer;
    if (answer == NULL) return err_set(err, ERR_FATAL, "could not open replies: out of memory");
    answer->options = (struct publisher_options){.url = options->url,
                                                 .name = options->name,
                                                 .heartbeat_s = options->heartbeat_s,
                                                 .timeout_ms = CONFIRM_WAIT_MS,
                                                 .window = WINDOW};
    answer->breaker = (struct breaker){.threshold = 1, .probe_ms = 5000};
    return true;
}

void answer_close(struct answer *answer)
{
    if (answer == NULL) return;
    publisher_close(answer->publisher);
    free(answer);
}

static bool send_all(struct answer *answer, const struct outbox_row *rows, uint32_t count,
                     struct err *err)
{
    uint64_t deadline_ms = clock_monotonic_ms() + CONFIRM_WAIT_MS;
    uint32_t sent = 0, settled = 0;

    if (answer->publisher == NULL && !publisher_open(&answer->publisher, &answer->options, err))
        return false;
    while (settled < count) {
        while (sent < count && publisher_room(answer->publisher) > 0) {
            struct message message = {.routing_key = rows[sent].destination,
                                      .properties = rows[sent].properties,
                                      .body = rows[sent].body};
            uint64_t sequence;
            if (!publisher_send(answer->publisher, &message, &sequence, err)) return false;
            sent++;
        }
        uint64_t now_ms = clock_monotonic_ms();
        uint32_t confirmed = 0;
        if (publisher_blocked(answer->publisher) || now_ms >= deadline_ms)
            return err_set(err, ERR_RETRY, "could not confirm replies in time");
        if (!publisher_poll(answer->publisher, (uint32_t)(deadline_ms - now_ms), answer->confirms,
                            WINDOW, &confirmed, err))
            return false;
        for (uint32_t i = 0; i < confirmed; i++)
            if (answer->confirms[i].result != CONFIRM_ACK)
                return err_set(err, ERR_RETRY, "could not publish a reply: refused by the broker");
        settled += confirmed;
    }
    return true;
}

bool answer_is_ready(const struct answer *answer)
{
    return (answer->publisher == NULL || !publisher_blocked(answer->publisher)) &&
           breaker_would_allow(&answer->breaker, clock_monotonic_ms());
}

bool answer_send(struct answer *answer, const struct outbox_row *rows, uint32_t count)
{
    struct err err = {0};
    bool sent;

    if (!breaker_allows(&answer->breaker, clock_monotonic_ms())) return false;
    sent = send_all(answer, rows, count, &err);
    breaker_report(&answer->breaker, sent, clock_monotonic_ms());
    if (sent) return true;
    log_warn("replies go through the outbox for now: %s", err.text);
    publisher_close(answer->publisher);
    answer->publisher = NULL;
    return false;
}

void answer_idle(struct answer *answer)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct err err = {0};
    uint32_t count = 0;

    if (answer->publisher == NULL || now_ms < answer->beat_at_ms) return;
    answer->beat_at_ms = now_ms + BEAT_EVERY_MS;
    if (publisher_poll(answer->publisher, 0, answer->confirms, WINDOW, &count, &err)) return;
    publisher_close(answer->publisher);
    answer->publisher = NULL;
}
