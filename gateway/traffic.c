/*
 * traffic.c - see traffic.h.
 */
#include "gateway/traffic.h"

#include "base/log.h"
#include "base/metrics.h"

#include <stdio.h>

enum { CLASSES = 4, FIRST_CLASS = 2, LABELS_SIZE = 96, CODE_FAILED = 500 };

static enum traffic_level least;
static struct metric *requests[ROUTES_COUNT + 1][CLASSES], *seconds[ROUTES_COUNT + 1];
static struct metric *hung_up_total, *ended_total, *connections, *waiting, *in_flight;
static char labels[ROUTES_COUNT + 1][CLASSES + 1][LABELS_SIZE];

void traffic_open(enum traffic_level level)
{
    least = level;
    for (int route = 0; route <= ROUTES_COUNT; route++)
        for (int class = 0; class < CLASSES; class ++) {
            char *text = labels[route][class];
            (void)snprintf(text, LABELS_SIZE, "operation=\"%s\",class=\"%dxx\"",
                           route_word((enum route)route), class + FIRST_CLASS);
            requests[route][class] =
                metric_register(METRIC_COUNTER, "ledger_http_requests_total",
                                "requests answered, by operation and class of status", text);
        }
    for (int route = 0; route <= ROUTES_COUNT; route++) {
        char *text = labels[route][CLASSES];
        (void)snprintf(text, LABELS_SIZE, "operation=\"%s\"", route_word((enum route)route));
        seconds[route] = metric_register(METRIC_HISTOGRAM, "ledger_http_request_seconds",
                                         "from the headers to the answer", text);
    }
    hung_up_total = metric_register(METRIC_COUNTER, "ledger_http_hung_up_total",
                                    "requests whose client left before the answer", NULL);
    ended_total = metric_register(METRIC_COUNTER, "ledger_http_ended_total",
                                  "connections ended because the client took too long", NULL);
    connections =
        metric_register(METRIC_GAUGE, "ledger_http_connections", "connections of clients", NULL);
    waiting = metric_register(METRIC_GAUGE, "ledger_http_waiting",
                              "requests that wait for the ledger's reply", NULL);
    in_flight = metric_register(METRIC_GAUGE, "ledger_http_calls_in_flight",
                                "commands and queries sent and not replied to", NULL);
}

void traffic_note(enum route route, unsigned code, bool hung_up, uint64_t took_us,
                  const struct trace *trace)
{
    unsigned class = code / 100 - FIRST_CLASS;
    char trace_id[UUID_HEX_SIZE];

    if (hung_up) metric_add(hung_up_total, 1);
    if (code == 0 || class >= CLASSES) return;
    metric_add(requests[route][class], 1);
    metric_observe(seconds[route], (double)took_us / 1e6);
    if (least == TRAFFIC_NONE || (least == TRAFFIC_FAILURES && code < CODE_FAILED)) return;
    uuid_format_hex(&trace->trace_id, trace_id);
    struct log_field fields[] = {
        {.name = "operation", .text = text_of(route_word(route))},
        {.name = "code", .number = code, .is_number = true},
        {.name = "took_us", .number = (int64_t)took_us, .is_number = true},
        {.name = "trace_id", .text = text_of(trace_id)},
    };
    log_event(LOG_INFO, hung_up ? "request, hung up" : "request", fields,
              sizeof fields / sizeof *fields);
}

void traffic_show(const struct traffic_gauges *gauges, uint32_t ended)
{
    metric_set(connections, gauges->connections);
    metric_set(waiting, gauges->waiting);
    metric_set(in_flight, gauges->in_flight);
    if (ended > 0) metric_add(ended_total, ended);
}
