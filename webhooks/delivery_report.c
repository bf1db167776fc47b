/*
 * delivery_report.c - see delivery_report.h. No endpoint is a label: ledgerctl webhook list names
 * the ones that fail.
 */
#include "webhooks/delivery_report.h"

#include "base/health.h"
#include "base/metrics.h"

enum { MS_PER_S = 1000 };

static struct {
    struct metric *deliveries[DELIVERY_RESULTS], *transient[REPORT_DEPENDENCIES];
    struct metric *took, *fanned, *endpoints, *posts, *failing;
} state;

void delivery_report_open(void)
{
    static const char *const results[DELIVERY_RESULTS] = {[DELIVERY_ACCEPTED] =
                                                              "result=\"accepted\"",
                                                          [DELIVERY_FAILED] = "result=\"failed\"",
                                                          [DELIVERY_DEAD] = "result=\"dead\"",
                                                          [DELIVERY_WAITED] = "result=\"waited\""};
    static const char *const dependencies[REPORT_DEPENDENCIES] = {
        [REPORT_POSTGRES] = "dependency=\"postgres\"",
        [REPORT_RABBITMQ] = "dependency=\"rabbitmq\""};

    for (uint32_t i = 0; i < DELIVERY_RESULTS; i++)
        state.deliveries[i] =
            metric_register(METRIC_COUNTER, "ledger_webhook_deliveries_total",
                            "Posts to endpoints, and what waited for its turn.", results[i]);
    for (uint32_t i = 0; i < REPORT_DEPENDENCIES; i++)
        state.transient[i] = metric_register(
            METRIC_COUNTER, "ledger_transient_errors_total",
            "Failures that were tried again, by the server at fault.", dependencies[i]);
    state.took = metric_register(METRIC_HISTOGRAM, "ledger_webhook_post_seconds",
                                 "How long endpoints took to answer.", NULL);
    state.fanned =
        metric_register(METRIC_COUNTER, "ledger_webhook_events_total",
                        "Messages of events that were sent on to endpoints' queues.", NULL);
    state.endpoints = metric_register(METRIC_GAUGE, "ledger_webhook_endpoints",
                                      "Endpoints that are posted to.", NULL);
    state.posts =
        metric_register(METRIC_GAUGE, "ledger_webhook_posts_in_flight", "Posts under way.", NULL);
    state.failing = metric_register(METRIC_GAUGE, "ledger_webhook_failing_seconds",
                                    "For so long an endpoint has accepted nothing while posts "
                                    "failed; of the one that is worst.",
                                    NULL);
}

void delivery_report_result(enum delivery_result result)
{
    metric_add(state.deliveries[result], 1);
}

void delivery_report_post(uint32_t took_ms)
{
    metric_observe(state.took, (double)took_ms / MS_PER_S);
}

void delivery_report_fanned(void)
{
    metric_add(state.fanned, 1);
}

void delivery_report_transient(enum report_dependency dependency)
{
    metric_add(state.transient[dependency], 1);
}

void delivery_report_state(uint32_t endpoints, uint32_t posts, uint64_t failing_ms)
{
    metric_set(state.endpoints, endpoints);
    metric_set(state.posts, posts);
    metric_set(state.failing, (double)failing_ms / MS_PER_S);
    health_detail("endpoints", endpoints);
    health_detail("posts_in_flight", posts);
    health_detail("failing_ms", (int64_t)failing_ms);
}
