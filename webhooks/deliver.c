/*
 * deliver.c - from an endpoint's queue to the endpoint. Ensures:
 *  1. a message is acknowledged only when the endpoint accepted it, or a delay queue or the dead
 *     letters have it;
 *  2. of an endpoint that wants order no event is posted while an earlier one of its account is
 *     under way here (they come in order, and to one process at a time) or has a place in
 *     webhook_waiting: the place is taken before the message goes into a delay queue, and left
 *     after it was accepted or is given up;
 *  3. what waits for such a place is in PostgreSQL, and is acknowledged when it is. The one before
 *     it is acknowledged only when the next one is in the endpoint's queue again.
 */
#include "webhooks/dispatcher_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "webhooks/signature.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESULTS_MAX = 64, ACCEPTED_FIRST = 200, ACCEPTED_LAST = 299, GONE = 410 };
enum { US_PER_S = 1000000, US_PER_MS = 1000, ERROR_SIZE = 256, FLUSH_MS = 100 };
enum { MISSED_S = 600, MISSED_MAX = 100 };

/* --- in --------------------------------------------------------------------------------------- */

bool job_take(struct dispatcher *dispatcher, const struct delivery *delivery, struct err *err)
{
    size_t size = delivery->properties.size + delivery->body.size;
    struct job *job = calloc(1, sizeof *job + size);

    if (job == NULL) return err_set(err, ERR_RETRY, "could not take a webhook: out of memory");
    job->tag = delivery->tag;
    job->outlet = &dispatcher->outlets[delivery->queue - QUEUE_FIRST];
    job->properties = (struct bytes){job->memory, delivery->properties.size};
    job->body = (struct bytes){job->memory + job->properties.size, delivery->body.size};
    memcpy(job->memory, delivery->properties.data, delivery->properties.size);
    if (job->body.size > 0)
        memcpy(job->memory + job->properties.size, delivery->body.data, delivery->body.size);
    if (!webhook_read(job->properties, &job->webhook) || job->webhook.id.length == 0 ||
        job->webhook.endpoint.length == 0 || delivery->oversized)
        job->state = JOB_UNREAD;
    *dispatcher->jobs_end = job;
    dispatcher->jobs_end = &job->next;
    return true;
}

void jobs_drop(struct dispatcher *dispatcher)
{
    while (dispatcher->jobs != NULL) {
        struct job *next = dispatcher->jobs->next;
        free(dispatcher->jobs);
        dispatcher->jobs = next;
    }
    dispatcher->jobs_end = &dispatcher->jobs;
}

/* --- order ------------------------------------------------------------------------------------ */

static bool has_order(const struct job *job)
{
    return job->outlet->endpoint.ordered && id_is_valid(job->webhook.account) &&
           job->webhook.position > 0;
}

static struct place place_of(const struct job *job)
{
    return (struct place){job->webhook.endpoint, job->webhook.account, job->webhook.position};
}

/* One that came before it, and is not done with. */
static bool is_behind_here(const struct dispatcher *dispatcher, const struct job *job)
{
    for (const struct job *other = dispatcher->jobs; other != job; other = other->next)
        if (other->outlet == job->outlet &&
            text_equal(other->webhook.account, job->webhook.account))
            return true;
    return false;
}

/* --- out -------------------------------------------------------------------------------------- */

static void add_header(struct post *post, const char *name, struct text value)
{
    assert(post->headers_count < POST_HEADERS_MAX);
    if (value.length == 0) return;
    (void)snprintf(post->headers[post->headers_count++], POST_HEADER_SIZE, "%s: %.*s", name,
                   TEXT_ARGS(value));
}

