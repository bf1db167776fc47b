/*
 * report.c - one log line and one count a command. The labels are few and fixed: no account, key or
 * trace is ever a label; the trace is in the log line.
 */
#include "worker/report.h"

#include "base/log.h"
#include "base/metrics.h"
#include "ledger/permission.h"

#include <stdio.h>
#include <string.h>

enum { LABELS_SIZE = 96, NO_TYPE = COMMANDS_COUNT, DENIALS = 2 };

static const char *const DENIAL_REASONS[DENIALS] = {[false] = "no_rule", [true] = "limit"};

static struct {
    enum report_level level;
    char labels[COMMANDS_COUNT + 1][RESULTS_COUNT][LABELS_SIZE];
    struct metric *commands[COMMANDS_COUNT + 1][RESULTS_COUNT];
    struct metric *repeats, *dead_letters, *redelivered, *malformed_traces;
    struct metric *suspects;
    char denial_labels[COMMANDS_COUNT][DENIALS][LABELS_SIZE];
    struct metric *denials[COMMANDS_COUNT][DENIALS];
    struct metric *batch_seconds, *batches, *shards, *oldest, *overdue;
    struct metric *transient[3];
    struct metric *lookups[3];
} state;

static const char *const DEPENDENCIES[] = {"postgres", "rabbitmq", "redis"};

static void open_commands(void)
{
    for (uint32_t type = 0; type <= NO_TYPE; type++)
        for (uint32_t result = 0; result < RESULTS_COUNT; result++) {
            char *labels = state.labels[type][result];
            bool fault = result_status((enum result)result) == STATUS_FAILED;
            if (type == NO_TYPE && !fault) continue;
            (void)snprintf(labels, LABELS_SIZE, "type=\"%s\",status=\"%s\",error=\"%s\"",
                           type == NO_TYPE ? "" : command_word((enum command_type)type),
                           status_word(result_status((enum result)result)),
                           result_error((enum result)result));
            state.commands[type][result] =
                metric_register(METRIC_COUNTER, "ledger_commands_total",
                                "Commands and queries answered, by type and outcome.", labels);
        }
}

static void open_denials(void)
{
    for (uint32_t type = 0; type < COMMANDS_COUNT; type++)
        for (uint32_t reason = 0; reason < DENIALS; reason++) {
            char *labels = state.denial_labels[type][reason];
            (void)snprintf(labels, LABELS_SIZE, "type=\"%s\",reason=\"%s\"",
                           command_word((enum command_type)type), DENIAL_REASONS[reason]);
            state.denials[type][reason] = metric_register(
                METRIC_COUNTER, "ledger_denials_total",
                "Commands and queries that the policy forbade, by type and reason.", labels);
        }
}

void report_open(enum report_level level)
{
    state.level = level;
    open_commands();
    open_denials();
    state.repeats = metric_register(METRIC_COUNTER, "ledger_repeats_total",
                                    "Commands whose key had been decided before.", NULL);
    state.dead_letters = metric_register(METRIC_COUNTER, "ledger_dead_letters_total",
                                         "Messages dead-lettered by this worker.", NULL);
    state.redelivered = metric_register(METRIC_COUNTER, "ledger_redeliveries_total",
                                        "Messages that the broker had delivered before.", NULL);
    state.suspects = metric_register(
        METRIC_COUNTER, "ledger_suspects_total",
        "Messages decided alone, because they had come back twice without being settled.", NULL);
    state.malformed_traces =
        metric_register(METRIC_COUNTER, "ledger_malformed_traceparents_total",
                        "Messages whose traceparent was malformed: a new trace began.", NULL);
    state.batches = metric_register(METRIC_COUNTER, "ledger_batches_total",
                                    "Batches committed; commands per batch is the ratio.", NULL);
    state.batch_seconds =
        metric_register(METRIC_HISTOGRAM, "ledger_command_duration_seconds",
                        "From taking a command off the queue to its acknowledgement.", NULL);
    state.shards = metric_register(METRIC_GAUGE, "ledger_shards_owned",
                                   "Shard queues that this worker consumes.", NULL);
    state.oldest = metric_register(
        METRIC_GAUGE, "ledger_oldest_unanswered_seconds",
        "Age of the oldest message taken and not settled, since its timestamp; 0: none.", NULL);
    state.overdue = metric_register(
        METRIC_GAUGE, "ledger_scheduled_overdue_seconds",
        "For how long the first scheduled command that is not executed has been due; 0: none.",
        NULL);
    static const char *const transient_labels[] = {
        "dependency=\"postgres\"", "dependency=\"rabbitmq\"", "dependency=\"redis\""};
    for (uint32_t i = 0; i < 3; i++)
        state.transient[i] = metric_register(
            METRIC_COUNTER, "ledger_transient_errors_total",
            "Failures that were tried again, by the server at fault.", transient_labels[i]);
    static const char *const lookup_labels[] = {"store=\"redis\",result=\"hit\"",
                                                "store=\"redis\",result=\"miss\"",
                                                "store=\"redis\",result=\"error\""};
    for (uint32_t i = 0; i < 3; i++)
        state.lookups[i] = metric_register(METRIC_COUNTER, "ledger_idempotency_lookups_total",
                                           "Idempotency keys asked of Redis.", lookup_labels[i]);
}

