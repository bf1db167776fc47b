/*
 * relay_report.c - see relay_report.h. The names are those that alerts and dashboards ask for.
 */
#include "outbox/relay_report.h"

#include "base/health.h"
#include "base/metrics.h"

#include <stdio.h>
#include <string.h>

enum { MS_PER_S = 1000, RESULTS = 3, LABEL_SIZE = 64 };

static struct {
    struct metric *published[RESULTS]; /* by enum confirm_result */
    struct metric *transient[RELAY_DEPENDENCIES];
    struct metric *unpublishable, *rotations;
    struct metric *leads, *blocked, *in_flight, *behind, *size, *held;
} state;

/* Labels must outlive the process. */
static struct {
    char published[RESULTS][LABEL_SIZE], dependency[LABEL_SIZE], publisher[LABEL_SIZE];
} labels;

static void write_labels(const struct sink_io *sink)
{
    static const char *const results[RESULTS] = {
        [CONFIRM_ACK] = "confirmed", [CONFIRM_NACK] = "nacked", [CONFIRM_RETURNED] = "returned"};

    for (uint32_t i = 0; i < RESULTS; i++)
        (void)snprintf(labels.published[i], LABEL_SIZE, "publisher=\"%s\",result=\"%s\"",
                       sink->name, results[i]);
    (void)snprintf(labels.dependency, LABEL_SIZE, "dependency=\"%s\"", sink->component_name);
    (void)snprintf(labels.publisher, LABEL_SIZE, "publisher=\"%s\"", sink->name);
}

static void open_outbox(void)
{
    state.size = metric_register(METRIC_GAUGE, "ledger_outbox_bytes",
                                 "Size of the outbox on disk, with its indexes.", NULL);
    state.held = metric_register(METRIC_GAUGE, "ledger_outbox_rotation_held_seconds",
                                 "For so long the next outbox partition should have been begun, "
                                 "and could not: a sink has not passed it.",
                                 NULL);
}

void relay_report_open(const struct sink_io *sink)
{
    const char *const dependencies[RELAY_DEPENDENCIES] = {
        [RELAY_POSTGRES] = "dependency=\"postgres\"", [RELAY_BROKER] = labels.dependency};
    /* Of the one that every ledger has they bear no label. */
    const char *own = strcmp(sink->name, "amqp") == 0 ? NULL : labels.publisher;

    write_labels(sink);
    for (uint32_t i = 0; i < RESULTS; i++)
        state.published[i] = metric_register(METRIC_COUNTER, "ledger_outbox_published_total",
                                             "Messages published, by what the broker said of them.",
                                             labels.published[i]);
    for (uint32_t i = 0; i < RELAY_DEPENDENCIES; i++)
        state.transient[i] = metric_register(
            METRIC_COUNTER, "ledger_transient_errors_total",
            "Failures that were tried again, by the server at fault.", dependencies[i]);
    state.unpublishable =
        metric_register(METRIC_COUNTER, "ledger_outbox_unpublishable_total",
                        "Messages that the broker cannot carry; what tells so went instead.", NULL);
    state.rotations = metric_register(METRIC_COUNTER, "ledger_outbox_rotations_total",
                                      "Times that the next outbox partition was begun.", NULL);
    state.leads = metric_register(METRIC_GAUGE, "ledger_relay_leader",
                                  "1 while this relay leads, 0 while it stands by.", own);
    state.blocked = metric_register(METRIC_GAUGE, "ledger_relay_blocked",
                                    "1 while the broker says that nothing may be published.", own);
    state.in_flight = metric_register(METRIC_GAUGE, "ledger_relay_in_flight",
                                      "Messages published and not yet confirmed.", own);
    state.behind = metric_register(
        METRIC_GAUGE, "ledger_outbox_oldest_unpublished_seconds",
        "Age of the oldest committed message that is not confirmed; 0 when all are.",
        labels.publisher);
    if (sink->rotates) open_outbox();
}

void relay_report_confirms(const struct confirm *confirms, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) metric_add(state.published[confirms[i].result], 1);
}

void relay_report_unpublishable(void)
{
    metric_add(state.unpublishable, 1);
}

void relay_report_rotation(void)
{
    metric_add(state.rotations, 1);
}

void relay_report_outbox(uint64_t size, uint64_t held_ms)
{
    metric_set(state.size, (double)size);
    metric_set(state.held, (double)held_ms / MS_PER_S);
}

void relay_report_transient(enum relay_dependency dependency)
{
    metric_add(state.transient[dependency], 1);
}

void relay_report_state(bool leads, bool blocked, uint32_t in_flight, uint64_t behind_ms)
{
    metric_set(state.leads, leads);
    metric_set(state.blocked, blocked);
    metric_set(state.in_flight, in_flight);
    metric_set(state.behind, (double)behind_ms / MS_PER_S);
    health_detail("relay_leader", leads);
    health_detail("relay_blocked", blocked);
    health_detail("in_flight", in_flight);
    health_detail("behind_ms", (int64_t)behind_ms);
}