static bool start(struct dispatcher *dispatcher, struct job *job, struct err *err)
{
    const struct endpoint *endpoint = &job->outlet->endpoint;
    int64_t now_s = clock_wall_us() / US_PER_S;
    struct post post = {.url = endpoint->url, .body = job->body};
    char timestamp[24], signature[SIGNATURE_SIZE];

    (void)snprintf(timestamp, sizeof timestamp, "%" PRId64, now_s);
    signature_make(endpoint, job->webhook.id, now_s, job->body, signature);
    add_header(&post, "webhook-id", job->webhook.id);
    add_header(&post, "webhook-timestamp", text_of(timestamp));
    add_header(&post, "webhook-signature", text_of(signature));
    add_header(&post, "traceparent", job->webhook.traceparent);
    add_header(&post, "tracestate", job->webhook.tracestate);
    add_header(&post, "x-trace-id", webhook_trace(&job->webhook));
    job->state = JOB_POSTING;
    return posts_start(dispatcher->posts, &post, job, err);
}

static void unlink_job(struct dispatcher *dispatcher, struct job *job)
{
    struct job **link = &dispatcher->jobs;

    while (*link != job) link = &(*link)->next;
    *link = job->next;
    if (job->next == NULL) dispatcher->jobs_end = link;
    free(job);
}

static bool settle(struct dispatcher *dispatcher, struct job *job, struct err *err)
{
    uint64_t tag = job->tag;

    unlink_job(dispatcher, job);
    return consumer_ack(dispatcher->consumer, tag, false, err);
}

static bool consider(struct dispatcher *dispatcher, struct job *job, struct err *err)
{
    struct place place = place_of(job);
    bool behind = false;

    if (posts_in_flight(dispatcher->posts) >= dispatcher->posts_max) return true;
    if (has_order(job)) {
        if (is_behind_here(dispatcher, job)) return true;
        if (!place_is_behind(dispatcher->db, &place, &behind, err)) return false;
    }
    if (!behind) return start(dispatcher, job, err);
    delivery_report_result(DELIVERY_WAITED);
    return place_park(dispatcher->db, &place, job->properties, job->body, err) &&
           settle(dispatcher, job, err);
}

/* --- what became of it ------------------------------------------------------------------------ */

static struct text keep(struct dispatcher *dispatcher, struct text text)
{
    return arena_text(&dispatcher->attempts_arena, text);
}

static void note(struct dispatcher *dispatcher, const struct job *job,
                 const struct post_result *result)
{
    const struct webhook *webhook = &job->webhook;
    struct attempt *attempt = &dispatcher->attempts[dispatcher->attempts_count++];

    assert(dispatcher->attempts_count <= ATTEMPTS_KEPT);
    *attempt =
        (struct attempt){.endpoint = keep(dispatcher, webhook->endpoint),
                         .event = keep(dispatcher, webhook->id),
                         .type = keep(dispatcher, webhook->type),
                         .error = keep(dispatcher, text_of(job->error)),
                         .trace_id = keep(dispatcher, webhook_trace(webhook)),
                         .attempted_us = clock_wall_us() - (int64_t)result->took_ms * US_PER_MS,
                         .tries = (int32_t)webhook->tries + 1,
                         .status = result->status,
                         .took_ms = (int32_t)result->took_ms};
    const struct log_field fields[] = {
        {.name = "endpoint", .text = webhook->endpoint},
        {.name = "event", .text = webhook->id},
        {.name = "event_type", .text = webhook->type},
        {.name = "try", .number = webhook->tries + 1, .is_number = true},
        {.name = "status", .number = result->status, .is_number = true},
        {.name = "took_ms", .number = result->took_ms, .is_number = true},
        {.name = "trace_id", .text = webhook_trace(webhook)},
        {.name = "error", .text = text_of(job->error[0] == '\0' ? NULL : job->error)}};
    log_event(LOG_INFO, job->error[0] == '\0' ? "accepted" : "not accepted", fields,
              sizeof fields / sizeof fields[0]);
}

bool attempts_flush(struct dispatcher *dispatcher, struct err *err)
{
    uint32_t count = dispatcher->attempts_count;

    if (count == 0) return true;
    arena_reset(&dispatcher->scratch);
    bool ok = attempts_add(dispatcher->db, dispatcher->attempts, count, &dispatcher->scratch, err);
    dispatcher->attempts_count = 0;
    arena_reset(&dispatcher->attempts_arena);
    dispatcher->flush_due_ms = clock_monotonic_ms() + FLUSH_MS;
    return ok;
}