static void log_command(const struct work *work)
{
    const struct request *request = work->request;
    const struct reply *reply = &work->reply;
    enum status status = result_status(reply->result);
    char trace[UUID_HEX_SIZE], id[UUID_TEXT_SIZE];
    struct log_field fields[10];
    size_t count = 0;

    if (state.level == REPORT_NONE) return;
    if (state.level == REPORT_REFUSED && (status == STATUS_APPLIED || status == STATUS_SCHEDULED))
        return;
    uuid_format_hex(&request->trace.trace_id, trace);
    fields[count++] = (struct log_field){.name = "trace_id", .text = text_of(trace)};
    if (request->trace.verbatim.length > 0)
        fields[count++] = (struct log_field){.name = "x_trace_id", .text = request->trace.verbatim};
    if (request->has_type)
        fields[count++] = (struct log_field){.name = "type",
                                             .text = text_of(command_word(request->command.type))};
    fields[count++] = (struct log_field){.name = "status", .text = text_of(status_word(status))};
    if (result_error(reply->result)[0] != '\0')
        fields[count++] =
            (struct log_field){.name = "error", .text = text_of(result_error(reply->result))};
    if (reply->has_transaction) {
        uuid_format(&reply->transaction, id);
        fields[count++] = (struct log_field){.name = "transaction", .text = text_of(id)};
    }
    if (request->user_id.length > 0)
        fields[count++] = (struct log_field){.name = "user_id", .text = request->user_id};
    if (request->incoming.routing_key.length > 0)
        fields[count++] =
            (struct log_field){.name = "routing_key", .text = request->incoming.routing_key};
    if (request->has_key)
        fields[count++] = (struct log_field){.name = "idempotency_key", .text = request->key};
    if (reply->replayed)
        fields[count++] = (struct log_field){.name = "replayed", .number = 1, .is_number = true};
    log_event(status == STATUS_FAILED ? LOG_WARN : LOG_INFO, "command", fields, count);
}

/* Logged whatever the level: somebody tried what he may not, or a rule is missing. */
static void report_denial(const struct batch *batch, const struct work *work)
{
    const struct request *request = work->request;
    bool over_limit = work->outcome.over_limit;
    struct wish wish = permission_wish(batch, work);
    char trace[UUID_HEX_SIZE];

    metric_add(state.denials[wish.type][over_limit], 1);
    uuid_format_hex(&request->trace.trace_id, trace);
    const struct log_field fields[] = {
        {.name = "user_id", .text = wish.caller},
        {.name = "type", .text = text_of(command_word(wish.type))},
        {.name = "account", .text = wish.accounts[0]},
        {.name = "reason", .text = text_of(DENIAL_REASONS[over_limit])},
        {.name = "app_id", .text = request->caller},
        {.name = "idempotency_key", .text = request->key},
        {.name = "trace_id", .text = text_of(trace)},
    };
    log_event(LOG_WARN, "denied", fields, sizeof fields / sizeof fields[0]);
}

/* What was decided now; of an atomic batch the leg that it was refused for. */
static const struct work *denied(const struct work *work)
{
    if (work->origin != ORIGIN_DECIDED || work->outcome.result != RESULT_FORBIDDEN) return NULL;
    return work->reply.has_failed_leg ? work + 1 + work->failed_leg : work;
}

void report_batch(const struct batch *batch, uint64_t started_us, uint64_t now_us)
{
    double seconds = (double)(now_us - started_us) / 1e6;

    metric_add(state.batches, 1);
    for (uint32_t i = 0; i < batch->works_count; i++) {
        const struct work *work = &batch->works[i];
        const struct request *request = work->request;
        uint32_t type = request->has_type ? request->command.type : NO_TYPE;
        if (work->origin == ORIGIN_SKIPPED) continue;
        if (denied(work) != NULL) report_denial(batch, denied(work));
        metric_add(state.commands[type][work->reply.result], 1);
        metric_observe(state.batch_seconds, seconds);
        if (work->reply.replayed) metric_add(state.repeats, 1);
        if (work->origin == ORIGIN_FAULT) metric_add(state.dead_letters, 1);
        if (request->incoming.redelivered) metric_add(state.redelivered, 1);
        if (request->trace.was_malformed) metric_add(state.malformed_traces, 1);
        log_command(work);
    }
}

void report_shards(uint32_t owned)
{
    metric_set(state.shards, owned);
}

void report_oldest(uint64_t waited_us)
{
    metric_set(state.oldest, (double)waited_us / 1e6);
}

void report_overdue(uint64_t waited_us)
{
    metric_set(state.overdue, (double)waited_us / 1e6);
}

void report_suspect(uint32_t times)
{
    metric_add(state.suspects, 1);
    if (times > 1) log_warn("%u workers have died over the next message", times - 1);
}

void report_transient(const char *dependency)
{
    for (uint32_t i = 0; i < 3; i++)
        if (strcmp(DEPENDENCIES[i], dependency) == 0) metric_add(state.transient[i], 1);
}

void report_redis(uint64_t hits, uint64_t misses, uint64_t errors)
{
    uint64_t now[] = {hits, misses, errors};

    for (uint32_t i = 0; i < 3; i++)
        metric_add(state.lookups[i], now[i] - metric_count(state.lookups[i]));
}
