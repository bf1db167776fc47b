/*
 * act.c - see act.h.
 */
#include "dlq/act.h"

#include "base/clock.h"
#include "base/stop.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

enum { WINDOW = PAGE_LETTERS, CONFIRM_WAIT_MS = 100, STEPS_A_SECOND = 4, SCRATCH_SIZE = 128 << 20 };

bool act_chosen(struct tool *tool, int count, char **arguments, struct err *err)
{
    char filter[FILTER_TEXT_SIZE];

    filter_text(&tool->filter, filter);
    if (count > 0) {
        if (tool->all || filter[0] != '\0')
            return err_set(err, ERR_FATAL, "ids, or a filter, or --all: one of them");
        tool->filter.ids = (const char *const *)arguments;
        tool->filter.ids_count = (uint32_t)count;
        tool->met = calloc((size_t)count, sizeof *tool->met);
        return tool->met != NULL || err_set(err, ERR_FATAL, "could not begin: out of memory");
    }
    if (tool->all == (filter[0] == '\0')) return true;
    if (tool->all) return err_set(err, ERR_FATAL, "a filter, or --all: one of them");
    return err_set(err, ERR_FATAL, "which letters? Give ids, a filter, or --all");
}

bool act_open(struct act *act, struct tool *tool, const char *verb, struct err *err)
{
    *act = (struct act){.tool = tool, .verb = verb};
    return arena_open(&act->scratch, SCRATCH_SIZE, err);
}

void act_close(struct act *act)
{
    publisher_close(act->publisher);
    arena_close(&act->scratch);
    free(act->tool->met);
    act->tool->met = NULL;
}

bool act_begin(struct act *act, struct audit *audit, struct err *err)
{
    char filter[FILTER_TEXT_SIZE];

    filter_text(&act->tool->filter, filter);
    return audit_begin(audit, act->verb, filter, act->tool->why, &act->operation, err);
}

uint32_t act_step(struct act *act, uint32_t count)
{
    uint32_t rate = act->tool->rate, most = rate / STEPS_A_SECOND;
    uint64_t now_us = clock_monotonic_us();

    if (rate == 0) return count;
    while (now_us < act->next_step_us && !stop_requested()) {
        uint64_t left_us = act->next_step_us - now_us;
        clock_sleep_us(left_us < 100000 ? (uint32_t)left_us : 100000);
        now_us = clock_monotonic_us();
    }
    if (most == 0) most = 1;
    if (count > most) count = most;
    act->next_step_us = now_us + (uint64_t)count * 1000000 / rate;
    return count;
}

/* Those that were asked for by their ids; but a limit ends the walk before it has met all. */
static enum exit_code all_found(const struct act *act)
{
    const struct tool *tool = act->tool;
    uint32_t missing = 0;

    if (tool->limit > 0 && act->listed >= tool->limit) return EXIT_DONE;
    for (uint32_t i = 0; i < tool->filter.ids_count; i++) missing += !tool->met[i];
    if (missing == 0) return EXIT_DONE;
    return complain(EXIT_FAILED, "%u of %u letters are not in the queue; list shows those that are",
                    missing, tool->filter.ids_count);
}

enum exit_code act_end(struct act *act, struct audit *audit, bool ok, const char *done_word,
                       struct err *err)
{
    bool stopped = ok && stop_requested();
    struct err ending = {0};
    char note[ERR_TEXT_SIZE + 64];

    if (act->operation == 0)
        return !ok ? complain_err(err) : stopped ? EXIT_STOPPED : all_found(act);
    (void)snprintf(note, sizeof note, "%s%s%" PRIu64 " skipped", ok ? "" : err->text,
                   ok ? "" : "; ", act->skipped);
    enum operation_state state = !ok       ? OPERATION_FAILED
                                 : stopped ? OPERATION_STOPPED
                                           : OPERATION_DONE;
    if (!audit_end(audit, act->operation, state, note, &ending))
        (void)complain(EXIT_DONE, "operation %" PRId64 " is not closed in the record: %s",
                       act->operation, ending.text);
    if (!act->tool->quiet)
        (void)fprintf(stderr, "operation %" PRId64 ": %" PRIu64 " %s, %" PRIu64 " skipped%s\n",
                      act->operation, act->done, done_word, act->skipped,
                      stopped ? "; stopped before the end" : "");
    if (!ok) return complain_err(err);
    if (stopped) return EXIT_STOPPED;
    return act->skipped > 0 ? EXIT_FAILED : all_found(act);
}

/* --- publishing -------------------------------------------------------------------------- */

static bool await_confirms(struct act *act, uint32_t sent, struct err *err)
{
    static struct confirm confirms[WINDOW];
    uint64_t deadline_ms = clock_monotonic_ms() + act->tool->timeout_ms;
    uint32_t confirmed = 0;

    while (confirmed < sent) {
        uint32_t count = 0;
        if (!publisher_poll(act->publisher, CONFIRM_WAIT_MS, confirms, WINDOW, &count, err))
            return false;
        for (uint32_t i = 0; i < count; i++) {
            if (confirms[i].result == CONFIRM_NACK)
                return err_set(err, ERR_RETRY, "could not publish: the queue is full");
            if (confirms[i].result == CONFIRM_RETURNED)
                return err_set(err, ERR_FATAL,
                               "could not publish: no queue is bound for it; are the workers' "
                               "exchanges and queues there?");
        }
        confirmed += count;
        if (count > 0 || publisher_blocked(act->publisher)) /* an alarm passes */
            deadline_ms = clock_monotonic_ms() + act->tool->timeout_ms;
        if (stop_requested() && publisher_blocked(act->publisher))
            return err_set(err, ERR_RETRY, "stopped while the broker takes no messages (alarm)");
        if (clock_monotonic_ms() > deadline_ms)
            return err_set(err, ERR_RETRY, "could not publish: no confirm within %u ms",
                           act->tool->timeout_ms);
    }
    return true;
}

static bool publish_all(struct act *act, struct posting *postings, uint32_t count, struct err *err)
{
    uint32_t sent = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t sequence;
        if (postings[i].skipped) continue;
        if (publisher_room(act->publisher) == 0) {
            if (!await_confirms(act, sent, err)) return false;
            sent = 0;
            if (publisher_room(act->publisher) == 0)
                return err_set(err, ERR_RETRY, "could not publish: the broker takes no messages");
        }
        if (publisher_send(act->publisher, &postings[i].message, &sequence, err)) {
            sent++;
            continue;
        }
        if (err->kind != ERR_REJECT) return false;
        (void)complain(EXIT_DONE, "skipped one: %s", err->text);
        postings[i].skipped = true;
    }
    return await_confirms(act, sent, err);
}

bool act_publish(struct act *act, struct posting *postings, uint32_t count, struct err *err)
{
    struct publisher_options options = {.url = act->tool->amqp_url,
                                        .name = "ledger-dlq",
                                        .heartbeat_s = 20,
                                        .timeout_ms = act->tool->timeout_ms,
                                        .window = WINDOW};

    assert(count <= PAGE_LETTERS);
    if (act->publisher == NULL && !publisher_open(&act->publisher, &options, err)) return false;
    if (publish_all(act, postings, count, err)) return true;
    publisher_close(act->publisher); /* what was not confirmed is unknown: it will be sent again */
    act->publisher = NULL;
    return false;
}