static bool pause_gone(struct dispatcher *dispatcher, const struct job *job, struct err *err)
{
    bool found;

    if (!endpoint_pause(dispatcher->db, job->outlet->endpoint.id, "it answered 410 Gone", &found,
                        err))
        return false;
    if (found) log_warn("endpoint %s is paused: 410 Gone", job->outlet->endpoint.id);
    dispatcher->refresh_due_ms = 0;
    return true;
}

static void fail(struct dispatcher *dispatcher, struct job *job)
{
    bool last = job->webhook.tries >= dispatcher->schedule.count;

    job->state = last ? JOB_DEAD : JOB_RETRY;
    delivery_report_result(last ? DELIVERY_DEAD : DELIVERY_FAILED);
    if (job->outlet->failing_since_ms == 0) job->outlet->failing_since_ms = clock_monotonic_ms();
}

static bool finish(struct dispatcher *dispatcher, struct job *job, const struct post_result *result,
                   struct err *err)
{
    bool accepted = result->status >= ACCEPTED_FIRST && result->status <= ACCEPTED_LAST;

    delivery_report_post(result->took_ms);
    if (!accepted && result->error != NULL)
        (void)snprintf(job->error, sizeof job->error, "%s", result->error);
    else if (!accepted)
        (void)snprintf(job->error, sizeof job->error, "HTTP %d", result->status);
    note(dispatcher, job, result);
    if (!accepted) {
        fail(dispatcher, job);
        return result->status != GONE || pause_gone(dispatcher, job, err);
    }
    delivery_report_result(DELIVERY_ACCEPTED);
    job->outlet->failing_since_ms = 0;
    if (!has_order(job)) return settle(dispatcher, job, err);
    job->state = JOB_ACCEPTED;
    return true;
}

/* --- again, or no more ------------------------------------------------------------------------ */

static bool delay(struct dispatcher *dispatcher, const struct job *job, struct receipt *receipt,
                  struct err *err)
{
    struct webhook again = job->webhook;
    struct place place = place_of(job);
    struct bytes properties;
    char queue[TOPOLOGY_NAME_SIZE];
    uint32_t random, step = (uint32_t)again.tries++;

    if (has_order(job) && !place_take(dispatcher->db, &place, err)) return false;
    random_bytes(&random, sizeof random);
    queue_of_delay(&dispatcher->names, schedule_delay_ms(&dispatcher->schedule, step, random),
                   queue);
    if (!webhook_write(&again, &dispatcher->scratch, &properties))
        return err_set(err, ERR_FATAL, "could not write properties: they are too large");
    return send_to_queue(dispatcher, queue, properties, job->body, receipt, err);
}

static bool wake(struct dispatcher *dispatcher, const struct parked *parked,
                 struct receipt *receipt, struct err *err)
{
    char queue[TOPOLOGY_NAME_SIZE], id[ENDPOINT_ID_SIZE];
    struct webhook webhook;
    struct bytes properties;

    if (!text_copy(parked->endpoint, id, sizeof id) ||
        !webhook_read(parked->properties, &webhook) ||
        !webhook_write(&webhook, &dispatcher->scratch, &properties))
        return err_set(err, ERR_FATAL, "could not read what waits for endpoint %.*s",
                       TEXT_ARGS(parked->endpoint));
    queue_of_endpoint(&dispatcher->names, id, queue);
    return send_to_queue(dispatcher, queue, properties, parked->body, receipt, err);
}

/* It is done with: the next one of its account has its turn. */
static bool leave(struct dispatcher *dispatcher, const struct job *job, struct receipt *receipt,
                  struct err *err)
{
    struct place place = place_of(job);
    struct parked parked;

    return place_leave(dispatcher->db, &place, err) &&
           parked_next(dispatcher->db, &place, &dispatcher->scratch, &parked, err) &&
           (parked.endpoint.length == 0 || wake(dispatcher, &parked, receipt, err));
}

bool wake_missed(struct dispatcher *dispatcher, struct err *err)
{
    for (uint32_t i = 0; i < MISSED_MAX && publisher_room(dispatcher->publisher) > 0; i++) {
        struct receipt *receipt;
        struct parked parked;
        arena_reset(&dispatcher->scratch);
        if (!parked_missed(dispatcher->db, MISSED_S, &dispatcher->scratch, &parked, err))
            return false;
        if (parked.endpoint.length == 0) return true;
        if (!receipt_open(dispatcher, 0, &receipt, err)) return false;
        receipt->open = false;
        if (!wake(dispatcher, &parked, receipt, err)) return false;
    }
    return true;
}

static bool give_up(struct dispatcher *dispatcher, const struct job *job, struct receipt *receipt,
                    struct err *err)
{
    char queue[TOPOLOGY_NAME_SIZE], error[ERROR_SIZE] = "it is no event for an endpoint";
    bool dead = job->state == JOB_DEAD;
    struct bytes properties;
    const struct death death = {.reason = dead ? "webhook_failed" : "webhook_unreadable",
                                .error = error,
                                .queue = queue,
                                .now_us = clock_wall_us()};

    queue_of_endpoint(&dispatcher->names, job->outlet->endpoint.id, queue);
    if (dead)
        (void)snprintf(error, sizeof error, "%s, at the last of %u tries", job->error,
                       dispatcher->schedule.count + 1);
    log_error("event %.*s for endpoint %s goes to the dead letters: %s", TEXT_ARGS(job->webhook.id),
              job->outlet->endpoint.id, error);
    if (dead && has_order(job) && !leave(dispatcher, job, receipt, err)) return false;
    bool written =
        dead ? webhook_write_dead(&job->webhook, &death, &dispatcher->scratch, &properties)
             : webhook_write_unread(job->properties, &death, &dispatcher->scratch, &properties);
    if (!written) return err_set(err, ERR_FATAL, "could not write properties: they are too large");
    return send_to_dead_letters(dispatcher, job->webhook.type, properties, job->body, receipt, err);
}

static bool pass_on(struct dispatcher *dispatcher, struct job *job, struct err *err)
{
    struct receipt *receipt;

    arena_reset(&dispatcher->scratch);
    if (!receipt_open(dispatcher, job->tag, &receipt, err)) return false;
    bool ok = job->state == JOB_RETRY      ? delay(dispatcher, job, receipt, err)
              : job->state == JOB_ACCEPTED ? leave(dispatcher, job, receipt, err)
                                           : give_up(dispatcher, job, receipt, err);
    receipt->open = false;
    if (ok) unlink_job(dispatcher, job);
    return ok;
}

/* --- all of them ------------------------------------------------------------------------------ */

static bool move_on(struct dispatcher *dispatcher, struct err *err)
{
    for (struct job *job = dispatcher->jobs, *next; job != NULL; job = next) {
        next = job->next;
        bool ok = true;
        if (job->state == JOB_NEW)
            ok = dispatcher->leaves || consider(dispatcher, job, err);
        else if (job->state != JOB_POSTING && publisher_room(dispatcher->publisher) > 1)
            ok = pass_on(dispatcher, job, err);
        if (!ok) return false;
    }
    return true;
}

bool jobs_turn(struct dispatcher *dispatcher, uint32_t wait_ms, struct err *err)
{
    struct post_result results[RESULTS_MAX];

    if (!move_on(dispatcher, err)) return false;
    if (dispatcher->attempts_count > ATTEMPTS_KEPT - RESULTS_MAX &&
        !attempts_flush(dispatcher, err))
        return false;
    uint32_t count = posts_turn(dispatcher->posts, wait_ms, results, RESULTS_MAX);
    for (uint32_t i = 0; i < count; i++)
        if (!finish(dispatcher, results[i].context, &results[i], err)) return false;
    return true;
}
